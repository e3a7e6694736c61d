"""`transfergan simulate`: a sweep on more GPUs than there are."""

import json
from typing import Annotated

import typer

from bench.cli.console import print_table, progress_console
from bench.cli.options import RUN, JsonOption, SetOption, SpecArgument, StoreOption, TimingsOption, roughly
from trainers.common.counts import counted
from trainers.common.errors import UserError

app = typer.Typer()


@app.command(
    rich_help_panel=RUN, epilog="Example: transfergan simulate quickstart --gpus 1,8,64 --interruptions 0.05 --store store"
)
def simulate(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    gpus: Annotated[str, typer.Option(metavar="N,...", help="Numbers of GPUs.")] = "1,8,64,1000",
    interruptions: Annotated[float, typer.Option(min=0, metavar="RATE", help="Losses of spot GPUs per GPU-hour.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the spot losses, and of values not measured yet.")] = 0,
    timings: TimingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate how long a sweep takes on given numbers of GPUs, compared with a naive grid. Starts nothing.

    Uses the store's timings on the device that most of its trials ran on. A sweep without GPUs (resources.gpus: 0) is simulated
    on slots of one trial. Needs neither data sets nor weights. The schedules: "ours" is that of `transfergan run`. "barrier"
    trains all sources first and stops no trial early. "naive" pre-trains the source of every grid point again, runs duplicates,
    and stops no trial early.
    """
    from bench.costs.budget import unit
    from bench.costs.estimate import estimates, rounded, unlike
    from bench.costs.simulation import compare, savings, stopping_values
    from bench.costs.timings import timings_for
    from bench.run.preview import planned

    numbers = _numbers(gpus)
    plan, search, tuned, opened, _ = planned(spec, overrides, store, progress_console())
    seconds = estimates(plan, opened, further=timings_for(spec, timings))
    values = stopping_values(plan, opened, seed)
    rows = list(compare(plan, seconds, values, numbers, interruptions, seed))
    saved, hours = savings(plan, seconds, values), unit(plan.spec.resources)
    if as_json:
        trials = {"points": len(plan.grid), "collapsed": plan.collapsed, "trials": len(plan.trials)}
        typer.echo(json.dumps({**trials, "unit": hours, "hours": saved, "simulations": rows}))
        return
    slots = "GPUs" if plan.spec.resources.gpus else "slots"
    table = [
        {
            slots: f"{row['gpus']:,}",
            "schedule": row["schedule"],
            "makespan, h": rounded(row["makespan_hours"]),
            "idle": f"{row['idle']:.0%}",
            hours: rounded(row["hours"]),
            "x ours": f"{row['times_ours']:.2f}",
            "lost": f"{row['interruptions']:,}",
            "lost, h": rounded(row["lost_hours"]),
            "failed": f"{row['failed'] + row['blocked']:,}",
        }
        for row in rows
    ]
    print_table(table, left=("schedule",))
    for note in plan.notes:
        typer.echo(f"note: {note}")
    if search:
        typer.echo("note: tuning is not simulated" + ("" if tuned else "; adaptations have the sweep's own settings"))
    if plan.spec.confirm:
        typer.echo("note: the confirmation is not simulated")
    if keys := unlike(seconds.values()):
        typer.echo(f"note: {roughly(keys)}")
    typer.echo(
        f"{len(plan.grid):,} grid points, {counted(len(plan.trials), 'trial')} ({counted(plan.collapsed, 'duplicate')} "
        f"collapsed). In {hours}: naive {rounded(saved['naive'])}; each source once {rounded(saved['sources_once'])}; "
        f"duplicates collapsed {rounded(saved['collapsed'])}; poor trials stopped {rounded(saved['stopped'])}: "
        f"{saved['naive'] / saved['stopped']:.1f}x less"
    )


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) for part in parts):
        raise UserError(f"--gpus: {text!r} is not a list of whole numbers from 1; write e.g. --gpus 1,8,64")
    return [int(part) for part in parts]
