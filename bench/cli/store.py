"""`transfergan store`: check, compact and merge stores."""

import json
from typing import Annotated

import typer

from bench.cli.console import say
from bench.cli.options import StoreOption, open_at

app = typer.Typer(help="Check, compact and merge stores.", no_args_is_help=True, epilog="Example: transfergan store check")


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
