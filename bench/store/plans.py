"""The plans of a store's sweeps: the newest of each, and the former ones that an edited sweep file has replaced.

The newest plan of a sweep is ``sweeps/NAME.json``, as ever. A plan that it replaces is kept as
``sweeps/former/NAME/TIME-HASH.json``, because trials that were begun under it have results, and were stopped or not by its
rule. Versions of transfergan that know no former plans do not look there.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench.store.store import FORMER, Store, plan_path
from trainers.common.errors import UserError

__all__ = ["former_paths", "given_names", "last_run", "plan_path", "read_all", "read_former", "reported_as", "sweep_of"]


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


def given_names(store: Store) -> dict[str, str]:
    """Return the names that the newest plans of a store give to domains, by domain; none that several domains have."""
    domains = (plan["spec"].get("domains", {}) for plan in store.read_sweeps().values())
    given = {domain: name for names in domains for name, domain in names.items()}
    used = Counter(given.values())
    return {domain: name for domain, name in given.items() if used[name] == 1}


def last_run(store: Store) -> tuple[str | None, list[str]]:
    """Return the sweep that was run last, and the others by name; None without a plan. A run writes the plan."""
    plans, files = store.read_sweeps(), store.files("sweeps")
    times = {name: info.mtime for name in plans if (info := files.get(plan_path(name))) is not None}
    for name in sorted(times, key=lambda name: times[name], reverse=True):
        if (sweep := _reported(plans, name)) is not None:
            return sweep, [other for other in plans if other != sweep and _reported(plans, other) == other]
    return None, []


def reported_as(store: Store, name: str) -> str | None:
    """Return the sweep in whose report a sweep is shown.

    That of a confirmation is the sweep that it confirms; that of a trial which was trained further, the sweep that has it. A
    search for settings has none, nor has a sweep without a plan.
    """
    return _reported(store.read_sweeps(), name)


def _reported(plans: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    plan = plans.get(name)
    if plan is None or any(row.get("kind") == "tune" for row in plan["trials"]):
        return None
    if (trial := plan.get("continues")) is None:
        return confirmed if (confirmed := plan.get("confirms")) in plans else name
    others = ((each, of) for each, of in plans.items() if not of.get("continues"))
    having = (each for each, of in others if any(row["key"] == trial for row in of["trials"]))
    return next((_reported(plans, each) for each in having), None)
