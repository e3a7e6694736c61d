"""Merging: copies the rows and files that one store lacks from another, which is only read.

Files are copied first, then the plans of sweeps, then the tables, and the outcomes of trials last. A killed merge therefore
leaves no row that names a missing file or measurement, and the same command continues it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bench.store import SCHEMAS, Store
from bench.store.plans import plan_path, read_all, read_former, sweep_of
from bench.store.schema import KEYS, Table
from bench.store.trial_files import checkpoints_by_trial
from bench.upkeep.check import CHECKS, LINK, missing_rungs, steps_by_trial
from trainers.common.errors import DamagedError, UserError

_FILES = ("checkpoint", "samples", "real_samples")
_BEFORE_TRIALS: tuple[Table, ...] = ("environments", "domains", "distances", "measurements")


@dataclass
class Merged:
    """What a merge copied: rows by table, and files; and a line for each file, link or trial that is left out."""

    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, name: str, why: str) -> None:
        """Record that a file or trial is not copied."""
        self.left_out.append(f"{name} is left out: {why}")


def merge(source: Store, target: Store) -> Merged:
    """Copy what the target lacks. May be killed and repeated; the source should not be compacted meanwhile.

    If both stores have a row, the target's is kept, except for the outcome of a trial that the source has continued further. If
    both have a sweep of one name with different trials, the source's plan is copied under another name.
    """
    merged = Merged()
    merged.files = _copy_files(source, target, merged) + _copy_sweeps(source, target, merged)
    theirs = {table: source.read_rows(table, merged.leave_out) for table in SCHEMAS}
    ours = {table: target.read_rows(table, lambda name, why: None) for table in SCHEMAS}
    measured = steps_by_trial(
        pa.concat_tables(rows["measurements"].select(["trial", "step"]) for rows in (ours, theirs)).to_pandas()
    )
    environments = {*ours["environments"]["environment"].to_pylist(), *theirs["environments"]["environment"].to_pylist()}
    later = _later_outcomes(theirs["trials"], ours["trials"])
    whole = list(_whole_outcomes(later, measured, environments, set(target.files(below=True)), merged))
    trials = pa.Table.from_pylist(whole, schema=later.schema)
    planned = (row["key"] for plan in read_all(target) for row in plan["trials"])
    known = {*ours["trials"]["key"].to_pylist(), *trials["key"].to_pylist(), *planned, None}
    for table in _BEFORE_TRIALS:
        rows = _lacking(theirs[table], ours[table], table)
        if "trial" in KEYS[table]:
            rows = rows.filter(pa.array([key in known for key in rows["trial"].to_pylist()], pa.bool_()))
        merged.rows[table] = _publish(target, table, rows)
    merged.rows["trials"] = _publish(target, "trials", trials)
    return merged


def _copy_files(source: Store, target: Store, merged: Merged) -> int:
    """Copy the undamaged files that the target lacks, except checkpoints older than its own; return how many."""
    present, copied = target.files(below=True), 0
    for name in source.links_out():
        merged.leave_out(name, LINK)
    latest = {key: max(steps) for key, steps in checkpoints_by_trial(present).items()}
    outdated = {
        name
        for key, steps in checkpoints_by_trial(source.files("checkpoints", below=True)).items()
        for step, name in steps.items()
        if step < latest.get(key, 0)
    }
    for folder, check in CHECKS.items():
        for name in source.files(folder, below=True):
            if name in present or name in outdated:
                continue
            try:
                data = source.read_file(name)
                check(source, name, data)
            except FileNotFoundError:  # replaced since it was listed
                continue
            except DamagedError as error:
                merged.leave_out(name, str(error))
                continue
            target.write_file(name, data)
            copied += 1
    return copied


def _copy_sweeps(source: Store, target: Store, merged: Merged) -> int:
    """Copy the plans that the target lacks, under new names if their names are taken, and their former ones; return how many.

    A plan that the target had before is not copied again: the target's newer one stays.
    """
    plans = {plan_path(name): plan for name, plan in target.read_sweeps().items()} | read_former(target)
    former, copied = read_former(source), 0
    taken = {Path(file).stem for file in target.list_files("sweeps")}  # also by plans that this version cannot read
    for file in source.list_files("sweeps"):
        if not file.endswith(".json"):
            continue
        try:
            planned = source.read_sweep(file)
        except UserError as error:
            merged.leave_out(file, str(error))
            continue
        name, number = next((sweep_of(path) for path, plan in plans.items() if _same_plan(planned, plan)), None), 2
        if name is None:
            name = Path(file).stem
            while name in taken:
                name, number = f"{Path(file).stem[:60]}-{number}", number + 1
            plans[plan_path(name)] = renamed = {**planned, "spec": {**planned["spec"], "name": name}}
            taken.add(name)
            target.write_sweep(name, renamed)
            copied += 1
        for path, plan in former.items():
            if sweep_of(path) == Path(file).stem and not any(_same_plan(plan, other) for other in plans.values()):
                copied += target.keep_plan(name, source.read_file(path))
    return copied


def _same_plan(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Return whether two plans are equal apart from the sweep's name."""
    first, second = (json.dumps({**plan, "spec": {**plan["spec"], "name": ""}}, sort_keys=True) for plan in (a, b))
    return first == second


def _lacking(theirs: pa.Table, ours: pa.Table, table: Table) -> pa.Table:
    """Return the rows of `theirs` whose key is not in `ours`."""
    known = {tuple(row.values()) for row in ours.select(KEYS[table]).to_pylist()}
    keys = [tuple(row.values()) for row in theirs.select(KEYS[table]).to_pylist()]
    return theirs.filter(pa.array([key not in known for key in keys], pa.bool_()))


def _later_outcomes(theirs: pa.Table, ours: pa.Table) -> pa.Table:
    """Return the outcomes in `theirs` that `ours` lacks, or that are at a later step, or done where `ours` are not."""

    def progress(row: dict[str, Any]) -> tuple[int, int, bool]:
        return row["steps"] or 0, row["budget"] or 0, row["status"] == "done"

    reached = {row["key"]: progress(row) for row in ours.select(["key", "status", "steps", "budget"]).to_pylist()}
    rows = theirs.select(["key", "status", "steps", "budget"]).to_pylist()
    later = [row["key"] not in reached or progress(row) > reached[row["key"]] for row in rows]
    return theirs.filter(pa.array(later, pa.bool_()))


def _whole_outcomes(
    trials: pa.Table, measured: dict[str, set[int]], environments: set[str], files: set[str], merged: Merged
) -> Iterator[dict[str, Any]]:
    """Yield the outcomes whose measurements are complete, without the names of files and environments that are missing.

    `measured` are the measured steps by trial key, `files` those of the target; `merged` records the trials that are left out.
    """
    checkpoints = checkpoints_by_trial(files)
    for row in trials.to_pylist():
        if lost := missing_rungs(row, measured):
            merged.leave_out(f"trial {row['key']}", f"its measurements at step {', '.join(map(str, lost))} are lost")
            continue
        for column in _FILES:
            name = row[column]
            replaced = name and column == "checkpoint" and any(path > name for path in checkpoints.get(row["key"], {}).values())
            if name not in files and not replaced:
                row[column] = None
        if row["environment"] not in environments:
            row["environment"] = None
        yield row


def _publish(store: Store, table: Table, rows: pa.Table) -> int:
    """Write one part per sweep, keeping the times at which the rows were recorded; return the number of rows."""
    for sweep in rows["sweep"].unique().to_pylist():
        store.append_part(table, sweep, rows.filter(pc.equal(rows["sweep"], sweep)).drop_columns("sweep"))
    return len(rows)
