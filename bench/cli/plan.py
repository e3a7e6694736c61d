"""What is to be known of a sweep without training: what it would run, how far it has come, how far apart its domains are."""

import json
from collections import Counter
from dataclasses import replace
from typing import Annotated

import typer

from bench.cli.options import (
    FROM_OUTSIDE,
    AddressOption,
    CpusOption,
    PriceOption,
    SetOption,
    SpecArgument,
    StoreOption,
    exists,
    open_at,
    run_there,
)
from bench.run.planning import plan_of, search_of
from trainers.common.errors import UserError

app = typer.Typer()


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
    by that rule on orders of merit drawn at random. Needs neither the data sets nor the embedding's weights; without them
    keys, and what is done, are not known.
    """
    from bench.costs.bill import bills
    from bench.costs.budget import unit
    from bench.driver.ledger import Ledger

    made = plan_of(spec, overrides, store, plan_only=True)
    search = search_of(made, store, plan_only=True)
    plans = (made, search.held_out) if search else (made,)
    absent = list(dict.fromkeys(name for each in plans for name in each.absent))
    opened = open_at(store) if exists(store) else None
    record = search.recorded(opened) if search and opened else None
    trials, waiting = made.trials, ""
    if search and record:
        trials = search.tuned(record).trials
    elif search:
        trials = (*search.plan().trials, *(trial for trial in made.trials if trial.key not in search.held_out.by_key))
        waiting = f"tuning is still to be done, on {search.held_out.spec.targets[0]}; the adaptations take over what it finds"
    whole = replace(made, trials=trials)
    done = 0
    if opened:
        ledger = Ledger.open(whole, opened)
        ledger.settle()
        done = ledger.count("done", "stopped", "diverged")
    known, unknown = [], None
    try:
        known = bills(whole, opened)
    except UserError as error:
        unknown = str(error)
    kinds = Counter(trial.kind for trial in trials)
    counts = {
        "trials": len(trials),
        "pretrain": kinds["pretrain"],
        **({"tune": kinds["tune"]} if search else {}),
        "adapt": kinds["adapt"],
        "collapsed": made.collapsed,
        "done": done,
        "absent": absent,
    }
    if as_json:
        costs = [
            {"device": each.device, "measured": each.measured, "scaled": each.scaled, "hours": each.times(1)} for each in known
        ]
        if price is not None:
            costs = [{**said, "cost": each.times(price)} for said, each in zip(costs, known, strict=True)]
        typer.echo(json.dumps({**counts, "unit": unit(made.spec.resources), "estimates": costs, "unknown": unknown}))
        return
    from bench.run.progress import describe

    for trial in trials:
        unknown_yet = absent or (waiting and trial.kind == "adapt")
        key = "(yet unknown)   " if unknown_yet else trial.key
        typer.echo(f"{key}  {describe(trial)}, {trial.training.steps} steps")
    for note in dict.fromkeys(note for each in plans for note in each.notes):
        typer.echo(f"note: {note}")
    if waiting:
        typer.echo(waiting)
    to_tune = f" {kinds['tune']} trials to tune," if waiting else ""
    typer.echo(
        f"{counts['trials']} trials: {counts['pretrain']} sources to pre-train,{to_tune} {counts['adapt']} adaptations in "
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
    """Show how far each sweep in the store has come, cell by cell, and what becomes of the jobs that run them."""
    from rich.console import Console

    from bench.on_ray.jobs import recorded, told
    from bench.run.status import status_tables

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
    if address.startswith(FROM_OUTSIDE):
        options = [*(["--cpus", str(cpus)] if cpus else []), *(["--json"] if as_json else [])]
        raise typer.Exit(run_there("distances", spec, overrides, store, address, options))
    from rich.console import Console
    from rich.table import Table

    from bench.driver.ledger import Ledger
    from bench.run.sweep import run_distances
    from bench.worker.distances import between
    from trainers.config import metrics

    plan = plan_of(spec, overrides, store)
    opened = open_at(store, create=True)
    failures = run_distances(plan, Ledger.open(plan, opened), opened, Console(stderr=True), cpus, address)
    rows = between(plan, opened)
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        table, kinds = Table(box=None, pad_edge=False), [metric.name for metric in metrics.distances()]
        for column in ("source", "target", *kinds):
            table.add_column(column, justify="right" if column in kinds else "left", no_wrap=True)
        values = {(row["source"], row["trial"], row["target"], row["kind"]): row["value"] for row in rows}
        for source, trial, target in dict.fromkeys(key[:3] for key in values):
            figures = [f"{values[source, trial, target, kind]:.4g}" for kind in kinds]
            table.add_row(f"{source}'s generator" if trial else source, target, *figures)
        Console().print(table)
    if failures:
        typer.echo("\n".join(failures), err=True)
        raise typer.Exit(1)
