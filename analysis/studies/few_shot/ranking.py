"""The methods of the study in order of merit, with intervals, and which of them are told apart.

All methods with one seed share a subset of the target's images, and all with a source one training of it. So the seeds are the
blocks of a randomised complete block design. A method's value in a block is its mean log2 FID over the sizes and sources
that are looked at, and the error is what is left after the effects of methods and blocks. Any two methods are
compared by Tukey's test. The inference is to other seeds on these domains, and not to other domains.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.claims import outcome
from analysis.comparison.cells import SCRATCH, Difference
from analysis.comparison.strategies import tukey
from analysis.studies.few_shot.results import Results

#: The augmentation that all strategies are trained with.
FOR_ALL = "none"


@dataclass(frozen=True)
class View:
    """What a ranking averages over.

    Attributes:
        name: what it is called.
        rows: measurements, one per trial: those at the last step.
        method: the columns that name a method.
    """

    name: str
    rows: pd.DataFrame
    method: tuple[str, ...] = ("strategy",)


def views(results: Results) -> list[list[View]]:
    """Return the families of views: all strategies; the same by size and by source; some of them with all augmentations."""
    last = at_the_end(results.curves)
    whole = last[last["augmentation"] == FOR_ALL]
    parts = [
        *(View(f"{size} images", whole[whole["size"] == size]) for size in sorted(whole["size"].unique())),
        *(View(f"from {source}", _with_source(whole, source)) for source in sorted(whole["source"].dropna().unique())),
    ]
    others = last[last["augmentation"] != FOR_ALL]
    augmented = last[last["strategy"].isin(others["strategy"]) & last["seed"].isin(others["seed"])]
    return [[View("all", whole)], parts, [View("augmentations", augmented, ("strategy", "augmentation"))]]


def at_the_end(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements at the last step of all, with the lost trials, whose `fid` there is missing."""
    final = curves["step"] == curves["step"].max()
    keys = ["strategy", "augmentation", "source", "size", "seed"]
    lost = curves[curves["lost"]].drop_duplicates(keys).assign(fid=np.nan)
    measured: pd.DataFrame = curves[final & ~curves["lost"]]
    return pd.concat([measured, lost], ignore_index=True)


def blocks(view: View) -> pd.DataFrame:
    """Return the mean log2 FID by method (rows) and seed (columns); NaN where a trial was lost or is missing.

    A method with sources first has the mean over them, so that each size and augmentation counts once, as with scratch.
    """
    rows = view.rows.assign(log_fid=np.log2(view.rows["fid"]))
    columns = [*view.method, "seed"]
    conditions = list(dict.fromkeys([*columns, "size", "augmentation"]))
    means = rows.groupby(conditions)["log_fid"].agg(lambda values: values.mean(skipna=False)).reset_index()
    means = means.groupby(columns)["log_fid"].agg(lambda values: values.mean(skipna=False)).reset_index()
    means["method"] = [" + ".join(names) for names in means[[*view.method]].itertuples(index=False)]
    table: pd.DataFrame = means.pivot(index="method", columns="seed", values="log_fid")
    return table


def compared(view: View, reference: str | None = None, groups: int = 1) -> pd.DataFrame:
    """Compare every method of a view with a reference, by default the first.

    Returns:
        One row per method, best first and those with a lost trial last: `method`; `fid`, the geometric mean; `ratio`, log2 of
        its FID over the reference's, with its 95 % interval `low` to `high` for all pairs of methods and all `groups` views
        together; `p`, corrected alike; `outcome`. The numbers of the reference, and of methods with a lost trial, are NaN.
    """
    table = blocks(view)
    means = table.mean(axis=1, skipna=False).sort_values(kind="stable")
    error, freedom = _error(table.dropna())
    first = means.index[0] if reference is None else reference
    rows = []
    for method, mean in means.items():
        row = {"method": method, "fid": 2**mean, "ratio": np.nan, "low": np.nan, "high": np.nan, "p": np.nan}
        if method != first and np.isfinite(mean) and np.isfinite(means[first]):
            test = tukey(Difference(mean - means[first], error, freedom), int(means.notna().sum()), groups)
            row |= {"ratio": test.pop("behind"), **test}
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame["outcome"] = outcome(frame["p"])
    return frame


def pairs(view: View, groups: int = 1) -> pd.DataFrame:
    """Return every pair of methods of a view, `first` the better one, with `ratio`, `low`, `high`, `p` and `outcome`."""
    table = blocks(view).dropna()
    means = table.mean(axis=1).sort_values(kind="stable")
    error, freedom = _error(table)
    rows = []
    for first, second in itertools.combinations(means.index, 2):
        test = tukey(Difference(means[second] - means[first], error, freedom), len(means), groups)
        rows.append({"first": first, "second": second, "ratio": test.pop("behind"), **test})
    frame = pd.DataFrame(rows)
    frame["outcome"] = outcome(frame["p"])
    return frame


def _error(table: pd.DataFrame) -> tuple[float, float]:
    """Return the standard error of the difference of two methods' means, and its degrees of freedom."""
    values = table.to_numpy()
    residuals = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    freedom = (values.shape[0] - 1) * (values.shape[1] - 1)
    return float(np.sqrt(2 * np.square(residuals).sum() / freedom / values.shape[1])), float(freedom)


def _with_source(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the rows of a source and those without one."""
    chosen: pd.DataFrame = rows[rows["source"].isna() | (rows["source"] == source)]
    return chosen


def gains(results: Results) -> pd.DataFrame:
    """Return the comparison of all methods with scratch over everything: `compared` of the first view."""
    return compared(views(results)[0][0], SCRATCH)
