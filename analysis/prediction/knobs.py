"""What density, diversity, amount and spread of a source each do to the transfer gain: a linear model, with intervals.

Sources that are one domain with different knobs (``letters[classes=4,per_class=100]``) are an experiment on these. The model
is ``gain = a log2(classes) + b log2(per_class) + c spread + constant of the domain``, by least squares over the sources' mean
gains, with Student's intervals from its residuals. As amount is classes times images per class, its exchange at equal amount
is a - b, and of more of both in equal parts (a + b) / 2.
"""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.transfer import transferability as tf
from trainers.config import sources
from trainers.config.options import split

#: Columns of the model, and by effect: its name for people, and the weights of the columns in it.
_COLUMNS = ["classes", "per_class", "spread"]
EFFECTS = {
    "diversity": ("twice the classes, as many images of each", (1.0, 0.0, 0.0)),
    "density": ("as many classes, twice the images of each", (0.0, 1.0, 0.0)),
    "amount": ("twice the images, of more classes and more of each", (0.5, 0.5, 0.0)),
    "exchange": ("twice the classes, half the images of each", (1.0, -1.0, 0.0)),
    "spread": ("full variation within a class instead of none", (0.0, 0.0, 1.0)),
}

_FOUND = ["cell", "cell_label", "strategy", "effect", "about", "value", "low", "high", "sources", "step"]


def parse(source: str) -> dict[str, float | str] | None:
    """Return a source's `base` domain, `classes`, `per_class` and `spread` (1 unless set); None where it lacks the first two.

    >>> parse("letters[classes=4,per_class=100]")
    {'base': 'letters', 'classes': 4.0, 'per_class': 100.0, 'spread': 1.0}
    """
    base, options = split(source)
    knobs = dict(options)
    if not {"classes", "per_class"} <= set(knobs) or sources.domains(source) != (source,):
        return None
    # What else is set, such as a shift, makes another base.
    others = ",".join(f"{name}={value}" for name, value in knobs.items() if name not in _COLUMNS)
    values = {name: float(knobs[name]) for name in ("classes", "per_class")}
    return {"base": base + others, **values, "spread": float(knobs.get("spread", 1.0))}


def knob_effects(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the effects of the knobs on the gain, cell by cell and strategy by strategy, at the cell's common step.

    Args:
        gains: `transferability.transfer_gain` in one embedding.

    Returns:
        One row per cell, strategy and effect of `EFFECTS` that the sources allow: `value`, the change of log2 gain, with its
        95 % interval `low` to `high`; `sources`, how many were compared, each by its mean over seeds.
    """
    rows = []
    for (cell, strategy), group in tf.points(gains.assign(distance=0.0)).groupby(["cell", "strategy"], sort=False):
        parsed = [parse(source) for source in group["source"]]
        known = [i for i, knobs in enumerate(parsed) if knobs is not None]
        if not known:
            continue
        table = pd.DataFrame([parsed[i] for i in known])
        gain = group["gain"].to_numpy(float)[known]
        first = group.iloc[0]
        for effect, estimate in _effects(table, gain).items():
            names = (cell, first["cell_label"], strategy, effect, EFFECTS[effect][0])
            rows.append((*names, *estimate, len(known), int(first["step"])))
    return pd.DataFrame(rows, columns=_FOUND)


def _effects(table: pd.DataFrame, gain: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Return (value, low, high) of every effect that can be told apart from the others."""
    varied = pd.DataFrame(
        {"classes": np.log2(table["classes"]), "per_class": np.log2(table["per_class"]), "spread": table["spread"]}
    )
    design = np.column_stack([varied[_COLUMNS], pd.get_dummies(table["base"]).to_numpy(float)])
    rank = int(np.linalg.matrix_rank(design))
    freedom = len(gain) - rank
    if freedom < 1:
        return {}
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ gain
    variance = float(np.square(gain - design @ coefficients).sum()) / freedom
    reach = stats.t.ppf(0.975, freedom)
    found = {}
    for effect, (_, own) in EFFECTS.items():
        weights = np.concatenate([own, np.zeros(design.shape[1] - len(own))])
        # An effect can be told where it is a combination of what the sources vary, that is of the design's rows.
        if not np.allclose(weights @ inverse @ (design.T @ design), weights, atol=1e-8):
            continue
        value = float(weights @ coefficients)
        margin = float(reach * np.sqrt(variance * (weights @ inverse @ weights)))
        found[effect] = (value, value - margin, value + margin)
    return found
