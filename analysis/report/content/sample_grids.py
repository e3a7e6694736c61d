"""Sample grids: what scratch and each strategy draw from the same latents after equally many steps, with real images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.comparison.cells import SCRATCH
from analysis.frames import records
from analysis.report.blocks import Block, Image, Images, Paragraph, Subject, by_cell
from analysis.report.embedded_images import Album, at_step
from analysis.statistics import Analysis
from analysis.words import number, start
from trainers.common.counts import counted


@dataclass(frozen=True)
class Wall:
    """The grids of one cell in rows by step: a heading, and real images (without a subject), scratch and the best transfers."""

    cell_label: str
    rows: list[tuple[str, list[Image]]]
    pair: bool = False
    """Whether its grids are two that are compared image by image."""


def walls(analysis: Analysis, trials: pd.DataFrame) -> list[Wall]:
    """Return a wall per cell, of grids that the store may have, without their data; see `blocks`.

    A wall has up to two rows: the last step that all its strategies reached, and the last that any did, with those that did. A
    method is represented by its best seed.
    """
    cells = []
    by_key = {row["key"]: row for row in records(trials[["key", "steps", "samples", "real_samples"]])}
    measured = analysis.curves[analysis.curves["metric"] == "fid"]
    fid = dict(zip(zip(measured["trial"], measured["step"], strict=True), measured["value"], strict=True))
    for _, group in analysis.ranked.groupby("cell", sort=False):
        methods = [row for row in records(group) if by_key[row["trial"]]["samples"]]
        best = {row["strategy"]: row for row in reversed(methods)}
        if not best:
            continue
        last = {strategy: by_key[row["trial"]]["steps"] for strategy, row in best.items()}
        shown = sorted(best, key=lambda strategy: (strategy != SCRATCH, strategy))
        real = Image("Real images", str(methods[0]["target_label"]), by_key[best[shown[0]]["trial"]]["real_samples"])
        rows = []
        for step in sorted({min(last.values()), max(last.values())}):
            grids = [real]
            for strategy in shown:
                if last[strategy] >= step:
                    row = best[strategy]
                    path = at_step(by_key[row["trial"]]["samples"], last[strategy], step)
                    value = fid.get((row["trial"], step))
                    words = f"FID {number(value)}" if value is not None else ""
                    subject = {"strategy": strategy, "source_label": row["source_label"]}
                    grids.append(Image(start(row), words, path, subject))
            rows.append((_heading(step, last), grids))
        cells.append(Wall(methods[0]["cell_label"], rows))
    return cells


def copies(analysis: Analysis, trials: pd.DataFrame) -> list[Wall]:
    """Return a wall per cell with the samples of its best start and the training images nearest to them, as `walls`."""
    samples, steps = (dict(zip(trials["key"], trials[column], strict=True)) for column in ("samples", "steps"))
    cells = []
    for _, group in analysis.ranked.groupby("cell", sort=False):
        methods = [row for row in records(group) if str(samples[row["trial"]]).endswith(".png")]
        if named := next((row for row in methods if row["strategy"] != SCRATCH), next(iter(methods), None)):
            path = samples[named["trial"]]
            subject = {"strategy": named["strategy"], "source_label": named["source_label"]}
            nearest = Image(
                "Nearest training images", "at the same places", f"{path.removesuffix('.png')}-nearest.png", subject
            )
            grids = [Image(start(named), "", path, subject), nearest]
            cells.append(
                Wall(named["cell_label"], [(f"Samples of the best start, step {steps[named['trial']]:,.0f}", grids)], pair=True)
            )
    return cells


def with_copies(cells: Sequence[Wall], album: Album) -> list[Wall]:
    """Return the walls of `copies` of which the album has all images."""
    return [wall for wall in embed(cells, album)[0] if len(wall.rows[0][1]) == 2]


def bounded(cells: Sequence[Wall], most: int) -> list[Wall]:
    """Return the first walls, with at most `most` grids together, and at least one wall."""
    kept: list[Wall] = []
    for wall in cells:
        most -= len(paths([wall]))
        if kept and most < 0:
            break
        kept.append(wall)
    return kept


def paths(cells: Sequence[Wall]) -> list[str]:
    """Return the path of each grid, in order."""
    return [grid.path for wall in cells for _, grids in wall.rows for grid in grids if grid.path]


def embed(cells: Sequence[Wall], album: Album) -> tuple[list[Wall], int]:
    """Return the walls with the images that the album has, and the number of grids that it lacks."""
    embedded, left_out = [], 0
    for wall in cells:
        rows = []
        for heading, grids in wall.rows:
            present = [replace(grid, uri=uri) for grid in grids if (uri := album.uri(grid.path))]
            missing = sum(bool(grid.subject) for grid in grids) - sum(bool(grid.subject) for grid in present)
            words = f"; {counted(missing, 'grid is', 'grids are')} not in this page" if missing else ""
            if any(grid.subject for grid in present):
                rows.append((heading + words, present))
            left_out += missing
        if rows:
            embedded.append(replace(wall, rows=rows))
    return embedded, left_out


def blocks(embedded: Sequence[Wall], left_out: int, compressed: bool, others: int = 0) -> Iterator[Block]:
    """Yield the walls from `embed`, how their grids differ from those of the store, and how many `others` there are."""
    cells: list[tuple[str, list[Block], Subject]] = []
    for wall in embedded:
        rows: list[Block] = []
        for heading, grids in wall.rows:
            rows += [Paragraph(heading, "small"), Images(f"{wall.cell_label}, {heading}", grids, wall.pair)]
        cells.append((wall.cell_label, rows, {"cell_label": wall.cell_label}))
    yield from by_cell("wall", cells)
    if embedded and compressed:
        yield Paragraph("The grids are compressed in this page; the store has the originals.", "small")
    if embedded and left_out:
        lacking = counted(left_out, "grid is", "grids are")
        yield Paragraph(f"{lacking} not in this page: missing in the store, or omitted to limit its size.", "small")
    if embedded and others:
        first = f"These are the first {counted(len(embedded), 'cell')}, by target and number of images"
        lacking = counted(others, "other cell is", "other cells are")
        yield Paragraph(f"{first}. The grids of {lacking} not in this page, to limit its size; the store has them.", "small")


def _heading(step: int, last: dict[str, int]) -> str:
    reached = "the last that all strategies reached" if step == min(last.values()) else "reached by the longer trials"
    return f"Step {step:,}" + (f", {reached}" if len(set(last.values())) > 1 else "")
