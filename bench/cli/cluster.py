"""`transfergan status`, `submit`, `logs` and `cancel`: what the sweeps in a store are at, also as jobs of a Ray cluster."""

import json
from typing import Annotated

import typer

from bench.cli.console import say, show
from bench.cli.options import (
    CLUSTER,
    RUN,
    JsonOption,
    MaxCostOption,
    MaxHoursOption,
    OneSweepOption,
    PriceOption,
    RetryOption,
    SetOption,
    SpecArgument,
    StoreOption,
    hours_limit,
    open_at,
    open_for_cluster,
)

app = typer.Typer()

SweepOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The sweep; needed only if the store has jobs of several.")
]


@app.command(rich_help_panel=RUN, epilog="Example: transfergan status --store store --json")
def status(store: StoreOption = "store", sweep: OneSweepOption = None, as_json: JsonOption = False) -> None:
    """Show the progress of each sweep in the store, cell by cell, what runs now and where, and the state of its job.

    What runs is what the drivers say in their heartbeats, at most ten seconds ago. A claim is stale if its driver is dead.
    """
    from bench.on_ray.jobs import as_data as job_data
    from bench.on_ray.jobs import recorded, status_line
    from bench.run.status import as_data, lines, progressing, tables

    opened = open_at(store)
    jobs = {name: job for name, job in recorded(opened).items() if sweep in (None, name)}
    if as_json:
        sweeps = [as_data(of) for of in progressing(opened, sweep)]
        typer.echo(json.dumps([{**of, "job": job_data(jobs[of["sweep"]]) if of["sweep"] in jobs else None} for of in sweeps]))
        return
    sweeps_of = list(progressing(opened, sweep))
    if not sweeps_of:
        say(f"store {store!r} has no sweep yet")
    for of in sweeps_of:
        for table in tables(of):
            show(table)
        for line in lines(of):
            say(line)
    for job in jobs.values():
        typer.echo(status_line(job))


@app.command(
    rich_help_panel=CLUSTER,
    epilog="Example: transfergan submit sweep.yaml --address http://127.0.0.1:8265 --store s3://bucket/store",
)
def submit(
    spec: SpecArgument,
    address: Annotated[str, typer.Option(metavar="URL", help="The job server of a Ray cluster, http://HOST:8265.")],
    store: StoreOption = "store",
    overrides: SetOption = None,
    retry: RetryOption = None,
    max_hours: MaxHoursOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
) -> None:
    """Submit a sweep as a job to a Ray cluster, and return. `status`, `logs` and `cancel` then need only the store.

    (*) See `transfergan run --help`.
    """
    from bench.on_ray import jobs
    from bench.sweeps.loading import load_spec

    limit = hours_limit(max_hours, max_cost, price)
    opened = open_for_cluster(store)
    sweep = load_spec(spec, overrides or (), plan_only=True)
    job = jobs.submit(sweep, opened, address, retry_failed=retry is not None, max_hours=limit)
    typer.echo(f"submitted: {job.id}; follow it with transfergan status, logs or cancel --store {store}")


@app.command(rich_help_panel=CLUSTER, epilog="Example: transfergan logs --store s3://bucket/store")
def logs(store: StoreOption = "store", sweep: SweepOption = None) -> None:
    """Print the output of the job that runs a sweep."""
    from bench.on_ray import jobs

    typer.echo(jobs.logs(jobs.find(open_at(store), sweep)), nl=False)


@app.command(rich_help_panel=CLUSTER, epilog="Example: transfergan cancel --store s3://bucket/store")
def cancel(store: StoreOption = "store", sweep: SweepOption = None) -> None:
    """Interrupt the job that runs a sweep. No recorded result is lost, and `submit` continues from there."""
    from bench.on_ray import jobs

    job = jobs.find(open_at(store), sweep)
    typer.echo(f"{job.id}: {jobs.cancel(job)}")
