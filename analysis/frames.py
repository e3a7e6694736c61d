"""The store as tidy data frames: what was planned, what became of it, what was measured.

`load` is the one way from a store to everything else in this package. It merges the planned trials with the recorded ones
(a trial that is planned but not recorded is `pending`, or `unfinished` once it has been measured at a rung), makes
censoring explicit, and gives every domain and cell a short label that is unique among those loaded.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.labels import label_domains
from bench.store import SCHEMAS, Store
from trainers.common.errors import unknown_name
from trainers.config.trial import TUNED

#: Every status, in the order in which a reader cares. The last two are this module's: planned, but not recorded yet.
STATUSES = ("done", "stopped", "diverged", "failed", "blocked", "unfinished", "pending")

_INTEGERS = ("size", "seed", "resolution", "steps", "budget")
_FLOATS = ("seconds", "images_per_second", "peak_memory_mib")
_TRIAL_COLUMNS = [*SCHEMAS["trials"].names, "sweep"]
_LABEL_COLUMNS = ["source_label", "target_label", "cell_label", "family"]
_JOINED = ["kind", "source", "target", "size", "strategy", "conditional", "seed", "cell", "parent", "resolution"]
_JOINED += ["status", "censored", "budget", *_LABEL_COLUMNS]


@dataclass(frozen=True)
class Frames:
    """What a store says about one sweep or all of them; every analysis starts here."""

    trials: pd.DataFrame
    """One row per trial, planned or recorded: the columns of the store's table; `status` is one of `STATUSES`; `steps` the
    last step known; `censored` (bool) where the stopping rule ended it before its budget; labels for people:
    `source_label`, `target_label`, `cell_label`, `family` (the cell's label without its size)."""
    curves: pd.DataFrame
    """One row per trial, step, metric and embedding: the table `measurements` joined with its trial's columns. A strategy that
    is tuned may end before others of its cell, at a budget of its own: its last values then stand for their later steps too,
    in rows of which `held` is true."""
    distances: pd.DataFrame
    """The table `distances` with `source_label` and `target_label`."""
    domain_statistics: pd.DataFrame
    """What each domain is like by itself, the table `domains`: its `diversity` and `spacing` by resolution and embedding."""
    environments: pd.DataFrame
    """One row per environment: `environment`, `details` (a dict), `trials` (how many ran there)."""
    sweeps: dict[str, dict[str, Any]]
    """What each sweep planned, by name; see `Store.read_sweeps`."""
    searches: dict[str, dict[str, Any]]
    """What the searches for strategies' settings have found, by identity; see `bench.tuning`. Their trials are in no frame."""
    domains: dict[str, str]
    """The label of each domain, by its name."""

    @property
    def embeddings(self) -> list[str]:
        """Return the embeddings that something was measured in. Numbers of two of them must never meet."""
        return sorted(self.curves["embedding"].unique())

    @property
    def names(self) -> list[str]:
        """Return the sweeps that are told of: those planned, and those that recorded what none of these planned."""
        planned = {row["key"] for plan in self.sweeps.values() for row in plan["trials"]}
        return sorted({*self.sweeps, *self.trials.loc[~self.trials["key"].isin(planned), "sweep"]})

    def trials_in(self, embedding: str) -> pd.DataFrame:
        """Return the trials, but for those of cells that were measured in other embeddings alone."""
        own = self.curves["embedding"] == embedding
        others = {*self.curves.loc[~own, "cell"].dropna()} - {*self.curves.loc[own, "cell"]}
        return self.trials[~self.trials["cell"].isin(others)]


def load(store: Store, sweep: str | None = None) -> Frames:
    """Read a store.

    Args:
        store: where to read.
        sweep: restrict to the trials that this sweep planned or ran (and the distances between their domains);
            None takes everything.

    Raises:
        UserError: the store knows no such sweep.
    """
    everything = store.read_sweeps()
    planned = {name: plan for name, plan in everything.items() if all(row.get("kind") != "tune" for row in plan["trials"])}
    recorded = store.read("trials")
    recorded = recorded[recorded["kind"] != "tune"]
    keys: set[str] | None = None
    if sweep is not None:
        known = {*planned, *recorded["sweep"]}
        if sweep not in known:
            raise unknown_name("sweep", sweep, known)
        planned = {name: plan for name, plan in planned.items() if name == sweep}
        # A trial that another sweep ran first counts as this one's when this one planned it too.
        keys = {row["key"] for plan in planned.values() for row in plan["trials"]}
        keys |= set(recorded.loc[recorded["sweep"] == sweep, "key"])

    measurements = store.read("measurements").drop(columns=["recorded_at", "sweep"])
    trials = _merge(planned, recorded, keys)
    _set_progress(trials, measurements)
    domains = label_domains({*trials["source"].dropna(), *trials["target"].dropna()})
    _set_labels(trials, domains)

    curves = measurements.rename(columns={"trial": "key"}).merge(trials[["key", *_JOINED]], on="key")
    curves = _held(curves.rename(columns={"key": "trial"})).sort_values(["trial", "embedding", "metric", "step"])
    distances = store.read("distances").drop(columns=["recorded_at", "sweep"])
    distances = distances[distances["source"].isin(domains) & distances["target"].isin(domains)].reset_index(drop=True)
    for end in ("source", "target"):
        distances[f"{end}_label"] = distances[end].map(domains)
    return Frames(
        trials=trials,
        curves=curves.reset_index(drop=True),
        distances=distances,
        domain_statistics=store.read("domains").drop(columns=["recorded_at", "sweep"]),
        environments=_environments(store.read("environments"), trials),
        sweeps=planned,
        searches={plan["tuning"]["search"]: plan["tuning"] for plan in everything.values() if plan.get("tuning")},
        domains=domains,
    )


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as plain dicts, None for whatever is missing."""
    return [{str(k): None if pd.isna(v) else v for k, v in row.items()} for row in frame.to_dict("records")]


def _merge(planned: Mapping[str, dict[str, Any]], recorded: pd.DataFrame, keys: set[str] | None) -> pd.DataFrame:
    """Return one row per trial, the recorded row where there is one, with plain types (None for missing text)."""
    rows: dict[str, dict[str, Any]] = {}
    for name, plan in planned.items():
        for row in plan["trials"]:
            rows.setdefault(row["key"], {**row, "sweep": name, "status": "pending"})
    for record in records(recorded):
        if keys is None or record["key"] in keys:
            rows[record["key"]] = record
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
    """Tell pending trials from unfinished ones, and say which trials are censored."""
    last = trials["key"].map(measurements.groupby("trial")["step"].max())
    unfinished = (trials["status"] == "pending") & last.notna()
    trials.loc[unfinished, "status"] = "unfinished"
    trials.loc[unfinished, "steps"] = last[unfinished].astype("int64")
    trials["censored"] = (trials["status"] == "stopped") & (trials["steps"] < trials["budget"])


def _held(curves: pd.DataFrame) -> pd.DataFrame:
    """Add the rows that say of a trial with a smaller budget than others of its cell that it stays what it was at its end."""
    curves = curves.assign(held=False)
    most = curves.groupby("cell")["budget"].transform("max")
    ended = curves[(curves["status"] == "done") & (curves["budget"] < most) & (curves["step"] == curves["budget"])]
    if len(ended) == 0:
        return curves
    later = curves.loc[curves["cell"].isin(ended["cell"]), ["cell", "embedding", "step"]].drop_duplicates()
    rows = ended.assign(held=True).rename(columns={"step": "ended"}).merge(later, on=["cell", "embedding"])
    return pd.concat([curves, rows[rows["step"] > rows["ended"]][curves.columns]], ignore_index=True)


def _set_labels(trials: pd.DataFrame, domains: Mapping[str, str]) -> None:
    for end in ("source", "target"):
        trials[f"{end}_label"] = pd.Series([domains.get(n) for n in trials[end]], index=trials.index, dtype="object")
    labels = _label_cells(trials[trials["kind"] == "adapt"])
    for position, name in enumerate(("cell_label", "family")):
        values = [labels[cell][position] if cell in labels else None for cell in trials["cell"]]
        trials[name] = pd.Series(values, index=trials.index, dtype="object")


def _label_cells(adapt: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return (label, family) per cell; only what sets a cell apart from the others is in its label."""
    many_resolutions = adapt["resolution"].nunique() > 1
    # A recorded trial knows its settings, a planned one may not: let the recorded one speak for its cell.
    firsts = adapt.sort_values("config", na_position="last", kind="stable").drop_duplicates("cell")
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in records(firsts):
        name = row["target_label"] + (", conditional" if row["conditional"] else "")
        families[name + (f", {row['resolution']} px" if many_resolutions else "")].append(row)
    labels: dict[str, tuple[str, str]] = {}
    for family, rows in families.items():
        settings = {row["cell"]: _settings(row) for row in rows}
        names = sorted({name for values in settings.values() for name in values})
        varying = [n for n in names if len({v[n] for v in settings.values() if n in v}) > 1]
        for row in rows:
            own = settings[row["cell"]]
            full = ", ".join([family, *(f"{name.partition('.')[2]} {own[name]}" for name in varying if name in own)])
            label = f"{full}, {row['size']:,} images"
            if label in {taken for taken, _ in labels.values()}:
                full, label = f"{full} ({row['cell'][:6]})", f"{label} ({row['cell'][:6]})"
            labels[row["cell"]] = (label, full)
    return labels


def _settings(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the scalar settings of a trial's GAN, training and evaluation by dotted name."""
    if not row["config"]:
        return {}
    config = json.loads(row["config"])
    settings = {
        f"{part}.{name}": str(value)
        for part in ("gan", "training", "evaluation")
        for name, value in config.get(part, {}).items()
        if name != "resolution" and not (config.get("tuned") and name in TUNED)
    }
    return {
        **settings,
        "trial.augmentation": config.get("augmentation", "none"),
        "trial.strategies": "tuned" if config.get("tuned") else "not tuned",
    }


def _environments(environments: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    counts = trials["environment"].value_counts()
    used = environments[environments["environment"].isin(counts.index)].reset_index(drop=True)
    details = pd.Series([json.loads(text) for text in used["details"]], dtype="object")
    number = [int(counts[name]) for name in used["environment"]]
    return pd.DataFrame({"environment": used["environment"], "details": details, "trials": number})
