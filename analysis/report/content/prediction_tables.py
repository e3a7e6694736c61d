"""The tables about sources: means over targets, rules of choice, predictors of the gain, its drivers, and knobs."""

from collections.abc import Iterator

import pandas as pd

from analysis.claims import Outcome
from analysis.frames import records
from analysis.report.blocks import Block, Column, Report, Row, marked, numbers
from analysis.report.content.table_parts import INTERVAL, NONE, OUTCOME, P, factor, interval, or_none, table, titled
from analysis.statistics import Analysis
from analysis.transfer.steps import gain_at
from analysis.words import against, number, predictor, probability, signed, span, times
from trainers.common.counts import counted

#: What an early gain is, in a note.
_EARLY = " As most methods were stopped before the final step, sources are compared by early gains, at the first rung."


def sources(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield the tables of sources over all targets, and of what rules of choice would have gained."""
    yield from _trained(analysis)
    rows = records(analysis.sources)
    left_out = max((row["left"] for row in rows), default=0)
    apart = f" (up to {counted(left_out, 'cell')} of a strategy left out)" if left_out else ""
    yield from titled(
        "Sources over all targets",
        [
            *(Column(head) for head in ("Strategy", "source")),
            *numbers("mean gain", INTERVAL, "regret", "behind the first", INTERVAL, P), Column(OUTCOME),
            *numbers("targets", "seeds", "trainings"),
        ],
        [
            Row(
                [row["strategy"], row["source_label"], *factor(row), or_none(row["regret"], times),
                 or_none(row["behind"], times), interval(row["behind_low"], row["behind_high"], times),
                 or_none(row["p"], probability), row["outcome"] or "first", str(row["targets"]), str(row["seeds"]),
                 str(row["trainings"])],
                row,
            )
            for row in rows
        ],
        f"Geometric means of the {gain_at(analysis.sources)}, over the cells that all sources of the strategy have"
        f"{apart}. Regret is FID with the source divided by "
        "FID with the source that the other seeds choose, measured on the seed that is left out: without a real difference "
        "it is ×1.00 on average; one seed gives none. The first source is compared with each other on the same targets by a "
        "t-test; p and the interval are corrected by Holm's method for all pairs of sources, as the first was chosen by these "
        "gains. All targets share the trainings of a source; where there are several, the variance between them is in the "
        f"intervals. One target gives no test.{_EARLY if analysis.sources['early'].any() else ''}",
        style="sources",
    )  # fmt: skip
    advice = records(analysis.advice)
    estimated = advice[0]["estimated"] if advice else 0
    yield from titled(
        "What following advice would have gained",
        [
            Column("Start from"), *numbers(f"gain at step {span(analysis.advice['step'])}", INTERVAL),
            *numbers("gain of the recommended over it", INTERVAL, P), Column(OUTCOME), *numbers("targets"),
        ],
        [
            Row([row["about"], *factor(row), or_none(row["behind"], times),
                 interval(row["behind_low"], row["behind_high"], times), or_none(row["p"], probability),
                 row["outcome"] or NONE, str(row["targets"])])
            for row in advice
        ],
        marked(
            "Each target is left out in turn, and a start is chosen for it from the results on the other targets; its gain "
            "over scratch on the target that was left out is averaged. `transfergan recommend` weighs distance and mean gain. "
            "Nearest, largest (most training images) and random choose a source only, with the strategy that has the highest "
            "mean gain over the other targets. Differences are paired by target, and corrected by Holm's method."
            + (f" {counted(estimated, 'gain')} of stopped methods are estimated from early gains." if estimated else "")
        ),
        style="advice",
    )  # fmt: skip


def _trained(analysis: Analysis) -> Iterator[Block]:
    """Yield the table of how well the sources are trained."""
    yield from titled(
        "How well the sources are trained",
        [Column("Source"), *numbers("own FID", "lowest to highest", "trainings", "steps")],
        [
            Row([
                row["source_label"] + (", conditional" if row["conditional"] else "")
                + (", to its train split" if row["split"] == "train" else ""), number(row["fid"]),
                f"{number(row['low'])} to {number(row['high'])}", str(row["trainings"]),
                span(pd.Series([row["steps_low"], row["steps_high"]])),
            ])
            for row in records(analysis.trained.sort_values("fid", kind="stable"))
        ],
        f"FID of each source's generator to the reference images of its own domain{against(analysis.trained['split'])} "
        "at the end of its pre-training: the geometric mean of its trainings. A source that is trained worse may help less for "
        "that reason alone; FIDs of different domains are not on one scale.",
        style="trained",
    )  # fmt: skip


def distances(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield the tables of what predicts the gain: kinds of distance, and the mixed model."""
    tested = analysis.predictors[analysis.predictors["outcome"] != Outcome.UNTESTABLE]
    rows = records(tested)
    seeds = "" if len(rows) == 0 or rows[0]["regret"] is not None else " One seed gives no regret."
    yield from titled(
        "Which distance predicts the gain",
        [
            Column("Distance"), *numbers("mean rank correlation", INTERVAL, P), Column(OUTCOME),
            *numbers("regret of nearest", "of random", "sources", "groups"),
        ],
        [
            Row([
                predictor(row), signed(row["rho"]), interval(row["low"], row["high"], signed), probability(row["p"]),
                row["outcome"], or_none(row["regret"], times), or_none(row["chance"], times), str(row["sources"]),
                str(row["groups"]),
            ])
            for row in rows
        ],
        f"Spearman's correlation between nearness and the {gain_at(tested)} over the sources of a group (a cell and strategy), "
        "averaged over groups; +1: the nearer source always has the higher gain. p is from permutations of the sources, the "
        f"same for all targets, and corrected for all {counted(len(rows), 'row')} by the largest correlation of each "
        "permutation (Westfall and Young). The interval is Fisher's, with the spread of the permutations; it is conservative "
        "with few sources, so it may include 0 where p is small. Precision, recall, density and coverage are the source's for "
        "the target. Regret is FID with the nearest (or a random) source divided by FID with the source that other seeds "
        f"choose.{seeds}{_EARLY if tested['early'].any() else ''}",
        style="predictors",
    )  # fmt: skip
    yield from titled(
        "What drives the gain",
        [
            *(Column(head) for head in ("Strategy", "effect of", "that is")),
            *numbers("gain", INTERVAL, P), Column(OUTCOME), *numbers("points", "sources", "targets"),
        ],
        [
            Row(
                [row["strategy"], row["covariate"], row["about"], *factor(row, "value"), or_none(row["p"], probability),
                 row["outcome"], str(row["points"]), str(row["sources"]), str(row["targets"])],
                row,
            )
            for row in records(analysis.drivers)
        ],
        f"A linear mixed model of the {gain_at(analysis.drivers)} (log2) with targets and sources as random effects, fitted by "
        "restricted maximum likelihood; all effects are in one model. Distance is centred within each target. Covariates of "
        "the source alone (density, diversity, amount, training) have no more observations than there are sources, and are "
        "included only with enough sources. p and the interval are corrected for all rows by Holm's method."
        f"{_EARLY if analysis.drivers['early'].any() else ''}",
        style="drivers",
    )  # fmt: skip


def knobs(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield the table of the effects of the sources' knobs."""
    yield from table(
        "Effects of density, diversity, amount and spread",
        [
            *(Column(head) for head in ("Cell", "strategy", "effect of", "that is")),
            *numbers("gain", INTERVAL, P), Column(OUTCOME), *numbers("sources"),
        ],
        [
            Row(
                [row["cell_label"], row["strategy"], row["effect"], row["about"], *factor(row, "value"),
                 or_none(row["p"], probability), row["outcome"], str(row["sources"])],
                row,
            )
            for row in records(analysis.knobs)
        ],
        f"Least squares of the {gain_at(analysis.knobs)} (log2) on log2 classes, log2 images per class and spread, with "
        "Student's tests from the residuals between sources, which contain the variation between trainings of one source. "
        "p and the interval are corrected for all rows by Holm's method."
        f"{_EARLY if analysis.knobs['early'].any() else ''}",
    )  # fmt: skip
