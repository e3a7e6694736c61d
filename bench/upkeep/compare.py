"""Comparison of two stores: the trials that both have, and whether their measurements agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.store import Store
from bench.store.schema import KEYS

#: One in twenty differences is expected to exceed this many standard errors.
EXPECTED = 1.96


def compare_stores(a: Store, b: Store) -> dict[str, Any]:
    """Compare the trials and measurements of two stores by their keys. Writes to neither.

    Returns:
        `trials`: the numbers of trials in `both`, `only_a` and `only_b`.
        `statuses`: for each trial that ended differently, its key `trial` and its statuses `a` and `b`.
        `metrics`: per metric and view (how it was measured), over the trials in both stores: `values`, the number of values at
            equal steps; `equal`, how many are equal to the bit; `relative`, the largest difference as a fraction of the larger
            value (None if none is finite); `errors`, the largest difference in standard errors of the difference (None if none
            is known); `beyond`, how many differences exceed 1.96 of these.
    """
    trials = [store.read("trials").set_index("key") for store in (a, b)]
    shared = trials[0].index.intersection(trials[1].index)
    status_a, status_b = (table.loc[shared, "status"] for table in trials)
    differing = shared[(status_a != status_b).to_numpy()]
    values = [store.read("measurements") for store in (a, b)]
    both = [rows[rows["trial"].isin(shared)][[*KEYS["measurements"], "value", "standard_error"]] for rows in values]
    pairs = both[0].merge(both[1], on=KEYS["measurements"], suffixes=("_a", "_b"))
    return {
        "trials": {"both": len(shared), "only_a": len(trials[0]) - len(shared), "only_b": len(trials[1]) - len(shared)},
        "statuses": [{"trial": key, "a": status_a[key], "b": status_b[key]} for key in differing],
        "metrics": [
            {"metric": metric, "view": view, **_agreement(rows)}
            for (metric, view), rows in pairs.groupby(["metric", "view"], sort=True)
        ],
    }


def differing_winners(a: Mapping[tuple[str, str], str], b: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Compare the winning methods of two stores, given by cell and embedding.

    Returns:
        `cells`, the number of cells that both have, and `differ`, for each with different winners its `cell`, `embedding`, and
        the winners `a` and `b`.
    """
    shared = sorted(set(a) & set(b))
    differ = [{"cell": key[0], "embedding": key[1], "a": a[key], "b": b[key]} for key in shared if a[key] != b[key]]
    return {"cells": len(shared), "differ": differ}


def _agreement(rows: pd.DataFrame) -> dict[str, Any]:
    a, b = rows["value_a"].to_numpy(float), rows["value_b"].to_numpy(float)
    difference = np.abs(a - b)
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    larger = np.maximum(np.abs(a), np.abs(b))
    relative = np.divide(difference, larger, out=np.zeros_like(difference), where=larger > 0)
    error = np.hypot(rows["standard_error_a"].to_numpy(float), rows["standard_error_b"].to_numpy(float))
    comparable = np.isfinite(difference) & np.isfinite(error) & (error > 0)
    errors = difference[comparable] / error[comparable]
    return {
        "values": len(rows),
        "equal": int(equal.sum()),
        "relative": _largest(relative[np.isfinite(relative)]),
        "errors": _largest(errors),
        "beyond": int((errors > EXPECTED).sum()),
    }


def _largest(values: np.ndarray) -> float | None:
    return float(values.max()) if len(values) else None
