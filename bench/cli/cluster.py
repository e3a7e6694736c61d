"""Jobs: a sweep that runs on a cluster while nobody watches."""

from typing import Annotated

import typer

from bench.cli.options import (
    MaxCostOption,
    MaxHoursOption,
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

SweepOption = Annotated[str | None, typer.Option(help="Which sweep, where the store knows of several jobs.")]


@app.command(epilog="Example: transfergan submit sweep.yaml --address http://127.0.0.1:8265 --store s3://bucket/store")
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
    """Run a sweep as a job of a cluster, and return at once: status, logs and cancel need only the store.

    (*) As of `transfergan run`.
    """
    from bench.on_ray import jobs
    from bench.sweeps.spec import load_spec

    limit = hours_limit(max_hours, max_cost, price)
    opened = open_for_cluster(store)
    job = jobs.submit(
        load_spec(spec, overrides or (), plan_only=True), opened, address, retry_failed=retry is not None, max_hours=limit
    )
    typer.echo(f"submitted: {job.id}; transfergan status, logs and cancel --store {store} tell of it")


@app.command(epilog="Example: transfergan logs --store s3://bucket/store")
def logs(store: StoreOption = "store", sweep: SweepOption = None) -> None:
    """Print what the job that runs a sweep has printed so far."""
    from bench.on_ray import jobs

    typer.echo(jobs.logs(jobs.find(open_at(store), sweep)), nl=False)


@app.command(epilog="Example: transfergan cancel --store s3://bucket/store")
def cancel(store: StoreOption = "store", sweep: SweepOption = None) -> None:
    """Interrupt the job that runs a sweep; nothing recorded is lost, and `submit` goes on from there."""
    from bench.on_ray import jobs

    job = jobs.find(open_at(store), sweep)
    typer.echo(f"{job.id}: {jobs.cancel(job)}")
