"""What drives the gain: distance, density, diversity and amount of the source, in one model with targets and sources at random.

A linear mixed model of each strategy's gains: ``gain = covariates + strategy's constant + target + source + noise``, where
targets and sources are random effects, by restricted maximum likelihood (Patterson & Thompson 1971). A target is easy or
hard for all sources, and a source good or bad for reasons that no covariate tells: without these two, four sources would
pass for as many observations as there are trials.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, optimize, stats
from threadpoolctl import ThreadpoolController

from analysis.transfer.significance import holm

#: Covariates: what they are, and of which unit the effect is.
COVARIATES = {
    "distance": "half the distance (FID of the real images)",
    "density": "half the distance to the nearest neighbours within the source",
    "diversity": "twice the spread of the source's images",
    "amount": "twice the source's images",
}

#: Those of the linear algebra: matrices of a fit are so small that several threads would only wait for each other.
_THREADS = ThreadpoolController()

_COLUMNS = ["strategy", "covariate", "about", "value", "low", "high", "p", "p_holm", "points", "targets", "sources"]


def drivers(gains: pd.DataFrame, own_figures: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the effect of each covariate on the gain at the cells' common step, by strategy.

    All covariates are log2, so effects are gains per doubling, with signs such that nearer, denser, more diverse and more
    are positive. A covariate that varies by source more than within has as few observations as there are sources: its degrees
    of freedom are counted so (containment), and where there are not enough sources for all of these, only distance is told.

    Args:
        gains: `transferability.transfer_gain` in one embedding with `distance` (NaN where there is none).
        own_figures: `Frames.own_figures`.
        trials: `Frames.trials`, for the number of images a source was pre-trained on.

    Returns:
        One row per strategy and covariate that can be told: `value` (log2) with its 95 % interval `low` to `high`, `p`,
        `p_holm` (corrected for all rows), and how many points (a source and a target, averaged over cells and seeds), targets
        and sources it stands on.
    """
    rows: list[tuple[Any, ...]] = []
    points = _points(gains, own_figures, trials)
    for strategy, group in points.groupby("strategy", sort=False):
        table = group[["target", "source", "gain", *COVARIATES]].dropna(axis=1, how="all").dropna()
        varied = [name for name in COVARIATES if name in table and table[name].nunique() > 1]
        sources, targets = table["source"].nunique(), table["target"].nunique()
        of_source = [name for name in varied if _between(table[name], table["source"]) > 0.5]
        if sources - 1 - len(of_source) < 1:
            varied = [name for name in varied if name == "distance"]
        between = sources - 1 - len({*of_source} & {*varied})
        if between < 1:
            continue
        fixed = np.column_stack([np.ones(len(table)), *(table[name] for name in varied)])
        groups = [pd.factorize(table[name])[0] for name in ("target", "source")]
        within = len(table) - int(np.linalg.matrix_rank(np.column_stack([fixed, *map(_indicators, groups)])))
        if not varied or within < 1 or np.linalg.matrix_rank(fixed) < fixed.shape[1]:
            continue
        values, errors, _ = mixed_model(table["gain"].to_numpy(float), fixed, groups)
        for name, value, error in zip(varied, values[1:], errors[1:], strict=True):
            freedom = between if name in of_source else within
            reach, p = stats.t.ppf(0.975, freedom) * error, 2 * stats.t.sf(abs(value) / error, freedom)
            numbers = (value, value - reach, value + reach, p, np.nan, len(table), targets, sources)
            rows.append((strategy, name, COVARIATES[name], *numbers))
    found = pd.DataFrame(rows, columns=_COLUMNS)
    found["p_holm"] = holm(found["p"].astype(float))
    return found


def _between(values: "pd.Series[float]", source: "pd.Series[str]") -> float:
    """Return the share of the variance that lies between the sources."""
    return float(values.groupby(source).transform("mean").var() / values.var())


def _points(gains: pd.DataFrame, own_figures: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return a row per strategy, source and target with the gain and the covariates, in their units and signs."""
    common = gains[gains["at"] == "common"]
    amounts = trials[trials["kind"] == "pretrain"].set_index("key")["size"]
    rows = common.assign(
        distance=-np.log2(common["distance"].astype(float).where(lambda values: values > 0)),
        amount=np.log2(common["parent"].map(amounts).astype(float).where(lambda values: values > 0)),
    )
    for name, figure, sign in (("density", "spacing", -1), ("diversity", "diversity", 1)):
        own = own_figures[own_figures["figure"] == figure].set_index(["domain", "resolution", "embedding"])["value"]
        keys = pd.MultiIndex.from_frame(rows[["source", "resolution", "embedding"]])
        rows[name] = sign * np.log2(own[own > 0].reindex(keys).to_numpy(float))
    return rows.groupby(["strategy", "target", "source"], sort=False, as_index=False)[["gain", *COVARIATES]].mean()


def mixed_model(y: np.ndarray, fixed: np.ndarray, groups: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit a linear model with random intercepts by restricted maximum likelihood.

    Args:
        y: (N,).
        fixed: the design of the fixed effects, (N, K), of full rank.
        groups: per random effect, the group of each observation as an integer from 0, (N,); effects may be crossed.

    Returns:
        Fixed effects (K,), their standard errors (K,), and variances: of each random effect and, last, of the noise.
    """
    shared = [_indicators(group) @ _indicators(group).T for group in groups]
    count, effects = fixed.shape

    def solve(ratios: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, float]:
        """Return the criterion, effects, their covariance over the noise's variance, and that variance."""
        lower = linalg.cholesky(np.eye(count) + sum(r * part for r, part in zip(ratios, shared, strict=True)), lower=True)
        x, z = linalg.solve_triangular(lower, fixed, lower=True), linalg.solve_triangular(lower, y, lower=True)
        inverse = np.linalg.inv(x.T @ x)
        estimate = inverse @ x.T @ z
        variance = max(float(np.square(z - x @ estimate).sum()) / (count - effects), np.finfo(float).tiny)
        determinants = 2 * np.log(np.diag(lower)).sum() - np.linalg.slogdet(inverse)[1]
        return (count - effects) * np.log(variance) + determinants, estimate, inverse, variance

    # The ratios of the variances to the noise's may be 0, where the criterion has a kink in their logarithm: so their root.
    start, options = np.full(len(groups), 0.7), {"xatol": 1e-5, "fatol": 1e-8}
    with _THREADS.limit(limits=1):
        ratios = optimize.minimize(lambda root: solve(root**2)[0], start, method="Nelder-Mead", options=options).x ** 2
    _, estimate, inverse, variance = solve(ratios)
    return estimate, np.sqrt(variance * np.diag(inverse)), variance * np.append(ratios, 1.0)


def _indicators(group: np.ndarray) -> np.ndarray:
    columns: np.ndarray = np.eye(int(group.max()) + 1)[group]
    return columns
