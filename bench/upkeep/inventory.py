"""What a store holds, sweep by sweep, and the files of trials that no sweep has."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow.fs as pafs
from pydantic import ValidationError

from bench.driver.ledger import ENDED, Ledger
from bench.store import Store
from bench.store.plans import read_former, sweep_of
from bench.store.trial_files import owner_by_path, real_samples_path
from bench.sweeps.rows import recorded, trial_of


@dataclass(frozen=True)
class Holding:
    """What a store holds of one sweep.

    Attributes:
        sweep: its name; None for the files of trials that no sweep has planned or recorded.
        plans: number of its plans: the newest, and those that it has replaced; 0 if the store has lost it.
        trials: number of the trials of its newest plan, and of those that only a former plan has and that have an outcome;
            without a plan, of those that it has recorded.
        statuses: number of trials by status; a trial that has not ended is pending, whether it runs or not.
        planned, ended: number of the trials of its newest plan, and of those of them that have ended; None without a plan.
        files: number of the files of its trials, their grids of real images, its plan, and its parts of the tables: what
            `store remove` deletes, unless another sweep has it too, as each counts what they share. References belong to none.
        size: bytes in these files.
        written: when the last of them was written, by the clock of the store; None without files.
    """

    sweep: str | None
    plans: int
    trials: int
    statuses: dict[str, int]
    planned: int | None
    ended: int | None
    files: int
    size: int
    written: datetime | None


def holdings(store: Store) -> list[Holding]:
    """Return what a store holds of each sweep, by name, and last of trials without one, if there are any."""
    plans, former = store.read_sweeps(), read_former(store)
    ran: dict[str, dict[str, str]] = {}
    everywhere: dict[str, str] = {}
    for row in store.rows("trials").select(["sweep", "key", "status"]).to_pylist():
        ran.setdefault(row["sweep"], {})[row["key"]] = everywhere[row["key"]] = row["status"]
    rows = store.rows("measurements")
    measured: dict[str, set[str]] = {}
    for sweep, trial in zip(rows["sweep"].to_pylist(), rows["trial"].to_pylist(), strict=True):
        measured.setdefault(sweep, set()).add(trial)
    infos = store.files(below=True)
    by_owner: dict[str, list[pafs.FileInfo]] = {}
    by_sweep: dict[str, list[pafs.FileInfo]] = {}
    for name, info in infos.items():
        if (key := owner_by_path(name)) is not None:
            by_owner.setdefault(key, []).append(info)
        elif (sweep := sweep_by_path(name)) is not None:
            by_sweep.setdefault(sweep, []).append(info)
    found, owned = [], set()
    for name in sorted({*plans, *by_sweep}):
        before = [plan for path, plan in former.items() if sweep_of(path) == name]
        versions = [*([plans[name]] if name in plans else ()), *before]
        statuses = dict(ran.get(name, {}))
        keys = {*statuses, *measured.get(name, ()), *(row["key"] for plan in versions for row in plan["trials"])}
        newest: dict[str, str] | None = None
        if name in plans:
            planned = [row["key"] for row in plans[name]["trials"]]
            newest = _statuses(plans[name], store) or {key: statuses.get(key, "pending") for key in planned}
            of_former = {row["key"] for plan in before for row in plan["trials"]}
            statuses = {key: everywhere[key] for key in of_former & everywhere.keys()} | statuses | newest
        owned |= keys
        grids = real_grids(row for plan in versions for row in plan["trials"]) & infos.keys()
        of_trials = (info for key in keys for info in by_owner.get(key, ()))
        files = [*by_sweep.get(name, ()), *of_trials, *(infos[grid] for grid in grids)]
        found.append(_holding(name, len(versions), statuses, files, newest))
    orphans = by_owner.keys() - owned
    if orphans:
        files = [info for key in orphans for info in by_owner[key]]
        found.append(_holding(None, 0, dict.fromkeys(orphans, "unknown"), files))
    return found


def real_grids(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the paths of the grids of real images of planned or recorded trials."""
    paths, seen = set(), set()
    for row in rows:
        ends = tuple(row.get(name) for name in ("kind", "source", "target", "resolution"))
        if ends not in seen and (trial := trial_of(row.get("config"))) is not None:
            paths.add(real_samples_path(trial))
            seen.add(ends)
    return paths


def sweep_by_path(name: str) -> str | None:
    """Return the sweep whose plan, job or part of a table a path in the store is; None for another path."""
    if (planned := sweep_of(name)) is not None:
        return planned
    folder, _, rest = name.partition("/")
    if folder == "jobs":
        return rest.removesuffix(".json")
    sweep, _, part = rest.partition("/")
    return sweep.removeprefix("sweep=") if part and sweep.startswith("sweep=") else None


def _statuses(planned: dict[str, object], store: Store) -> dict[str, str]:
    """Return the status of each trial of a plan as `transfergan status` counts it; empty if another version planned it."""
    try:
        ledger = Ledger.open(recorded(planned), store)
    except ValidationError:
        return {}
    ledger.settle()
    return dict(ledger.status)


def _holding(
    name: str | None, plans: int, statuses: dict[str, str], files: Iterable[pafs.FileInfo], newest: dict[str, str] | None = None
) -> Holding:
    infos = list(files)
    written = max((info.mtime for info in infos if info.mtime is not None), default=None)
    counts = dict(Counter(statuses.values()).most_common())
    planned = None if newest is None else len(newest)
    ended = None if newest is None else sum(status in ENDED for status in newest.values())
    size = sum(info.size for info in infos)
    return Holding(name, plans, len(statuses), counts, planned, ended, len(infos), size, written)
