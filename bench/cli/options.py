"""What several verbs share: their arguments, and how a sweep file, a store and a report are opened and written."""

import math
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainers.common.errors import UserError

if TYPE_CHECKING:
    from bench.store import Store

StoreOption = Annotated[str, typer.Option("--store", metavar="URI", help="Where results are kept: a directory or s3://...")]
SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A sweep file (.yaml) or a preset's name.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. training.steps=100.")
]
PriceOption = Annotated[float | None, typer.Option(min=0, metavar="PRICE", help="What a GPU costs per hour; or a slot's CPUs.")]
MaxHoursOption = Annotated[
    float | None, typer.Option("--max-hours", min=0, help="Stop in time not to spend more GPU-hours (*).")
]
MaxCostOption = Annotated[float | None, typer.Option("--max-cost", min=0, help="Stop in time not to spend more, at --price.")]
CpusOption = Annotated[int | None, typer.Option("--cpus", min=1, help="CPU cores to use in all; every core by default.")]
AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="A running Ray cluster; or auto, local, or ray://... from outside it; or here, this process without Ray.",
    ),
]


#: How the address of a cluster begins that is reached by Ray's client.
FROM_OUTSIDE = "ray://"


class Retry(StrEnum):
    """Which ended trials to run again."""

    failed = "failed"


RetryOption = Annotated[Retry | None, typer.Option("--retry", help="Also run again the trials that failed.")]


def open_at(uri: str, *, create: bool = False) -> "Store":
    """Return the store at a directory or s3://...; made if `create`."""
    from bench.store import open_store

    return open_store(uri, create=create)


def open_for_cluster(uri: str) -> "Store":
    """Return the store that a cluster is to write to, made where it is not there; a note says what a folder's name asks for."""
    store = open_at(uri, create=True)
    if "://" not in uri:
        typer.echo(f"note: the cluster must see the folder {store.address} under this name; or name s3://... instead", err=True)
    return store


def run_there(verb: str, spec: str, overrides: list[str] | None, store: str, address: str, options: Iterable[str]) -> int:
    """Run a verb on a cluster that is reached by Ray's client, and return its exit status; see `bench.remote`."""
    from bench.on_ray import remote
    from bench.sweeps.spec import load_spec

    loaded = load_spec(spec, overrides or (), plan_only=True)
    return remote.run(address, verb, loaded, open_for_cluster(store), options)


def exists(uri: str) -> bool:
    """Return whether a store is there."""
    from bench.store import store_exists

    return store_exists(uri)


def default_report(store: "Store", suffix: str = "html") -> Path:
    """Return where a store's report goes: beside its tables, or the working directory where they are remote."""
    name = f"report.{suffix}"
    return Path(name) if "://" in store.uri else Path(store.root) / name


def write_report(store: "Store", out: Path, sweep: str | None) -> Path:
    """Write the report of a store, or of one of its sweeps, in the format that `out` is named by, and return its path."""
    from analysis.report.page import write_report
    from bench.driver.replay import audit

    return write_report(store, out, sweep, audit(store, sweep))


def hours_limit(max_hours: float | None, max_cost: float | None, price: float | None) -> float:
    """Return how many hours may be spent; infinite for no limit."""
    if max_cost is not None and not price:
        raise UserError("--max-cost is in the currency of --price; give that too, what one hour costs")
    if price is not None and max_cost is None:
        raise UserError("--price says what --max-cost may buy; give that too, or --max-hours alone")
    limits = [max_hours, max_cost / price if max_cost is not None and price else None]
    return min((each for each in limits if each is not None), default=math.inf)
