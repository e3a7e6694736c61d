"""Removes a sweep or a trial from a store, and nothing that others use.

The trials are claimed meanwhile, so that no driver starts or continues one. First go the outcomes, then what they rest on, then
the files, last the plan. What is removed is planned until it is gone, so `transfergan store check` finds no fault at any
moment; the same command goes on with an interrupted removal.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.driver.claims import BEAT, LEASE, Claims
from bench.store import SCHEMAS, Store, parts
from bench.store.plans import former_paths, sweep_of
from bench.store.schema import Table
from bench.upkeep.activity import claimed, signs
from bench.upkeep.removal import Removal
from trainers.common.errors import DamagedError, UserError

#: The tables in the order in which rows are deleted: each only names rows of the later ones.
_ORDER: tuple[Table, ...] = ("trials", "measurements", "distances", "domains", "environments")

#: The column that names the trial of a row.
_TRIAL: dict[Table, str] = {"trials": "key", "measurements": "trial", "distances": "trial"}

#: The columns that decide what becomes of a row, besides the one that every part has.
_NEEDED: dict[Table, tuple[str, ...]] = {
    "trials": ("key", "recorded_at"),
    "measurements": ("trial", "recorded_at"),
    "distances": ("trial", "source", "target", "recorded_at"),
    "domains": ("domain", "recorded_at"),
    "environments": ("environment", "recorded_at"),
}


def check_idle(store: Store, removal: Removal) -> None:
    """Raise UserError if a live driver runs the sweep or one of the trials; the message names its host."""
    drivers = signs(store)
    for sign in drivers.values():
        if sign.alive and removal.sweep is not None and sign.sweep == removal.sweep:
            process = "" if sign.process is None else f", process {sign.process}"
            raise UserError(f"sweep {removal.sweep} is run on {sign.host}{process}; end that run first")
    for claim in claimed(store, drivers):
        if claim.trial in removal.trials and claim.status != "stale":
            raise _busy(claim.trial, claim.host)


def remove(store: Store, removal: Removal, note: Callable[[str], None] = lambda line: None) -> None:
    """Carry out a removal. Safe to interrupt and to repeat. `note` is told if it waits.

    A driver on another machine that is silent is only known to be dead after a minute, for which this waits.

    Raises:
        UserError: see `check_idle`; nothing has been deleted then.
    """
    check_idle(store, removal)
    with Claims(store) as claims:
        _claim(store, claims, removal, note)
        hold = _planned_for_now(store, removal)
        for table in _ORDER:
            _delete_rows(store, table, removal)
        for name in (*removal.files, *removal.plans):
            store.delete_file(name)
        for name in hold:
            store.delete_file(name)


def _claim(store: Store, claims: Claims, removal: Removal, note: Callable[[str], None]) -> None:
    """Claim the trials that are removed."""
    until = time.monotonic() + LEASE + 2 * BEAT
    told = False
    while taken := claims.take_all(removal.trials):
        hosts = {claim.trial: claim for claim in claimed(store, signs(store)) if claim.trial in taken}
        for claim in hosts.values():
            if claim.status != "stale" or time.monotonic() > until:
                raise _busy(claim.trial, claim.host)
        if hosts and not told:
            told = True
            note(f"trials are claimed by a run that gives no sign of life; waiting {LEASE:g} seconds to see whether it is dead")
        time.sleep(1)


def _busy(trial: str, host: str) -> UserError:
    return UserError(f"trial {trial} is claimed by a run on {host or 'an unknown host'}; end that run first")


def _planned_for_now(store: Store, removal: Removal) -> list[str]:
    """Plan the trials that are removed once more, so that no row is ever of an unknown trial; return the files of that plan."""
    sweep = removal.sweep or next((str(row["sweep"]) for row in removal.trials.values() if row.get("sweep")), "removed")
    trials = [{key: value for key, value in row.items() if key != "sweep"} for row in removal.trials.values()]
    data = json.dumps({"spec": {}, "trials": [{"config": None, **row} for row in trials]}, sort_keys=True).encode()
    store.keep_plan(sweep, data)
    return [name for name in former_paths(store) if sweep_of(name) == sweep and store.read_file(name) == data]


def _delete_rows(store: Store, table: Table, removal: Removal) -> None:
    """Delete the rows of the removed trials; of a removed sweep, write the other rows to the folders of sweeps that use them.

    A part without the deleted rows is published before the part itself is deleted; rows that are there twice read as one.
    """
    used: dict[str, str] = {}
    if table == "environments":
        rows = store.read_rows("trials").select(["environment", "sweep"]).to_pylist()
        used = {row["environment"]: row["sweep"] for row in rows}
    for name in _parts_as_they_come(store, table):
        sweep = name.split("/")[1].removeprefix("sweep=")
        moves = sweep == removal.sweep
        if not moves and table not in _TRIAL:
            continue
        try:
            data = store.read_file(name)
            known = parts.unpack(Path(name).name, data, pa.schema([SCHEMAS[table].field(column) for column in _NEEDED[table]]))
        except (FileNotFoundError, DamagedError):  # compacted meanwhile, or of no use to anyone
            continue
        homes = [_home(row, table, sweep, removal, used) for row in known.to_pylist()]
        if not moves and None not in homes:
            continue
        whole = pq.read_table(pa.BufferReader(data))  # with columns of newer versions
        for home in sorted({home for home in homes if home is not None}):
            store.append_part(table, home, whole.filter(pa.array([each == home for each in homes], pa.bool_())))
        store.delete_file(name)


def _parts_as_they_come(store: Store, table: Table) -> Iterator[str]:
    """Yield the parts of a table, also those that are published meanwhile, because a driver may merge some."""
    seen: set[str] = set()
    while new := set(store.list_parts(table)) - seen:
        yield from sorted(new)
        seen |= new


def _home(row: dict[str, Any], table: Table, sweep: str, removal: Removal, used: dict[str, str]) -> str | None:
    """Return the sweep in whose folder a row of a sweep stays, None if it is deleted."""
    trial = row[_TRIAL[table]] if table in _TRIAL else None
    if trial in removal.trials:
        return None
    if sweep != removal.sweep:
        return sweep
    if trial is not None:
        return removal.shared.get(trial)
    if table == "environments":
        return used.get(row["environment"])
    ends = [row["source"], row["target"]] if table == "distances" else [row["domain"]]
    homes = [removal.domains.get(end) for end in ends]
    return None if None in homes else homes[-1]
