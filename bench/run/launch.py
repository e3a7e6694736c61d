"""Runs plans, a search before its sweep and a confirmation after it, within one limit of hours; returns how they ended."""

import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from bench.costs.budget import Budget, hours
from bench.costs.estimate import estimates
from bench.costs.measured import Measured
from bench.driver.ledger import Ledger
from bench.logs.kinds import Log
from bench.logs.sweep_log import log_of
from bench.run import sweep
from bench.run.confirmation import confirmation, name_of
from bench.run.interrupts import as_interrupts
from bench.run.measuring import Work, check_budgets, lacking
from bench.run.progress import describe
from bench.run.tuning import Record, Search
from bench.store import Store
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record
from trainers.common.counts import counted
from trainers.common.errors import UserError


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        ledger: the status of each trial.
        failures: distances that could not be measured, each with the reason.
        interrupted: whether trials are still open.
        by: the signal that interrupted the run, if one did; SIGINT for Ctrl-C.
        over_limit: if the limit ended the run, the message that says so; else None.
    """

    ledger: Ledger
    failures: list[str]
    interrupted: bool
    over_limit: str | None
    by: int = signal.SIGINT


@dataclass(frozen=True)
class _Round:
    """How one round of a run ended; another follows if other drivers trained trials that are not measured as the plan says.

    Attributes:
        failures: what could not be measured; None if a signal ended the round.
        behind: whether the run cannot go on before such trials are measured (see `bench.driver.loop.Driver.behind`).
        others_may_have_trained: whether there may be such trials.
    """

    ledger: Ledger
    budget: Budget
    failures: list[str] | None = None
    behind: bool = False
    others_may_have_trained: bool = False


@dataclass
class Launcher:
    """Runs plans, with the arguments of `bench.run.sweep.run_sweep` and `Ledger.open`.

    Attributes:
        limit: hours (see `bench.costs.budget.hours`) that all plans may spend together; infinite for no limit.
        log: what a log of the rungs is written for (see `bench.logs.sweep_log`); None for no log.
        timings: measured times of trials besides those of the store.
        spent: slot-seconds that the plans before have spent.
    """

    store: Store
    console: Console
    cpus: int | None
    address: str
    retry_failed: bool
    limit: float
    log: Log | None = None
    timings: Sequence[Measured] = ()
    spent: float = 0.0

    def run(self, plan: Plan, search: Search | None) -> list[Outcome]:
        """Run what the store lacks of a plan, tuned by its search if it has one, and of its confirmation if its spec says so.

        Returns:
            how the search ended, if it failed; else how the sweep did, and its confirmation unless the sweep was interrupted.
        """
        if plan.spec.confirm is not None:
            name_of(plan.spec, self.store)
        if search is not None:
            result = self.tune(search)
            if isinstance(result, Outcome):
                return [result]
            plan = search.tuned(result)
        explored = self._run(plan)
        if plan.spec.confirm is None or explored.interrupted:
            return [explored]
        return [explored, self._confirm(plan, explored.ledger, plan.spec.confirm.seeds)]

    def confirm(self, plan: Plan, search: Search | None, seeds: int) -> Outcome:
        """Run what the store lacks of the confirmation of a sweep that has ended. Raises UserError if it has not."""
        result = search.recorded(self.store) if search is not None else None
        if search is not None and result is not None:
            plan = search.tuned(result)
        ledger = Ledger.open(plan, self.store)
        ledger.settle()
        left = len(ledger.open_trials())
        if left or (search is not None and result is None):
            what = (
                "its tuning has"
                if search is not None and result is None
                else f"{left} of its {counted(len(plan.trials), 'trial')} {'has' if left == 1 else 'have'}"
            )
            raise UserError(f"sweep {plan.spec.name}: {what} not ended; finish it with `transfergan run`")
        return self._confirm(plan, ledger, seeds)

    def _confirm(self, plan: Plan, ledger: Ledger, seeds: int) -> Outcome:
        confirming = confirmation(plan, ledger, self.store, seeds)
        if confirming.plan.trials:
            return self._run(confirming.plan, confirming.record)
        for note in confirming.plan.notes:
            self.console.print(f"note: {note}")
        return Outcome(Ledger.fresh(confirming.plan), [], interrupted=False, over_limit=None)

    def train_on(self, plan: Plan) -> Outcome:
        """Run a plan of `bench.run.continuation`."""
        return self._run(plan, {**record(plan), "continues": plan.grid[0]})

    def tune(self, search: Search) -> Record | Outcome:
        """Run what the store lacks of a search; return its result, recorded in the store, or how it ended without one."""
        if (recorded := search.recorded(self.store)) is not None:
            if note := search.note(recorded):
                self._tell(f"note: {note}")
            return recorded
        plan = search.plan()
        outcome = self._run(plan)
        if outcome.failures or outcome.interrupted or outcome.ledger.count("failed", "blocked"):
            return outcome
        result = search.choose(plan, outcome.ledger, self.store)
        self.store.write_sweep(plan.spec.name, {**record(plan), "tuning": result})
        return result

    def _run(self, plan: Plan, recorded: Mapping[str, Any] | None = None) -> Outcome:
        """Run what the store lacks of a plan; `recorded` is what the store keeps of it, by default `record(plan)`."""
        for note in plan.notes:
            self.console.print(f"note: {note}")
        work = lacking(plan, self.store)
        check_budgets(work)
        self.store.write_sweep(plan.spec.name, recorded or record(plan))
        failures: list[str] = []
        tried: set[tuple[str, tuple[int, ...]]] = set()
        failed: set[str] = set()  # in this run, which retries failures of former ones

        def untried() -> list[Work]:
            """Return what is lacking and was not to be measured in this run yet: other drivers have trained it meanwhile."""
            return [each for each in lacking(plan, self.store) if each.steps and (each.trial.key, each.steps) not in tried]

        with as_interrupts() as signals:
            goes_on = first = True
            while goes_on:
                tried |= {(each.trial.key, each.steps) for each in work}
                end = self._round(plan, work, failed, untried, first=first)
                failures = [] if end.failures is None else failures + end.failures
                failed |= {key for key in end.ledger.ends if end.ledger.status[key] == "failed"}
                work = untried() if end.others_may_have_trained else []
                goes_on, first = end.behind or bool(work), False
        interrupted = end.failures is None or bool(end.ledger.open_trials())
        over_limit = end.budget.told() if interrupted and end.budget.refused is not None else None
        return Outcome(end.ledger, failures, interrupted, over_limit, *signals[:1])

    def _round(
        self, plan: Plan, work: list[Work], failed: Collection[str], untried: Callable[[], list[Work]], *, first: bool
    ) -> "_Round":
        """Measure `work` anew and run the open trials, but not those that have `failed`; the `first` one tells a forecast."""
        measured: list[str] | None = None
        unmeasured: list[str] | None = None
        behind = False
        with suppress(KeyboardInterrupt):
            measured = sweep.measure_anew(plan, work, self.store, self.console, self.cpus, self.address)
        ledger = Ledger.open(plan, self.store, retry_failed=self.retry_failed, but=failed)
        limit = self.limit / hours(1, plan.spec.resources)
        budget = Budget(ledger, limit, lambda: estimates(plan, self.store, further=self.timings), spent=self.spent)
        if measured is None:
            return _Round(ledger, budget)
        if first and (line := budget.forecast()):
            self._tell(line)
        was_open = ledger.is_open()
        with (
            suppress(KeyboardInterrupt),
            log_of(self.log, ledger, self.store, self._tell, lambda trial: describe(trial, {})) as listener,
        ):
            unmeasured, behind = sweep.run_sweep(
                plan, ledger, self.store, self.console, self.cpus, self.address, budget, listener,
                lambda: {each.trial.key for each in untried()},
            )  # fmt: skip
        self.spent = budget.spent
        if unmeasured is None:
            return _Round(ledger, budget)
        return _Round(ledger, budget, measured + unmeasured, behind, behind or (was_open and not ledger.open_trials()))

    def _tell(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, markup=False, highlight=False)
