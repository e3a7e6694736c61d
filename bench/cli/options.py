"""Options that verbs share, and how a store is opened, a limit is read and a verb is run from outside a cluster."""

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.logs.kinds import Log
from trainers.common.errors import UserError

if TYPE_CHECKING:
    from bench.store import Store

StoreOption = Annotated[
    str, typer.Option("--store", metavar="URI", help="The store of results: a directory, s3://... or gs://...")
]
SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A sweep file (.yaml) or the name of a preset.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the sweep file, e.g. training.steps=100. Repeatable."),
]
PriceOption = Annotated[
    float | None,
    typer.Option(min=0, metavar="PRICE", help="Price of one GPU-hour; for a sweep without GPUs, of one slot-hour."),
]
TimingsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="JSON with measured times, besides the store's; by default that beside the sweep file, as init writes it.",
    ),
]
MaxHoursOption = Annotated[
    float | None, typer.Option("--max-hours", min=0, help="Stop before this many GPU-hours are spent (*).")
]
MaxCostOption = Annotated[
    float | None, typer.Option("--max-cost", min=0, help="Stop before this much is spent, at --price per hour (*).")
]
TrialOption = Annotated[
    str, typer.Option("--trial", help="Key of the trial, or its first characters; best: the one with the lowest FID.")
]
CpusOption = Annotated[int | None, typer.Option("--cpus", min=1, help="CPU cores to use in total; all by default.")]
AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Where trials run: local (a new Ray on this machine), HOST:PORT or auto (the Ray cluster that this machine is "
        "part of), ray://HOST:10001 (a Ray cluster, from outside), here (this process, without Ray, for debugging).",
    ),
]
LogOption = Annotated[
    Log | None,
    typer.Option("--log", help="Also write the rungs as a log for this program, into the store; see the chapter on sweeps."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OneSweepOption = Annotated[str | None, typer.Option("--sweep", metavar="NAME", help="Only this sweep of the store.")]

#: Panels of `transfergan --help`.
RUN, CLUSTER, RESULTS, DATA, STORE = "Run", "Cluster", "Results", "Data and networks", "Store"

#: Names all sweeps of a store as one.
ALL = "all"

#: Prefix of the address of a cluster that is reached by Ray's client.
FROM_OUTSIDE = "ray://"


class Retry(StrEnum):
    """Which ended trials run again."""

    failed = "failed"


RetryOption = Annotated[Retry | None, typer.Option("--retry", help="Run failed trials again.")]


def open_at(uri: str, *, create: bool = False) -> "Store":
    """Return the store at a directory or URI; make it if `create`."""
    from bench.store import open_store

    return open_store(uri, create=create)


def open_for_cluster(uri: str) -> "Store":
    """Return the store that a cluster is to write to; print a note if its machines must share a folder for that."""
    store = open_at(uri, create=True)
    if "://" not in uri:
        typer.echo(f"note: the cluster must see the folder {store.address} under this name; or use s3://...", err=True)
    return store


def run_there(verb: str, spec: str, overrides: list[str] | None, store: str, address: str, options: Iterable[str]) -> int:
    """Run a verb on a cluster that is reached by Ray's client, print its output, and return its exit status."""
    from bench.on_ray import remote
    from bench.sweeps.loading import load_spec

    sweep = load_spec(spec, overrides or (), plan_only=True)
    return remote.run(
        address, verb, sweep, open_for_cluster(store), options,
        write=lambda stream, text: typer.echo(text, nl=False, err=stream == "stderr"),
    )  # fmt: skip


def default_report(store: "Store", suffix: str = "html") -> Path:
    """Return where the report of a store goes: into the store, or into the working directory if the store is remote."""
    name = f"report.{suffix}"
    return Path(name) if "://" in store.uri else Path(store.root) / name


def write_report(store: "Store", out: Path | None = None, sweep: str | None = None) -> Path:
    """Write the report of a sweep in a store, in the format of the suffix of `out`; return its path.

    By default it is that of the sweep that was run last. `ALL` is all sweeps in one report, unless a sweep has that name.
    """
    from analysis.report.page import write_report
    from bench.costs.replay import audit
    from bench.store.plans import last_run

    if sweep is None:
        sweep, _ = last_run(store)
    elif sweep == ALL and ALL not in store.read_sweeps():
        sweep = None
    return write_report(store, out or default_report(store), sweep, audit(store, sweep))


def roughly(unlike: Sequence[str]) -> str:
    """Return the line on hours of trials that differ from all measured ones in these keys of the sweep file."""
    *first, last = unlike
    keys = f"{', '.join(first)} and {last}" if first else last
    return f"a rough estimate: no measured trial has this {keys}; the times of others are scaled by the work"


def hours_limit(max_hours: float | None, max_cost: float | None, price: float | None) -> float:
    """Return the limit in hours, infinite for none. Raises UserError if only one of `max_cost` and `price` is given."""
    if max_cost is not None and not price:
        raise UserError("--max-cost needs --price, the price of one hour")
    if price is not None and max_cost is None:
        raise UserError("--price needs --max-cost; or give --max-hours alone")
    limits = [max_hours, max_cost / price if max_cost is not None and price else None]
    return min((limit for limit in limits if limit is not None), default=math.inf)
