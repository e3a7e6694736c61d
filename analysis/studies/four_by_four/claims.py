"""What the sweep says of the five claims of Wang et al. (2018).

A claim is about targets that no one has tried yet, so the targets are the units: every number is first taken within a target,
over its sources, sizes and seeds, and its interval is that of Student's t over the targets. Holm's method corrects all tests
together.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims import LEVEL
from analysis.comparison.intervals import holm
from analysis.studies.four_by_four.results import Results

_CELL = ["target", "size"]


@dataclass(frozen=True)
class Finding:
    """One number, with the test of whether it is 0.

    Attributes:
        claim: number of the paper's claim, 1 to 5.
        what: what the number is; positive is what the paper claims.
        value, low, high: the estimate and its 95 % interval, in powers of two or as a rank correlation.
        unit: "log2" of a ratio of FID or of steps, or "rank correlation".
        p: two-sided, of the value 0.
        values: the number of each target, by name.
    """

    claim: int
    what: str
    value: float
    low: float
    high: float
    unit: str
    p: float
    values: dict[str, float]


def findings(results: Results) -> pd.DataFrame:
    """Return the findings, one row each, with `p_holm` over all of them and the `verdict` of the row."""
    rows = pd.DataFrame([vars(finding) for finding in _findings(results)])
    rows["p_holm"] = holm(rows["p"])
    apart = rows["p_holm"] < LEVEL
    rows["verdict"] = np.select(
        [apart & (rows["value"] > 0), apart & (rows["value"] < 0)], ["supported", "contradicted"], "open"
    )
    return rows


def _findings(results: Results) -> Iterator[Finding]:
    fid = means(results.curves)
    steps = [step for step in sorted(fid["step"].unique()) if step > 0]
    gains = gain(fid)
    last = gains[gains["step"] == steps[-1]]
    both = last[last["strategy"] == "finetune"]
    yield _over_targets(1, f"gain of fine-tuning at step {steps[0]}", _of(gains, steps[0], "finetune"))
    yield _over_targets(1, f"gain of fine-tuning at step {steps[-1]}", both)
    yield _over_targets(
        1, "speed-up of fine-tuning to scratch's last value", speed_up(fid).rename(columns={"speed_up": "gain"})
    )
    few, many = sorted(both["size"].unique())
    by_size = both.pivot(index=["target", "source"], columns="size", values="gain")
    paired = (by_size[few] - by_size[many]).rename("gain").reset_index()
    yield _over_targets(2, f"gain with {few} images less gain with {many}", paired)
    for step in (steps[0], steps[-1]):
        halves = gains[gains["step"] == step].pivot(index=[*_CELL, "source"], columns="strategy", values="gain")
        paired = (halves["finetune-d"] - halves["finetune-g"]).rename("gain").reset_index()
        yield _over_targets(3, f"gain of the critic alone less that of the generator alone, at step {step}", paired)
    yield _rank_correlation(results, both)


def means(curves: pd.DataFrame) -> pd.DataFrame:
    """Return `log_fid`, the mean over seeds of log2 FID, by target, size, strategy, source ("" for none) and step."""
    adapt = curves[curves["kind"] == "adapt"]
    adapt = adapt.assign(source=adapt["source"].fillna(""), log_fid=np.log2(adapt["fid"]))
    return adapt.groupby([*_CELL, "strategy", "source", "step"])["log_fid"].mean().reset_index()


def gain(fid: pd.DataFrame) -> pd.DataFrame:
    """Return `gain`, log2 of scratch's FID over that of each transfer, at each step."""
    scratch = fid[fid["strategy"] == "scratch"][[*_CELL, "step", "log_fid"]].rename(columns={"log_fid": "scratch"})
    transfers = fid[fid["strategy"] != "scratch"].merge(scratch, on=[*_CELL, "step"])
    return transfers.assign(gain=transfers["scratch"] - transfers["log_fid"])


def speed_up(fid: pd.DataFrame) -> pd.DataFrame:
    """Return `speed_up` of fine-tuning: log2 of the last step over the step at which it reaches scratch's last value.

    Between rungs log FID is taken as linear in log steps. A transfer that reaches the value before the first rung counts as
    reaching it there, and one that never does as reaching it at the last (a speed-up of 1): the number is clipped at both ends.
    """
    scratch = fid[(fid["strategy"] == "scratch") & (fid["step"] > 0)]
    rows = []
    for (target, size, source), curve in fid[(fid["strategy"] == "finetune") & (fid["step"] > 0)].groupby([*_CELL, "source"]):
        goal = scratch[(scratch["target"] == target) & (scratch["size"] == size)].sort_values("step")["log_fid"].iloc[-1]
        curve = curve.sort_values("step")
        steps, lowest = np.log2(curve["step"].to_numpy()), np.minimum.accumulate(curve["log_fid"].to_numpy())
        reached = np.interp(-goal, -lowest, steps)
        rows.append({"target": target, "size": size, "source": source, "speed_up": steps[-1] - reached})
    return pd.DataFrame(rows)


def source_effects(results: Results) -> pd.DataFrame:
    """Return each source's mean gain at the last step, corrected for its targets, with diversity, distance and own FID.

    The gain of fine-tuning is fitted by least squares as the sum of an effect of the source and one of the target, since no
    source has itself as a target. `gain` is relative to the mean of all sources, `low` to `high` its 95 % interval.
    """
    gains = gain(means(results.curves))
    both = gains[(gains["strategy"] == "finetune") & (gains["step"] == gains["step"].max())]
    table = both.groupby(["source", "target"], as_index=False)["gain"].mean()
    names = sorted(table["source"].unique())
    sources = (table["source"].to_numpy()[:, None] == names).astype(float)
    targets = (table["target"].to_numpy()[:, None] == sorted(table["target"].unique())).astype(float)
    contrasts = np.vstack([np.eye(len(names) - 1), -np.ones(len(names) - 1)])  # the effects of the sources add up to 0
    design = np.hstack([sources @ contrasts, targets])
    solution, *_ = np.linalg.lstsq(design, table["gain"].to_numpy(), rcond=None)
    residual = table["gain"].to_numpy() - design @ solution
    freedom = len(table) - design.shape[1]
    covariance = (residual @ residual / freedom) * np.linalg.inv(design.T @ design)
    k = len(names) - 1
    effects, spread = contrasts @ solution[:k], contrasts @ covariance[:k, :k] @ contrasts.T
    margin = stats.t.ppf(1 - LEVEL / 2, freedom) * np.sqrt(np.diag(spread))
    figures = results.domains.pivot(index="domain", columns="figure", values="value")
    own = results.curves[results.curves["kind"] == "pretrain"].sort_values("step").groupby(["source", "training"])["fid"].last()
    frame = pd.DataFrame({"source": names, "gain": effects, "low": effects - margin, "high": effects + margin})
    frame["diversity"] = frame["source"].map(figures["diversity"])
    frame["own_fid"] = frame["source"].map(own.groupby("source").mean())
    return frame.sort_values("gain", ascending=False, ignore_index=True)


def _of(gains: pd.DataFrame, step: int, strategy: str) -> pd.DataFrame:
    return gains[(gains["step"] == step) & (gains["strategy"] == strategy)]


def _over_targets(claim: int, what: str, rows: pd.DataFrame) -> Finding:
    """Return the mean over targets of the mean gain within each, with its t interval."""
    by_target = rows.groupby("target")["gain"].mean()
    test = stats.ttest_1samp(by_target, 0.0)
    low, high = test.confidence_interval(1 - LEVEL)
    return Finding(
        claim,
        what,
        float(by_target.mean()),
        float(low),
        float(high),
        "log2",
        float(test.pvalue),
        {str(target): float(value) for target, value in by_target.items()},
    )


def _rank_correlation(results: Results, both: pd.DataFrame) -> Finding:
    """Return the mean over targets of Spearman's correlation of nearness with gain, tested by permuting each target's sources.

    The distance is the FID between the real images of source and target; nearness is its negative. All permutations are taken.
    """
    real = results.distances[(results.distances["kind"] == "fid") & results.distances["training"].isna()]
    distance = real.set_index(["source", "target"])["value"]
    table = both.groupby(["target", "source"], as_index=False)["gain"].mean()
    table["nearness"] = [-distance[source, target] for target, source in zip(table["target"], table["source"], strict=True)]
    permuted, by_target = [], {}
    for target, rows in table.groupby("target"):
        gains, nearness = rows["gain"].rank().to_numpy(), rows["nearness"].rank().to_numpy()
        by_target[str(target)] = float(np.corrcoef(gains, nearness)[0, 1])
        permuted.append([np.corrcoef(gains, order)[0, 1] for order in itertools.permutations(nearness)])
    value = float(np.mean(list(by_target.values())))
    all_means = np.array([np.mean(draw) for draw in itertools.product(*permuted)])
    p = float(np.mean(np.abs(all_means) >= abs(value) - 1e-12))
    margin = float(
        stats.t.ppf(1 - LEVEL / 2, len(by_target) - 1) * np.std(list(by_target.values()), ddof=1) / math.sqrt(len(by_target))
    )
    low, high = max(-1.0, value - margin), min(1.0, value + margin)
    return Finding(
        5, "rank correlation of nearness with gain, within a target", value, low, high, "rank correlation", p, by_target
    )
