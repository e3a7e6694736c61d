"""Running: a sweep, and before it the search for its strategies' settings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from bench.cli.options import (
    FROM_OUTSIDE,
    AddressOption,
    CpusOption,
    MaxCostOption,
    MaxHoursOption,
    PriceOption,
    Retry,
    RetryOption,
    SetOption,
    SpecArgument,
    StoreOption,
    default_report,
    hours_limit,
    open_at,
    run_there,
    write_report,
)
from bench.run.planning import plan_of, search_of
from trainers.common.errors import UserError

if TYPE_CHECKING:
    from bench.costs.budget import Budget
    from bench.driver.ledger import Ledger
    from bench.run.tuning import Search
    from bench.store import Store
    from bench.sweeps.plan import Plan

app = typer.Typer()


@app.command(epilog="Example: transfergan run quickstart --store store")
def run(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    retry: RetryOption = None,
    max_hours: MaxHoursOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
) -> None:
    """Run what the store does not have yet, then write the report. Safe to repeat and to interrupt.

    Where the sweep file has `tuning`, that comes first (see `transfergan tune --help`).

    For debugging, --address here runs everything in this process, one trial at a time and without Ray. An exception in a trial
    then ends the run with its stack trace and exit status 1. It is neither retried nor recorded: the same command resumes that
    trial. Nothing ends a trial that hangs, so breakpoints work.

    (*) Hours of the run's trials times their share of a GPU (resources.gpus); without GPUs, hours of trials. Failed attempts
    count, distances and the report do not. At the limit no more trials are started, those that run end at their next rungs,
    nothing is lost, and the exit status is 3.
    """
    limit = hours_limit(max_hours, max_cost, price)
    if address.startswith(FROM_OUTSIDE):
        status = run_there("run", spec, overrides, store, address, _options(cpus, retry, limit))
        if "://" in store and status != 2:  # the report that the cluster tells of is in a folder of its own
            write_report(open_at(store), default_report(open_at(store)), None)
        raise typer.Exit(status)
    plan = plan_of(spec, overrides, store)
    search = search_of(plan, store)
    runner = _Runner(open_at(store, create=True), cpus, address, retry, limit)
    runner.end(*runner.run(runner.tune(search) if search else plan))


@app.command(epilog="Example: transfergan tune sweep.yaml --store store")
def tune(
    spec: SpecArgument,
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    retry: RetryOption = None,
    max_hours: MaxHoursOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
) -> None:
    """Search for each strategy's learning rate and budget on the held-out target, as the sweep file's `tuning` says.

    Ray Tune proposes, the stopping rule gives up the poor ones, and the sweep's trials take the best. Safe to repeat and to
    interrupt; `transfergan run` does it by itself.

    (*) As of `transfergan run`.
    """
    from bench.run.tuning import lines

    limit = hours_limit(max_hours, max_cost, price)
    if address.startswith(FROM_OUTSIDE):
        raise typer.Exit(run_there("tune", spec, overrides, store, address, _options(cpus, retry, limit)))
    search = search_of(plan_of(spec, overrides, store), store)
    if search is None:
        raise UserError(
            f"{spec}: there is nothing to tune; add `tuning: {{target: NAME, size: 100, learning_rate: [1.0e-5, 1.0e-3]}}`"
        )
    opened = open_at(store, create=True)
    _Runner(opened, cpus, address, retry, limit).tune(search)
    record = search.recorded(opened)
    assert record is not None
    typer.echo("\n".join(lines(record)))


def _options(cpus: int | None, retry: Retry | None, limit: float) -> list[str]:
    from bench.on_ray.jobs import run_options

    return [*run_options(retry_failed=retry is not None, max_hours=limit), *(["--cpus", str(cpus)] if cpus else [])]


@dataclass
class _Runner:
    """Runs plans with what the user has asked for.

    Attributes:
        limit: hours that may be spent, on all plans together; see `bench.budget`.
        budget: of the last plan that was run.
    """

    store: "Store"
    cpus: int | None
    address: str
    retry: Retry | None
    limit: float
    budget: "Budget | None" = None

    def tune(self, search: "Search") -> "Plan":
        """Return the sweep's plan with what the search has found, once it has; else leave, as `end` does."""
        from bench.sweeps.rows import record

        found = search.recorded(self.store)
        if found is None:
            plan = search.plan()
            ledger, failures, interrupted = self.run(plan)
            if failures or interrupted or ledger.count("failed", "blocked"):
                self.end(ledger, failures, interrupted)
            found = search.choose(plan, ledger, self.store)
            self.store.write_sweep(plan.spec.name, {**record(plan), "tuning": found})
        return search.tuned(found)

    def run(self, plan: "Plan") -> tuple["Ledger", list[str], bool]:
        """Run what the store lacks of a plan; return how it stands, what else has failed, and whether it was interrupted."""
        from rich.console import Console

        from bench.costs.budget import Budget, hours
        from bench.costs.estimate import estimates
        from bench.driver.ledger import Ledger
        from bench.run.sweep import run_sweep
        from bench.sweeps.rows import record

        console = Console(stderr=True)
        for note in plan.notes:
            console.print(f"note: {note}", highlight=False, markup=False)
        self.store.write_sweep(plan.spec.name, record(plan))
        ledger = Ledger.open(plan, self.store, retry_failed=self.retry is not None)
        limit, spent = self.limit / hours(1, plan.spec.resources), self.budget.spent if self.budget else 0.0
        self.budget = Budget(ledger, limit, lambda: estimates(plan, self.store), spent=spent)
        try:
            failures = run_sweep(plan, ledger, self.store, console, self.cpus, self.address, self.budget)
        except KeyboardInterrupt:
            return ledger, [], True
        return ledger, failures, bool(ledger.open_trials())

    def end(self, ledger: "Ledger", failures: list[str], interrupted: bool) -> None:
        """Write the report, show the cells, and leave with status 130, 3 or 1 where not all has gone well."""
        from rich.console import Console

        from bench.run.progress import cell_table

        out = write_report(self.store, default_report(self.store), None)
        Console(stderr=True).print(cell_table(ledger))
        typer.echo(f"report: {out}")
        if interrupted and self.budget is not None and self.budget.refused is not None:
            typer.echo(self.budget.told(), err=True)
            raise typer.Exit(3)
        if interrupted:
            typer.echo("interrupted: the same command goes on from here", err=True)
            raise typer.Exit(130)
        if ledger.count("failed", "blocked"):
            hint = "--retry failed runs them again" if ledger.count("failed") else "their sources diverged"
            failures = [
                *failures, f"trials: {ledger.count('failed')} failed, {ledger.count('blocked')} blocked; {hint}"
            ]  # fmt: skip
        if failures:
            typer.echo("\n".join(failures), err=True)
            raise typer.Exit(1)
