"""Merging: one store takes over from another the rows and files that it lacks.

Files come first, then what was planned, then the tables, and the outcomes of trials last: whoever is killed in between has
left nothing that names what is not there, and the same command goes on from where it was. The store that is copied from is
only read.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bench.store import Store, parts
from bench.store.schema import FINISHED, KEYS, SCHEMAS, Table, newest
from bench.store.trial_files import checkpoints_by_trial
from bench.upkeep.check import WHOLE, config_of, rungs_until, steps_by_trial
from trainers.common.errors import DamagedError, UserError

_SWEEP = pa.field("sweep", pa.string())
_FILES = ("checkpoint", "samples", "real_samples")
_BEFORE_TRIALS: tuple[Table, ...] = ("environments", "domains", "distances", "measurements")


@dataclass
class Merged:
    """What was taken over, and what was not."""

    rows: dict[str, int] = field(default_factory=dict)
    """By table."""
    files: int = 0
    left_out: list[str] = field(default_factory=list)
    """A line for each file that is damaged, and each trial whose results are lost with one."""


def merge(source: Store, target: Store) -> Merged:
    """Copy what the target lacks. Safe to repeat, and to kill; the source should not be compacted meanwhile.

    Of a row that both have, the target's stays, but for the outcome of a trial that the source has taken further. Of a sweep
    that both have under one name with other trials, the source's plan is kept under a name of its own.
    """
    done = Merged()
    done.files = _copy_files(source, target, done.left_out)
    _copy_sweeps(source, target, done)
    theirs = {table: _rows(source, table, done.left_out) for table in SCHEMAS}
    ours = {table: _rows(target, table, []) for table in SCHEMAS}
    measured = steps_by_trial(
        pa.concat_tables(rows["measurements"].select(["trial", "step"]) for rows in (ours, theirs)).to_pandas()
    )
    environments = {*ours["environments"]["environment"].to_pylist(), *theirs["environments"]["environment"].to_pylist()}
    trials = _whole_trials(_further(theirs["trials"], ours["trials"]), measured, environments, target, done.left_out)
    known = {*ours["trials"]["key"].to_pylist(), *trials["key"].to_pylist(), *_planned(target), None}
    for table in _BEFORE_TRIALS:
        rows = _lacking(theirs[table], ours[table], table)
        if "trial" in KEYS[table]:
            rows = rows.filter(pa.array([key in known for key in rows["trial"].to_pylist()], pa.bool_()))
        done.rows[table] = _publish(target, table, rows)
    done.rows["trials"] = _publish(target, "trials", trials)
    return done


def _copy_files(source: Store, target: Store, left_out: list[str]) -> int:
    there, copied = target.files(below=True), 0
    latest = {key: max(steps) for key, steps in checkpoints_by_trial(there).items()}
    outdated = {
        name
        for key, steps in checkpoints_by_trial(source.files("checkpoints", below=True)).items()
        for step, name in steps.items()
        if step < latest.get(key, 0)
    }
    for folder, look in WHOLE.items():
        for name in source.files(folder, below=True):
            if name in there or name in outdated:
                continue
            try:
                data = source.read_file(name)
                look(data)
            except FileNotFoundError:  # replaced by a later one since it was listed
                continue
            except DamagedError as error:
                left_out.append(f"{name} is left out: {error}")
                continue
            target.write_file(name, data)
            copied += 1
    return copied


def _copy_sweeps(source: Store, target: Store, done: Merged) -> None:
    there = target.read_sweeps()
    for file in source.list_files("sweeps"):
        if not file.endswith(".json"):
            continue
        try:
            planned = source.read_sweep(file)
        except UserError as error:
            done.left_out.append(f"{file} is left out: {error}")
            continue
        if any(_same(planned, own) for own in there.values()):
            continue
        name, number = Path(file).stem, 2
        while name in there:
            name, number = f"{Path(file).stem[:60]}-{number}", number + 1
        there[name] = {**planned, "spec": {**planned["spec"], "name": name}}
        target.write_sweep(name, there[name])
        done.files += 1


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Say whether two sweeps plan the same, whatever they are called."""
    one, other = (json.dumps({**plan, "spec": {**plan["spec"], "name": ""}}, sort_keys=True) for plan in (a, b))
    return one == other


def _planned(store: Store) -> set[str]:
    return {row["key"] for plan in store.read_sweeps().values() for row in plan["trials"]}


def _rows(store: Store, table: Table, left_out: list[str]) -> pa.Table:
    """Return a table's rows, one per key, with their sweep; damaged parts stay where they are and are told of."""
    found = [SCHEMAS[table].append(_SWEEP).empty_table()]
    for name in store.list_parts(table):
        try:
            rows = parts.unpack(Path(name).name, store.read_file(name), SCHEMAS[table])
        except FileNotFoundError:  # merged into another since it was listed
            continue
        except DamagedError as error:
            left_out.append(f"{name} is left out: {error}")
            continue
        found.append(rows.append_column(_SWEEP, pa.repeat(name.split("/")[1].removeprefix("sweep="), len(rows))))
    return newest(pa.concat_tables(found), table)


def _lacking(theirs: pa.Table, ours: pa.Table, table: Table) -> pa.Table:
    """Return those of their rows whose key is not among ours."""
    known = {tuple(row.values()) for row in ours.select(KEYS[table]).to_pylist()}
    return theirs.filter(
        pa.array([tuple(row.values()) not in known for row in theirs.select(KEYS[table]).to_pylist()], pa.bool_())
    )


def _further(theirs: pa.Table, ours: pa.Table) -> pa.Table:
    """Return the outcomes that we lack, or that are later than ours by what happened: done, or at a later step."""

    def place(row: dict[str, Any]) -> tuple[bool, int]:
        return row["status"] == "done", row["steps"] or 0

    own = {row["key"]: place(row) for row in ours.select(["key", "status", "steps"]).to_pylist()}
    rows = theirs.select(["key", "status", "steps"]).to_pylist()
    later = [row["key"] not in own or place(row) > own[row["key"]] for row in rows]
    return theirs.filter(pa.array(later, pa.bool_()))


def _whole_trials(
    trials: pa.Table, measured: dict[str, set[int]], environments: set[str], target: Store, left_out: list[str]
) -> pa.Table:
    """Return the outcomes without those whose measurements are lost, and without the names of files that are."""
    return pa.Table.from_pylist(list(_whole(trials, measured, environments, target, left_out)), schema=trials.schema)


def _whole(
    trials: pa.Table, measured: dict[str, set[int]], environments: set[str], target: Store, left_out: list[str]
) -> Iterator[dict[str, Any]]:
    there = target.files(below=True)
    checkpoints = checkpoints_by_trial(there)
    for row in trials.to_pylist():
        config = config_of(row["config"])
        if config is not None and row["status"] in FINISHED:
            lost = rungs_until(config, row["status"], row["steps"] or 0) - measured.get(row["key"], set())
            if lost:
                steps = ", ".join(map(str, sorted(lost)))
                left_out.append(f"trial {row['key']} is left out: what it measured at step {steps} is lost")
                continue
        for column in _FILES:
            later = column == "checkpoint" and any(name > row[column] for name in checkpoints.get(row["key"], {}).values())
            if row[column] not in there and not (row[column] and later):
                row[column] = None
        if row["environment"] not in environments:
            row["environment"] = None
        yield row


def _publish(store: Store, table: Table, rows: pa.Table) -> int:
    """Write one part per sweep, with the times at which the rows were recorded."""
    for sweep in rows["sweep"].unique().to_pylist():
        own = rows.filter(pc.equal(rows["sweep"], sweep)).drop_columns("sweep")
        name, data = parts.pack(own)
        store.write_file(f"{table}/sweep={sweep}/{name}", data)
    return len(rows)
