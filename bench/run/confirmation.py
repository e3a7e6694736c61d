"""Confirmation: the best methods of each cell, and scratch, on fresh seeds after the sweep.

The best of many methods owes part of its lead to the luck of the seeds that it was chosen by. On seeds that no stopping and no
choice has seen it has no such luck. A confirmation is a plan like any other, named `SWEEP-confirm`; no trial of it stops early.
The seeds that it was planned with stay in the store, so that the same command continues it after a kill.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, cycle, islice
from typing import Any

from bench.driver.choice import chosen_from, comparable, lacking, methods_of
from bench.driver.ledger import Ledger
from bench.driver.results import of_evaluation
from bench.run.progress import describe_cell
from bench.store import Store
from bench.store.plans import read_all
from bench.store.schema import by_step
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record
from bench.sweeps.spec import StoppingConfig, SweepSpec
from trainers.common.errors import UserError
from trainers.config.trial import TrialConfig

#: Ends the name of a confirmation.
SUFFIX = "-confirm"


@dataclass(frozen=True)
class Confirmation:
    """A confirmation.

    Attributes:
        plan: its trials, with their sources; its notes say what cannot be confirmed.
        record: the plan as the store keeps it, with "confirms", the sweep's name, and "cells": a list of "cell", the "methods"
            that are confirmed there, and their "seeds".
    """

    plan: Plan
    record: Mapping[str, Any]


def name_of(spec: SweepSpec, store: Store | None) -> str:
    """Return the name of a sweep's confirmation. Raises UserError if it is too long or the name of another sweep."""
    name = f"{spec.name}{SUFFIX}"
    if len(name) > 64:
        raise UserError(
            f"name: {spec.name!r} is too long to confirm the sweep as {name!r}; use at most {64 - len(SUFFIX)} letters"
        )
    stored = None if store is None else store.read_sweeps().get(name)
    if stored is not None and stored.get("confirms") != spec.name:
        raise UserError(f"name: the store has a sweep {name!r} that is no confirmation of {spec.name!r}; name one of them anew")
    return name


def confirmation(plan: Plan, ledger: Ledger, store: Store, seeds: int) -> Confirmation:
    """Return the confirmation of a sweep of which every trial has ended; a stored one with the same choice keeps its seeds.

    Args:
        plan, ledger: the sweep, and the state of its trials.
        store: where its measurements are, and perhaps the plan of its confirmation.
        seeds: fresh seeds of each method, at least as many as there are.

    Raises:
        UserError: see `name_of`.
    """
    name = name_of(plan.spec, store)
    values = by_step(of_evaluation(store.rows("measurements"), plan.spec.evaluation), "fid", plan.by_key)
    stored = {cell["cell"]: cell for cell in store.read_sweeps().get(name, {}).get("cells", ())}
    used = _used_seeds(store)
    trials: dict[str, TrialConfig] = {}
    cells: list[dict[str, Any]] = []
    notes: list[str] = []
    for cell, keys in plan.cells.items():
        explored = [plan.by_key[key] for key in keys]
        methods = methods_of(explored)
        best, scratch = chosen_from(methods, ledger.status, values)
        label, confirmed = describe_cell(explored[0], plan.spec.labels), comparable(best, scratch)
        if lack := lacking(best, scratch):
            notes.append(f"{label}: {lack}" + ("" if confirmed else ", so there is nothing to confirm"))
        if not confirmed:
            continue
        names, before = [" ".join(filter(None, method)) for method in best], stored.get(cell)
        explored_seeds = {trial.seed for trial in explored}
        fresh = _kept(before, names, explored_seeds)
        if before is not None and not fresh:
            notes.append(f"{label}: the sweep has changed since its confirmation was planned; it is confirmed anew")
        free = (seed for seed in count() if seed not in used.get(cell, set()) | explored_seeds)
        fresh += islice(free, max(0, seeds - len(fresh)))
        cells.append({"cell": cell, "methods": names, "seeds": fresh})
        for method in (*best, *scratch):
            trainings = {trial.parent: trial for trial in methods[method]}  # the fresh seeds start from these in turn
            again = zip(fresh, cycle(trainings.values()), strict=False)
            trials |= {trial.key: trial for seed, of in again if (trial := of.model_copy(update={"seed": seed}))}
    spec = plan.spec.model_copy(
        update={
            "name": name, "seeds": tuple(sorted({seed for cell in cells for seed in cell["seeds"]})) or plan.spec.seeds,
            "stopping": StoppingConfig(rule="none", metric=plan.spec.stopping.metric), "confirm": None, "tuning": None,
        }
    )  # fmt: skip
    sources = [*_sources(plan, trials.values())]
    confirming = replace(plan, spec=spec, trials=(*sources, *trials.values()), grid=tuple(trials), notes=tuple(notes))
    return Confirmation(confirming, {**record(confirming), "confirms": plan.spec.name, "cells": cells})


def _kept(before: Mapping[str, Any] | None, methods: Collection[str], explored: Collection[int]) -> list[int]:
    """Return the seeds of a stored confirmation of a cell; none if it has other methods, or a seed that the sweep has too."""
    if before is None or set(before["methods"]) != set(methods) or set(before["seeds"]) & set(explored):
        return []
    return list(before["seeds"])


def _used_seeds(store: Store) -> dict[str, set[int]]:
    """Return the seeds that occur in each cell, in the plans and among the trials of a store."""
    planned = (row for plan in read_all(store) for row in plan["trials"])
    ran = store.rows("trials").select(["cell", "seed"]).to_pylist()
    used: dict[str, set[int]] = {}
    for row in (*planned, *ran):
        if row.get("cell") is not None and row.get("seed") is not None:
            used.setdefault(row["cell"], set()).add(int(row["seed"]))
    return used


def _sources(plan: Plan, trials: Iterable[TrialConfig]) -> Iterator[TrialConfig]:
    """Yield the sources that trials start from, with the links before them, in plan order."""
    needed: set[str] = set()
    for trial in trials:
        parent = trial.parent
        while parent is not None and parent not in needed:
            needed.add(parent)
            parent = plan.by_key[parent].parent
    yield from (trial for trial in plan.trials if trial.key in needed)
