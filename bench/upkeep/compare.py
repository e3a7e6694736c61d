"""Two stores beside each other: which trials both have, and whether what was measured of them agrees."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.store import Store
from bench.store.schema import KEYS

#: A difference of so many standard errors is to be expected in one of twenty values.
EXPECTED = 1.96


def compare(a: Store, b: Store) -> dict[str, Any]:
    """Compare the trials and the measurements of two stores, by their keys. Writes to neither.

    Returns:
        `trials`: how many are recorded in `both`, `only_a` and `only_b`; `statuses`: of each trial that ended differently its
        `trial`, and the status in `a` and `b`; `metrics`: per metric and embedding, how many `values` of the trials in both
        have the same step in both, how many are `equal` to the bit, the largest `relative` difference (of the larger of the
        two; None where none is finite), the largest difference in standard errors of the difference (`errors`; None where
        none is known), and how many are `beyond` 1.96 of these.
    """
    trials = [store.read("trials").set_index("key") for store in (a, b)]
    shared = trials[0].index.intersection(trials[1].index)
    status_a, status_b = (table.loc[shared, "status"] for table in trials)
    differing = shared[(status_a != status_b).to_numpy()]
    values = [store.read("measurements") for store in (a, b)]
    own = [rows[rows["trial"].isin(shared)][[*KEYS["measurements"], "value", "standard_error"]] for rows in values]
    pairs = own[0].merge(own[1], on=KEYS["measurements"], suffixes=("_a", "_b"))
    return {
        "trials": {"both": len(shared), "only_a": len(trials[0]) - len(shared), "only_b": len(trials[1]) - len(shared)},
        "statuses": [{"trial": key, "a": status_a[key], "b": status_b[key]} for key in differing],
        "metrics": [
            {"metric": metric, "embedding": embedding, **_agreement(rows)}
            for (metric, embedding), rows in pairs.groupby(["metric", "embedding"], sort=True)
        ],
    }


def differing_winners(a: Mapping[tuple[str, str], str], b: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Return how many cells both have, and in which another method won.

    Args:
        a: by cell and embedding, what won in the one store.
        b: in the other.

    Returns:
        `cells`, and `differ`: per cell `cell`, `embedding`, and the winners `a` and `b`.
    """
    shared = sorted(set(a) & set(b))
    differ = [{"cell": key[0], "embedding": key[1], "a": a[key], "b": b[key]} for key in shared if a[key] != b[key]]
    return {"cells": len(shared), "differ": differ}


def _agreement(rows: pd.DataFrame) -> dict[str, Any]:
    one, other = rows["value_a"].to_numpy(float), rows["value_b"].to_numpy(float)
    difference = np.abs(one - other)
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    larger = np.maximum(np.abs(one), np.abs(other))
    relative = np.divide(difference, larger, out=np.zeros_like(difference), where=larger > 0)
    error = np.hypot(rows["standard_error_a"].to_numpy(float), rows["standard_error_b"].to_numpy(float))
    told = np.isfinite(difference) & np.isfinite(error) & (error > 0)
    errors = difference[told] / error[told]
    return {
        "values": len(rows),
        "equal": int(equal.sum()),
        "relative": _largest(relative[np.isfinite(relative)]),
        "errors": _largest(errors),
        "beyond": int((errors > EXPECTED).sum()),
    }


def _largest(values: np.ndarray) -> float | None:
    return float(values.max()) if len(values) else None
