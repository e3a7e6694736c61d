"""`transfergan store`: list, check, compact, merge, weigh, prune stores, and remove from them."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from bench.cli.console import print_table, say
from bench.cli.options import StoreOption, open_at
from trainers.common.counts import counted
from trainers.common.errors import UserError, unknown_name

app = typer.Typer(
    help="List, check, compact, merge, weigh and prune stores, and remove from them.",
    no_args_is_help=True,
    epilog="Example: transfergan store list",
)


@app.command("list", epilog="Example: transfergan store list --store store")
def list_(
    store: StoreOption = "store",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, with sizes in bytes and times in UTC.")] = False,
) -> None:
    """List the sweeps in a store: their trials by status, what they weigh, and when they were last written to.

    Sweeps may share trials; each counts the files of all of its own. Files of trials that no sweep has planned or recorded, as
    a deleted plan leaves them, are counted in the last row. Changes nothing.
    """
    from datetime import UTC

    from bench.upkeep.inventory import holdings

    held = holdings(open_at(store))
    if as_json:
        dated = ((of, of.written and of.written.astimezone(UTC).isoformat(timespec="seconds")) for of in held)
        typer.echo(json.dumps([{**asdict(of), "written": written} for of, written in dated]))
        return
    statuses = list(dict.fromkeys(status for of in held for status in of.statuses))
    rows = [
        {
            "sweep": of.sweep or "(no sweep)",
            "plans": f"{of.plans:,}",
            "trials": f"{of.trials:,}",
            **{status: f"{of.statuses[status]:,}" if status in of.statuses else "" for status in statuses},
            "files": f"{of.files:,}",
            "MiB": _mib(of.size),
            "last written": of.written.astimezone().strftime("%Y-%m-%d %H:%M") if of.written else "",
        }
        for of in held
    ]
    print_table(rows, left=("sweep", "last written"))


@app.command(epilog="Example: transfergan store check --store store --json")
def check(
    store: StoreOption = "store",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of faults.")] = False,
) -> None:
    """Check every file and row of a store, and list the faults; the exit status is 1 if there are any. Changes nothing."""
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
        say(
            f"{merged.table} of {merged.sweep}: {counted(merged.parts, 'part')} merged into one of "
            f"{counted(merged.rows, 'row')}"
        )


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
    say(f"{counted(result.files, 'file')} copied; rows: {rows}")


@app.command(epilog="Example: transfergan store size --store store")
def size(
    store: StoreOption = "store",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, in bytes.")] = False,
) -> None:
    """Print what each folder of a store weighs, the heaviest first. Changes nothing."""
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
    keep: Annotated[str, typer.Option(help="The rungs whose networks stay: best, last, or best,last.")],
    store: StoreOption = "store",
) -> None:
    """Delete the networks of the other rungs of ended trials. Measurements, sample grids and checkpoints stay.

    A rung without its generator cannot be measured in another embedding any more. Best is the rung with the lowest FID, as for
    `transfergan generate`; the critic of another rung is never kept. Safe to interrupt and to repeat.
    """
    from bench.upkeep.prune import KEPT
    from bench.upkeep.prune import prune as delete

    kept = [name.strip() for name in keep.split(",")]
    for name in kept:
        if name not in KEPT:
            raise unknown_name("rung to keep", name, KEPT)
    deleted = delete(open_at(store), kept)
    say(f"{counted(deleted.files, 'network')} deleted, {_mib(deleted.size)} MiB")


@app.command(epilog="Example: transfergan store remove --sweep quickstart --dry-run --store store")
def remove(
    sweep: Annotated[str | None, typer.Option(metavar="NAME", help="The sweep, with the trials that no other one has.")] = None,
    trial: Annotated[str | None, typer.Option(metavar="KEY", help="Key of one trial, or its first characters.")] = None,
    store: StoreOption = "store",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and change nothing.")] = False,
) -> None:
    """Delete a sweep or a trial: rows, checkpoints, generators, sample grids, and a sweep's plans.

    What other sweeps use stays, and so do references, which are computed once for each domain. A sweep or a trial that runs is
    not deleted, nor a source from which trials have started. Safe to interrupt and to repeat.
    """
    from collections import Counter

    from bench.upkeep import removal
    from bench.upkeep.remove import check_idle
    from bench.upkeep.remove import remove as delete

    if (sweep is None) == (trial is None):
        raise UserError("store remove takes --sweep NAME or --trial KEY, one of them")
    opened = open_at(store)
    found = removal.of_sweep(opened, sweep) if sweep is not None else removal.of_trial(opened, trial or "")
    check_idle(opened, found)
    if not dry_run:
        delete(opened, found, lambda line: say(f"note: {line}", err=True))
    would = "would be " if dry_run else ""
    say(f"{counted(len(found.trials), 'trial')} and {counted(found.count, 'file')} {would}deleted, {_mib(found.size)} MiB")
    for name, count in sorted(Counter(found.shared.values()).items()):
        say(f"{counted(count, 'trial')} kept, for sweep {name}")
    for key in found.trials if sweep is None else ():
        if planning := removal.planned_by(opened, key):
            say(f"{key} is still planned by sweep {', '.join(planning)}: `transfergan run` trains it again")


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}"
