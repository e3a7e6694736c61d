"""`transfergan store`: look after a store."""

import json
from typing import Annotated

import typer

from bench.cli.options import StoreOption, open_at

app = typer.Typer(help="Look after a store.", no_args_is_help=True, epilog="Example: transfergan store check")


@app.command(epilog="Example: transfergan store check --store store --json")
def check(
    store: StoreOption = "store",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of faults.")] = False,
) -> None:
    """Verify all that a store promises, and name every fault; exit status 1 if there is one. Changes nothing."""
    from dataclasses import asdict

    from bench.upkeep.check import check as find

    faults = find(open_at(store))
    if as_json:
        typer.echo(json.dumps([asdict(fault) for fault in faults]))
    else:
        typer.echo("\n".join(map(str, faults)) if faults else "no faults")
    if faults:
        raise typer.Exit(1)


@app.command(epilog="Example: transfergan store compact --store store")
def compact(store: StoreOption = "store") -> None:
    """Merge the many small files of each table and sweep into one. Safe beside a running sweep, and to interrupt."""
    from bench.upkeep.compact import compact as merge

    for each in merge(open_at(store)):
        typer.echo(f"{each.table} of {each.sweep}: {each.parts:,} parts merged into one of {each.rows:,} rows")


@app.command(epilog="Example: transfergan store merge other-store --store store")
def merge(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The store to copy from, which is only read.")],
    store: StoreOption = "store",
) -> None:
    """Copy from another store all rows and files that this one lacks. Safe to repeat, and to interrupt."""
    from bench.upkeep.merge import merge as take_over

    read = open_at(source)
    done = take_over(read, open_at(store, create=True))
    for line in done.left_out:
        typer.echo(line, err=True)
    rows = ", ".join(f"{count:,} of {table}" for table, count in done.rows.items())
    typer.echo(f"{done.files:,} files copied; rows: {rows}")
