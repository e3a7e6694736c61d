"""Effects of distance, density, diversity, amount and own FID on the gain, by a linear mixed model.

The model of one strategy's gains is ``gain = constant + covariates + target + source + noise`` with random effects of target
and source, fitted by restricted maximum likelihood (Patterson & Thompson 1971). Some targets are harder than others for every
source, and some sources better for reasons that no covariate describes. Without the two random effects, four sources would be
counted as many independent observations. Distances are centred within each target (Mundlak 1978), as those to different targets
are not comparable: the effect of distance is that within a target.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, optimize
from threadpoolctl import ThreadpoolController

from analysis.claims import COLUMNS
from analysis.comparison.intervals import with_tests
from analysis.transfer.steps import compared, step_of

#: Covariates, with the change whose effect is reported.
COVARIATES = {
    "distance": "half the distance (FID of the real images) to the same target",
    "density": "half the distance to the nearest neighbours within the source",
    "diversity": "twice the spread of the source's images",
    "amount": "twice the source's images",
    "training": "half the source's own FID after pre-training",
}

#: The threads of the linear algebra libraries: a fit's matrices are too small for more than one.
_THREADS = ThreadpoolController()

_COLUMNS = ["strategy", "covariate", "about", "value", "low", "high", "p", "outcome", "points", "targets", "sources", "seeds"]
_COLUMNS += ["step", "early"]


def covariate_effects(gains: pd.DataFrame, domain_statistics: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the effect of each covariate on the gain at the step of `steps.compared`, by strategy.

    All covariates are log2, so effects are gains per doubling. Signs are chosen so that nearer, denser, more diverse and more
    images are positive. A covariate that varies mainly between sources has only as many observations as there are sources; its
    degrees of freedom are counted accordingly (containment method). With too few sources for all of these covariates,
    distance and training are fitted, or distance alone. The gains have one embedding, and `distance` (NaN if unknown).

    Returns:
        One row per strategy and estimable covariate: `value` (log2), `p` (corrected by Holm's method for all rows), `outcome`,
        and the interval `low` to `high` at the level of the corrected test; the numbers of `points` (pairs of source and
        target, averaged over cells and seeds), `targets`, `sources` and `seeds`; `step` and `early` of the gains.
    """
    rows: list[dict[str, Any]] = []
    gains = compared(gains)
    points = _points(gains, domain_statistics, trials)
    for strategy, group in points.groupby("strategy", sort=False):
        table = group[["target", "source", "gain", *COVARIATES]].dropna(axis=1, how="all").dropna()
        varied = [name for name in COVARIATES if name in table and table[name].nunique() > 1]
        sources, targets = table["source"].nunique(), table["target"].nunique()
        of_source = [name for name in varied if _share_between(table[name], table["source"]) > 0.5]
        for fewer in (("distance", "training"), ("distance",)):
            if sources - 1 - len({*of_source} & {*varied}) < 1:
                varied = [name for name in varied if name in fewer]
        between = sources - 1 - len({*of_source} & {*varied})
        if between < 1:
            continue
        fixed = np.column_stack([np.ones(len(table)), *(table[name] for name in varied)])
        groups = [pd.factorize(table[name])[0] for name in ("target", "source")]
        within = len(table) - int(np.linalg.matrix_rank(np.column_stack([fixed, *map(_indicators, groups)])))
        if not varied or within < 1 or np.linalg.matrix_rank(fixed) < fixed.shape[1]:
            continue
        values, errors, _ = fit(table["gain"].to_numpy(float), fixed, groups)
        of_strategy = gains[gains["strategy"] == strategy]
        counts = {"points": len(table), "targets": targets, "sources": sources, "seeds": _seeds(of_strategy)}
        counts |= {"step": step_of(of_strategy), "early": bool(of_strategy["early"].any())}
        for name, value, error in zip(varied, values[1:], errors[1:], strict=True):
            numbers = {"value": value, "error": error, "freedom": between if name in of_source else within}
            rows.append({"strategy": strategy, "covariate": name, "about": COVARIATES[name], **numbers, **counts})
    return with_tests(pd.DataFrame(rows, columns=[*_COLUMNS, "error", "freedom"]))[_COLUMNS]


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `covariate_effects` as claims."""
    subject = table["covariate"].astype(str) + ", " + table["strategy"].astype(str)
    return table.assign(kind="driver", cell=None, subject=subject, versus="no effect", simultaneous=True)[COLUMNS]


def _seeds(gains: pd.DataFrame) -> int:
    """Return the smallest number of trials that a method has in a cell."""
    return int(gains.groupby(["target", "source"]).size().min())


def _share_between(values: "pd.Series[float]", source: "pd.Series[str]") -> float:
    """Return the share of the variance that is between sources."""
    return float(values.groupby(source).transform("mean").var() / values.var())


def _points(gains: pd.DataFrame, domain_statistics: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row per strategy, source and target with the gain and the signed log2 covariates, distance centred."""
    amounts = trials[trials["kind"] == "pretrain"].set_index("key")["size"]
    rows = gains.assign(
        distance=-np.log2(gains["distance"].astype(float).where(lambda values: values > 0)),
        amount=np.log2(gains["parent"].map(amounts).astype(float).where(lambda values: values > 0)),
        training=-np.log2(gains["own_fid"].astype(float)),
    )
    keys = pd.MultiIndex.from_frame(rows[["source", "resolution", "embedding"]])
    for name, statistic, sign in (("density", "spacing", -1), ("diversity", "diversity", 1)):
        of_name = domain_statistics[domain_statistics["figure"] == statistic]
        values = of_name.set_index(["domain", "resolution", "embedding"])["value"]
        rows[name] = sign * np.log2(values[values > 0].reindex(keys).to_numpy(float))
    means = rows.groupby(["strategy", "target", "source"], sort=False, as_index=False)[["gain", *COVARIATES]].mean()
    return means.assign(distance=means["distance"] - means.groupby(["strategy", "target"])["distance"].transform("mean"))


def fit(y: np.ndarray, fixed: np.ndarray, groups: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit a linear model of y (N,) with random intercepts by restricted maximum likelihood.

    `fixed` (N, K) is the design matrix of the fixed effects, of full column rank. `groups` has, per random effect, the group of
    each observation as an integer from 0, (N,); effects may be crossed.

    Returns:
        Fixed effects (K,), their standard errors (K,), and the variances of the random effects followed by that of the noise.
    """
    shared = [_indicators(group) @ _indicators(group).T for group in groups]
    count, effects = fixed.shape

    def solve(ratios: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, float]:
        """Return the criterion, the effects, their covariance divided by the noise variance, and the noise variance."""
        lower = linalg.cholesky(np.eye(count) + sum(r * part for r, part in zip(ratios, shared, strict=True)), lower=True)
        x, z = linalg.solve_triangular(lower, fixed, lower=True), linalg.solve_triangular(lower, y, lower=True)
        inverse = np.linalg.inv(x.T @ x)
        estimate = inverse @ x.T @ z
        variance = max(float(np.square(z - x @ estimate).sum()) / (count - effects), np.finfo(float).tiny)
        determinants = 2 * np.log(np.diag(lower)).sum() - np.linalg.slogdet(inverse)[1]
        return (count - effects) * np.log(variance) + determinants, estimate, inverse, variance

    # Optimise the square roots of the ratios of variances to the noise variance: a ratio may be 0, which has no logarithm.
    start, options = np.full(len(groups), 0.7), {"xatol": 1e-5, "fatol": 1e-8}
    with _THREADS.limit(limits=1):
        ratios = optimize.minimize(lambda root: solve(root**2)[0], start, method="Nelder-Mead", options=options).x ** 2
    _, estimate, inverse, variance = solve(ratios)
    return estimate, np.sqrt(variance * np.diag(inverse)), variance * np.append(ratios, 1.0)


def _indicators(group: np.ndarray) -> np.ndarray:
    columns: np.ndarray = np.eye(int(group.max()) + 1)[group]
    return columns
