"""`transfergan domains`: the image domains that sources and targets can name."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.console import print_table, progress_console
from bench.cli.options import JsonOption
from trainers.common.errors import UserError

app = typer.Typer(help="List, prepare and preview image domains.", invoke_without_command=True)


@app.callback(epilog="Example: transfergan domains")
def domains(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the image domains: images, classes, whether the files are on this machine, licence."""
    if context.invoked_subcommand is not None:
        return
    from bench.images.domains import rows

    known = rows()
    if as_json:
        typer.echo(json.dumps(known))
        return
    counts = ("train", "reference", "classes")
    table = [row | {name: "" if row[name] is None else f"{row[name]:,}" for name in counts} for row in known]
    print_table(table, left=("name", "state", "licence"), cut="licence")
    typer.echo("transfergan domains show NAME prints a domain's images, missing files and source.")


@app.command(epilog="Example: transfergan domains show cifar10")
def show(name: Annotated[str, typer.Argument(help="A domain.")]) -> None:
    """Describe one domain: its images and splits, where its files go, and where to get them."""
    from bench.images.domains import described

    for label, text in described(name).items():
        typer.echo(f"{label:<10}{text}")


@app.command(epilog="Example: transfergan domains prepare cifar10 folder:photos --download --resolution 64")
def prepare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Domains, e.g. cifar10 or folder:photos.")],
    download: Annotated[
        bool, typer.Option("--download", help="Download missing files, if torchvision offers the download.")
    ] = False,
    resolution: Annotated[
        int | None, typer.Option(min=4, help="Decode all images to this many pixels now; otherwise `run` does it when needed.")
    ] = None,
) -> None:
    """Check whether domains are ready, and say which files are missing; download and decode images on request."""
    from bench.images.domains import prepared

    missing = False
    for name in names:
        try:
            typer.echo(prepared(name, download, resolution, progress_console()))
        except UserError as error:
            missing = True
            typer.echo(f"transfergan: {error}", err=True)
    if missing:
        raise typer.Exit(2)


@app.command(epilog="Example: transfergan domains preview letters --resolution 32 --out letters.png")
def preview(
    name: Annotated[str, typer.Argument(help="A domain, e.g. letters or folder:PATH.")],
    out: Annotated[Path, typer.Option(help="The PNG file to write.")],
    resolution: Annotated[int, typer.Option(min=4, help="Height and width of each image in pixels.")] = 32,
) -> None:
    """Write a grid of a domain's training images as a PNG file, with a row for each of its first classes if it has any."""
    from bench.images.domains import previewed

    if out.suffix.lower() != ".png":
        raise UserError(f"--out {str(out)!r} must end in .png")
    picture, classes = previewed(name, resolution)
    _write(out, picture)
    typer.echo(f"{name}: {out}")
    if classes:
        typer.echo(f"its rows: {', '.join(classes)}")


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be written: {error.strerror}; name another file with --out") from error
