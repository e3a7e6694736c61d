"""Sweeps: run one, say what it would run and how far it has come, and how far its sources are from its targets."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    AddressOption,
    CpusOption,
    Retry,
    SetOption,
    SpecArgument,
    StoreOption,
    default_report,
    exists,
    open_at,
    plan_of,
    write_report,
)

if TYPE_CHECKING:
    from bench.plan import Plan

app = typer.Typer()


@app.command(epilog="Example: transfergan run quickstart --store store")
def run(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    retry: Annotated[Retry | None, typer.Option(help="Also run again the trials that failed.")] = None,
) -> None:
    """Run what the store does not have yet, then write the report. Safe to repeat and to interrupt."""
    from rich.console import Console

    from bench.ledger import Ledger
    from bench.progress import cell_table
    from bench.sweep import run_sweep

    plan = plan_of(spec, overrides, store)
    opened = open_at(store, create=True)
    console = Console(stderr=True)
    for note in plan.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    opened.write_sweep(plan.spec.name, _planned(plan))
    ledger = Ledger.open(plan, opened, retry_failed=retry is not None)
    failures: list[str] = []
    try:
        failures = run_sweep(plan, ledger, opened, console, cpus, address)
        interrupted = bool(ledger.open_trials())
    except KeyboardInterrupt:
        interrupted = True
    out = write_report(opened, default_report(opened), None)
    console.print(cell_table(ledger))
    typer.echo(f"report: {out}")
    if interrupted:
        typer.echo("interrupted: the same command goes on from here", err=True)
        raise typer.Exit(130)
    if ledger.count("failed", "blocked"):
        hint = "--retry failed runs them again" if ledger.count("failed") else "their sources diverged"
        failures.append(f"trials: {ledger.count('failed')} failed, {ledger.count('blocked')} blocked; {hint}")
    if failures:
        typer.echo("\n".join(failures), err=True)
        raise typer.Exit(1)


@app.command(epilog="Example: transfergan plan sweep.yaml --set 'sizes=[50, 500]' --json")
def plan(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts as JSON.")] = False,
) -> None:
    """Say what a sweep would run, what collapses, and what is done already. Starts nothing."""
    from bench.ledger import Ledger

    made = plan_of(spec, overrides, store)
    done = 0
    if exists(store):
        ledger = Ledger.open(made, open_at(store))
        ledger.settle()
        done = ledger.count("done", "stopped", "diverged")
    counts = {
        "trials": len(made.trials),
        "pretrain": len(made.of_kind("pretrain")),
        "adapt": len(made.of_kind("adapt")),
        "collapsed": made.collapsed,
        "done": done,
    }
    if as_json:
        typer.echo(json.dumps(counts))
        return
    from bench.progress import describe

    for trial in made.trials:
        typer.echo(f"{trial.key}  {describe(trial)}, {trial.training.steps} steps")
    for note in made.notes:
        typer.echo(f"note: {note}")
    typer.echo(
        f"{counts['trials']} trials: {counts['pretrain']} sources to pre-train, {counts['adapt']} adaptations in "
        f"{len(made.cells)} cells ({counts['collapsed']} duplicates collapsed); {done} are in the store already"
    )


@app.command(epilog="Example: transfergan status --store store")
def status(store: StoreOption = "store", sweep: Annotated[str | None, typer.Option(help="One sweep only.")] = None) -> None:
    """Show how far each sweep in the store has come, cell by cell, and what becomes of the jobs that run them."""
    from rich.console import Console

    from bench.jobs import recorded, told
    from bench.status import status_tables

    opened = open_at(store)
    for table in status_tables(opened, sweep):
        Console().print(table)
    for name, job in recorded(opened).items():
        if sweep in (None, name):
            typer.echo(told(job))


@app.command(epilog="Example: transfergan distances quickstart --store store")
def distances(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, with intervals.")] = False,
) -> None:
    """Measure how far a sweep's sources are from its targets, without training anything."""
    from rich.console import Console
    from rich.table import Table

    from bench.distances import KINDS, between
    from bench.ledger import Ledger
    from bench.sweep import run_distances

    plan = plan_of(spec, overrides, store)
    opened = open_at(store, create=True)
    failures = run_distances(plan, Ledger.open(plan, opened), opened, Console(stderr=True), cpus, address)
    rows = between(plan, opened)
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("source", "target", *KINDS):
            table.add_column(column, justify="right" if column in KINDS else "left", no_wrap=True)
        values = {(row["source"], row["trial"], row["target"], row["kind"]): row["value"] for row in rows}
        for source, trial, target in dict.fromkeys(key[:3] for key in values):
            figures = [f"{values[source, trial, target, kind]:.4g}" for kind in KINDS]
            table.add_row(f"{source}'s generator" if trial else source, target, *figures)
        Console().print(table)
    if failures:
        typer.echo("\n".join(failures), err=True)
        raise typer.Exit(1)


def _planned(plan: "Plan") -> dict[str, object]:
    from bench.plan import trial_columns
    from bench.spec import as_mapping

    return {"spec": as_mapping(plan.spec), "trials": [trial_columns(trial) for trial in plan.trials]}
