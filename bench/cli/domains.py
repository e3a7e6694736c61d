"""`transfergan domains`: the image domains that sources and targets can name."""

from pathlib import Path
from typing import Annotated

import typer

from trainers.common.errors import UserError

app = typer.Typer(help="The image domains that sources and targets can name.", invoke_without_command=True)


@app.callback(epilog="Example: transfergan domains")
def domains(context: typer.Context) -> None:
    """List the domains: name, images, classes, whether they are on this machine, licence."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table

    from bench.images.domains import COLUMNS, rows

    found = rows()
    table = Table(box=None, pad_edge=False)
    for column, *cells in zip(COLUMNS, *found, strict=True):
        number = column in ("train", "reference", "classes")
        least = 0 if column == "licence" else max(map(len, (column, *cells)))  # that one alone may be cut short
        table.add_column(column, justify="right" if number else "left", no_wrap=True, min_width=least)
    for row in found:
        table.add_row(*row)
    Console().print(table)
    typer.echo("transfergan domains show NAME tells the rest: what a domain shows, what is missing, where its files are from.")


@app.command(epilog="Example: transfergan domains show cifar10")
def show(name: Annotated[str, typer.Argument(help="A domain.")]) -> None:
    """Show all about one domain: what it shows, its splits, where its files go and where they are from."""
    from bench.images.domains import described

    for what, said in described(name).items():
        typer.echo(f"{what:<10}{said}")


@app.command(epilog="Example: transfergan domains prepare cifar10 folder:photos --download --resolution 64")
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

    from bench.images.domains import prepared

    missing = False
    for name in names:
        try:
            typer.echo(prepared(name, download, resolution, Console(stderr=True)))
        except UserError as error:
            missing = True
            typer.echo(f"transfergan: {error}", err=True)
    if missing:
        raise typer.Exit(2)


@app.command(epilog="Example: transfergan domains preview letters --resolution 32 --out letters.png")
def preview(
    name: Annotated[str, typer.Argument(help="A domain, e.g. letters or folder:PATH.")],
    out: Annotated[Path, typer.Option(help="The PNG file to write.")],
    resolution: Annotated[int, typer.Option(min=4, help="Pixels.")] = 32,
) -> None:
    """Write a grid of a domain's images as a PNG file."""
    from trainers.common.contact_sheet import png_grid
    from trainers.domains import get

    domain = get(name)
    domain.check_resolution(resolution)
    data = domain.load("train", resolution)
    step = max(1, len(data.images) // 64)
    _write(out, png_grid(data.images[::step][:64]))
    typer.echo(f"{name}: {out}")


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be written: {error.strerror}; name another with --out") from error
