"""What the removal of a sweep or a trial deletes, what it keeps because others use it, and when it is refused. Only reads."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.images.generate import BEST, one_key
from bench.store import Store
from bench.store.plans import former_paths, plan_path, sweep_of
from bench.store.trial_files import owner_by_path
from bench.upkeep.inventory import real_grids, sweep_by_path
from trainers.common.counts import counted
from trainers.common.errors import UserError, unknown_name


@dataclass(frozen=True)
class Removal:
    """What a removal deletes.

    Attributes:
        sweep: the sweep that is removed as a whole; None if only a trial is.
        trials: the rows of the trials to delete by key, as planned or recorded; of a trial without either, only its key.
        shared: the trials of the sweep that stay, each with another sweep that has it.
        domains: the domains of the other sweeps, each with one of these; distances and figures of others go with the sweep.
        files: the files to delete after the rows: checkpoints, generators, sample grids.
        plans: the files to delete last: plans of the sweep, the record of its job.
        parts: the parts of the tables in the folders of the sweep; they are deleted too, and rows of others move.
        size: bytes of all these.
    """

    sweep: str | None
    trials: Mapping[str, Mapping[str, Any]]
    shared: Mapping[str, str]
    domains: Mapping[str, str]
    files: tuple[str, ...]
    plans: tuple[str, ...]
    parts: tuple[str, ...]
    size: int

    @property
    def count(self) -> int:
        """Number of files that are deleted."""
        return len({*self.files, *self.plans, *self.parts})


class _Contents:
    """A store as read once: its plans, trials and files."""

    def __init__(self, store: Store) -> None:
        """Raises UserError if a plan cannot be read: what its sweep uses is unknown then."""
        self.store = store
        self.files = store.files(below=True)
        newest = [name for name in store.list_files("sweeps") if name.endswith(".json")]
        self.plans = {path: _read(store, path) for path in (*newest, *former_paths(store))}
        rows = store.read_rows("trials").select(["key", "kind", "source", "target", "parent", "resolution", "config", "sweep"])
        self.recorded: dict[str, dict[str, Any]] = {row["key"]: row for row in rows.to_pylist()}
        measured = store.read("measurements")[["trial", "sweep"]].drop_duplicates()
        self.measured: dict[str, set[str]] = {}
        for key, sweep in zip(measured["trial"], measured["sweep"], strict=True):
            self.measured.setdefault(str(key), set()).add(str(sweep))

    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield each planned and each recorded trial with the sweep that has it."""
        for path, plan in self.plans.items():
            yield from ((str(sweep_of(path)), row) for row in plan["trials"])
        yield from ((row["sweep"], row) for row in self.recorded.values())

    def sweeps(self) -> list[str]:
        """Return the names of all sweeps with a plan or rows."""
        planned = (sweep_by_path(name) for name in self.files)
        return sorted({name for name in planned if name is not None})


def of_sweep(store: Store, sweep: str) -> Removal:
    """Return the removal of a sweep with the trials that no other sweep has. Raises UserError if there is no such sweep."""
    held = _Contents(store)
    if sweep not in (names := held.sweeps()):
        raise unknown_name("sweep", sweep, names)
    own: dict[str, Mapping[str, Any]] = {}
    others: dict[str, str] = {}
    domains: dict[str, str] = {}
    for name, row in held.rows():
        if name == sweep:
            own.setdefault(row["key"], row)
            continue
        others.setdefault(row["key"], name)
        if row.get("parent"):
            others.setdefault(row["parent"], name)
        for end in ("source", "target"):
            if row.get(end):
                domains.setdefault(row[end], name)
    for key, names_of in held.measured.items():
        if sweep in names_of:
            own.setdefault(key, {"key": key})
    doomed = {key: row for key, row in own.items() if key not in others}
    shared = {key: others[key] for key in own if key in others}
    plans = [name for name in held.files if sweep_of(name) == sweep]
    # The newest plan goes last: as long as it is there, the same command finds what is left.
    plans = [*(name for name in plans if name != plan_path(sweep)), f"jobs/{sweep}.json", plan_path(sweep)]
    present = tuple(name for name in plans if name in held.files)
    parts = [name for name in held.files if sweep_by_path(name) == sweep and name not in present]
    return _removal(held, sweep, doomed, shared, domains, present, parts)


def of_trial(store: Store, trial: str) -> Removal:
    """Return the removal of a trial, given its key or the first characters of it.

    Raises:
        UserError: no key or several match, or other trials that have run start from it.
    """
    held = _Contents(store)
    if trial == BEST:
        raise UserError("--trial best: name the trial to delete by its key, which the report lists")
    known: dict[str, Mapping[str, Any]] = {row["key"]: {**row, "sweep": name} for name, row in held.rows()}
    files = {key for name in held.files if (key := owner_by_path(name)) is not None}
    key = one_key(store, trial, {*known, *held.measured, *files})
    begun = {*held.recorded, *held.measured, *files}
    children = {row["key"]: name for name, row in held.rows() if row.get("parent") == key and row["key"] in begun}
    if children:
        sweeps = ", ".join(sorted({*children.values()}))
        raise UserError(
            f"--trial {key} is the source of {counted(len(children), 'trial')} of sweep {sweeps}; remove these first, or "
            "the whole sweep with --sweep"
        )
    return _removal(held, None, {key: known.get(key, {"key": key})}, {}, {}, (), ())


def planned_by(store: Store, trial: str) -> list[str]:
    """Return the sweeps whose newest plan has a trial."""
    plans = store.read_sweeps()
    return sorted(name for name, plan in plans.items() if any(row["key"] == trial for row in plan["trials"]))


def _removal(
    held: _Contents, sweep: str | None, doomed: Mapping[str, Mapping[str, Any]], shared: Mapping[str, str],
    domains: Mapping[str, str], plans: Collection[str], parts: Collection[str],
) -> Removal:  # fmt: skip
    own = [name for name in held.files if owner_by_path(name) in doomed]
    files = (*own, *(name for name in _real_samples(held, doomed) if name in held.files))
    size = sum(held.files[name].size for name in {*files, *plans, *parts})
    return Removal(sweep, dict(doomed), dict(shared), dict(domains), files, tuple(plans), tuple(parts), size)


def _real_samples(held: _Contents, doomed: Collection[str]) -> list[str]:
    """Return the grids of real images of domains that only doomed trials have."""
    rows = [row for _, row in held.rows()]
    of_others = real_grids(row for row in rows if row["key"] not in doomed)
    return sorted(real_grids(row for row in rows if row["key"] in doomed) - of_others)


def _read(store: Store, path: str) -> dict[str, Any]:
    try:
        return store.read_sweep(path)
    except UserError as error:
        raise UserError(f"{error}; nothing is removed, as what its sweep uses is unknown") from error
