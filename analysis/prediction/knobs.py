"""Effects of a source's density, diversity, amount and spread on the transfer gain, by linear regression.

Sources that are one domain at different knob settings (``letters[classes=4,per_class=100]``) form an experiment on these. The
model is ``gain = a log2(classes) + b log2(per_class) + c spread + constant of the domain``, fitted by least squares to the mean
gains of the sources, with Student's intervals from the residuals. The amount is classes times images per class, so the effect
of exchanging one for the other at equal amount is a - b, and that of more of both in equal parts (a + b) / 2.
"""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.transfer import transferability as tf
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

_COLUMNS = ["cell", "cell_label", "strategy", "effect", "about", "value", "low", "high", "sources", "step"]


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
    """Return the effects of the knobs on the gain at the cell's common step, per cell and strategy, in one embedding.

    Returns:
        One row per cell, strategy and estimable effect of `EFFECTS`: `value`, the change of log2 gain, with its 95 % interval
        `low` to `high`; `sources`, the number of sources compared, each by its mean over seeds.
    """
    rows = []
    for (cell, strategy), group in tf.points(gains.assign(distance=0.0)).groupby(["cell", "strategy"], sort=False):
        parsed = [parse(source) for source in group["source"]]
        with_knobs = [i for i, knobs in enumerate(parsed) if knobs is not None]
        if not with_knobs:
            continue
        table = pd.DataFrame([parsed[i] for i in with_knobs])
        gain = group["gain"].to_numpy(float)[with_knobs]
        first = group.iloc[0]
        for effect, estimate in _effects(table, gain).items():
            names = (cell, first["cell_label"], strategy, effect, EFFECTS[effect][0])
            rows.append((*names, *estimate, len(with_knobs), int(first["step"])))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _effects(table: pd.DataFrame, gain: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Return (value, low, high) of every estimable effect."""
    covariates = table[_COVARIATES].assign(classes=np.log2(table["classes"]), per_class=np.log2(table["per_class"]))
    design = np.column_stack([covariates, pd.get_dummies(table["base"]).to_numpy(float)])
    rank = int(np.linalg.matrix_rank(design))
    freedom = len(gain) - rank
    if freedom < 1:
        return {}
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ gain
    variance = float(np.square(gain - design @ coefficients).sum()) / freedom
    quantile = stats.t.ppf(0.975, freedom)
    effects = {}
    for effect, (_, of_covariates) in EFFECTS.items():
        weights = np.pad(of_covariates, (0, design.shape[1] - len(of_covariates)))
        # A linear function of the coefficients is estimable if it lies in the row space of the design matrix.
        if not np.allclose(weights @ inverse @ (design.T @ design), weights, atol=1e-8):
            continue
        value = float(weights @ coefficients)
        margin = float(quantile * np.sqrt(variance * (weights @ inverse @ weights)))
        effects[effect] = (value, value - margin, value + margin)
    return effects
