"""Sample walls: what scratch and each strategy draw from the same latents after equally many steps, beside real images."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.album import Album, at_step
from analysis.frames import records
from analysis.statistics import Analysis
from analysis.transferability import SCRATCH
from analysis.wording import counted, number


@dataclass(frozen=True)
class Grid:
    """A grid of images: what it is called, its FID in words, where it lies in the store, and its data URI."""

    name: str
    words: str
    path: str
    uri: str
    strategy: str | None = None
    source_label: str | None = None


@dataclass(frozen=True)
class Wall:
    """The grids of one cell, by step: a heading, and real images, scratch and the best transfer of each strategy."""

    cell_label: str
    rows: list[tuple[str, list[Grid]]]


def walls(analysis: Analysis, trials: pd.DataFrame, album: Album) -> tuple[list[Wall], int]:
    """Return a wall per cell, and how many grids were left out: missing in the store, or too many for the page.

    A wall has up to two rows: the last step that all its trials reached, and the last that any did, with those that did.
    """
    found, left_out = [], 0
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
        rows = []
        for step in sorted({min(last.values()), max(last.values())}):
            grids: list[Grid] = []
            missing = 0
            for strategy in shown:
                if last[strategy] >= step:
                    row = best[strategy]
                    path = at_step(known[row["trial"]]["samples"], last[strategy], step)
                    uri = album.uri(path)
                    if path and uri:
                        value = fid.get((row["trial"], step))
                        words = f"FID {number(value)}" if value is not None else ""
                        grids.append(Grid(_name(row), words, path, uri, strategy, row["source_label"]))
                    else:
                        missing += 1
            real = known[best[shown[0]]["trial"]]["real_samples"]
            uri = album.uri(real)
            if grids and uri:
                grids.insert(0, Grid("Real images", str(methods[0]["target_label"]), real, uri))
            if grids:
                rows.append((_heading(step, last, missing), grids))
            left_out += missing
        if rows:
            found.append(Wall(methods[0]["cell_label"], rows))
    return found, left_out


def _name(row: dict[str, Any]) -> str:
    return f"{row['strategy']} from {row['source_label']}" if row["source_label"] else str(row["strategy"])


def _heading(step: int, last: dict[str, int], missing: int) -> str:
    reached = "the last that all strategies reached" if step == min(last.values()) else "those that went on"
    words = f"Step {step:,}" + (f", {reached}" if len(set(last.values())) > 1 else "")
    return words + (f"; {counted(missing, 'grid is', 'grids are')} not in this page" if missing else "")
