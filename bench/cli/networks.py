"""Networks and their images: what strategies do to them, theirs and others' images, and networks that others trained."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import SetOption, SpecArgument, StoreOption, open_at
from trainers.common.errors import UserError

app = typer.Typer()


@app.command(epilog="Example: transfergan strategies quickstart --set gan.family=sngan --json")
def strategies(
    spec: SpecArgument = "quickstart",
    overrides: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Say what each strategy copies, trains and holds near the source, of a sweep's networks, and with which options."""
    from bench.sweeps.spec import load_spec
    from trainers.adaptation.describe import inventory
    from trainers.config.strategies import get_strategy
    from trainers.config.strategies import strategies as known

    loaded = load_spec(spec, overrides or ())
    found = []
    for name in dict.fromkeys((*known(), *(get_strategy(text).name for text in loaded.strategies))):
        strategy = get_strategy(name)
        try:
            found.append(inventory(strategy, loaded.gan))
        except UserError as error:
            found.append({"name": name, "about": strategy.about(), "misfit": str(error)})
    if as_json:
        typer.echo(json.dumps(found))
        return
    from trainers.adaptation.describe import lines

    for each in found:
        typer.echo("\n".join([f"{each['name']}: {each['about']}", f"  {each['misfit']}"] if "misfit" in each else lines(each)))


@app.command(epilog="Example: transfergan generate --trial 3f2a -n 64 --out images")
def generate(
    trial: Annotated[str, typer.Option(help="The trial's key, or the start of it.")],
    out: Annotated[Path, typer.Option(help="Directory for the PNG files.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Decides the latents.")] = 0,
    store: StoreOption = "store",
) -> None:
    """Generate images from a stored checkpoint, with a contact sheet (grid.png)."""
    from bench.images.generate import write_images

    key = write_images(open_at(store), trial, n, seed, out)
    typer.echo(f"{n} images of trial {key}: {out}")


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

    from bench.images.evaluate import evaluate as measure

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


@app.command(
    "import", epilog="Example: transfergan import faces.safetensors --domain folder:faces --name faces --map names.json"
)
def import_(
    checkpoint: Annotated[
        Path, typer.Argument(help="A safetensors file, or a TensorFlow checkpoint, with a generator and a critic.")
    ],
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
    from bench.images import imports
    from bench.sweeps.spec import load_spec
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
    found = imports.record(open_at(store, create=True), trial, fitting)
    typer.echo("\n".join(fitting.lines))
    typer.echo(f"{source}: trial {trial.key}, FID {found['fid']:.1f} on {known.name}; a sweep names it under sources")
