"""The store as tidy data frames of planned trials, their outcomes and measurements.

All of this package reads a store through `load`. It merges planned with recorded trials (a planned trial without a record is
`pending`, or `unfinished` if it was measured at a rung), marks censored trials, and gives every domain and cell a short label
that is unique among those loaded.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_scalar

from analysis.cell_labels import label_cells
from analysis.labels import label_domains
from analysis.views import current, in_views, names_of_views
from bench.store import SCHEMAS, Store
from trainers.common.errors import unknown_name
from trainers.config.settings import TRAIN

_log = logging.getLogger("transfergan")

#: Every status, in display order. The last two are set by this module, for planned trials that are not recorded yet.
STATUSES = ("done", "stopped", "diverged", "failed", "blocked", "unfinished", "pending")

#: The beginning of the reason why the stopping rule ended a trial that collapsed (`bench.driver.stopping`).
COLLAPSED = "collapsed"

_INTEGERS = ("size", "seed", "resolution", "steps", "budget")
#: By kind, the columns that a trial cannot be shown without, besides `size` and `budget`.
_NEEDED = {
    "pretrain": ("source", "seed", "resolution"),
    "adapt": ("target", "strategy", "seed", "cell", "resolution"),
}
_FLOATS = ("seconds", "evaluation_seconds", "images_per_second", "peak_memory_mib")
_TRIAL_COLUMNS = [*SCHEMAS["trials"].names, "sweep"]
_LABEL_COLUMNS = ["source_label", "target_label", "cell_label", "family"]
_JOINED = ["kind", "source", "target", "size", "strategy", "conditional", "seed", "cell", "parent", "resolution"]
_JOINED += ["status", "censored", "lost", "cut", "lost_seeds", "confirmation", "budget", *_LABEL_COLUMNS]


@dataclass(frozen=True)
class Frames:
    """The contents of a store, for one sweep or all sweeps."""

    trials: pd.DataFrame
    """One row per planned or recorded trial: the columns of the store's table; `status`, one of `STATUSES`; `steps`, the last
    known step; `censored` (bool), whether the stopping rule ended it before its budget; `cut` (bool), whether it did so for the
    trial's rank; `lost` (bool), whether the trial diverged, failed or collapsed, and `lost_seeds`, the number of such trials of
    its method; `confirmation` (bool), whether it has a fresh seed to confirm a choice; `split`, "train" if it is measured
    against the train split of its target, also or only, else "held-out"; the labels `source_label`, `target_label`,
    `cell_label` and `family` (the cell's label without its size)."""
    curves: pd.DataFrame
    """One row per trial, step, metric and embedding (see `embeddings`): the table `measurements` with its trial's columns
    and `split`, the real images that the value is against, "held-out" or "train".
    A tuned strategy may have a smaller budget than others of its cell; its last values are then repeated at their later steps,
    in rows with `held` true. `replicates` has arrays float32 (B,): FID or KID on other draws of the reference images, the same
    draws for all trials of a cell; None where the store has none."""
    distances: pd.DataFrame
    """The table `distances` with `source_label` and `target_label`."""
    domain_statistics: pd.DataFrame
    """The table `domains`: figures of each domain, such as its `diversity`, by resolution and embedding."""
    environments: pd.DataFrame
    """One row per environment: `environment`, `details` (a dict), `trials` (the number of trials that ran there)."""
    sweeps: dict[str, dict[str, Any]]
    """The plan of each sweep, by name; see `Store.read_sweeps`."""
    searches: dict[str, dict[str, Any]]
    """The results of the searches for strategies' settings, by identity (`bench.run.tuning`); their trials are in no frame."""
    domains: dict[str, str]
    """The label of each domain, by its name."""

    @property
    def embeddings(self) -> list[str]:
        """Return the embeddings with measurements. Values in different embeddings are not comparable.

        Where a store has measurements in one embedding from different numbers of images, or of different ones, each counts as
        an embedding of its own, with the name of its view, such as ``builtin:88d105204ef9/2000``.
        """
        return sorted(self.curves["embedding"].unique())

    @property
    def names(self) -> list[str]:
        """Return the sweeps in the frames: those planned, and those that recorded trials which no loaded plan contains."""
        planned = {row["key"] for plan in self.sweeps.values() for row in plan["trials"]}
        return sorted({*self.sweeps, *self.trials.loc[~self.trials["key"].isin(planned), "sweep"]})

    def trials_in(self, embedding: str) -> pd.DataFrame:
        """Return the trials, except those of cells that were measured only in other embeddings."""
        same = self.curves["embedding"] == embedding
        others = {*self.curves.loc[~same, "cell"].dropna()} - {*self.curves.loc[same, "cell"]}
        return self.trials[~self.trials["cell"].isin(others)]


def load(store: Store, sweep: str | None = None) -> Frames:
    """Read a store into frames: all of it, or what a sweep's newest plan has, with the distances between its domains.

    Raises:
        UserError: the store has no such sweep.
    """
    plans = store.read_sweeps()
    planned = {
        name: plan
        for name, plan in plans.items()
        if not plan.get("continues") and all(row.get("kind") != "tune" for row in plan["trials"])
    }
    recorded = store.read("trials")
    recorded = recorded[recorded["kind"] != "tune"]
    whole = pd.Series([_is_whole(row) for row in records(recorded)], index=recorded.index, dtype=bool)
    lacking = {*recorded.loc[~whole, "key"]}
    lacking |= {row["key"] for plan in planned.values() for row in plan["trials"] if not _is_whole(row)}
    planned = {name: {**plan, "trials": [row for row in plan["trials"] if _is_whole(row)]} for name, plan in planned.items()}
    if lacking:
        _log.warning("trials of store %r without what their kind needs are left out: %s", store.uri, _some(sorted(lacking)))
    recorded = recorded[whole]
    confirming = {name for name, plan in planned.items() if plan.get("confirms")}
    fresh = _keys(planned[name] for name in confirming)
    seen = _keys(plan for name, plan in planned.items() if name not in confirming)
    # A confirmation that was planned anew leaves trials behind that nothing compares.
    recorded = recorded[~recorded["sweep"].isin(confirming) | recorded["key"].isin(fresh | seen)]
    keys: set[str] | None = None
    if sweep is not None:
        names = {*planned, *recorded["sweep"]}
        if sweep not in names:
            raise unknown_name("sweep", sweep, names)
        planned = {name: plan for name, plan in planned.items() if sweep in (name, plan.get("confirms"))}
        # A planned trial belongs to this sweep even if another sweep ran it first.
        keys = _keys(planned.values())
        keys |= set() if sweep in planned else set(recorded.loc[recorded["sweep"] == sweep, "key"])

    measurements = current(store.read("measurements", large=True).drop(columns=["recorded_at", "sweep"]))
    views = names_of_views(measurements)
    measurements["embedding"] = measurements["view"].map(views)
    measurements["split"] = np.where(measurements["view"].isin([v for v in views if v.endswith(TRAIN)]), "train", "held-out")
    measurements = measurements.drop(columns=["view", "version"])
    trials = _merge(planned, recorded, keys)
    _set_progress(trials, measurements)
    trials["confirmation"] = trials["key"].isin(fresh - seen) & (trials["kind"] == "adapt")
    _set_fate(trials)
    against_train = measurements.loc[measurements["split"] == "train", "trial"].unique()
    trials["split"] = pd.Series(np.where(trials["key"].isin(against_train), "train", "held-out"), trials.index, dtype="object")
    given = {domain: name for plan in planned.values() for name, domain in plan["spec"].get("domains", {}).items()}
    domains = label_domains({*trials["source"].dropna(), *trials["target"].dropna()}, given)
    _set_labels(trials, domains)

    curves = measurements.rename(columns={"trial": "key"}).merge(trials[["key", *_JOINED]], on="key")
    curves = _held(curves.rename(columns={"key": "trial"}), trials).sort_values(["trial", "embedding", "metric", "step"])
    distances = in_views(store.read("distances").drop(columns=["recorded_at", "sweep"]), "distances", views)
    distances = distances[distances["source"].isin(domains) & distances["target"].isin(domains)].reset_index(drop=True)
    for end in ("source", "target"):
        distances[f"{end}_label"] = distances[end].map(domains)
    return Frames(
        trials=trials,
        curves=curves.reset_index(drop=True),
        distances=distances,
        domain_statistics=in_views(store.read("domains").drop(columns=["recorded_at", "sweep"]), "domains", views),
        environments=_environments(store.read("environments"), trials),
        sweeps=planned,
        searches={plan["tuning"]["search"]: plan["tuning"] for plan in plans.values() if plan.get("tuning")},
        domains=domains,
    )


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as plain dicts, with None for missing values."""
    columns = [_plain_column(column) for _, column in frame.items()]
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def grouped(rows: Iterable[dict[str, Any]], by: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Return rows by their values in the columns `by`, in the order of first occurrence; pandas takes long for small groups."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in by)].append(row)
    return groups


def _plain_column(column: "pd.Series[Any]") -> list[Any]:
    """Return a column's values as plain types, with None for missing ones."""
    values = column.tolist()
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":
        return values
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        return [value if value == value else None for value in values]
    return [value if type(value) in _PLAIN else _plain(value) for value in values]


#: Types of values that stay as they are.
_PLAIN = {str, int, bool, type(None)}


def _plain(value: Any) -> Any:
    """Return a value as a plain type, None if it is missing."""
    if type(value) is float:
        return value if value == value else None
    if is_scalar(value):
        return None if pd.isna(value) else value.item() if isinstance(value, np.generic) else value
    return value


def _is_whole(row: Mapping[str, Any]) -> bool:
    """Return whether a planned or recorded trial has what its kind needs; one of another program may not."""
    needed = _NEEDED.get(row.get("kind") or "", ("kind",))
    positive = all((row.get(name) or 0) > 0 for name in ("size", "budget"))
    return positive and all(row.get(name) is not None for name in needed)


def _some(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} others" if len(names) > most else "")


def _keys(plans: Iterable[dict[str, Any]]) -> set[str]:
    """Return the keys of the trials of plans."""
    return {row["key"] for plan in plans for row in plan["trials"]}


def _merge(planned: Mapping[str, dict[str, Any]], recorded: pd.DataFrame, keys: set[str] | None) -> pd.DataFrame:
    """Return one row per trial, the recorded rather than the planned one, with plain types (None for missing text)."""
    rows: dict[str, dict[str, Any]] = {}
    budgets: dict[str, int] = {}
    for name, plan in planned.items():
        for row in plan["trials"]:
            rows.setdefault(row["key"], {**row, "sweep": name, "status": "pending"})
            budgets[row["key"]] = max(budgets.get(row["key"], 0), int(row["budget"]))
    for record in records(recorded):
        if keys is None or record["key"] in keys:
            # A sweep with a larger budget than that of the run which ended the trial takes it further.
            budget = budgets.get(record["key"], record["budget"])
            ends_early = record["kind"] == "pretrain"  # a source may, at its plateau
            goes_on = record["status"] == "done" and not ends_early and (record["steps"] or 0) < budget
            rows[record["key"]] = {**record, "budget": budget, **({"status": "pending"} if goes_on else {})}
    columns: dict[str, Any] = {}
    for name in _TRIAL_COLUMNS:
        values = [row.get(name) for row in rows.values()]
        if name in _INTEGERS:
            columns[name] = pd.Series([int(v or 0) for v in values], dtype="int64")
        elif name in _FLOATS:
            columns[name] = pd.Series([float("nan") if v is None else float(v) for v in values], dtype="float64")
        elif name == "conditional":
            columns[name] = pd.Series([bool(v) for v in values], dtype="bool")
        else:
            columns[name] = pd.Series(values, dtype="object")
    return pd.DataFrame(columns)


def _set_progress(trials: pd.DataFrame, measurements: pd.DataFrame) -> None:
    """Mark the unfinished trials among the pending ones, and add the column `censored`."""
    last = trials["key"].map(measurements.groupby("trial")["step"].max())
    unfinished = (trials["status"] == "pending") & last.notna()
    trials.loc[unfinished, "status"] = "unfinished"
    trials.loc[unfinished, "steps"] = last[unfinished].astype("int64")
    trials["censored"] = (trials["status"] == "stopped") & (trials["steps"] < trials["budget"])


def _set_fate(trials: pd.DataFrame) -> None:
    """Add the columns `cut`, `lost` and `lost_seeds`: what became of trials that did not finish."""
    stopped, reason = trials["status"] == "stopped", trials["error"].fillna("").astype(str)
    trials["cut"] = trials["censored"] & (reason == "")
    trials["lost"] = trials["status"].isin(["diverged", "failed"]) | (stopped & reason.str.startswith(COLLAPSED))
    trials["lost_seeds"] = trials.groupby(["cell", "strategy", "source", "confirmation"], dropna=False)["lost"].transform("sum")


def _held(curves: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Repeat the last values of finished tuned trials with a smaller budget than others of their cell at their later steps."""
    curves = curves.assign(held=False)
    tuned = trials.loc[trials["config"].fillna("").str.contains('"tuned":', regex=False), "key"]
    largest = curves.groupby("cell")["budget"].transform("max")
    ended = curves[(curves["status"] == "done") & (curves["budget"] < largest) & (curves["step"] == curves["budget"])]
    ended = ended[ended["trial"].isin(tuned)]
    if len(ended) == 0:
        return curves
    later = curves.loc[curves["cell"].isin(ended["cell"]), ["cell", "embedding", "step"]].drop_duplicates()
    rows = ended.assign(held=True).rename(columns={"step": "ended"}).merge(later, on=["cell", "embedding"])
    return pd.concat([curves, rows[rows["step"] > rows["ended"]][curves.columns]], ignore_index=True)


def _set_labels(trials: pd.DataFrame, domains: Mapping[str, str]) -> None:
    for end in ("source", "target"):
        trials[f"{end}_label"] = pd.Series([domains.get(n) for n in trials[end]], index=trials.index, dtype="object")
    adapt = trials[trials["kind"] == "adapt"]
    # Prefer a recorded trial of the cell: a planned one may lack its settings.
    firsts = adapt.sort_values("config", na_position="last", kind="stable").drop_duplicates("cell")
    labels = label_cells(records(firsts), many_resolutions=adapt["resolution"].nunique() > 1)
    for position, name in enumerate(("cell_label", "family")):
        values = [labels[cell][position] if cell in labels else None for cell in trials["cell"]]
        trials[name] = pd.Series(values, index=trials.index, dtype="object")


def _environments(environments: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    counts = trials["environment"].value_counts()
    used = environments[environments["environment"].isin(counts.index)].reset_index(drop=True)
    details = pd.Series([json.loads(text) for text in used["details"]], dtype="object")
    number = [int(counts[name]) for name in used["environment"]]
    return pd.DataFrame({"environment": used["environment"], "details": details, "trials": number})
