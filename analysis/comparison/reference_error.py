"""The error of differences between methods that is due to the choice of the reference images.

All trials of a cell are measured against the same reference images. The store keeps the replicates of each FID and KID: their
values on other draws of these images (`trainers.evaluation.metrics.reference_draws`). The draws are the same for all trials of
a cell, so the error that two methods share cancels in the difference of their replicates.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def replicates(rows: pd.DataFrame) -> list[np.ndarray]:
    """Return the replicates, float32 (B,), of rows of `Frames.curves`: one metric of one method's seeds at one step.

    Empty if a row has none, as in stores of older versions.
    """
    if "replicates" not in rows or any(values is None for values in rows["replicates"]):
        return []
    return list(rows["replicates"])


def log_variance(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """Return the variance of mean log2 a - mean log2 b over draws of the reference images.

    `a` and `b` are the replicates (B,) of two methods' seeds. By the delta method: a logarithm of replicates would depend on
    their tails. It does not include the variance between seeds. NaN if either has no replicates, another number of them, or a
    value that is not positive.
    """
    if min(len(a), len(b)) == 0 or len({len(values) for values in (*a, *b)}) > 1:
        return np.nan
    sides = [np.stack(side).astype(float) for side in (a, b)]
    means = [side.mean(1, keepdims=True) for side in sides]
    if not all((mean > 0).all() for mean in means):
        return np.nan
    logs = [(side / mean).mean(0) / np.log(2) for side, mean in zip(sides, means, strict=True)]
    return float(np.var(logs[0] - logs[1], ddof=1))
