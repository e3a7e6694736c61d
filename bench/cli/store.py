"""`transfergan store`: check, compact, merge, weigh and prune stores."""

import json
from typing import Annotated

import typer

from bench.cli.console import print_table, say
from bench.cli.options import StoreOption, open_at
from trainers.common.errors import unknown_name

app = typer.Typer(
    help="Check, compact, merge, weigh and prune stores.", no_args_is_help=True, epilog="Example: transfergan store check"
)


@app.command(epilog="Example: transfergan store check --store store --json")
def check(
    store: StoreOption = "store",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of faults.")] = False,
) -> None:
    """Check every file and row of a store, and list the faults; the exit status is 1 if there are any. Changes nothing."""
    from dataclasses import asdict

    from bench.upkeep.check import check as find

    faults = find(open_at(store))
    if as_json:
        typer.echo(json.dumps([asdict(fault) for fault in faults]))
    else:
        say("\n".join(map(str, faults)) if faults else "no faults")
    if faults:
        raise typer.Exit(1)


@app.command(epilog="Example: transfergan store compact --store store")
def compact(store: StoreOption = "store") -> None:
    """Merge the many small files of each table and sweep into one. Safe during a sweep, and to interrupt."""
    from bench.upkeep.compact import compact as merge_parts

    for merged in merge_parts(open_at(store)):
        say(f"{merged.table} of {merged.sweep}: {merged.parts:,} parts merged into one of {merged.rows:,} rows")


@app.command(epilog="Example: transfergan store merge other-store --store store")
def merge(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The store to copy from; it is only read.")],
    store: StoreOption = "store",
) -> None:
    """Copy the rows and files that this store lacks from another one. Safe to interrupt and to repeat."""
    from bench.upkeep.merge import merge as copy_missing

    read = open_at(source)
    result = copy_missing(read, open_at(store, create=True))
    for line in result.left_out:
        say(line, err=True)
    rows = ", ".join(f"{count:,} of {table}" for table, count in result.rows.items())
    say(f"{result.files:,} files copied; rows: {rows}")


@app.command(epilog="Example: transfergan store size --store store")
def size(
    store: StoreOption = "store",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, in bytes.")] = False,
) -> None:
    """Print what each folder of a store weighs, the heaviest first. Changes nothing."""
    from dataclasses import asdict

    from bench.upkeep.prune import weigh

    weights = weigh(open_at(store))
    if as_json:
        typer.echo(json.dumps([asdict(weight) for weight in weights]))
        return
    rows = [{"folder": weight.folder, "files": f"{weight.files:,}", "MiB": _mib(weight.size)} for weight in weights]
    total = sum(weight.size for weight in weights)
    files = sum(weight.files for weight in weights)
    print_table([*rows, {"folder": "all", "files": f"{files:,}", "MiB": _mib(total)}], left=("folder",))


@app.command(epilog="Example: transfergan store prune --keep best,last --store store")
def prune(
    keep: Annotated[str, typer.Option(help="The rungs whose generators stay: best, last, or best,last.")],
    store: StoreOption = "store",
) -> None:
    """Delete the generators of the other rungs of ended trials. Measurements, sample grids and checkpoints stay.

    A rung without its generator cannot be measured in another embedding any more. Best is the rung with the lowest FID, as for
    `transfergan generate`. Safe to interrupt and to repeat.
    """
    from bench.upkeep.prune import KEPT
    from bench.upkeep.prune import prune as delete

    kept = [name.strip() for name in keep.split(",")]
    for name in kept:
        if name not in KEPT:
            raise unknown_name("rung to keep", name, KEPT)
    deleted = delete(open_at(store), kept)
    say(f"{deleted.files:,} generators deleted, {_mib(deleted.size)} MiB")


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}"
