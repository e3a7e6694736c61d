"""What a sweep would run, what the store already has of it, and the hours of the rest. Starts nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import pyarrow as pa
from rich.console import Console

from bench.costs.bill import Bill, bills
from bench.costs.budget import unit
from bench.costs.measured import Measured
from bench.driver.choice import confirmed_methods
from bench.driver.ledger import Ledger
from bench.run.confirmation import confirmation, name_of
from bench.run.measuring import Work, lacking
from bench.run.planning import plan_of, search_of
from bench.run.tuning import Search
from bench.store import Store, open_store, store_exists
from bench.store.schema import Table
from bench.sweeps.plan import Plan
from trainers.common.errors import UserError


@dataclass(frozen=True)
class Snapshot(Store):
    """A store as it is at one moment: its tables are read once, when they are first needed."""

    _rows: dict[Table, pa.Table] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, store: Store) -> "Snapshot":
        """Return a snapshot of a store."""
        return cls(**{of_store.name: getattr(store, of_store.name) for of_store in fields(Store)})

    def rows(self, table: Table) -> pa.Table:
        """Return the same as `Store.rows`, from memory if it has been read before."""
        if table not in self._rows:
            self._rows[table] = super().rows(table)
        return self._rows[table]


class Planned(NamedTuple):
    """A sweep's plan, and what it depends on.

    Attributes:
        plan: the trials of the sweep; without those of a search.
        search: the search of the sweep file's `tuning`, or None.
        tuned: whether the plan has the settings that the search found.
        store: the store, or None if there is none yet.
        note: what is to be said of these settings, or None.
    """

    plan: Plan
    search: Search | None
    tuned: bool
    store: Store | None
    note: str | None = None


def planned(spec: str, overrides: list[str] | None, store: str, console: Console) -> Planned:
    """Return a sweep's plan (see `plan_of`), tuned if the store has the result of its search; needs no data sets or weights."""
    plan = plan_of(spec, overrides, store, console, plan_only=True)
    search = search_of(plan, store, plan_only=True)
    opened = Snapshot.of(open_store(store)) if store_exists(store) else None
    record = search.recorded(opened) if search and opened else None
    if search is None or record is None:
        return Planned(plan, search, tuned=False, store=opened)
    return Planned(search.tuned(record), search, tuned=True, store=opened, note=search.note(record))


@dataclass(frozen=True)
class Preview:
    """What `run` would do with a plan.

    Attributes:
        plan: every trial: those of the search, if it is still to be done, then those of the sweep.
        search: the search of the sweep file's `tuning`, or None.
        searching: whether that search is still to be done, so that the keys of the adaptations are not known yet.
        cells: number of cells of the sweep, without those of the search.
        absent: data sets and weights that are not on this machine, so that no key is known.
        done: the trials that the store has as done, stopped or diverged.
        left: the trials that are trained, for the first time or further; failed ones are not.
        work: what is measured anew before training, since the store has other evaluations of it only.
        confirming: number of trials that confirm the sweep afterwards; they are not among those of `plan`, but their hours are
            among the bills.
        bills: hours on each device that the store has timings of.
        unknown: why there are no bills, or None.
        store: the store, or None if there is none yet.
    """

    plan: Plan
    search: Search | None
    searching: bool
    cells: int
    absent: list[str]
    notes: list[str]
    done: frozenset[str]
    left: frozenset[str]
    work: list[Work]
    confirming: int
    bills: list[Bill]
    unknown: str | None
    store: Store | None

    @property
    def unit(self) -> str:
        """The unit of the hours."""
        return unit(self.plan.spec.resources)

    @property
    def only_measured(self) -> int:
        """Number of trials that are measured anew and not trained."""
        return sum(bool(each.steps) and each.trial.key not in self.left for each in self.work)

    def counts(self) -> dict[str, int]:
        """Return the number of trials, in all and by kind, of collapsed duplicates, and of those that are done or left."""
        kinds = Counter(trial.kind for trial in self.plan.trials)
        tune = {"tune": kinds["tune"]} if self.search else {}
        trials = {"trials": len(self.plan.trials), "pretrain": kinds["pretrain"], **tune, "adapt": kinds["adapt"]}
        confirm = {"confirm": self.confirming} if self.plan.spec.confirm else {}
        return {**trials, "collapsed": self.plan.collapsed, "done": len(self.done), "train": len(self.left), **confirm}

    def as_data(self, price: float | None = None) -> dict[str, Any]:
        """Return counts, what is measured anew and what cannot be, hours and, at a price per hour, costs as plain data."""
        estimates = [
            {"device": bill.device, "measured": bill.measured, "scaled": bool(bill.unlike), "evaluation": bill.evaluation}
            | {"hours": bill.times(1), **({} if price is None else {"cost": bill.times(price)})}
            for bill in self.bills
        ]
        steps, lost = (sum(len(getattr(each, name)) for each in self.work) for name in ("steps", "lost"))
        measure = {"trials": self.only_measured, "steps": steps, "lost": lost}
        hours = {"unit": self.unit, "estimates": estimates, "unknown": self.unknown}
        return {**self.counts(), "measure": measure, "absent": self.absent, **hours}


def preview(planned: Planned, timings: Sequence[Measured] = ()) -> Preview:
    """Return what `run` would do with a plan; `timings` are those of trials besides the store's."""
    whole = plan = planned.plan
    search, store, done = planned.search, planned.store, frozenset[str]()
    work: list[Work] = []
    plans = (plan, search.held_out) if search else (plan,)
    if search is not None and not planned.tuned:
        adaptations = (trial for trial in plan.trials if trial.key not in search.held_out.by_key)
        whole = replace(plan, trials=(*search.plan().trials, *adaptations))
    seeds = plan.spec.confirm.seeds if plan.spec.confirm else 0
    confirming, confirmed = None, sum(confirmed_methods(plan, cell) for cell in plan.cells) * seeds
    if seeds:
        name_of(plan.spec, store)
    ledger = Ledger.fresh(whole)
    if store is not None:
        ledger = Ledger.open(whole, store)
        ledger.settle()
        done = frozenset(ledger.having("done", "stopped", "diverged"))
        work = lacking(whole, store)
        if seeds and not ledger.open_trials():
            confirming = confirmation(plan, ledger, store, seeds).plan
            confirmed = len(confirming.of_kind("adapt"))
    hours, unknown = [], None
    try:
        hours = bills(whole, store, seeds, confirming, timings)
    except UserError as error:
        unknown = str(error)
    left = frozenset(ledger.open_trials())
    absent = list(dict.fromkeys(name for each in plans for name in each.absent))
    notes = [*dict.fromkeys(note for each in plans for note in each.notes), *filter(None, [planned.note])]
    return Preview(
        whole, search, whole is not plan, len(plan.cells), absent, notes, done, left, work, confirmed, hours, unknown, store
    )
