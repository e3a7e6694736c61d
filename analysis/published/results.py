"""Our statistics of the paper's tables, as numbers and as text."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from analysis.comparison.cells import SCRATCH, cells
from analysis.prediction import recommender, rules
from analysis.published import paper_frames as paper
from analysis.published import paper_tables
from analysis.published.paper_tables import CLASSES, DISTANCE, DOMAINS, FIGURE, PER_CLASS, READING_ERROR, SIZE, SOURCE_TARGET
from analysis.transfer import classes, savings, sources
from analysis.transfer import transferability as tf
from analysis.transfer.trained import with_own_fid


def results() -> dict[str, Any]:
    """Return our statistics of the tables, by name; `describe` explains each."""
    curves = paper.source_target_curves()
    gains = tf.with_distance(tf.transfer_gain(curves), paper.distances(), via="generator")
    # The paper relates distance to FID, the report to gain; within a target the two have opposite signs.
    against_fid = tf.distance_correlation(gains.assign(gain=gains["value"])).set_index("scope")
    within = against_fid.loc[["cell"]]
    transfers = curves[curves["strategy"] != SCRATCH]
    # The paper has one training per number, so the regrets are against the best one as it is.
    targets = [rows for _, rows in tf.points(gains).groupby("target")]
    amounts = DOMAINS.frame().rename(columns={"domain": "source", "images": "size"}).assign(kind="pretrain")
    advice = rules.choices(recommender.observed(with_own_fid(gains, curves), amounts))  # the paper has no sources' own FIDs
    exact, low, high = (savings.speed_up(paper.figure_curves(error)).iloc[0] for error in (0, -READING_ERROR, READING_ERROR))
    by_class = classes.compare_with_scratch(classes.class_fid(paper.class_curves(), tf.ranking(cells(paper.class_curves()))))
    assert by_class is not None
    columns = ["size", "multiplier", "bound", "equivalent"]
    by_size = [
        savings.data_multiplier(of_paper, tested=False)[columns].to_dict("records")
        for of_paper in (paper.size_curves(), paper.per_class_curves())
    ]
    return {
        "distance_against_fid": dict(zip(within["target"], within["rho"].astype(float), strict=True)),
        "distance_against_fid_pooled": float(against_fid["rho"]["all"]),
        "mean_fid": transfers.groupby("source")["value"].mean().to_dict(),
        "mean_fid_scratch": float(curves.loc[curves["strategy"] == SCRATCH, "value"].mean()),
        "transfers_ahead_of_scratch": [int((gains[gains["at"] == "final"]["gain"] > 0).sum()), len(gains) // 3],
        "nearest_was_best": [sum(sources.regret(-rows["distance"], rows["gain"]) == 0 for rows in targets), len(targets)],
        "regret_of_nearest": 2 ** fmean(sources.regret(-rows["distance"], rows["gain"]) for rows in targets),
        "regret_of_chance": 2 ** fmean(sources.regret_of_chance(rows["gain"]) for rows in targets),
        "regret_of_advice": {
            rule: float(2 ** (advice["best"] - advice[rule]).mean()) for rule in rules.CHOOSERS if advice[rule].notna().all()
        },
        "speed_up": {"value": exact["multiplier"], "low": low["multiplier"], "high": high["multiplier"]},
        "data_multiplier": by_size[0],
        "data_multiplier_conditional": by_size[1],
        "mean_fid_of_a_class": {"scratch": by_class[0]["scratch"], "finetune": by_class[0]["transfer"]},
        "classes_ahead_of_scratch": list(by_class[1:]),
    }


def describe(values: dict[str, Any]) -> list[str]:
    """Return `results` as lines of text, each statistic with its source tables."""
    return [
        f"Rank correlation (Spearman) of the source's distance with FID, within a target ({_from(DISTANCE, SOURCE_TARGET)}):",
        *(f"  {target:12}{rho:+.2f}" for target, rho in values["distance_against_fid"].items()),
        f"  {'pooled':12}{values['distance_against_fid_pooled']:+.2f}   distances of different targets are not comparable",
        f"The nearest source was the best one for {_of(values['nearest_was_best'])} targets. Relative to the best source, "
        f"FID is {values['regret_of_nearest']:.2f}x from the nearest and {values['regret_of_chance']:.2f}x from a random "
        "source (geometric means).",
        "Leaving out each target in turn and choosing its source from the results on the others and from distance "
        f"({_from(DISTANCE, SOURCE_TARGET)}), FID relative to the best source is:",
        *(f"  {regret:.2f}x {rules.CHOOSERS[chooser]}" for chooser, regret in values["regret_of_advice"].items()),
        f"Mean FID over the targets, by source ({_from(SOURCE_TARGET)}):",
        *(f"  {source:12}{value:.1f}" for source, value in sorted(values["mean_fid"].items(), key=lambda item: item[1])),
        f"  {SCRATCH:12}{values['mean_fid_scratch']:.1f}   {_of(values['transfers_ahead_of_scratch'])} transfers are better",
        f"Speed-up ({_from(FIGURE)}): {values['speed_up']['value']:.2f}x, {values['speed_up']['low']:.2f}x to "
        f"{values['speed_up']['high']:.2f}x with the reading error: scratch's steps to its best FID over the transfer's.",
        f"Data multiplier ({_from(SIZE)}): images that scratch needs for the same FID over the transfer's. Scratch's FID",
        "is interpolated between its sizes, with both axes logarithmic, and not extrapolated:",
        *_multipliers(values["data_multiplier"]),
        f"The same for conditional GANs, counting the images of all ten classes ({_from(PER_CLASS)}):",
        *_multipliers(values["data_multiplier_conditional"]),
        f"Mean FID per class after 25,000 iterations ({_from(CLASSES)}): {values['mean_fid_of_a_class']['scratch']:.1f} from "
        f"scratch, {values['mean_fid_of_a_class']['finetune']:.1f} fine-tuned; ahead in "
        f"{_of(values['classes_ahead_of_scratch'])} classes.",
    ]  # fmt: skip


def _multipliers(rows: Iterable[dict[str, Any]]) -> list[str]:
    return [
        f"  {row['size']:>9,} images: {row['bound'] + ' ' if row['bound'] else ''}{row['multiplier']:.1f}x, "
        f"as {row['equivalent']:,.0f} from scratch"
        for row in rows
    ]  # fmt: skip


def _of(counts: Sequence[int]) -> str:
    return f"{counts[0]} of {counts[1]}"


def _from(*tables: paper_tables.Table) -> str:
    return "; ".join(f"{table.name}, {table.provenance}" for table in tables)
