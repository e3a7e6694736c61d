"""What our statistics make of the paper's tables, as numbers and in words."""

from collections.abc import Iterable, Sequence
from typing import Any

from analysis.prediction import predictors, recommender
from analysis.published.frames import (
    class_curves,
    distances,
    figure_curves,
    per_class_curves,
    size_curves,
    source_target_curves,
)
from analysis.published.tables import CLASSES, DISTANCE, DOMAINS, FIGURE, PER_CLASS, READING_ERROR, SIZE, SOURCE_TARGET, Table
from analysis.transfer import classes, savings, sources
from analysis.transfer import transferability as tf
from analysis.transfer.transferability import SCRATCH


def results() -> dict[str, Any]:
    """Return what our statistics make of the tables; what each means stands in `describe`."""
    curves = source_target_curves()
    gains = tf.with_distance(tf.transfer_gain(curves), distances(), via="generator")
    # The paper sets distance against FID, the report against gain: within a target the one rises as the other falls.
    against_fid = tf.distance_correlation(gains.assign(gain=gains["value"])).set_index("scope")
    within = against_fid.loc[["cell"]]
    by_source = sources.over_targets(gains)
    foretold = predictors.compare_predictors(gains, distances()).iloc[0]
    amounts = DOMAINS.frame().rename(columns={"domain": "source", "images": "size"}).assign(kind="pretrain")
    advice = recommender.evaluate(recommender.observed(gains, amounts))
    exact, low, high = (savings.speed_up(figure_curves(error)).iloc[0] for error in (0, -READING_ERROR, READING_ERROR))
    class_found = classes.compare_with_scratch(classes.class_fid(class_curves(), tf.ranking(class_curves())))
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
