"""The paper's tables in the format of a store's frames."""

from collections.abc import Iterable

import pandas as pd

from analysis.comparison.cells import SCRATCH
from analysis.published.paper_tables import CLASSES, DISTANCE, DOMAINS, FIGURE, PER_CLASS, SIZE, SOURCE_TARGET
from analysis.transfer import classes

_EMBEDDING = "the paper's"

#: The step of values in tables that give no iteration.
_LAST = 1


def size_curves() -> pd.DataFrame:
    """Return table 2 as rows of `Frames.curves`."""
    return _curves((row["strategy"], "imagenet", "bedrooms", row["size"], _LAST, "fid", row["fid"]) for row in SIZE.records())


def per_class_curves() -> pd.DataFrame:
    """Return table 7 as rows of `Frames.curves`; `size` counts the images of all ten classes."""
    return _curves(
        (strategy, "places", "LSUN-10", 10 * row["per_class"], _LAST, "fid", row[strategy])
        for row in PER_CLASS.records() for strategy in (SCRATCH, "finetune")
    )  # fmt: skip


def source_target_curves() -> pd.DataFrame:
    """Return table 4 as rows of `Frames.curves`."""
    images = {row["domain"]: row["images"] for row in DOMAINS.records()}
    return _curves(
        ("finetune" if row["source"] else SCRATCH, row["source"], row["target"], images[row["target"]], _LAST,
         "fid", row["fid"])
        for row in SOURCE_TARGET.records()
    )  # fmt: skip


def class_curves(iteration: int = 25_000) -> pd.DataFrame:
    """Return one iteration of table 6 as rows of `Frames.curves`."""
    name = {"average": "intra_fid", "all": "fid"}
    return _curves(
        (strategy, "places", "LSUN-10", 100_000, row["iteration"], name.get(row["class"], f"{classes.PREFIX}{row['class']}"),
         row[strategy])
        for row in CLASSES.records() if row["iteration"] == iteration for strategy in (SCRATCH, "finetune")
    )  # fmt: skip


def figure_curves(error: float = 0.0) -> pd.DataFrame:
    """Return figure 1a as rows of `Frames.curves`, with `error` added to scratch and subtracted from the transfer."""
    signs = {SCRATCH: 1, "finetune": -1}
    return _curves(
        (strategy, "imagenet", "bedrooms", 100_000, row["step"], "fid", row[strategy] + sign * error)
        for row in FIGURE.records() for strategy, sign in signs.items()
    )  # fmt: skip


def distances() -> pd.DataFrame:
    """Return table 5 as rows of `Frames.distances`, measured from samples of the source's generator."""
    frame = DISTANCE.frame().rename(columns={"fid": "value"})
    return frame.assign(kind="fid", trial=frame["source"], resolution=64, embedding=_EMBEDDING)


def _curves(rows: Iterable[tuple[str, str | None, str, int, int, str, float]]) -> pd.DataFrame:
    """Return rows of `Frames.curves` from (strategy, source, target, size, step, metric, value); all trials are done."""
    table = pd.DataFrame(rows, columns=["strategy", "source", "target", "size", "step", "metric", "value"])
    table["source"] = table["source"].astype(object).where(table["strategy"] != SCRATCH, None)
    cell = table["target"] + ", " + table["size"].map("{:,} images".format)
    return table.assign(
        trial=cell + table["strategy"] + table["source"].fillna(""), kind="adapt", embedding=_EMBEDDING, cell=cell,
        cell_label=cell, family=table["target"], target_label=table["target"], source_label=table["source"], seed=0,
        status="done", censored=False, budget=table["step"].max(), conditional=False, resolution=64, parent=table["source"],
        samples=None, cut=False, lost=False, lost_seeds=0, confirmation=False,
    )  # fmt: skip
