"""`transfergan distances`, `strategies`, `generate`, `export`, `evaluate`, `embeddings` and `import`: data and networks."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import download_bar, print_table, progress_console, say
from bench.cli.options import (
    DATA,
    FROM_OUTSIDE,
    AddressOption,
    CpusOption,
    JsonOption,
    SetOption,
    SpecArgument,
    StoreOption,
    TrialOption,
    open_at,
    run_there,
)
from trainers.common.errors import UserError

if TYPE_CHECKING:
    from trainers.domains import Split

app = typer.Typer()


class Reference(StrEnum):
    """The real images that a folder is compared with; the first two as `evaluation.reference` in sweep files."""

    held_out = "held-out"
    train = "train"
    all = "all"


class Format(StrEnum):
    """What the file of an exported generator is read with: torch, onnxruntime, any program that reads tensors; or, with the
    critic, `transfergan import`."""

    torchscript = "torchscript"
    onnx = "onnx"
    safetensors = "safetensors"
    networks = "networks"


embeddings_app = typer.Typer(help="List embeddings, and fetch their weights.", invoke_without_command=True)


@app.command(rich_help_panel=DATA, epilog="Example: transfergan distances quickstart --store store")
def distances(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, with intervals.")] = False,
) -> None:
    """Measure the distances between the sources and the targets of a sweep. Trains nothing."""
    if address.startswith(FROM_OUTSIDE):
        options = [*(["--cpus", str(cpus)] if cpus else []), *(["--json"] if as_json else [])]
        raise typer.Exit(run_there("distances", spec, overrides, store, address, options))
    from bench.driver.ledger import Ledger
    from bench.run.planning import plan_of
    from bench.run.sweep import run_distances
    from bench.worker.distances import between
    from trainers.config import metrics
    from trainers.config.sources import renamed

    console = progress_console()
    plan = plan_of(spec, overrides, store, console)
    opened = open_at(store, create=True)
    failures = run_distances(plan, Ledger.open(plan, opened), opened, console, cpus, address)
    rows = between(plan, opened)
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        labels, kinds = plan.spec.labels, [*(metric.name for metric in metrics.distances()), *plan.spec.predictors]
        values = {(row["source"], row["trial"], row["target"], row["kind"]): row["value"] for row in rows}
        table = [
            {"source": renamed(source, labels) + ("'s generator" if trial else ""), "target": renamed(target, labels)}
            | {kind: "" if (value := values.get((source, trial, target, kind))) is None else f"{value:.4g}" for kind in kinds}
            for source, trial, target in dict.fromkeys(key[:3] for key in values)
        ]
        print_table(table, left=("source", "target"))
    if failures:
        typer.echo("\n".join(failures), err=True)
        raise typer.Exit(1)


@app.command(rich_help_panel=DATA, epilog="Example: transfergan strategies quickstart --set gan.family=sngan --json")
def strategies(
    spec: SpecArgument = "quickstart",
    overrides: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the strategies: their options, and what each copies, trains and penalises in the networks of a sweep."""
    from bench.sweeps.loading import load_spec
    from trainers.adaptation.describe import inventory, lines
    from trainers.config.strategies import get_strategy
    from trainers.config.strategies import strategies as known

    sweep = load_spec(spec, overrides or ())
    rows = []
    for name in dict.fromkeys((*known(), *(get_strategy(text).name for text in sweep.strategies))):
        strategy = get_strategy(name)
        try:
            rows.append(inventory(strategy, sweep.gan))
        except UserError as error:
            rows.append({"name": name, "about": strategy.about(), "misfit": str(error)})
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo("\n".join([f"{row['name']}: {row['about']}", f"  {row['misfit']}"] if "misfit" in row else lines(row)))


@app.command(rich_help_panel=DATA, epilog="Example: transfergan generate --trial 3f2a -n 64 --walk 8 --out images")
def generate(
    trial: TrialOption,
    out: Annotated[Path, typer.Option(help="Directory for the PNG files.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Number of images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the latents.")] = 0,
    step: Annotated[str, typer.Option(help="A rung in generator steps, last, or best: the rung with the lowest FID.")] = "best",
    raw: Annotated[bool, typer.Option("--raw", help="Draw from the generator without its moving average.")] = False,
    classes: Annotated[
        str,
        typer.Option(help="Comma-separated names or indices, of a conditional trial; by default all that it was trained on."),
    ] = "",
    truncation: Annotated[
        float,
        typer.Option(min=0.01, max=1, help="Factor of the latents: below 1, images are more typical and less diverse."),
    ] = 1.0,
    columns: Annotated[
        int | None, typer.Option(min=1, help="Show all images on the sheet, in rows of this many; by default 64, in rows of 8.")
    ] = None,
    walk: Annotated[
        int | None, typer.Option(min=2, max=1000, help="Also show a walk through this many latents (OUT-walk.gif and .mp4).")
    ] = None,
    progress: Annotated[
        bool, typer.Option("--progress", help="Also show the sample grids of the trial's rungs (OUT-progress.gif).")
    ] = False,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Also show images beside their nearest training images (OUT-nearest.png).")
    ] = False,
    store: StoreOption = "store",
) -> None:
    """Generate images from a trial's generator, and a contact sheet of them (OUT-sheet.png); the same ones for the same seed.

    A walk leads from the latent of each image to that of the next along the arc between them, and back to the first, a second
    each. The MP4 file needs ffmpeg.
    """
    from bench.images.drawing import Drawing
    from bench.images.generate import write_images

    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    lines = write_images(
        open_at(store), trial, Drawing(n, seed, truncation, names), out, step,
        raw=raw, columns=columns, nearest=nearest, walk=walk or 0, progress=progress,
    )  # fmt: skip
    say("\n".join(lines))


@app.command(rich_help_panel=DATA, epilog="Example: transfergan export --trial best --format onnx --out exported")
def export(
    trial: TrialOption,
    file_format: Annotated[Format, typer.Option("--format", help="Of the file; networks: generator and critic, for import.")],
    out: Annotated[Path, typer.Option(help="A new or empty folder for the file, a README and a script.")],
    store: StoreOption = "store",
) -> None:
    """Export a trial's generator, from the rung with the lowest FID, for programs that do without transfergan.

    A README beside it says what it takes and returns, and draw.py draws a grid of images with it. With --format networks the
    critic of that rung is exported too, and `transfergan import` makes both a source of other sweeps.
    """
    from bench.images.export import export as write

    source = write(open_at(store), trial, file_format, out)
    what = (
        "the networks of {}: {}, to be imported"
        if file_format is Format.networks
        else "the generator of {}: {}, for use without transfergan"
    )
    typer.echo(f"{what.format(source, out)}: see {out / 'README.md'}")


@app.command(
    rich_help_panel=DATA, epilog="Example: transfergan evaluate --images samples --against digits --resolution 32 --json"
)
def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of generated images.")],
    against: Annotated[str, typer.Option(help="The domain of real images, e.g. letters or folder:PATH.")],
    embedding: Annotated[str, typer.Option(help="One of `transfergan embeddings`, or custom:PATH.")] = "builtin",
    weights: Annotated[Path | None, typer.Option(help="File with the weights of the embedding.")] = None,
    resolution: Annotated[int, typer.Option(min=4, help="Pixels that real and generated images are resized to.")] = 64,
    metrics: Annotated[str, typer.Option(help="Comma-separated names; by default all but iw.")] = "",
    reference: Annotated[
        Reference, typer.Option(help="Real images: those held out, the train split, as in many papers, or all.")
    ] = Reference.held_out,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, by metric.")] = False,
) -> None:
    """Measure a folder of images against a domain: FID, KID, precision, recall and others, with 95 % intervals."""
    from bench.images.evaluate import evaluate as measure
    from trainers.config.embeddings import ALIASES, PUBLISHED

    if weights is not None:
        if embedding not in (*PUBLISHED, *ALIASES):
            raise UserError(f"--weights goes with --embedding {', '.join(PUBLISHED)}, not {embedding!r}")
        embedding = f"{embedding}:{weights}"
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    splits: dict[Reference, tuple[Split, ...]] = {Reference.train: ("train",), Reference.all: ("train", "reference")}
    of_reference = splits.get(reference, ("reference",))
    values = measure(images, against, embedding, resolution, names, progress_console().print, of_reference)
    if as_json:
        typer.echo(json.dumps(values))
        return
    table = [
        {"metric": name}
        | {column: "none" if row[column] is None else f"{row[column]:.4g}" for column in ("value", "low", "high")}
        | {"samples": f"{row['samples']:,}"}
        for name, row in values.items()
    ]
    print_table(table, left=("metric",))


@embeddings_app.callback(epilog="Example: transfergan embeddings")
def embeddings(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the embeddings: dimensions of the features, pixels that images are resized to, whether the weights are here."""
    if context.invoked_subcommand is not None:
        return
    from bench.images.embeddings import rows

    table = rows()
    if as_json:
        typer.echo(json.dumps(table))
        return
    shown = [
        {
            "name": row["name"] + (f" ({row['alias']})" if row["alias"] else ""),
            **{column: str(row[column] or "?") for column in ("dimensions", "pixels", "state", "network", "file")},
        }
        for row in table
    ]
    print_table(shown, left=("name", "state", "network", "file"), cut="file")
    for row in table:
        if row["todo"]:
            say(f"{row['name']}: there is no file {row['file']!r}; {row['todo']}")
    say("NAME:PATH is one of these with weights in another file, custom:PATH a network of yours.")


@embeddings_app.command(epilog="Example: transfergan embeddings fetch dinov2")
def fetch(names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Embeddings, e.g. dinov2 or inception.")]) -> None:
    """Download official weights to their usual place and check their hash; an interrupted download continues."""
    from bench.images.embeddings import fetch as fetch_one

    for name in names:
        with download_bar(name) as progress:
            line = fetch_one(name, progress)
        say(line)


@app.command(
    "import",
    rich_help_panel=DATA,
    epilog="Example: transfergan import faces.safetensors --domain folder:faces --name faces --map names.json",
)
def import_(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A safetensors file, a .pt file of state dicts or a TensorFlow checkpoint: generator and critic."),
    ],
    domain: Annotated[str, typer.Option(metavar="NAME", help="The domain that the networks were trained on.")],
    store: StoreOption = "store",
    spec: Annotated[
        str, typer.Option("--for", metavar="SPEC", help="A sweep file or preset whose `gan` has the same networks.")
    ] = "quickstart",
    overrides: SetOption = None,
    names: Annotated[
        Path | None, typer.Option("--map", help="JSON file: from the checkpoint's tensor names to ours; null drops a tensor.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Sweeps use the source as import:NAME; by default the name of the domain.")
    ] = None,
    conditional: Annotated[
        bool, typer.Option("--conditional", help="The networks are conditional on the domain's classes, in order.")
    ] = False,
) -> None:
    """Import networks that were trained elsewhere as a source, and print which tensors match."""
    from bench.images import imports
    from bench.sweeps.loading import load_spec
    from trainers.trial.imports import fit, read, read_names

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
    measured = imports.record(open_at(store, create=True), trial, fitting)
    typer.echo("\n".join(fitting.lines))
    typer.echo(f"{source}: trial {trial.key}, FID {measured['fid']:.1f} on {known.name}; use it under `sources` of a sweep")
