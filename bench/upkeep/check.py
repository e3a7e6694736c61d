"""What is wrong with a store: every invariant looked at, every fault named. Changes nothing."""

import hashlib
import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydantic import ValidationError

from bench.store import Store, parts
from bench.store.schema import FINISHED, KEYS, SCHEMAS, Table, newest
from bench.store.trial_files import checkpoints_by_trial
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError, UserError
from trainers.config.trial import TrialConfig

#: The column that a second recording of the same result must repeat.
_RESULT: dict[Table, str] = {"measurements": "value", "distances": "value", "domains": "value", "environments": "details"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        kind: part, schema, key, rung, unknown, differing, file, temporary or sweep.
        where: a file of the store, or a table and a row's key.
        what: what is wrong there.
    """

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def check(store: Store) -> list[Fault]:
    """Return every fault of a store.

    Beside a running sweep a file that is just being written, or deleted, may be named.
    """
    return list(_Check(store).faults())


class _Check:
    """The tables of a store as they are, and the questions to them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._damaged: list[Fault] = []
        self._rows = {table: self._read(table) for table in SCHEMAS}
        self._planned = self._read_sweeps()
        self._files = store.files(below=True)

    def faults(self) -> Iterator[Fault]:
        """Yield the faults, table by table, then those of the files."""
        yield from self._damaged
        yield from self._keys()
        yield from self._rungs()
        yield from self._unknown()
        yield from self._differing()
        yield from self._named_files()
        yield from self._other_files()

    @cached_property
    def _trials(self) -> list[tuple[dict[str, Any], TrialConfig | None]]:
        """The newest row of every trial, with its configuration where this version of the program reads it."""
        rows = newest(self._rows["trials"], "trials").to_pylist()
        return [(row, config_of(row["config"])) for row in rows]

    def _read(self, table: Table) -> pa.Table:
        """Return all rows of a table, however often recorded; note the parts that are damaged."""
        found = []
        for name in self._store.list_parts(table):
            try:
                data = self._store.read_file(name)
                found.append(parts.unpack(Path(name).name, data, SCHEMAS[table]))
            except FileNotFoundError:  # deleted since it was listed
                continue
            except DamagedError as error:
                self._damaged.append(Fault("part", name, str(error)))
                continue
            there, known = set(pq.read_schema(pa.BufferReader(data)).names), set(SCHEMAS[table].names)
            if there != known:
                differing = ", ".join(sorted(there ^ known))
                self._damaged.append(Fault("schema", name, f"not this table's schema: {differing} missing or unknown"))
        return pa.concat_tables([SCHEMAS[table].empty_table(), *found])

    def _read_sweeps(self) -> set[str]:
        """Return the keys of all planned trials; note the sweeps that cannot be read."""
        keys: set[str] = set()
        for file in self._store.list_files("sweeps"):
            try:
                keys |= {row["key"] for row in self._store.read_sweep(file)["trials"]}
            except UserError as error:
                self._damaged.append(Fault("sweep", file, str(error).partition(" is ")[2]))
        return keys

    def _keys(self) -> Iterator[Fault]:
        """Keys are the content hashes of what they stand for."""
        for row, config in self._trials:
            try:
                # A row of another version, with fewer or more settings, has the key that those make: not for us to tell.
                if config is not None and config.canonical_json() == row["config"] and config.key != row["key"]:
                    yield Fault("key", f"trials, {row['key']}", f"its configuration's key is {config.key}")
            except UserError:  # the embedding is a file that is not on this machine
                continue
            if config is None:
                yield Fault("key", f"trials, {row['key']}", "its configuration cannot be read")
        for row in self._rows["environments"].to_pylist():
            if hashlib.sha256((row["details"] or "").encode()).hexdigest()[:16] != row["environment"]:
                yield Fault("key", f"environments, {row['environment']}", "not the hash of its details")

    def _rungs(self) -> Iterator[Fault]:
        """A trial that has ended was measured at step 0 and at every rung until then."""
        measured = steps_by_trial(self._rows["measurements"].select(["trial", "step"]).to_pandas())
        for row, config in self._trials:
            if config is not None and row["status"] in FINISHED:
                for step in sorted(rungs_until(config, row["status"], row["steps"] or 0) - measured.get(row["key"], set())):
                    yield Fault("rung", f"trials, {row['key']}", f"{row['status']}, and not measured at step {step}")

    def _unknown(self) -> Iterator[Fault]:
        """Whatever names a trial or an environment names one that is there."""
        keys = {row["key"] for row, _ in self._trials}
        for table, column, known in (
            ("measurements", "trial", keys | self._planned), ("distances", "trial", keys | self._planned),
            ("trials", "parent", keys | self._planned),
        ):  # fmt: skip
            for key in sorted(set(self._rows[table][column].unique().to_pylist()) - known - {None}):  # type: ignore[index]  # a table's name
                yield Fault("unknown", f"{table}, {column} {key}", "no sweep has planned or recorded this trial")
        environments = set(self._rows["environments"]["environment"].to_pylist())
        for environment in sorted({row["environment"] for row, _ in self._trials} - environments - {None}):
            yield Fault("unknown", f"trials, environment {environment}", "no row of table environments describes it")

    def _differing(self) -> Iterator[Fault]:
        """A result that was recorded twice is the same twice."""
        for table, result in _RESULT.items():
            rows = self._rows[table].select([*KEYS[table], result]).to_pandas()
            twice = rows[rows.duplicated(KEYS[table], keep=False)]
            counts = twice.groupby(KEYS[table], dropna=False, sort=False)[result].nunique(dropna=False)
            for key, count in counts[counts > 1].items():
                named = ", ".join(str(part) for part in (key if isinstance(key, tuple) else (key,)))
                yield Fault("differing", f"{table}, {named}", f"recorded with {count} different values of {result}")

    def _named_files(self) -> Iterator[Fault]:
        """The files that rows name are there."""
        checkpoints = checkpoints_by_trial(self._files)
        for row, _ in self._trials:
            for column in ("checkpoint", "samples", "real_samples"):
                name = row[column]
                # A trial that a larger sweep takes further has a later checkpoint in place of the one in its row.
                own = checkpoints.get(row["key"], {}).values() if column == "checkpoint" else ()
                if name and name not in self._files and not any(other > name for other in own):
                    yield Fault("file", name, f"trial {row['key']} names it, and it is missing")

    def _other_files(self) -> Iterator[Fault]:
        """Every file is whole, and none is left over."""
        for name in self._files:
            folder = name.partition("/")[0]
            if folder in WHOLE and not name.endswith(".json"):
                try:
                    WHOLE[folder](self._store.read_file(name))
                except FileNotFoundError:  # replaced by a later one since it was listed
                    continue
                except DamagedError as error:
                    yield Fault("file", name, str(error))
        for name in self._store.files(below=True, hidden=True):
            yield Fault("temporary", name, "left over by a writer that was killed, or of one that is writing")


def steps_by_trial(measurements: pd.DataFrame) -> dict[str, set[int]]:
    """Return the steps that each trial has been measured at, by whatever metric."""
    pairs = measurements[["trial", "step"]].drop_duplicates()
    return {str(key): set(steps) for key, steps in pairs.groupby("trial")["step"]}


def rungs_until(trial: TrialConfig, status: str, steps: int) -> set[int]:
    """Return where a trial that ended after so many steps must have been measured: not where it diverged."""
    return {step for step in (0, *trial.rungs) if step < steps or (step == steps and status != "diverged")}


def config_of(text: str | None) -> TrialConfig | None:
    """Return the trial that a row of table `trials` tells of; None where this version of the program cannot read it."""
    try:
        return TrialConfig.model_validate_json(text or "")
    except (ValidationError, UserError):
        return None


def _check_picture(data: bytes) -> None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.verify()  # of a PNG every chunk's checksum, to the last
    except (OSError, SyntaxError, struct.error) as error:
        raise DamagedError(f"not a whole picture: {error}") from error


def _check_reference(data: bytes) -> None:
    from trainers.evaluation.references import load

    load(data)


#: How to look whether a file is whole, by its folder. Raises DamagedError.
WHOLE: dict[str, Callable[[bytes], None]] = {
    "checkpoints": sealed_tensors.check,
    "samples": _check_picture,
    "references": _check_reference,
}
