"""`transfergan submit`, `logs` and `cancel`: a sweep as a job of a Ray cluster."""

from typing import Annotated

import typer

from bench.cli.options import (
    CLUSTER,
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

SweepOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The sweep; needed only if the store has jobs of several.")
]


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
