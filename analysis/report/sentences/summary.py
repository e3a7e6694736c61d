"""What holds over all cells, in plain sentences, and the caveats.

Every sentence is computed from the same statistics as the figures and states its uncertainty.
"""

import pandas as pd

from analysis.claims import LEVEL, Outcome
from analysis.frames import records
from analysis.report.sentences import predictability
from analysis.statistics import Analysis
from analysis.transfer import quality
from analysis.words import method, span
from trainers.common.counts import are, counted
from trainers.config.metrics import SELECTION

#: Below this many samples the covariance of Inception's 2,048 features is rank-deficient.
_INCEPTION_DIMENSIONS = 2048


def by_question(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """Return what holds over all cells by the question that it answers, without questions that have no answer."""
    lines_of = {
        "Which source, which strategy?": [*_starts(analysis), *predictability.sources(analysis), *_strategies(analysis)],
        "What does it save?": predictability.savings(analysis),
        "Is that more than chance?": _significance(analysis),
        "Can it be predicted?": [
            *predictability.predictors(analysis),
            *predictability.drivers(analysis),
            *predictability.knobs(analysis),
            *predictability.advice(analysis),
        ],
    }
    return [(question, lines) for question, lines in lines_of.items() if lines]


def _starts(analysis: Analysis) -> list[str]:
    """Return in how many cells a start is told apart from scratch, by name, given several cells."""
    best = records(analysis.best)
    if len(best) < 2:
        return []
    better = [row for row in best if row["outcome"] == Outcome.APART and row["gain"] > 0]
    untested = sum(row["outcome"] == Outcome.UNTESTABLE for row in best)
    rest = f"; {untested} of them cannot be tested" if untested else ""
    if not better:
        return [f"In none of {counted(len(best), 'cell')} is the first start told apart from scratch as better{rest}."]
    names = pd.Series([method(row) for row in better]).value_counts()
    listed = "; ".join(f"{name} in {count}" for name, count in names.items())
    cells = f"In {len(better)} of {counted(len(best), 'cell')} the first start is told apart from scratch as better"
    return [f"{cells}: {listed}{rest}."]


def _significance(analysis: Analysis) -> list[str]:
    """Return how many transfers are told apart from scratch at their cell's final step."""
    final = analysis.significance[~analysis.significance["early"].astype(bool)]
    tested = final[final["outcome"] != Outcome.UNTESTABLE]
    if len(tested) == 0:
        return []
    apart = tested[tested["outcome"] == Outcome.APART]
    better = int((apart["gain"] > 0).sum())
    steps = f"step {final['step'].iloc[0]:,}" if final["step"].nunique() == 1 else "their final steps"
    untested = f"; {len(final) - len(tested)} cannot be tested" if len(final) > len(tested) else ""
    stopped = len(analysis.significance) - len(final)
    early = f" {counted(stopped, 'other')} ended before that step." if stopped else ""
    return [
        f"Of {counted(len(final), 'transfer')} compared with scratch at {steps}, {are(better)} "
        f"told apart as better and {len(apart) - better} as worse; {are(len(tested) - len(apart))} not told apart{untested} "
        f"(Holm's correction at {LEVEL:.0%}).{early}"
    ]


def _strategies(analysis: Analysis) -> list[str]:
    """Return how many strategies are told apart from the first one of their source."""
    ranked = analysis.strategies
    tested = ranked[(ranked["rank"] > 1) & (ranked["outcome"] != Outcome.UNTESTABLE)]
    if len(tested) == 0:
        return []
    apart = tested[tested["outcome"] == Outcome.APART]
    lines = f"Of {counted(len(tested), 'comparison')} of a strategy with the first of its source, "
    lines += f"{are(len(apart))} told apart as worse"
    names = apart["strategy"].value_counts()
    listed = f": {', '.join(f'{name} ({count})' for name, count in names.items())}" if len(names) else ""
    return [f"{lines}{listed}; {are(len(tested) - len(apart))} not told apart."]


def caveats(analysis: Analysis, trials: pd.DataFrame) -> list[str]:
    """Return the reasons to interpret the numbers with caution."""
    lines = []
    adapt = trials[trials["kind"] == "adapt"]
    seeds = analysis.ranked["seeds"]
    if len(seeds) and seeds.max() == 1:
        lines.append("One seed per method: no difference between methods can be tested.")
    once = analysis.trained.loc[analysis.trained["trainings"] == 1, "source_label"]
    if len(once):
        names = "Each source" if len(once) == len(analysis.trained) else ", ".join(once)
        lines.append(f"{names} was trained once, so what is said of a source is about that one training; see pretrain.seeds.")
    samples = analysis.curves.loc[analysis.curves["metric"] == "fid", "samples"]
    if len(samples):
        lines.append(
            f"FID is measured in the embedding {analysis.embedding} from {span(samples)} generated images: compare it "
            "only with FIDs of this report, never with published ones."
        )
        if "inception" in analysis.embedding and samples.min() < _INCEPTION_DIMENSIONS:
            lines.append("With fewer than 2,048 images Inception's FID is biased; prefer KID.")
    if of_train := int((adapt["split"] == "train").sum()):
        lines.append(
            f"{of_train:,} of {counted(len(adapt), 'trial')} {'is' if of_train == 1 else 'are'} measured against the target's "
            "train split (evaluation.reference: train), which contains the training images, so copies of them get "
            "better values. Only memorisation compares with held-out images."
        )
    if len(analysis.by_class):
        few = int(analysis.by_class["samples"].min())
        lines.append(
            f"FID of a class is computed from as few as {counted(few, 'image')}: higher and noisier than FID of all classes."
        )
    lines += quality.warnings(analysis.quality)
    if adapt["censored"].any():
        lines.append(
            f"The stopping rule stopped {counted(int(adapt['censored'].sum()), 'trial')} early. Their values at the budget are "
            "unknown, so they are in no comparison there."
        )
    chosen = [what for what, any_was in {
        "trials that stopped": adapt["censored"].any(), "settings of tuned strategies": (trials["kind"] == "tune").any(),
    }.items() if any_was]  # fmt: skip
    if chosen:
        lines.append(
            f"The {' and the '.join(chosen)} were chosen by reference images that measure no result."
            if (analysis.curves["metric"] == "fid" + SELECTION).any()
            else f"The {' and the '.join(chosen)} were chosen by the reference images that measure the results too, which "
            "favours what was chosen; evaluation.selection sets images apart for choices."
        )
    if analysis.curves["held"].any():
        lines.append(
            "A strategy that was tuned to a smaller budget than others is compared by its last value at their later steps."
        )
    lost = adapt["status"].isin(["failed", "blocked", "diverged"])
    if lost.any():
        counts = adapt.loc[lost, "status"].value_counts()
        lines.append("Trials without a full result: " + ", ".join(f"{n} {status}" for status, n in counts.items()) + ".")
    return lines
