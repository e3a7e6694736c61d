"""Sweeps: run one, say what it would run and how far it has come, and how far its sources are from its targets."""

import json
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    PriceOption,
    SetOption,
    SpecArgument,
    StoreOption,
    default_report,
    exists,
    open_at,
    plan_of,
    write_report,
)
from trainers.errors import UserError

if TYPE_CHECKING:
    from bench.plan import Plan

app = typer.Typer()


class Retry(StrEnum):
    """Which ended trials to run again."""

    failed = "failed"


@app.command(epilog="Example: transfergan run quickstart --store store")
def run(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPU cores to use in all; every core by default.")] = None,
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="A Ray cluster that is up; or auto, or local.")] = "local",
    retry: Annotated[Retry | None, typer.Option(help="Also run again the trials that failed.")] = None,
    max_hours: Annotated[float | None, typer.Option(min=0, help="Stop in time not to spend more GPU-hours (*).")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Stop in time not to spend more, at --price.")] = None,
    price: PriceOption = None,
) -> None:
    """Run what the store does not have yet, then write the report. Safe to repeat and to interrupt.

    (*) Hours of the run's trials times their share of a GPU (resources.gpus); without GPUs, hours of trials. Failed attempts
    count, distances and the report do not. At the limit no more trials are started, those that run end at their next rungs,
    nothing is lost, and the exit status is 3.
    """
    from rich.console import Console

    from bench.budget import Budget, hours, unit
    from bench.estimate import estimates
    from bench.ledger import Ledger
    from bench.progress import cell_table
    from bench.sweep import run_sweep

    if max_cost is not None and not price:
        raise UserError("--max-cost is in the currency of --price; give that too, what one hour costs")
    limits = [max_hours, max_cost / price if max_cost is not None and price else None]
    plan = plan_of(spec, overrides, store)
    opened = open_at(store, create=True)
    console = Console(stderr=True)
    for note in plan.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    opened.write_sweep(plan.spec.name, _planned(plan))
    ledger = Ledger.open(plan, opened, retry_failed=retry is not None)
    limit = min((each for each in limits if each is not None), default=math.inf)
    budget = Budget(ledger, limit / hours(1, plan.spec.resources), lambda: estimates(plan, opened))
    failures: list[str] = []
    try:
        failures = run_sweep(plan, ledger, opened, console, cpus, address, budget)
        interrupted = bool(ledger.open_trials())
    except KeyboardInterrupt:
        interrupted = True
    out = write_report(opened, default_report(opened), None)
    console.print(cell_table(ledger))
    typer.echo(f"report: {out}")
    if interrupted and budget.refused is not None:
        spent, more = (f"{hours(each, plan.spec.resources):.3g}" for each in (budget.spent, budget.refused))
        why = f"the next rungs would have made it {more}, and " if budget.refused > budget.spent else ""
        typer.echo(
            f"stopped after {spent} {unit(plan.spec.resources)}: {why}the limit is {limit:.3g}; "
            f"{len(ledger.open_trials())} trials remain, and the same command with a higher limit goes on",
            err=True,
        )
        raise typer.Exit(3)
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
    price: PriceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts, hours and costs as JSON.")] = False,
) -> None:
    """Say what a sweep would run, what collapses, what is done already, and how long the rest takes. Starts nothing.

    Hours are of the trials, times their share of a GPU (resources.gpus); without GPUs, of trials. They are estimated, with 95 %
    intervals, from what the store's trials took on each device: at most, and as expected where the stopping rule ends trials,
    by that rule on orders of merit drawn at random.
    """
    from bench.bill import bills
    from bench.budget import unit
    from bench.ledger import Ledger

    made = plan_of(spec, overrides, store)
    opened = open_at(store) if exists(store) else None
    done = 0
    if opened is not None:
        ledger = Ledger.open(made, opened)
        ledger.settle()
        done = ledger.count("done", "stopped", "diverged")
    known, unknown = [], None
    try:
        known = bills(made, opened)
    except UserError as error:
        unknown = str(error)
    counts = {
        "trials": len(made.trials),
        "pretrain": len(made.of_kind("pretrain")),
        "adapt": len(made.of_kind("adapt")),
        "collapsed": made.collapsed,
        "done": done,
    }
    if as_json:
        costs = [
            {"device": each.device, "measured": each.measured, "scaled": each.scaled, "hours": each.times(1)} for each in known
        ]
        if price is not None:
            costs = [{**said, "cost": each.times(price)} for said, each in zip(costs, known, strict=True)]
        typer.echo(json.dumps({**counts, "unit": unit(made.spec.resources), "estimates": costs, "unknown": unknown}))
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
    for bill in known:
        scaled = ", in proportion to their work, for none like these has been" if bill.scaled else ""
        typer.echo(f"on {bill.device or 'an unknown device'}, by the {bill.measured} trials measured there{scaled}:")
        typer.echo(f"  in all {bill.at_most} {unit(made.spec.resources)} at most, {bill.expected} expected")
        typer.echo(f"  left   {bill.left_at_most} at most, {bill.left_expected} expected")
        if price is not None:
            at_most, expected = bill.left_at_most.times(price), bill.left_expected.times(price)
            typer.echo(f"  cost   {at_most} at most, {expected} expected, of what is left")
    if unknown:
        typer.echo(unknown)


@app.command(epilog="Example: transfergan status --store store")
def status(store: StoreOption = "store", sweep: Annotated[str | None, typer.Option(help="One sweep only.")] = None) -> None:
    """Show how far each sweep in the store has come, cell by cell."""
    from rich.console import Console

    from bench.status import status_tables

    for table in status_tables(open_at(store), sweep):
        Console().print(table)


@app.command(epilog="Example: transfergan distances quickstart --store store")
def distances(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPU cores to use in all; every core by default.")] = None,
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
    failures = run_distances(plan, Ledger.open(plan, opened), opened, Console(stderr=True), cpus)
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
