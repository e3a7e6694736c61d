"""The check of a store: all faults of its tables, sweeps and files. Only reads the store."""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from bench.driver.ledger import Ledger
from bench.driver.results import after_start, of_evaluation, of_plan
from bench.driver.stopping import Action
from bench.store import Store, parts
from bench.store.columns import kept
from bench.store.content import left_out, usable
from bench.store.grids import open_grid
from bench.store.plans import former_paths, plan_path, sweep_of
from bench.store.references import check_reference
from bench.store.schema import FINISHED, KEYS, LARGE, SCHEMAS, Table, by_step, newest
from bench.store.trial_files import check_checkpoint, checkpoints_by_trial, owner_by_path
from bench.sweeps.plan import Plan
from bench.sweeps.rows import recorded, trial_of
from trainers.common.errors import DamagedError, UserError
from trainers.config.trial import TrialConfig

#: The column in which rows with equal keys must agree.
_RESULT: dict[Table, str] = {"measurements": "value", "distances": "value", "domains": "value", "environments": "details"}


@dataclass(frozen=True)
class Fault:
    """One fault of a store.

    Attributes:
        kind: part, row, schema, key, rung, outcome, unknown, differing, file, link, temporary or sweep.
        where: a file, or a table and a row's key.
        what: what is wrong.
    """

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        r"""One line: a line break in a name, which a row may have, is shown as \n."""
        return r"\n".join(f"{self.where}: {self.what}".splitlines())


def check(store: Store) -> list[Fault]:
    """Return all faults of a store. While a sweep runs, files that are being written or deleted may be reported."""
    return list(_Check(store).faults())


class _Check:
    """A store's tables, sweeps and files as read once, and the checks on them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._damaged: list[Fault] = []
        self._plans: dict[str, Plan] = {}
        self._rows = {table: self._read(table) for table in SCHEMAS}
        self._planned = self._read_sweeps()
        self._files = store.files(below=True)

    def faults(self) -> Iterator[Fault]:
        """Yield the faults of the tables, then those of the files."""
        yield from self._damaged
        yield from self._wrong_keys()
        yield from self._missing_rungs()
        yield from self._continued_trials()
        yield from self._unknown_references()
        yield from self._differing_results()
        yield from self._missing_files()
        yield from self._damaged_files()

    @cached_property
    def _trials(self) -> list[tuple[dict[str, Any], TrialConfig | None]]:
        """The newest row of every trial, with its configuration, or None if this version of the program cannot read it."""
        rows = newest(self._rows["trials"], "trials").to_pylist()
        return [(row, trial_of(row["config"])) for row in rows]

    def _read(self, table: Table) -> pa.Table:
        """Return all rows of a table, including rows with equal keys; note damaged parts."""
        tables = []
        for name in self._store.list_parts(table):
            try:
                data = self._store.read_file(name)
                rows = parts.unpack(Path(name).name, data, SCHEMAS[table])
            except FileNotFoundError:  # deleted since it was listed
                continue
            except DamagedError as error:
                self._damaged.append(Fault("part", name, str(error)))
                continue
            sound = kept(rows, usable(rows, table))
            tables.append(sound)
            if len(sound) < len(rows):
                self._damaged.append(Fault("row", name, left_out(len(rows) - len(sound), table)))
            present = {*pq.read_schema(pa.BufferReader(data)).names, *LARGE.get(table, ())}  # older parts lack these
            differing = present ^ set(SCHEMAS[table].names)
            if differing:
                columns = ", ".join(sorted(differing))
                self._damaged.append(Fault("schema", name, f"does not have this table's schema: {columns} missing or unknown"))
        return pa.concat_tables([SCHEMAS[table].empty_table(), *tables])

    def _read_sweeps(self) -> set[str]:
        """Return the keys of all planned trials; note sweeps that cannot be read."""
        keys: set[str] = set()
        for file in (*self._store.list_files("sweeps"), *former_paths(self._store)):
            try:
                planned = self._store.read_sweep(file)
                keys |= {row["key"] for row in planned["trials"]}
            except UserError as error:
                self._damaged.append(Fault("sweep", file, str(error).partition(" is ")[2]))
                continue
            with suppress(ValidationError):  # planned by another version
                name = sweep_of(file) or file
                self._plans[name if file == plan_path(name) else f"{name} (former plan {Path(file).stem})"] = recorded(planned)
        return keys

    def _wrong_keys(self) -> Iterator[Fault]:
        """Yield keys that are not the content hash of their row."""
        for row, config in self._trials:
            try:
                # A row of another version has other settings, so its key cannot be checked here.
                if config is not None and config.canonical_json() == row["config"] and config.key != row["key"]:
                    yield Fault("key", f"trials, {row['key']}", f"its configuration's key is {config.key}")
            except UserError:  # the embedding's file is not on this machine
                continue
            if config is None:
                yield Fault("key", f"trials, {row['key']}", "its configuration cannot be read")
        for row in self._rows["environments"].to_pylist():
            if hashlib.sha256((row["details"] or "").encode()).hexdigest()[:16] != row["environment"]:
                yield Fault("key", f"environments, {row['environment']}", "not the hash of its details")

    def _missing_rungs(self) -> Iterator[Fault]:
        """Yield ended trials without measurements at step 0 or at a rung that they reached."""
        measured = steps_by_trial(self._rows["measurements"].select(["trial", "step"]).to_pandas())
        for row, _ in self._trials:
            for step in missing_rungs(row, measured):
                yield Fault("rung", f"trials, {row['key']}", f"{row['status']}, and not measured at step {step}")

    def _continued_trials(self) -> Iterator[Fault]:
        """Yield trials that are done, although a driver had recorded that the rule stops them and every sweep's rule does.

        A sweep with a larger cell or another rule may continue a trial that one sweep stopped, so all sweeps are asked.
        """
        rows = self._rows["trials"].select(["key", "status", "steps"]).to_pylist()
        stopped = {row["key"]: row["steps"] or 0 for row in rows if row["status"] == "stopped"}
        done = {row["key"]: row["steps"] or 0 for row in rows if row["status"] == "done"}
        continued = {key for key, steps in stopped.items() if steps < done.get(key, 0)}
        if not continued:
            return
        plans = {name: plan for name, plan in self._plans.items() if continued & plan.by_key.keys()}
        ledgers = {name: self._ledger(plan) for name, plan in plans.items()}
        for key in sorted(continued):
            verdicts = {name: ledger.verdict(key) for name, ledger in ledgers.items() if key in ledger.plan.by_key}
            if verdicts and all(verdict.action is Action.STOP for verdict in verdicts.values()):
                rules = ", ".join(f"{name} at step {verdict.rung}" for name, verdict in verdicts.items())
                yield Fault("outcome", f"trials, {key}", f"done, but the stopping rule stops it in sweep {rules}")

    def _ledger(self, plan: Plan) -> Ledger:
        """Return the ledger of a plan; it has the rows that were read, and unlike `Ledger.open` sets no part aside."""
        measured = newest(self._rows["measurements"], "measurements")
        measured = of_plan(of_evaluation(after_start(measured), plan.spec.evaluation), "trial", plan)
        values, diversity = (by_step(measured, name, plan.by_key) for name in (plan.spec.stopping.metric, "diversity"))
        ends = {row["key"]: row["status"] for row, _ in self._trials if row["status"] in ("done", "diverged", "failed")}
        return Ledger(plan, {key: ends.get(key, "pending") for key in plan.by_key}, values, diversity)

    def _unknown_references(self) -> Iterator[Fault]:
        """Yield trial keys and environments that rows name but the store lacks."""
        keys = self._planned | {row["key"] for row, _ in self._trials}
        columns: tuple[tuple[Table, str], ...] = (("measurements", "trial"), ("distances", "trial"), ("trials", "parent"))
        for table, column in columns:
            for key in sorted(set(self._rows[table][column].unique().to_pylist()) - keys - {None}):
                yield Fault("unknown", f"{table}, {column} {key}", "no sweep has planned or recorded this trial")
        environments = set(self._rows["environments"]["environment"].to_pylist())
        for environment in sorted({row["environment"] for row, _ in self._trials} - environments - {None}):
            yield Fault("unknown", f"trials, environment {environment}", "no row of table environments describes it")

    def _differing_results(self) -> Iterator[Fault]:
        """Yield results that were recorded several times with different values."""
        for table, result in _RESULT.items():
            rows = self._rows[table].select([*KEYS[table], result]).to_pandas()
            twice = rows[rows.duplicated(KEYS[table], keep=False)]
            counts = twice.groupby(KEYS[table], dropna=False, sort=False)[result].nunique(dropna=False)
            for key, count in counts[counts > 1].items():
                named = ", ".join(str(part) for part in (key if isinstance(key, tuple) else (key,)))
                yield Fault("differing", f"{table}, {named}", f"recorded with {count} different values of {result}")

    def _missing_files(self) -> Iterator[Fault]:
        """Yield files that trials name but the store lacks, or that are of other trials."""
        checkpoints = checkpoints_by_trial(self._files)
        for row, _ in self._trials:
            for column in ("checkpoint", "samples", "real_samples"):
                name = row[column]
                if name and owner_by_path(name) not in (None, row["key"]):
                    yield Fault("file", name, f"named by trial {row['key']}, but of another trial")
                    continue
                # If a larger sweep has continued the trial, a later checkpoint replaces the one in its row.
                others = checkpoints.get(row["key"], {}).values() if column == "checkpoint" else ()
                if name and name not in self._files and not any(other > name for other in others):
                    yield Fault("file", name, f"missing, but named by trial {row['key']}")

    def _damaged_files(self) -> Iterator[Fault]:
        """Yield damaged files, temporary files, and links that lead out of the store."""
        for name in self._files:
            folder = name.partition("/")[0]
            if folder in CHECKS and not name.endswith(".json"):
                try:
                    CHECKS[folder](self._store, name, self._store.read_file(name))
                except FileNotFoundError:  # replaced since it was listed
                    continue
                except DamagedError as error:
                    yield Fault("file", name, str(error))
        for name in self._store.links_out():
            yield Fault("link", name, LINK)
        for name in self._store.files(below=True, temporary=True):
            yield Fault("temporary", name, "a temporary file, left by a killed writer or in use by a running one")


def steps_by_trial(measurements: pd.DataFrame) -> dict[str, set[int]]:
    """Return the steps at which each trial has a measurement of any metric."""
    pairs = measurements[["trial", "step"]].drop_duplicates()
    return {str(key): set(steps) for key, steps in pairs.groupby("trial")["step"]}


def rungs_until(trial: TrialConfig, status: str, steps: int) -> set[int]:
    """Return the steps at which a trial that ended at step `steps` must have measurements; a diverged one has none there."""
    return {step for step in (0, *trial.rungs) if step < steps or (step == steps and status != "diverged")}


def missing_rungs(row: Mapping[str, Any], measured: Mapping[str, set[int]]) -> list[int]:
    """Return the steps at which a row of table `trials` lacks measurements, given the measured steps by trial key."""
    trial = trial_of(row["config"])
    if trial is None or row["status"] not in FINISHED:
        return []
    return sorted(rungs_until(trial, row["status"], row["steps"] or 0) - measured.get(row["key"], set()))


def _check_image(store: Store, name: str, data: bytes) -> None:
    try:
        with open_grid(data) as image:
            image.verify()  # checks the checksums of all chunks of a PNG
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise DamagedError(f"not a complete image: {error}") from error


def _check_reference(store: Store, name: str, data: bytes) -> None:
    from trainers.evaluation.references import load

    load(data)
    check_reference(name, data)


#: By folder, a function of a store, a file's path in it and the file's bytes; it raises DamagedError unless the bytes are
#: complete, unchanged and those of the path.
CHECKS: dict[str, Callable[[Store, str, bytes], None]] = {
    "checkpoints": check_checkpoint,
    "generators": check_checkpoint,
    "critics": check_checkpoint,
    "samples": _check_image,
    "references": _check_reference,
}

#: What is wrong with a link that leads out of a store.
LINK = "a link that leads out of the store, or to nothing; it is not followed"
