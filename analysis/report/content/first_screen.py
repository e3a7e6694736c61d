"""The first screen: the finding in three pictures and one figure.

The pictures are real images, images from scratch and images of the named start, of one cell: its only one, or the one in which
the start is ahead the most. Their left squares are shown, since a grid is twice as wide as high.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.claims import Outcome
from analysis.comparison.best import FRESH
from analysis.comparison.cells import SCRATCH
from analysis.figures import drawings
from analysis.frames import records
from analysis.report.blocks import Block, Figures, Group, Image, Images, Panel
from analysis.report.embedded_images import Album, at_step
from analysis.statistics import Analysis
from analysis.words import Row, number, start
from trainers.common.counts import counted

#: Most starts, or cells, in the figure.
MOST = 6


@dataclass(frozen=True)
class FirstScreen:
    """What the first screen shows of one embedding."""

    cell_label: str
    pictures: tuple[Image, ...]
    """Real images, scratch and the named start, those that the store may have; `embed` adds their data."""
    panel: Panel | None
    """The figure; none where no gain is known."""

    @property
    def paths(self) -> list[str]:
        """Return the paths of the pictures in the store."""
        return [picture.path for picture in self.pictures if picture.path]

    def embed(self, album: Album) -> "FirstScreen":
        """Return the screen with those pictures that the album has; with none unless a generated one is among them."""
        present = [replace(picture, uri=uri) for picture in self.pictures if (uri := album.uri(picture.path))]
        return replace(self, pictures=tuple(present) if any(picture.subject for picture in present) else ())

    def blocks(self) -> Iterator[Block]:
        """Yield the pictures and the figure."""
        parts: list[Block] = [Images(self.cell_label, self.pictures)] if self.pictures else []
        if parts := [*parts, *([Figures([self.panel])] if self.panel else [])]:
            yield Group("first", parts)


def first_screen(analysis: Analysis, trials: pd.DataFrame) -> FirstScreen | None:
    """Return the first screen in one embedding; None where nothing is compared with scratch."""
    best = [row for row in records(analysis.best) if row["gain"] is not None]
    if not best:
        return None
    shown = max(best, key=lambda row: (row["outcome"] == Outcome.APART, row["gain"], row["size"]))
    panel = _of_one(analysis, best[0]) if len(analysis.cells) == 1 else _of_many(best)
    return FirstScreen(shown["cell_label"], tuple(_pictures(analysis, shown, trials)), panel)


def _of_one(analysis: Analysis, best: Row) -> Panel | None:
    """Return the figure of the starts of an only cell, best first; of the named one alone where fresh seeds confirm it."""
    tests = analysis.significance
    tests = tests[tests["cell"] == best["cell"]]
    early = int(tests["early"].astype(bool).sum())
    tests = tests[~tests["early"].astype(bool) & tests["gain"].notna()]
    rows = [best] if best["basis"] == FRESH else sorted(records(tests), key=lambda row: -row["gain"])
    if not rows:
        return None
    left = f" The first {MOST} of {counted(len(rows), 'start')}; the others are under Ranking." if len(rows) > MOST else ""
    ended = f" {counted(early, 'start')} ended before." if early else ""
    caption = f"{best['cell_label']}, at step {best['step']:,}.{ended}{left} {_HOW}"
    return _panel("How much better than scratch?", caption, [{**row, "name": start(row)} for row in rows[:MOST]])


def _of_many(best: list[Row]) -> Panel:
    """Return the figure of the named start of each cell."""
    one = len({row["family"] for row in best}) == 1
    rows = [{**row, "name": f"{_brief(row, one)}: {start(row)}"} for row in best]
    left = f" The first {MOST} of {counted(len(rows), 'cell')}; the others are in the answer below." if len(rows) > MOST else ""
    title = "How much better than scratch is the best start?"
    return _panel(title, f"Each cell at its final step.{left} {_HOW}", rows[:MOST])


def _brief(row: Row, one: bool) -> str:
    """Return the label of a cell, short: without the family where there is `one` alone."""
    return counted(row["size"], "image") if one else str(row["cell_label"]).removesuffix(" images")


_HOW = (
    "Gain is FID from scratch / FID of the start. Lines are 95 % intervals, corrected for all comparisons; a line that crosses "
    "the dashed one leaves open whether the start helps."
)


def _panel(title: str, caption: str, rows: list[dict[str, Any]]) -> Panel:
    table = pd.DataFrame(rows)[["name", "gain", "low", "high", "outcome"]]
    if table["low"].isna().all():
        caption = caption.removesuffix(_HOW) + "Gain is FID from scratch / FID of the start; too few seeds for intervals."
    return Panel.of(title, caption, drawings.gain_intervals(table))


def _pictures(analysis: Analysis, named: Row, trials: pd.DataFrame) -> Iterator[Image]:
    """Yield the pictures of a cell at the step at which its start is named, each of the method's best seed."""
    by_key = {row["key"]: row for row in records(trials[["key", "steps", "samples", "real_samples"]])}
    of_cell = analysis.curves[(analysis.curves["cell"] == named["cell"]) & (analysis.curves["metric"] == "fid")]
    at = of_cell[(of_cell["step"] == named["step"]) & of_cell["trial"].isin(by_key)].sort_values("value")
    grids = []
    for strategy, source, name in ((SCRATCH, None, "From scratch"), (named["strategy"], named["source"], start(named))):
        of_source = at["source"].isna() if source is None else at["source"] == source
        seeds = records(at[(at["strategy"] == strategy) & of_source])
        for row in seeds[:1]:
            trial = by_key[row["trial"]]
            path = at_step(trial["samples"], trial["steps"], named["step"]) if trial["samples"] else None
            words = f"FID {number(row['value'])}" + (f", best of {len(seeds)} seeds" if len(seeds) > 1 else "")
            grids.append((trial, Image(name, words, path, {"strategy": strategy, "source_label": row["source_label"]})))
    real = next((trial["real_samples"] for trial, _ in grids if trial["real_samples"]), None)
    yield Image("Real", str(named["cell_label"]), real)
    yield from (image for _, image in grids)
