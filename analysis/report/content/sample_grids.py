"""Sample walls: what scratch and each strategy draw from the same latents after equally many steps, beside real images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.frames import records
from analysis.report.content.embedded_images import Album, at_step
from analysis.statistics import Analysis
from analysis.transfer.transferability import SCRATCH
from analysis.words import counted, number, start


@dataclass(frozen=True)
class Grid:
    """A grid of images: what it is called, its FID in words, where it lies in the store, and its data URI."""

    name: str
    words: str
    path: str | None
    strategy: str | None = None
    """None of real images."""
    source_label: str | None = None
    uri: str = ""


@dataclass(frozen=True)
class Wall:
    """The grids of one cell, by step: a heading, and real images, scratch and the best transfer of each strategy."""

    cell_label: str
    rows: list[tuple[str, list[Grid]]]


def walls(analysis: Analysis, trials: pd.DataFrame) -> list[Wall]:
    """Return a wall per cell, of what the store may have; `hung` makes images of it.

    A wall has up to two rows: the last step that all its trials reached, and the last that any did, with those that did. The
    trial of a method is its best seed.
    """
    found = []
    known = {row["key"]: row for row in records(trials[["key", "steps", "samples", "real_samples"]])}
    measured = analysis.curves[analysis.curves["metric"] == "fid"]
    fid = dict(zip(zip(measured["trial"], measured["step"], strict=True), measured["value"], strict=True))
    for _, group in analysis.ranked.groupby("cell", sort=False):
        methods = [row for row in records(group) if known[row["trial"]]["samples"]]
        best = {row["strategy"]: row for row in reversed(methods)}
        if not best:
            continue
        last = {strategy: known[row["trial"]]["steps"] for strategy, row in best.items()}
        shown = sorted(best, key=lambda strategy: (strategy != SCRATCH, strategy))
        real = Grid("Real images", str(methods[0]["target_label"]), known[best[shown[0]]["trial"]]["real_samples"])
        rows = []
        for step in sorted({min(last.values()), max(last.values())}):
            grids = [real]
            for strategy in shown:
                if last[strategy] >= step:
                    row = best[strategy]
                    path = at_step(known[row["trial"]]["samples"], last[strategy], step)
                    value = fid.get((row["trial"], step))
                    words = f"FID {number(value)}" if value is not None else ""
                    grids.append(Grid(start(row), words, path, strategy, row["source_label"]))
            rows.append((_heading(step, last), grids))
        found.append(Wall(methods[0]["cell_label"], rows))
    return found


def paths(found: Sequence[Wall]) -> list[str]:
    """Return the path of each grid, in the order in which they stand."""
    return [grid.path for wall in found for _, grids in wall.rows for grid in grids if grid.path]


def hung(found: Sequence[Wall], album: Album) -> tuple[list[Wall], int]:
    """Return the walls with the images that the album has, and how many grids it has not."""
    walls, left_out = [], 0
    for wall in found:
        rows = []
        for heading, grids in wall.rows:
            there = [replace(grid, uri=uri) for grid in grids if (uri := album.uri(grid.path))]
            missing = sum(grid.strategy is not None for grid in grids) - sum(grid.strategy is not None for grid in there)
            words = f"; {counted(missing, 'grid is', 'grids are')} not in this page" if missing else ""
            if any(grid.strategy for grid in there):
                rows.append((heading + words, there))
            left_out += missing
        if rows:
            walls.append(replace(wall, rows=rows))
    return walls, left_out


def _heading(step: int, last: dict[str, int]) -> str:
    reached = "the last that all strategies reached" if step == min(last.values()) else "those that went on"
    return f"Step {step:,}" + (f", {reached}" if len(set(last.values())) > 1 else "")
