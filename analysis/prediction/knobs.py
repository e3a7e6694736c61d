"""Effects of a source's density, diversity, amount and spread on the transfer gain, by linear regression.

Sources that are one domain at different knob settings (``letters[classes=4,per_class=100]``) form an experiment on these. The
model is ``gain = a log2(classes) + b log2(per_class) + c spread + constant of the domain``, fitted by least squares to the mean
gains of the sources, with Student's t-tests from the residuals. The amount is classes times images per class, so the effect
of exchanging one for the other at equal amount is a - b, and that of more of both in equal parts (a + b) / 2.
"""

import numpy as np
import pandas as pd

from analysis.claims import COLUMNS
from analysis.comparison.intervals import with_tests
from analysis.transfer.steps import compared_points
from trainers.config import sources
from trainers.config.options import split

_COVARIATES = ["classes", "per_class", "spread"]
#: By effect: its description and its weights of `_COVARIATES`.
EFFECTS = {
    "diversity": ("twice the classes, as many images of each", (1.0, 0.0, 0.0)),
    "density": ("as many classes, twice the images of each", (0.0, 1.0, 0.0)),
    "amount": ("twice the images, of more classes and more of each", (0.5, 0.5, 0.0)),
    "exchange": ("twice the classes, half the images of each", (1.0, -1.0, 0.0)),
    "spread": ("full variation within a class instead of none", (0.0, 0.0, 1.0)),
}

_NAMES = ["cell", "cell_label", "strategy"]
_COLUMNS = [*_NAMES, "effect", "about", "value", "low", "high", "p", "outcome", "sources", "seeds", "step", "early"]


def parse(source: str) -> dict[str, float | str] | None:
    """Return a source's `base` domain, `classes`, `per_class` and `spread` (default 1); None without classes and per_class.

    >>> parse("letters[classes=4,per_class=100]")
    {'base': 'letters', 'classes': 4.0, 'per_class': 100.0, 'spread': 1.0}
    """
    base, options = split(source)
    knobs = dict(options)
    if not {"classes", "per_class"} <= set(knobs) or sources.domains(source) != (source,):
        return None
    # What else is set, such as a shift, makes another base.
    others = ",".join(f"{name}={value}" for name, value in knobs.items() if name not in _COVARIATES)
    values = {name: float(knobs[name]) for name in ("classes", "per_class")}
    return {"base": base + others, **values, "spread": float(knobs.get("spread", 1.0))}


def knob_effects(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the effects of the knobs on the gain at the step of `steps.compared`, per cell and strategy, in one embedding.

    Returns:
        One row per cell, strategy and estimable effect of `EFFECTS`: `value`, the change of log2 gain, `p` (corrected by Holm's
        method for all rows), `outcome`, and the interval `low` to `high` at the level of the corrected test; `sources`, the
        number of sources compared, each by its mean over `seeds`; `step` and `early` of the gains.
    """
    rows = []
    for (_cell, _strategy), group in compared_points(gains).groupby(["cell", "strategy"], sort=False):
        parsed = [parse(source) for source in group["source"]]
        with_knobs = [i for i, knobs in enumerate(parsed) if knobs is not None]
        if not with_knobs:
            continue
        table = pd.DataFrame([parsed[i] for i in with_knobs])
        gain = group["gain"].to_numpy(float)[with_knobs]
        names = {name: group.iloc[0][name] for name in [*_NAMES, "step", "early"]}
        names |= {"sources": len(with_knobs), "seeds": int(group["seeds"].min())}
        for effect, (value, error, freedom) in _effects(table, gain).items():
            numbers = {"value": value, "error": error, "freedom": freedom}
            rows.append({**names, "effect": effect, "about": EFFECTS[effect][0], **numbers})
    return with_tests(pd.DataFrame(rows, columns=[*_COLUMNS, "error", "freedom"]))[_COLUMNS]


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `knob_effects` as claims."""
    subject = table["effect"].astype(str) + ", " + table["strategy"].astype(str)
    return table.assign(kind="knob", subject=subject, versus="no effect", simultaneous=True)[COLUMNS]


def _effects(table: pd.DataFrame, gain: np.ndarray) -> dict[str, tuple[float, float, int]]:
    """Return every estimable effect, its standard error and the degrees of freedom."""
    covariates = table[_COVARIATES].assign(classes=np.log2(table["classes"]), per_class=np.log2(table["per_class"]))
    design = np.column_stack([covariates, pd.get_dummies(table["base"]).to_numpy(float)])
    rank = int(np.linalg.matrix_rank(design))
    freedom = len(gain) - rank
    if freedom < 1:
        return {}
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ gain
    variance = float(np.square(gain - design @ coefficients).sum()) / freedom
    effects = {}
    for effect, (_, of_covariates) in EFFECTS.items():
        weights = np.pad(of_covariates, (0, design.shape[1] - len(of_covariates)))
        # A linear function of the coefficients is estimable if it lies in the row space of the design matrix.
        if not np.allclose(weights @ inverse @ (design.T @ design), weights, atol=1e-8):
            continue
        value = float(weights @ coefficients)
        effects[effect] = (value, float(np.sqrt(variance * (weights @ inverse @ weights))), freedom)
    return effects
