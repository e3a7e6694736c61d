"""Tests that repeat a random scenario have two sizes: a small one in the suite, and their full one by ``make endurance``.

The environment variable ``ENDURANCE`` is the number of full sizes: ``ENDURANCE=1`` for one, ``ENDURANCE=20`` for a night.
The assertions are the same at every size. Each such test has the marker ``endurance``.
"""

import os

import pytest

#: Number of full sizes, or 0 for the suite's.
TIMES = int(os.environ.get("ENDURANCE", "0"))

#: Marks a test with two sizes.
marked = pytest.mark.endurance


def repeats(suite: int, full: int) -> int:
    """Return how often a test repeats its scenario: `suite` times, or `full` times for each full size that is asked for."""
    return TIMES * full or suite
