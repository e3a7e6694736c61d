"""Limits to what is planned: larger grids are mistakes, and would take minutes to list."""

import math
from collections.abc import Mapping

#: Points beyond which no grid is planned, and trials beyond which no search for settings is.
MOST_POINTS, MOST_TRIED = 1_000_000, 100_000


def check_grid(axes: Mapping[str, int]) -> None:
    """Raise ValueError if the grid has too many points to plan; `axes` are the lengths of its lists by key."""
    points = math.prod(max(1, length) for length in axes.values())
    if points > MOST_POINTS:
        lengths = " x ".join(f"{length:,} {axis}" for axis, length in axes.items() if length > 1)
        longest = max(axes, key=axes.__getitem__)
        raise ValueError(
            f"{longest}: the grid of {lengths} has {points:,} points, and at most {MOST_POINTS:,} are planned; shorten a list"
        )


def check_search(trials: int) -> None:
    """Raise ValueError if a search for settings has too many trials to plan."""
    if trials > MOST_TRIED:
        raise ValueError(
            f"tuning.trials: the search has {trials:,} trials, and at most {MOST_TRIED:,} are planned; set it lower"
        )
