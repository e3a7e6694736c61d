"""`transfergan plan` and `transfergan status`: what a sweep would run, and what it has run."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import progress_console, show
from bench.cli.options import (
    RUN,
    OneSweepOption,
    PriceOption,
    SetOption,
    SpecArgument,
    StoreOption,
    open_at,
)

if TYPE_CHECKING:
    from bench.costs.bill import Bill
    from bench.run.preview import Preview

app = typer.Typer()


@app.command(rich_help_panel=RUN, epilog="Example: transfergan plan sweep.yaml --set 'sizes=[50, 500]' --json")
def plan(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    price: PriceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts, hours and costs as JSON.")] = False,
) -> None:
    """List the trials of a sweep, how many the store has already, and the hours that the rest will take. Starts nothing.

    The hours are those of the trials times their share of a GPU (resources.gpus); without GPUs, those of the trials. They are
    estimated from the store's timings on each device, with 95 % intervals: "at most" if every trial uses its budget, and
    "expected" if the stopping rule acts on rankings that are drawn at random. Needs neither the data sets nor the weights of
    the embedding; without them the keys, and the trials that are done, are unknown.
    """
    from bench.run.preview import planned, preview

    result = preview(planned(spec, overrides, store, progress_console()))
    if as_json:
        typer.echo(json.dumps(result.as_data(price)))
        return
    _print_trials(result)
    for bill in result.bills:
        _print_bill(bill, result.unit, price)
    if result.unknown:
        typer.echo(result.unknown)


def _print_trials(preview: "Preview") -> None:
    from bench.run.progress import describe

    for trial in preview.plan.trials:
        unknown = preview.absent or (preview.searching and trial.kind == "adapt")
        key = "(yet unknown)   " if unknown else trial.key
        typer.echo(f"{key}  {describe(trial)}, {trial.training.steps} steps")
    for note in preview.notes:
        typer.echo(f"note: {note}")
    counts, tune = preview.counts(), ""
    if preview.searching and preview.search:
        target = preview.search.held_out.spec.targets[0]
        typer.echo(f"tuning has still to run, on {target}; the adaptations use the settings that it finds")
        tune = f" {counts['tune']} trials to tune,"
    typer.echo(
        f"{counts['trials']} trials: {counts['pretrain']} sources to pre-train,{tune} {counts['adapt']} adaptations in "
        f"{preview.cells} cells ({counts['collapsed']} duplicates collapsed); {counts['done']} are in the store already"
    )
    if "confirm" in counts:
        typer.echo(f"then {counts['confirm']} trials confirm the best of each cell on fresh seeds; the hours include them")


def _print_bill(bill: "Bill", unit: str, price: float | None) -> None:
    scaled = "; scaled by the work of the networks, as these have not been measured" if bill.scaled else ""
    typer.echo(f"on {bill.device or 'an unknown device'}, by the {bill.measured} trials measured there{scaled}:")
    typer.echo(f"  in all {bill.at_most} {unit} at most, {bill.expected} expected")
    typer.echo(f"  left   {bill.left_at_most} at most, {bill.left_expected} expected")
    if price is not None:
        at_most, expected = bill.left_at_most.times(price), bill.left_expected.times(price)
        typer.echo(f"  cost   {at_most} at most, {expected} expected, of what is left")


@app.command(rich_help_panel=RUN, epilog="Example: transfergan status --store store")
def status(store: StoreOption = "store", sweep: OneSweepOption = None) -> None:
    """Show the progress of each sweep in the store, cell by cell, and the state of its job."""
    from bench.on_ray.jobs import recorded, status_line
    from bench.run.status import status_tables

    opened = open_at(store)
    for table in status_tables(opened, sweep):
        show(table)
    for name, job in recorded(opened).items():
        if sweep in (None, name):
            typer.echo(status_line(job))
