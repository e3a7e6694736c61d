"""Tests that repeat a random scenario have two sizes: a small one in the suite, and their full one by ``make endurance``.

The environment variable ``ENDURANCE`` multiplies the full size; without it, tests have the suite's. The assertions are the same
at every size. Each such test has the marker ``endurance``.
"""

import os
from collections.abc import Iterable
from itertools import cycle, product

#: The multiple of the full size, or 0 for the suite's size.
TIMES = int(os.environ.get("ENDURANCE", "0"))


def repeats(suite: int, full: int) -> int:
    """Return how often a test repeats its scenario: `suite` times, or the multiple of `full` that is asked for."""
    return TIMES * full or suite


def pairs(families: Iterable[str], names: Iterable[str]) -> list[tuple[str, str]]:
    """Return every family with every name, in the suite every name with one family in turn."""
    return list(product(families, names) if TIMES else zip(cycle(families), names, strict=False))
