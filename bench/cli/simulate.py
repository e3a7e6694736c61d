"""What a sweep would take on more GPUs than one has."""

import json
from typing import Annotated

import typer

from bench.cli.options import SetOption, SpecArgument, StoreOption, exists, open_at
from bench.run.planning import plan_of, search_of
from trainers.common.errors import UserError

app = typer.Typer()


@app.command(epilog="Example: transfergan simulate quickstart --gpus 1,8,64 --interruptions 0.05 --store store")
def simulate(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    gpus: Annotated[str, typer.Option(metavar="N,...", help="How many GPUs there are.")] = "1,8,64,1000",
    interruptions: Annotated[float, typer.Option(min=0, metavar="RATE", help="Losses of a spot GPU per hour.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the interruptions, and of values that are not measured yet.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how long a sweep would take on so many GPUs, beside a naive grid. Starts nothing; needs no data sets, no weights.

    From what the store's trials took, on the device that most of them ran on; a sweep without GPUs (resources.gpus: 0) is
    simulated on slots of one trial. "ours" is what run does. "barrier" trains all sources first and stops nothing. "naive"
    pre-trains the source of every grid point anew, runs duplicates, and stops nothing.
    """
    from rich.console import Console
    from rich.table import Table

    from bench.costs.budget import unit
    from bench.costs.estimate import estimates, rounded
    from bench.costs.simulation import compare, savings, stopping_values

    numbers = _numbers(gpus)
    made = plan_of(spec, overrides, store, plan_only=True)
    opened = open_at(store) if exists(store) else None
    search = search_of(made, store, plan_only=True)
    record = search.recorded(opened) if search and opened else None
    if search and record:
        made = search.tuned(record)
    takes = estimates(made, opened)
    values = stopping_values(made, opened, seed)
    rows = list(compare(made, takes, values, numbers, interruptions, seed))
    saved = savings(made, takes, values)
    if as_json:
        trials = {"points": len(made.grid), "collapsed": made.collapsed, "trials": len(made.trials)}
        typer.echo(json.dumps({**trials, "unit": unit(made.spec.resources), "hours": saved, "simulations": rows}))
        return
    hours = unit(made.spec.resources)
    table = Table(box=None, pad_edge=False)
    slots = "GPUs" if made.spec.resources.gpus else "slots"
    for column in (slots, "schedule", "makespan, h", "idle", hours, "x ours", "lost", "lost, h", "failed"):
        table.add_column(column, justify="left" if column == "schedule" else "right")
    for row in rows:
        counts = f"{row['interruptions']:,}", rounded(row["lost_hours"]), f"{row['failed'] + row['blocked']:,}"
        took = rounded(row["makespan_hours"]), f"{row['idle']:.0%}", rounded(row["hours"]), f"{row['times_ours']:.2f}"
        table.add_row(f"{row['gpus']:,}", row["schedule"], *took, *counts)
    Console().print(table)
    for note in made.notes:
        typer.echo(f"note: {note}")
    if search:
        typer.echo("note: tuning is not simulated" + ("" if record else "; adaptations take the sweep's own settings"))
    if any(each.scaled for each in takes.values()):
        typer.echo("note: no trials like these have been measured; theirs are told in proportion to their work")
    typer.echo(
        f"{len(made.grid):,} grid points, {len(made.trials):,} trials ({made.collapsed:,} duplicates collapsed). In {hours}: "
        f"naive {rounded(saved['naive'])}; each source once {rounded(saved['sources_once'])}; duplicates collapsed "
        f"{rounded(saved['collapsed'])}; the poor stopped {rounded(saved['stopped'])}: "
        f"{saved['naive'] / saved['stopped']:.1f}x less"
    )


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) for part in parts):
        raise UserError(f"--gpus: {text!r} is not a list of numbers of 1 and more; write them as in --gpus 1,8,64")
    return [int(part) for part in parts]
