"""The command line: the only package that sees all others, and imports each only when a verb needs it."""

import sys

import typer
from typer.exceptions import TyperException

from bench.cli import cluster, domains, networks, plan, results, run, simulate, store
from trainers.common.errors import UserError

app = typer.Typer(
    name="transfergan",
    help="Which pre-trained GAN to start from, how to start from it, and how much of your data that saves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for verbs in (run, cluster, plan, simulate, results, networks):
    app.add_typer(verbs.app)
app.add_typer(domains.app, name="domains")
app.add_typer(store.app, name="store")


def main() -> None:
    """Run the command line; a user's mistake, or what the system refuses, is one line on stderr and exit status 2."""
    try:
        sys.exit(app(prog_name="transfergan", standalone_mode=False) or 0)  # else Typer draws a box around what it refuses
    except TyperException as error:
        if said := error.format_message().replace("Value error, ", "").rstrip("."):  # without any it has shown the help
            verb = getattr(getattr(error, "ctx", None), "command_path", "transfergan")
            _refuse(f"{said} (see {verb} --help)")
        sys.exit(error.exit_code)
    except (UserError, OSError) as error:
        _refuse(str(error))
        sys.exit(2)


def _refuse(why: str) -> None:
    sys.stderr.write(f"transfergan: {' '.join(why.split())}\n")
