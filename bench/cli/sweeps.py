"""What is to be known of a sweep without training: what it would run, how far it has come, how far apart its domains are."""

import json
from collections import Counter
from dataclasses import replace
from typing import Annotated

import typer

from bench.cli.options import SetOption, SpecArgument, StoreOption, exists, open_at, plan_of, search_of

app = typer.Typer()


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
    search = search_of(made, store)
    opened = open_at(store) if exists(store) else None
    record = search.recorded(opened) if search and opened else None
    trials, waiting = made.trials, ""
    if search and record:
        trials = search.tuned(record).trials
    elif search:
        trials = (*search.plan().trials, *(trial for trial in made.trials if trial.key not in search.held_out.by_key))
        waiting = f"tuning is still to be done, on {search.held_out.spec.targets[0]}; the adaptations take over what it finds"
    done = 0
    if opened:
        ledger = Ledger.open(replace(made, trials=trials), opened)
        ledger.settle()
        done = ledger.count("done", "stopped", "diverged")
    kinds = Counter(trial.kind for trial in trials)
    counts = {
        "trials": len(trials),
        "pretrain": kinds["pretrain"],
        **({"tune": kinds["tune"]} if search else {}),
        "adapt": kinds["adapt"],
        "collapsed": made.collapsed,
        "done": done,
    }
    if as_json:
        typer.echo(json.dumps(counts))
        return
    from bench.progress import describe

    for trial in trials:
        key = "(yet unknown)   " if waiting and trial.kind == "adapt" else trial.key
        typer.echo(f"{key}  {describe(trial)}, {trial.training.steps} steps")
    for note in made.notes:
        typer.echo(f"note: {note}")
    if waiting:
        typer.echo(waiting)
    to_tune = f" {kinds['tune']} trials to tune," if waiting else ""
    typer.echo(
        f"{counts['trials']} trials: {counts['pretrain']} sources to pre-train,{to_tune} {counts['adapt']} adaptations in "
        f"{len(made.cells)} cells ({counts['collapsed']} duplicates collapsed); {done} are in the store already"
    )


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
