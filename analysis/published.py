"""The tables of Wang et al., "Transferring GANs" (ECCV 2018, arXiv 1805.01677), and what our statistics make of them.

``python -m analysis.published`` computes from the paper's numbers what the report computes from a store's, by the same
functions. So it shows what the report's statistics say of a known result, and checks them. FIDs of different tables were
taken in different places and are never compared with each other, let alone with those of a store.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import classes, predictors, recommender, savings, sources
from analysis import transferability as tf
from analysis.transferability import SCRATCH


@dataclass(frozen=True)
class Table:
    """One of the paper's tables: `rows` of values in the order of `columns`, and where its digits are from."""

    name: str
    provenance: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def frame(self) -> pd.DataFrame:
        """Return the table as a data frame."""
        return pd.DataFrame(list(self.rows), columns=list(self.columns))


_VERBATIM = "verbatim from a public copy"
_RECALLED = "recalled; its digits are not confirmed"

#: ImageNet to 100,000 images of Bedrooms: which of the two networks is pre-trained.
PARTS = Table("Table 1", _VERBATIM, ("strategy", "fid", "iw"), (
    (SCRATCH, 32.87, -4.27),
    ("finetune-d", 30.57, -4.02),
    ("finetune-g", 56.16, -6.35),
    ("finetune", 24.35, -3.88),
))  # fmt: skip

#: Bedrooms by number of images, from ImageNet.
SIZE = Table("Table 2", _VERBATIM, ("size", "strategy", "fid", "iw"), (
    (1_000, SCRATCH, 256.1, -33.3),
    (5_000, SCRATCH, 86.0, -18.5),
    (10_000, SCRATCH, 73.7, -15.3),
    (50_000, SCRATCH, 45.5, -7.4),
    (100_000, SCRATCH, 32.9, -4.3),
    (500_000, SCRATCH, 24.9, -3.6),
    (1_000_000, SCRATCH, 21.0, -2.9),
    (1_000, "finetune", 93.4, -22.5),
    (5_000, "finetune", 74.3, -16.3),
    (10_000, "finetune", 47.0, -7.0),
    (50_000, "finetune", 29.6, -4.56),
    (100_000, "finetune", 24.4, -4.0),
    (500_000, "finetune", 21.6, -3.2),
    (1_000_000, "finetune", 18.5, -2.8),
))  # fmt: skip

#: How many images the data sets have, and of how many classes.
DOMAINS = Table("Table 3", _VERBATIM, ("domain", "images", "classes"), (
    ("imagenet", 1_000_000, 1_000),
    ("places", 2_400_000, 205),
    ("bedrooms", 3_000_000, 1),
    ("celeba", 200_000, 1),
    ("flowers", 8_000, 102),
    ("kitchens", 50_000, 1),
    ("lfw", 13_000, 1),
    ("cityscapes", 3_500, 1),
))  # fmt: skip

#: Four sources and four targets; scratch has no source.
SOURCE_TARGET = Table("Table 4", _VERBATIM, ("target", "source", "fid", "iw"), (
    ("flowers", None, 71.98, -13.62),
    ("flowers", "imagenet", 54.04, -3.09),
    ("flowers", "places", 66.25, -5.97),
    ("flowers", "bedrooms", 56.12, -5.90),
    ("flowers", "celeba", 67.96, -12.64),
    ("kitchens", None, 42.43, -7.79),
    ("kitchens", "imagenet", 34.35, -4.45),
    ("kitchens", "places", 34.59, -2.92),
    ("kitchens", "bedrooms", 28.54, -3.06),
    ("kitchens", "celeba", 38.41, -4.98),
    ("lfw", None, 19.36, -8.62),
    ("lfw", "imagenet", 9.65, -5.17),
    ("lfw", "places", 15.02, -6.61),
    ("lfw", "bedrooms", 7.45, -3.61),
    ("lfw", "celeba", 7.16, -3.45),
    ("cityscapes", None, 155.68, -9.32),
    ("cityscapes", "imagenet", 122.46, -9.00),
    ("cityscapes", "places", 151.34, -8.94),
    ("cityscapes", "bedrooms", 123.21, -8.44),
    ("cityscapes", "celeba", 130.64, -6.40),
))  # fmt: skip

#: FID of what the source's generator draws against the target's real images.
DISTANCE = Table("Table 5", _RECALLED, ("target", "source", "fid"), (
    ("flowers", "imagenet", 237.04),
    ("flowers", "places", 251.93),
    ("flowers", "bedrooms", 278.80),
    ("flowers", "celeba", 284.74),
    ("kitchens", "imagenet", 183.27),
    ("kitchens", "places", 180.63),
    ("kitchens", "bedrooms", 70.06),
    ("kitchens", "celeba", 254.12),
    ("lfw", "imagenet", 333.54),
    ("lfw", "places", 333.38),
    ("lfw", "bedrooms", 329.92),
    ("lfw", "celeba", 151.46),
    ("cityscapes", "imagenet", 233.45),
    ("cityscapes", "places", 181.72),
    ("cityscapes", "bedrooms", 227.53),
    ("cityscapes", "celeba", 292.66),
))  # fmt: skip

#: AC-GAN, Places to ten LSUN categories, by iteration: FID of scratch and of fine-tuning by class, their average, and of all.
CLASSES = Table("Table 6", _VERBATIM, ("iteration", "class", SCRATCH, "finetune"), (
    (250, "bedroom", 298.4, 168.3),
    (250, "bridge", 310.3, 122.1),
    (250, "church", 314.4, 148.1),
    (250, "classroom", 376.6, 145.0),
    (250, "conference", 339.1, 151.6),
    (250, "dining", 294.9, 144.2),
    (250, "kitchen", 314.2, 156.9),
    (250, "living", 316.5, 150.1),
    (250, "restaurant", 324.4, 113.3),
    (250, "tower", 301.0, 129.7),
    (250, "average", 319.0, 142.9),
    (250, "all", 352.4, 107.2),
    (2_500, "bedroom", 195.9, 140.8),
    (2_500, "bridge", 135.0, 96.8),
    (2_500, "church", 133.0, 77.4),
    (2_500, "classroom", 218.6, 136.0),
    (2_500, "conference", 185.3, 136.8),
    (2_500, "dining", 173.9, 84.6),
    (2_500, "kitchen", 167.9, 85.5),
    (2_500, "living", 189.3, 94.9),
    (2_500, "restaurant", 159.5, 77.0),
    (2_500, "tower", 125.6, 69.4),
    (2_500, "average", 168.4, 99.9),
    (2_500, "all", 137.3, 74.8),
    (25_000, "bedroom", 72.9, 59.9),
    (25_000, "bridge", 78.0, 68.6),
    (25_000, "church", 52.4, 48.2),
    (25_000, "classroom", 106.7, 79.0),
    (25_000, "conference", 76.9, 68.7),
    (25_000, "dining", 40.1, 35.2),
    (25_000, "kitchen", 53.9, 48.2),
    (25_000, "living", 56.1, 47.9),
    (25_000, "restaurant", 74.7, 44.4),
    (25_000, "tower", 59.8, 49.9),
    (25_000, "average", 67.2, 55.0),
    (25_000, "all", 49.6, 42.7),
))  # fmt: skip

#: The same, FID of all by images of each of the ten classes.
PER_CLASS = Table("Table 7", _VERBATIM, ("per_class", SCRATCH, "finetune"), (
    (100, 186.6, 109.1),
    (1_000, 134.1, 77.8),
    (10_000, 49.6, 42.7),
))  # fmt: skip

#: FID by iteration. Its end and table 1 do not agree.
FIGURE = Table("Figure 1a", "read off the curve, each FID to within 0.1", ("step", SCRATCH, "finetune"), (
    (1_000, 128.1, 51.9),
    (5_000, 77.3, 40.2),
    (10_000, 56.4, 33.3),
    (20_000, 35.5, 26.6),
    (30_000, 28.7, 23.1),
    (40_000, 26.1, 21.6),
))  # fmt: skip
READING_ERROR = 0.1

TABLES = (PARTS, SIZE, DOMAINS, SOURCE_TARGET, DISTANCE, CLASSES, PER_CLASS, FIGURE)

#: The tables tell no step: each run has one, its last.
_LAST = 1


def size_curves(table: Table = SIZE) -> pd.DataFrame:
    """Return table 2, or the like, as the rows of `Frames.curves`."""
    return _curves((row["strategy"], "imagenet", "bedrooms", row["size"], _LAST, "fid", row["fid"]) for row in _rows(table))


def per_class_curves() -> pd.DataFrame:
    """Return table 7 as the rows of `Frames.curves`; the size is that of all ten classes together."""
    return _curves(
        (strategy, "places", "LSUN-10", 10 * row["per_class"], _LAST, "fid", row[strategy])
        for row in _rows(PER_CLASS) for strategy in (SCRATCH, "finetune")
    )  # fmt: skip


def source_target_curves() -> pd.DataFrame:
    """Return table 4 as the rows of `Frames.curves`."""
    images = {row["domain"]: row["images"] for row in _rows(DOMAINS)}
    return _curves(
        (
            "finetune" if row["source"] else SCRATCH,
            row["source"],
            row["target"],
            images[row["target"]],
            _LAST,
            "fid",
            row["fid"],
        )
        for row in _rows(SOURCE_TARGET)
    )


def class_curves(iteration: int = 25_000) -> pd.DataFrame:
    """Return an iteration of table 6 as the rows of `Frames.curves`."""
    name = {"average": "intra_fid", "all": "fid"}
    return _curves(
        (strategy, "places", "LSUN-10", 100_000, row["iteration"], name.get(row["class"], f"{classes.PREFIX}{row['class']}"),
         row[strategy])
        for row in _rows(CLASSES) if row["iteration"] == iteration for strategy in (SCRATCH, "finetune")
    )  # fmt: skip


def figure_curves(error: float = 0.0) -> pd.DataFrame:
    """Return figure 1a as the rows of `Frames.curves`, scratch read so much too high, the transfer as much too low."""
    signs = {SCRATCH: 1, "finetune": -1}
    return _curves(
        (strategy, "imagenet", "bedrooms", 100_000, row["step"], "fid", row[strategy] + sign * error)
        for row in _rows(FIGURE) for strategy, sign in signs.items()
    )  # fmt: skip


def distances() -> pd.DataFrame:
    """Return table 5 as the rows of `Frames.distances`: the source's generator stands for the source."""
    frame = DISTANCE.frame().rename(columns={"fid": "value"})
    return frame.assign(kind="fid", trial=frame["source"], resolution=64, embedding=_EMBEDDING)


def results() -> dict[str, Any]:
    """Return what our statistics make of the tables; what each means stands in `describe`."""
    curves = source_target_curves()
    gains = tf.with_distance(tf.transfer_gain(curves), distances(), via="generator")
    # The paper sets distance against FID, the report against gain: within a target the one rises as the other falls.
    against_fid = tf.distance_correlation(gains.assign(gain=gains["value"])).set_index("scope")
    within = against_fid.loc[["cell"]]
    by_source = sources.over_targets(gains)
    foretold = predictors.predictors(gains, distances()).iloc[0]
    amounts = DOMAINS.frame().rename(columns={"domain": "source", "images": "size"}).assign(kind="pretrain")
    advice = recommender.evaluate(recommender.observed(gains, amounts))
    exact, low, high = (savings.speed_up(figure_curves(error)).iloc[0] for error in (0, -READING_ERROR, READING_ERROR))
    class_found = classes.against_scratch(classes.fid_by_class(class_curves(), tf.ranking(class_curves())))
    assert class_found is not None
    ours = ["size", "multiplier", "bound", "equivalent"]
    return {
        "distance_against_fid": dict(zip(within["target"], within["rho"].astype(float), strict=True)),
        "distance_against_fid_pooled": float(against_fid["rho"]["all"]),
        "mean_fid": dict(zip(by_source["source"], by_source["value"], strict=True)),
        "mean_fid_scratch": float(curves.loc[curves["strategy"] == SCRATCH, "value"].mean()),
        "transfers_ahead_of_scratch": [int((gains[gains["at"] == "common"]["gain"] > 0).sum()), len(gains) // 3],
        "nearest_was_best": [int(foretold["hits"]), int(foretold["groups"])],
        "regret_of_nearest": float(2 ** foretold["regret"]),
        "regret_of_chance": float(2 ** foretold["chance"]),
        "regret_of_advice": {row["chooser"]: float(2 ** row["regret"]) for row in advice.to_dict("records")},
        "speed_up": {"value": exact["multiplier"], "low": low["multiplier"], "high": high["multiplier"]},
        "data_multiplier": savings.data_multiplier(size_curves())[ours].to_dict("records"),
        "data_multiplier_conditional": savings.data_multiplier(per_class_curves())[ours].to_dict("records"),
        "mean_fid_of_a_class": {"scratch": class_found[0]["scratch"], "finetune": class_found[0]["transfer"]},
        "classes_ahead_of_scratch": list(class_found[1:]),
    }


def describe(found: dict[str, Any]) -> list[str]:
    """Return the results in words, each with the tables it is from."""
    return [
        f"Rank correlation (Spearman) of the source's distance with FID, within a target ({_from(DISTANCE, SOURCE_TARGET)}):",
        *(f"  {target:12}{rho:+.2f}" for target, rho in found["distance_against_fid"].items()),
        f"  {'pooled':12}{found['distance_against_fid_pooled']:+.2f}   distances of different targets mean nothing together",
        f"The nearest source was the best one for {_of(found['nearest_was_best'])} targets. To start from the nearest leaves "
        f"FID {found['regret_of_nearest']:.2f}x that of the best source, from one picked at random "
        f"{found['regret_of_chance']:.2f}x (geometric means).",
        "Each target left out in turn and its source chosen by what the others tell and by distance "
        f"({_from(DISTANCE, SOURCE_TARGET)}), FID is so many times that of the best source:",
        *(f"  {regret:.2f}x {recommender.CHOOSERS[chooser]}" for chooser, regret in found["regret_of_advice"].items()),
        f"Mean FID over the targets, by source ({_from(SOURCE_TARGET)}):",
        *(f"  {source:12}{value:.1f}" for source, value in sorted(found["mean_fid"].items(), key=lambda item: item[1])),
        f"  {SCRATCH:12}{found['mean_fid_scratch']:.1f}   {_of(found['transfers_ahead_of_scratch'])} transfers are ahead of it",
        f"Speed-up ({_from(FIGURE)}): {found['speed_up']['value']:.2f}x, {found['speed_up']['low']:.2f}x to "
        f"{found['speed_up']['high']:.2f}x for what may be misread. Scratch takes so many times the steps to its best FID.",
        f"Data multiplier ({_from(SIZE)}): scratch needs so many times the images to be as good. Scratch's FID is",
        "interpolated between its sizes, with logarithms on both axes, and not beyond them:",
        *_multipliers(found["data_multiplier"]),
        f"The same with labels, of all ten classes together ({_from(PER_CLASS)}):",
        *_multipliers(found["data_multiplier_conditional"]),
        f"Mean FID of a class after 25,000 iterations ({_from(CLASSES)}): {found['mean_fid_of_a_class']['scratch']:.1f} from "
        f"scratch, {found['mean_fid_of_a_class']['finetune']:.1f} fine-tuned; ahead in "
        f"{_of(found['classes_ahead_of_scratch'])} classes.",
    ]  # fmt: skip


def _multipliers(rows: Iterable[dict[str, Any]]) -> list[str]:
    return [
        f"  {row['size']:>9,} images: {row['bound'] + ' ' if row['bound'] else ''}{row['multiplier']:.1f}x, "
        f"as {row['equivalent']:,.0f} from scratch"
        for row in rows
    ]  # fmt: skip


def _of(counts: Sequence[int]) -> str:
    return f"{counts[0]} of {counts[1]}"


def _from(*tables: Table) -> str:
    return "; ".join(f"{table.name}, {table.provenance}" for table in tables)


def _rows(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


_EMBEDDING = "the paper's"


def _curves(rows: Iterable[tuple[str, str | None, str, int, int, str, float]]) -> pd.DataFrame:
    """Return curves from (strategy, source, target, size, step, metric, value): one seed, nothing stopped."""
    table = pd.DataFrame(rows, columns=["strategy", "source", "target", "size", "step", "metric", "value"])
    table["source"] = table["source"].astype(object).where(table["strategy"] != SCRATCH, None)
    cell = table["target"] + ", " + table["size"].map("{:,} images".format)
    return table.assign(
        trial=cell + table["strategy"] + table["source"].fillna(""), kind="adapt", embedding=_EMBEDDING, cell=cell,
        cell_label=cell, family=table["target"], target_label=table["target"], source_label=table["source"], seed=0,
        status="done", censored=False, budget=table["step"].max(), conditional=False, resolution=64, parent=table["source"],
        samples=None,
    )  # fmt: skip


def main() -> None:
    """Print what our statistics make of the paper's tables."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.published",
        description='What the report\'s statistics make of the tables of Wang et al., "Transferring GANs" (ECCV 2018).',
        epilog="Example: python -m analysis.published --json",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object: the tables and the results")
    arguments = parser.parse_args()
    found = results()
    if arguments.json:
        tables = {t.name: {"provenance": t.provenance, "columns": t.columns, "rows": t.rows} for t in TABLES}
        print(json.dumps({"tables": tables, "results": found}))
    else:
        print("\n".join(describe(found)))


if __name__ == "__main__":
    main()
