"""The best rung of trials, by what chooses: the FID of the run that trained them, on images set apart if there are any."""

import math
from collections.abc import Collection

from bench.store.schema import by_step
from bench.store.store import Store
from trainers.config.metrics import SELECTION


def best_rungs(store: Store, generators: dict[str, Collection[int]]) -> dict[str, tuple[int, float, int]]:
    """Return the best of the steps of each trial's generators, its FID, and the number of steps that have a finite FID.

    Trials without a finite FID are left out. Of several evaluations that of the run which recorded the trial counts, or of an
    unfinished trial the first.
    """
    trials, rows = store.read("trials"), store.read("measurements")
    rows = rows[rows["trial"].isin(list(generators))]
    views = rows.drop_duplicates("trial").set_index("trial")["view"].to_dict()
    views |= {key: view for key, view in zip(trials["key"], trials["view"], strict=True) if isinstance(view, str)}
    rows = rows[rows["view"] == rows["trial"].map(views)]
    measured, chosen_by = (by_step(rows, metric, generators) for metric in ("fid", "fid" + SELECTION))
    best = {}
    for key, steps in generators.items():
        values = chosen_by[key] or measured[key]
        finite = {step: value for step, value in values.items() if step in steps and math.isfinite(value)}
        if finite:
            step = min(finite, key=lambda at: (finite[at], at))
            best[key] = step, measured[key].get(step, math.nan), len(finite)
    return best
