"""Runs plans, a search before its sweep, within one limit of hours, and returns how they ended."""

from dataclasses import dataclass

from rich.console import Console

from bench.costs.budget import Budget, hours
from bench.costs.estimate import estimates
from bench.driver.ledger import Ledger
from bench.run import sweep
from bench.run.tuning import Search
from bench.store import Store
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        ledger: the status of each trial.
        failures: distances that could not be measured, each with the reason.
        interrupted: whether trials are still open.
        over_limit: if the limit ended the run, the message that says so; else None.
    """

    ledger: Ledger
    failures: list[str]
    interrupted: bool
    over_limit: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every trial ended without failing, and every distance was measured."""
        return not (self.failures or self.interrupted or self.ledger.count("failed", "blocked"))


@dataclass
class Launcher:
    """Runs plans.

    Attributes:
        store: where results go.
        console: where progress goes.
        cpus: CPU cores to use in all; None for every core.
        address: of a Ray cluster; "local" starts one on this machine.
        retry_failed: whether failed trials run again.
        limit: hours (see `bench.costs.budget.hours`) that all plans may spend together; infinite for no limit.
        spent: slot-seconds that the plans before have spent.
    """

    store: Store
    console: Console
    cpus: int | None
    address: str
    retry_failed: bool
    limit: float
    spent: float = 0.0

    def run(self, plan: Plan, search: Search | None = None) -> Outcome:
        """Run what the store lacks of a plan, tuned by its search if it has one.

        Returns:
            the outcome of the plan, or of the search if that did not complete.
        """
        if search is not None:
            outcome = self.tune(search)
            if outcome is not None:
                return outcome
            settings = search.recorded(self.store)
            assert settings is not None
            plan = search.tuned(settings)
        return self._run(plan)

    def tune(self, search: Search) -> Outcome | None:
        """Run what the store lacks of a search, and record what it found.

        Returns:
            None once the result is in the store; else the outcome of a search that did not complete.
        """
        if search.recorded(self.store) is not None:
            return None
        plan = search.plan()
        outcome = self._run(plan)
        if not outcome.complete:
            return outcome
        settings = search.choose(plan, outcome.ledger, self.store)
        self.store.write_sweep(plan.spec.name, {**record(plan), "tuning": settings})
        return None

    def _run(self, plan: Plan) -> Outcome:
        for note in plan.notes:
            self.console.print(f"note: {note}", highlight=False, markup=False)
        self.store.write_sweep(plan.spec.name, record(plan))
        ledger = Ledger.open(plan, self.store, retry_failed=self.retry_failed)
        limit = self.limit / hours(1, plan.spec.resources)
        budget = Budget(ledger, limit, lambda: estimates(plan, self.store), spent=self.spent)
        try:
            failures = sweep.run_sweep(plan, ledger, self.store, self.console, self.cpus, self.address, budget)
        except KeyboardInterrupt:
            failures, interrupted = [], True
        else:
            interrupted = bool(ledger.open_trials())
        self.spent = budget.spent
        over_limit = budget.told() if interrupted and budget.refused is not None else None
        return Outcome(ledger, failures, interrupted, over_limit)
