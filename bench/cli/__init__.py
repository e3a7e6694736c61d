"""The command line: the only package that sees all others, and imports each only when a verb needs it."""

import sys

import typer

from bench.cli import domains, jobs, networks, results, runs, scale, stores, sweeps
from trainers.errors import UserError

app = typer.Typer(
    name="transfergan",
    help="Which pre-trained GAN to start from, how to start from it, and how much of your data that saves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for verbs in (runs, jobs, sweeps, scale, results, networks):
    app.add_typer(verbs.app)
app.add_typer(domains.app, name="domains")
app.add_typer(stores.app, name="store")


def main() -> None:
    """Run the command line; a user's mistake, or what the system refuses, is one line on stderr and exit status 2."""
    try:
        app()
    except (UserError, OSError) as error:
        sys.stderr.write(f"transfergan: {' '.join(str(error).split())}\n")
        sys.exit(2)
