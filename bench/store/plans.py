"""The plans of a store's sweeps: the newest of each, and the former ones that an edited sweep file has replaced.

The newest plan of a sweep is ``sweeps/NAME.json``, as ever. A plan that it replaces is kept as
``sweeps/former/NAME/TIME-HASH.json``, because trials that were begun under it have results, and were stopped or not by its
rule. Versions of transfergan that know no former plans do not look there.
"""

from typing import Any

from bench.store.store import FORMER, Store, plan_path
from trainers.common.errors import UserError

__all__ = ["former_paths", "plan_path", "read_all", "read_former", "sweep_of"]


def sweep_of(path: str) -> str | None:
    """Return the sweep whose newest or former plan a path in the store is; None for another path.

    >>> sweep_of("sweeps/small.json"), sweep_of("sweeps/former/small/20260102T030405000000-0123456789ab.json")
    ('small', 'small')
    """
    folder, _, file = path.rpartition("/")
    if not file.endswith(".json"):
        return None
    if folder == "sweeps":
        return file.removesuffix(".json")
    above, _, name = folder.rpartition("/")
    return name if above == FORMER else None


def former_paths(store: Store) -> list[str]:
    """Return the paths in the store of all former plans, by sweep, the latest first."""
    files = [file for file in store.files(FORMER, below=True) if sweep_of(file) is not None]
    return sorted(sorted(files, reverse=True), key=lambda file: str(sweep_of(file)))


def read_former(store: Store) -> dict[str, dict[str, Any]]:
    """Return the former plans of all sweeps by path, the latest of each sweep first. Damaged ones are left out."""
    plans = {}
    for file in former_paths(store):
        try:
            plans[file] = store.read_sweep(file)
        except (UserError, FileNotFoundError):  # `transfergan store check` reports it; removed since it was listed
            continue
    return plans


def read_all(store: Store) -> list[dict[str, Any]]:
    """Return every plan: the newest ones of all sweeps, then the former ones."""
    return [*store.read_sweeps().values(), *read_former(store).values()]
