"""Running: a sweep, and before it the search for its strategies' settings."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import (
    SetOption,
    SpecArgument,
    StoreOption,
    default_report,
    open_at,
    plan_of,
    search_of,
    write_report,
)
from trainers.errors import UserError

if TYPE_CHECKING:
    from bench.ledger import Ledger
    from bench.plan import Plan
    from bench.store import Store
    from bench.tuning import Search

app = typer.Typer()


class Retry(StrEnum):
    """Which ended trials to run again."""

    failed = "failed"


CpusOption = Annotated[int | None, typer.Option(min=1, help="CPU cores to use in all; every core by default.")]
AddressOption = Annotated[str, typer.Option(metavar="HOST:PORT", help="A Ray cluster that is up; or auto, or local.")]
RetryOption = Annotated[Retry | None, typer.Option(help="Also run again the trials that failed.")]


@app.command(epilog="Example: transfergan run quickstart --store store")
def run(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    retry: RetryOption = None,
) -> None:
    """Run what the store does not have yet, then write the report. Safe to repeat and to interrupt.

    Where the sweep file has `tuning`, that comes first (see `transfergan tune --help`).
    """
    plan = plan_of(spec, overrides, store)
    search = search_of(plan, store)
    runner = _Runner(open_at(store, create=True), cpus, address, retry)
    runner.end(*runner.run(runner.tune(search) if search else plan))


@app.command(epilog="Example: transfergan tune sweep.yaml --store store")
def tune(
    spec: SpecArgument,
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    retry: RetryOption = None,
) -> None:
    """Search for each strategy's learning rate and budget on the held-out target, as the sweep file's `tuning` says.

    Ray Tune proposes, the stopping rule gives up the poor ones, and the sweep's trials take the best. Safe to repeat and to
    interrupt; `transfergan run` does it by itself.
    """
    from bench.tuning import lines

    search = search_of(plan_of(spec, overrides, store), store)
    if search is None:
        raise UserError(
            f"{spec}: there is nothing to tune; add `tuning: {{target: NAME, size: 100, learning_rate: [1.0e-5, 1.0e-3]}}`"
        )
    opened = open_at(store, create=True)
    _Runner(opened, cpus, address, retry).tune(search)
    record = search.recorded(opened)
    assert record is not None
    typer.echo("\n".join(lines(record)))


@dataclass(frozen=True)
class _Runner:
    """Runs plans with what the user has asked for."""

    store: "Store"
    cpus: int | None
    address: str
    retry: Retry | None

    def tune(self, search: "Search") -> "Plan":
        """Return the sweep's plan with what the search has found, once it has; else leave, as `end` does."""
        record = search.recorded(self.store)
        if record is None:
            plan = search.plan()
            ledger, failures, interrupted = self.run(plan)
            if failures or interrupted or ledger.count("failed", "blocked"):
                self.end(ledger, failures, interrupted)
            record = search.choose(plan, ledger, self.store)
            self.store.write_sweep(plan.spec.name, {**_planned(plan), "tuning": record})
        return search.tuned(record)

    def run(self, plan: "Plan") -> tuple["Ledger", list[str], bool]:
        """Run what the store lacks of a plan; return how it stands, what else has failed, and whether it was interrupted."""
        from rich.console import Console

        from bench.ledger import Ledger
        from bench.sweep import run_sweep

        console = Console(stderr=True)
        for note in plan.notes:
            console.print(f"note: {note}", highlight=False, markup=False)
        self.store.write_sweep(plan.spec.name, _planned(plan))
        ledger = Ledger.open(plan, self.store, retry_failed=self.retry is not None)
        try:
            failures = run_sweep(plan, ledger, self.store, console, self.cpus, self.address)
        except KeyboardInterrupt:
            return ledger, [], True
        return ledger, failures, bool(ledger.open_trials())

    def end(self, ledger: "Ledger", failures: list[str], interrupted: bool) -> None:
        """Write the report, show the cells, and leave with status 130 or 1 where not all has gone well."""
        from rich.console import Console

        from bench.progress import cell_table

        out = write_report(self.store, default_report(self.store), None)
        Console(stderr=True).print(cell_table(ledger))
        typer.echo(f"report: {out}")
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


def _planned(plan: "Plan") -> dict[str, Any]:
    from bench.plan import trial_columns
    from bench.spec import as_mapping

    return {"spec": as_mapping(plan.spec), "trials": [trial_columns(trial) for trial in plan.trials]}
