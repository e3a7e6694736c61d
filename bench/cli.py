"""The command line: the only module that sees all packages, and imports each only when a verb needs it."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainers.errors import UserError

if TYPE_CHECKING:
    from bench.ledger import Ledger
    from bench.plan import Plan
    from bench.store import Store

app = typer.Typer(
    name="transfergan",
    help="Which pre-trained GAN to start from, how to start from it, and how much of your data that saves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
domains_app = typer.Typer(help="The image domains that sources and targets can name.", invoke_without_command=True)
app.add_typer(domains_app, name="domains")
store_app = typer.Typer(help="Look after a store.", no_args_is_help=True, epilog="Example: transfergan store check")
app.add_typer(store_app, name="store")

StoreOption = Annotated[str, typer.Option("--store", metavar="URI", help="Where results are kept: a directory or s3://...")]
SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A sweep file (.yaml) or a preset's name.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. training.steps=100.")
]


class Retry(StrEnum):
    """Which ended trials to run again."""

    failed = "failed"


@app.command(epilog="Example: transfergan run quickstart --store store")
def run(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPU cores to use in all; every core by default.")] = None,
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="A Ray cluster that is up; or auto, or local.")] = "local",
    retry: Annotated[Retry | None, typer.Option(help="Also run again the trials that failed.")] = None,
) -> None:
    """Run what the store does not have yet, then write the report. Safe to repeat and to interrupt."""
    from rich.console import Console

    from bench.progress import cell_table
    from bench.sweep import run_sweep

    plan = _plan(spec, overrides, store)
    opened = _open(store, create=True)
    console = Console(stderr=True)
    for note in plan.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    opened.write_sweep(plan.spec.name, _planned(plan))
    ledger = _ledger(plan, opened, retry_failed=retry is not None)
    failures: list[str] = []
    try:
        failures = run_sweep(plan, ledger, opened, console, cpus, address)
        interrupted = bool(ledger.open_trials())
    except KeyboardInterrupt:
        interrupted = True
    out = _write_report(opened, _default_report(opened), None)
    console.print(cell_table(ledger))
    typer.echo(f"report: {out}")
    if interrupted:
        typer.echo("interrupted: the same command goes on from here", err=True)
        raise typer.Exit(130)
    if ledger.count("failed", "blocked"):
        hint = "--retry failed runs them again" if ledger.count("failed") else "their sources diverged"
        failures.append(f"trials: {ledger.count('failed')} failed, {ledger.count('blocked')} blocked; {hint}")
    if failures:
        typer.echo("\n".join(failures), err=True)
        raise typer.Exit(1)


@app.command(epilog="Example: transfergan plan sweep.yaml --set 'sizes=[50, 500]' --json")
def plan(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts as JSON.")] = False,
) -> None:
    """Say what a sweep would run, what collapses, and what is done already. Starts nothing."""
    made = _plan(spec, overrides, store)
    done = 0
    if _exists(store):
        ledger = _ledger(made, _open(store))
        ledger.settle()
        done = ledger.count("done", "stopped", "diverged")
    counts = {
        "trials": len(made.trials),
        "pretrain": len(made.of_kind("pretrain")),
        "adapt": len(made.of_kind("adapt")),
        "collapsed": made.collapsed,
        "done": done,
    }
    if as_json:
        typer.echo(json.dumps(counts))
        return
    from bench.progress import describe

    for trial in made.trials:
        typer.echo(f"{trial.key}  {describe(trial)}, {trial.training.steps} steps")
    for note in made.notes:
        typer.echo(f"note: {note}")
    typer.echo(
        f"{counts['trials']} trials: {counts['pretrain']} sources to pre-train, {counts['adapt']} adaptations in "
        f"{len(made.cells)} cells ({counts['collapsed']} duplicates collapsed); {done} are in the store already"
    )


@app.command(epilog="Example: transfergan status --store store")
def status(store: StoreOption = "store", sweep: Annotated[str | None, typer.Option(help="One sweep only.")] = None) -> None:
    """Show how far each sweep in the store has come, cell by cell."""
    from rich.console import Console

    from bench.status import status_tables

    for table in status_tables(_open(store), sweep):
        Console().print(table)


@app.command(epilog="Example: transfergan report --store store --out report.html")
def report(
    store: StoreOption = "store",
    out: Annotated[Path | None, typer.Option(help="The page to write; report.html in the store by default.")] = None,
    sweep: Annotated[str | None, typer.Option(help="One sweep only.")] = None,
) -> None:
    """Write the report, one self-contained HTML page, from what the store has now."""
    opened = _open(store)
    typer.echo(f"report: {_write_report(opened, out or _default_report(opened), sweep)}")


@app.command(epilog="Example: transfergan replay --store store --keep 0.33 --json")
def replay(
    store: StoreOption = "store",
    sweep: Annotated[str | None, typer.Option(help="One sweep only.")] = None,
    keep: Annotated[float, typer.Option(help="Share of a cell's methods that goes on at each rung.")] = 0.5,
    protect: Annotated[bool, typer.Option(help="Whether a trial of every strategy always goes on.")] = True,
    metric: Annotated[str, typer.Option(help="The metric to stop by.")] = "fid",
    collapse: Annotated[
        float, typer.Option(help="Samples less diverse than this share of the real ones' stop; 0: never.")
    ] = 0.1,
    plateau: Annotated[int, typer.Option(help="Rungs without a better value before a trial stops; 0: never.")] = 0,
    audit: Annotated[float, typer.Option(help="Share of the cells in which nobody is stopped.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every cell.")] = False,
) -> None:
    """Say what early stopping would have saved on a sweep that ran without, and what it would have changed."""
    from pydantic import ValidationError
    from rich.console import Console
    from rich.table import Table

    from bench.replay import replay as apply
    from bench.replay import summary
    from bench.spec import StoppingConfig

    try:
        rule = StoppingConfig.model_validate(
            {
                "keep": keep, "protect_strategies": protect, "metric": metric, "collapse": collapse, "plateau": plateau,
                "audit": audit,
            }
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--{first['loc'][0]}: {first['msg']}, got {first['input']!r}") from error
    replays, left_out = apply(_open(store), sweep, rule)
    said = summary(replays, rule, left_out)
    if as_json:
        typer.echo(json.dumps(said))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("target", "images", "trials", "stopped", "steps saved", "winner", "same winner", "order of sources"):
        table.add_column(column, justify="left" if column in ("target", "winner", "same winner") else "right")
    for each in replays:
        order = "" if each.source_order is None else f"{each.source_order:+.2f}"
        target = f"{each.target}, conditional" if each.conditional else each.target
        counts = f"{each.size:,}", str(each.trials), str(each.stopped), f"{each.saved:.0%}"
        table.add_row(target, *counts, each.winner, "yes" if each.same_winner else "no", order)
    Console().print(table)
    words = (
        f"{said['steps_saved']:.0%} of the adapt steps saved; the same winner in {said['same_winner']} of {said['cells']} cells"
    )
    typer.echo(words + (f"; {left_out} cells left out: a trial was stopped or has not ended" if left_out else ""))


@app.command(epilog="Example: transfergan strategies quickstart --set gan.family=sngan --json")
def strategies(
    spec: SpecArgument = "quickstart",
    overrides: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Say what each strategy copies, trains and holds near the source, of a sweep's networks, and with which options."""
    from bench.spec import load_spec
    from bench.strategies import inventories

    found = list(inventories(load_spec(spec, overrides or ())))
    if as_json:
        typer.echo(json.dumps(found))
        return
    from trainers.inventory import lines

    for each in found:
        typer.echo("\n".join([f"{each['name']}: {each['about']}", f"  {each['misfit']}"] if "misfit" in each else lines(each)))


@app.command(epilog="Example: transfergan distances quickstart --store store")
def distances(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPU cores to use in all; every core by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, with intervals.")] = False,
) -> None:
    """Measure how far a sweep's sources are from its targets, without training anything."""
    from rich.console import Console
    from rich.table import Table

    from bench.distances import KINDS, between
    from bench.sweep import run_distances

    plan = _plan(spec, overrides, store)
    opened = _open(store, create=True)
    failures = run_distances(plan, _ledger(plan, opened), opened, Console(stderr=True), cpus)
    rows = between(plan, opened)
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("source", "target", *KINDS):
            table.add_column(column, justify="right" if column in KINDS else "left", no_wrap=True)
        values = {(row["source"], row["trial"], row["target"], row["kind"]): row["value"] for row in rows}
        for source, trial, target in dict.fromkeys(key[:3] for key in values):
            figures = [f"{values[source, trial, target, kind]:.4g}" for kind in KINDS]
            table.add_row(f"{source}'s generator" if trial else source, target, *figures)
        Console().print(table)
    if failures:
        typer.echo("\n".join(failures), err=True)
        raise typer.Exit(1)


@app.command(epilog="Example: transfergan recommend --target folder:photos/flowers --store store")
def recommend(
    target: Annotated[str, typer.Option(help="A domain: your images, e.g. folder:PATH, or any other.")],
    store: StoreOption = "store",
    size: Annotated[int | None, typer.Option(min=1, help="How many of its images to train on; all by default.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many sources and strategies to name.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; gains are log2.")] = False,
) -> None:
    """Say which source and strategy to start from for your images, by what a store has measured on others. Trains nothing."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from analysis.evidence import at_size, doubts, evidence, in_words
    from analysis.frames import load, records
    from analysis.recommender import observed, ranked
    from analysis.wording import times
    from bench.domains import make_ready
    from bench.recommend import command, distances_to, embedding_name
    from trainers.domains import get

    opened, console = _open(store), Console(stderr=True)
    domain = get(target)
    frames = load(opened)
    found = evidence(frames)
    make_ready(domain, found.resolution, console)
    size = size or domain.count("train")
    found = at_size(found, size)
    embedding = embedding_name(found.embedding, frames.sweeps)
    measured: dict[str, float] = {}
    if embedding is None:
        lacking = [f"The embedding {found.embedding} is not on this machine, so no distance can be measured."]
    else:
        with console.status("") as status:
            measured, lacking = distances_to(
                domain.name, found.sources, opened, embedding, found.resolution, lambda what: status.update(Text(what))
            )
    best = ranked(observed(found.gains, frames.trials), measured)
    notes = [*found.notes, *doubts(found, best, domain.name, lacking)]
    rows = records(best.head(top))
    for row in rows:
        own = found.gains[(found.gains["source"] == row["source"]) & (found.gains["strategy"] == row["strategy"])]
        spec = frames.sweeps.get(own["sweep"].iloc[0], {}).get("spec")
        row["command"] = command(
            spec, row["source"], row["strategy"], domain.name, size, found.resolution, found.conditional, store
        )
    if as_json:
        settings = {"embedding": found.embedding, "resolution": found.resolution, "conditional": found.conditional}
        typer.echo(json.dumps({"target": domain.name, "size": size, **settings, "notes": notes, "recommendations": rows}))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("strategy", "source", "predicted gain", "95 % interval", "distance", "targets", "trials"):
        table.add_column(column, justify="left" if column in ("strategy", "source") else "right")
    for row in rows:
        held = "" if row["low"] is None else f"{times(row['low'])} to {times(row['high'])}"
        distance = "" if row["distance"] is None else f"{row['distance']:.4g}"
        names = Text(row["strategy"]), Text(row["source_label"])
        table.add_row(*names, times(row["gain"]), held, distance, str(row["targets"]), str(row["trials"]))
    Console().print(table)
    typer.echo("\n".join([in_words(rows[0]), *notes, f"To do so: {rows[0]['command']}"]))


@app.command(epilog="Example: transfergan evaluate --images samples --against digits --resolution 32 --json")
def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of generated images.")],
    against: Annotated[str, typer.Option(help="A domain, e.g. letters or folder:PATH.")],
    embedding: Annotated[str, typer.Option(help="builtin, inception, clip or custom:PATH.")] = "builtin",
    weights: Annotated[Path | None, typer.Option(help="Where Inception's or CLIP's weights are.")] = None,
    resolution: Annotated[int, typer.Option(min=4, help="Pixels that both sides are brought to.")] = 64,
    metrics: Annotated[str, typer.Option(help="Comma-separated names; all but iw by default.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, by metric.")] = False,
) -> None:
    """Measure a folder of images against a domain: FID, KID, precision and recall, and others, with 95 % intervals."""
    from rich.console import Console
    from rich.table import Table

    from bench.evaluate import evaluate as measure

    if weights is not None:
        if embedding not in ("inception", "clip"):
            raise UserError(f"--weights goes with --embedding inception or clip, not {embedding!r}")
        embedding = f"{embedding}:{weights}"
    console = Console(stderr=True)
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    found = measure(
        images, against, embedding, resolution, names, lambda what: console.print(what, highlight=False, markup=False)
    )
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("metric", "value", "low", "high", "samples"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name, row in found.items():
        table.add_row(name, *(f"{row[column]:.4g}" for column in ("value", "low", "high")), f"{row['samples']:,}")
    Console().print(table)


@app.command(epilog="Example: transfergan compare store other-store --json")
def compare(
    store_a: Annotated[str, typer.Argument(metavar="STORE_A", help="A store: a directory or s3://...")],
    store_b: Annotated[str, typer.Argument(metavar="STORE_B", help="Another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which trials two stores both have, whether their values agree, and in which cells another method won."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from analysis.frames import load, records
    from analysis.transferability import best_per_cell, ranking
    from analysis.wording import method
    from bench.compare import compare as beside
    from bench.compare import differing_winners

    stores = _open(store_a), _open(store_b)
    found = beside(*stores)
    winners: list[dict[tuple[str, str], str]] = []
    labels: dict[str, str] = {}
    for each in stores:
        best = records(best_per_cell(ranking(load(each).curves)))
        winners.append({(row["cell"], row["embedding"]): method(row) for row in best})
        labels |= {row["cell"]: row["cell_label"] for row in best}
    found["winners"] = differing_winners(*winners)
    if as_json:
        typer.echo(json.dumps(found))
        return
    counts = found["trials"]
    typer.echo(f"{counts['both']:,} trials in both, {counts['only_a']:,} only in the first, {counts['only_b']:,} in the second")
    table = Table(box=None, pad_edge=False)
    for column in ("metric", "embedding", "values", "equal", "largest difference", "in standard errors", "beyond 1.96"):
        table.add_column(column, justify="left" if column in ("metric", "embedding") else "right")
    for row in found["metrics"]:
        relative = "" if row["relative"] is None else f"{row['relative']:.2%}"
        errors = "" if row["errors"] is None else f"{row['errors']:.2f}"
        names = Text(row["metric"]), Text(row["embedding"])
        table.add_row(
            *names, f"{row['values']:,}", f"{row['equal']:,}", relative, errors, f"{row['beyond']:,}" if errors else ""
        )
    if found["metrics"]:
        Console().print(table)
    for row in found["statuses"]:
        typer.echo(f"trial {row['trial']}: {row['a']} in the first, {row['b']} in the second")
    for row in found["winners"]["differ"]:
        typer.echo(f"{labels[row['cell']]}: {row['a']} won in the first, {row['b']} in the second")
    same = found["winners"]["cells"] - len(found["winners"]["differ"])
    typer.echo(f"the same winner in {same} of {found['winners']['cells']} cells")


@app.command(epilog="Example: transfergan generate --trial 3f2a -n 64 --out images")
def generate(
    trial: Annotated[str, typer.Option(help="The trial's key, or the start of it.")],
    out: Annotated[Path, typer.Option(help="Directory for the PNG files.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Decides the latents.")] = 0,
    store: StoreOption = "store",
) -> None:
    """Generate images from a stored checkpoint, with a contact sheet (grid.png)."""
    from bench.generate import write_images

    key = write_images(_open(store), trial, n, seed, out)
    typer.echo(f"{n} images of trial {key}: {out}")


@store_app.command(epilog="Example: transfergan store check --store store --json")
def check(
    store: StoreOption = "store",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of faults.")] = False,
) -> None:
    """Verify all that a store promises, and name every fault; exit status 1 if there is one. Changes nothing."""
    from dataclasses import asdict

    from bench.check import check as find

    faults = find(_open(store))
    if as_json:
        typer.echo(json.dumps([asdict(fault) for fault in faults]))
    else:
        typer.echo("\n".join(map(str, faults)) if faults else "no faults")
    if faults:
        raise typer.Exit(1)


@store_app.command(epilog="Example: transfergan store compact --store store")
def compact(store: StoreOption = "store") -> None:
    """Merge the many small files of each table and sweep into one. Safe beside a running sweep, and to interrupt."""
    from bench.compaction import compact as merge

    for each in merge(_open(store)):
        typer.echo(f"{each.table} of {each.sweep}: {each.parts:,} parts merged into one of {each.rows:,} rows")


@store_app.command(epilog="Example: transfergan store merge other-store --store store")
def merge(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The store to copy from, which is only read.")],
    store: StoreOption = "store",
) -> None:
    """Copy from another store all rows and files that this one lacks. Safe to repeat, and to interrupt."""
    from bench.merge import merge as take_over

    read = _open(source)
    done = take_over(read, _open(store, create=True))
    for line in done.left_out:
        typer.echo(line, err=True)
    rows = ", ".join(f"{count:,} of {table}" for table, count in done.rows.items())
    typer.echo(f"{done.files:,} files copied; rows: {rows}")


@app.command(
    "import", epilog="Example: transfergan import faces.safetensors --domain folder:faces --name faces --map names.json"
)
def import_(
    checkpoint: Annotated[Path, typer.Argument(help="A safetensors file with a generator and a critic.")],
    domain: Annotated[str, typer.Option(metavar="NAME", help="The domain that they were trained on.")],
    store: StoreOption = "store",
    spec: Annotated[
        str, typer.Option("--for", metavar="SPEC", help="A sweep with their `gan`: a file or a preset.")
    ] = "quickstart",
    overrides: SetOption = None,
    names: Annotated[
        Path | None, typer.Option("--map", help="JSON: from their tensors' names to ours; null: leave out.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="A sweep names it import:NAME; the domain's name by default.")] = None,
    conditional: Annotated[bool, typer.Option("--conditional", help="They know the domain's classes, in order.")] = False,
) -> None:
    """Take networks that others have trained as a source, and say which tensors found their partners."""
    from bench import imports
    from bench.spec import load_spec
    from trainers.imports import fit, read, read_names

    source, sweep = imports.check_name(domain if name is None else name), load_spec(spec, overrides or ())
    known = imports.known_domain(domain, sweep, conditional=conditional)
    classes = len(known.classes) if conditional else 0
    fitting = fit(read(checkpoint), {} if names is None else read_names(names), sweep.gan, classes)
    try:
        fitting.check(str(checkpoint))
    except UserError:
        typer.echo("\n".join(fitting.lines))
        raise
    trial = imports.as_trial(fitting, source, known, sweep, conditional=conditional)
    found = imports.record(_open(store, create=True), trial, fitting)
    typer.echo("\n".join(fitting.lines))
    typer.echo(f"{source}: trial {trial.key}, FID {found['fid']:.1f} on {known.name}; a sweep names it under sources")


@domains_app.callback(epilog="Example: transfergan domains")
def domains(context: typer.Context) -> None:
    """List the domains: name, images, classes, whether they are on this machine, licence."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table

    from bench.domains import COLUMNS, rows

    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        number = column in ("train", "reference", "classes")
        table.add_column(column, justify="right" if number else "left", no_wrap=number or column == "name", overflow="fold")
    for row in rows():
        table.add_row(*row)
    Console().print(table)
    typer.echo("transfergan domains show NAME tells the rest: what a domain shows, where its files go, where they are from.")


@domains_app.command(epilog="Example: transfergan domains show cifar10")
def show(name: Annotated[str, typer.Argument(help="A domain.")]) -> None:
    """Show all about one domain: what it shows, its splits, where its files go and where they are from."""
    from bench.domains import described

    for what, said in described(name).items():
        typer.echo(f"{what:<10}{said}")


@domains_app.command(epilog="Example: transfergan domains prepare cifar10 folder:photos --download --resolution 64")
def prepare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Domains, e.g. cifar10 or folder:photos.")],
    download: Annotated[
        bool, typer.Option("--download", help="Download what is missing, where torchvision offers it.")
    ] = False,
    resolution: Annotated[
        int | None, typer.Option(min=4, help="Decode all images to so many pixels now; `run` does it when it needs them.")
    ] = None,
) -> None:
    """Say whether domains can be used, and what to place where; download and decode their images where asked to."""
    from rich.console import Console

    from bench.domains import prepared

    missing = False
    for name in names:
        try:
            typer.echo(prepared(name, download, resolution, Console(stderr=True)))
        except UserError as error:
            missing = True
            typer.echo(f"transfergan: {error}", err=True)
    if missing:
        raise typer.Exit(2)


@domains_app.command(epilog="Example: transfergan domains preview letters --resolution 32 --out letters.png")
def preview(
    name: Annotated[str, typer.Argument(help="A domain, e.g. letters or folder:PATH.")],
    out: Annotated[Path, typer.Option(help="The PNG file to write.")],
    resolution: Annotated[int, typer.Option(min=4, help="Pixels.")] = 32,
) -> None:
    """Write a grid of a domain's images as a PNG file."""
    from trainers.domains import get
    from trainers.grids import png_grid

    domain = get(name)
    domain.check_resolution(resolution)
    data = domain.load("train", resolution)
    step = max(1, len(data.images) // 64)
    _write(out, png_grid(data.images[::step][:64]))
    typer.echo(f"{name}: {out}")


def _plan(spec: str, overrides: list[str] | None, store: str) -> "Plan":
    from rich.console import Console

    from bench.domains import make_ready
    from bench.plan import make_plan
    from bench.spec import load_spec
    from trainers.domains import OWN, get
    from trainers.sources import IMPORT, domains

    loaded = load_spec(spec, overrides or ())
    for name in dict.fromkeys(name for source in (*loaded.sources, *loaded.targets) for name in domains(source)):
        if name.partition(":")[0] in OWN:  # how many of its files are images is known once all were decoded
            make_ready(get(name), loaded.gan.resolution, Console(stderr=True))
    if any(source.startswith(IMPORT) for source in loaded.sources) and _exists(store):
        from bench.imports import imported

        return make_plan(loaded, imported(_open(store)))
    return make_plan(loaded)


def _open(uri: str, *, create: bool = False) -> "Store":
    from bench.store import open_store

    return open_store(uri, create=create)


def _exists(uri: str) -> bool:
    from bench.store import store_exists

    return store_exists(uri)


def _ledger(plan: "Plan", store: "Store", *, retry_failed: bool = False) -> "Ledger":
    from bench.ledger import Ledger

    return Ledger.open(plan, store, retry_failed=retry_failed)


def _planned(plan: "Plan") -> dict[str, object]:
    from bench.plan import trial_columns
    from bench.spec import as_mapping

    return {"spec": as_mapping(plan.spec), "trials": [trial_columns(trial) for trial in plan.trials]}


def _default_report(store: "Store") -> Path:
    return Path("report.html") if "://" in store.uri else Path(store.root) / "report.html"


def _write_report(store: "Store", out: Path, sweep: str | None) -> Path:
    from analysis.report import write_report
    from bench.replay import audit

    return write_report(store, out, sweep, audit(store, sweep))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be written: {error.strerror}; name another with --out") from error


def main() -> None:
    """Run the command line; a user's mistake, or what the system refuses, is one line on stderr and exit status 2."""
    try:
        app()
    except (UserError, OSError) as error:
        sys.stderr.write(f"transfergan: {' '.join(str(error).split())}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
