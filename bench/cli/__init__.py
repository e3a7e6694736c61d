"""The command line: the only package that imports all others, each when a verb needs it."""

import gc
import signal
import sys
from typing import Annotated

from bench.run.interrupts import answered, as_interrupts, untraced

with untraced():
    import typer
    from typer.exceptions import TyperException

    from bench.cli import cluster, console, domains, networks, options, plan, results, run, simulate, store
    from trainers.common.errors import UserError, UserErrors

app = typer.Typer(
    name="transfergan",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for verbs in (run, plan, simulate, cluster, results, networks):
    app.add_typer(verbs.app)
app.add_typer(domains.app, name="domains", rich_help_panel=options.DATA)
app.add_typer(networks.embeddings_app, name="embeddings", rich_help_panel=options.DATA)
app.add_typer(store.app, name="store", rich_help_panel=options.STORE)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"transfergan {version('transfergan')}")
        raise typer.Exit


@app.callback()
def transfergan(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Which pre-trained GAN to start from, how to start from it, and how much of your data that saves."""


def main() -> None:
    """Run the command line. An error of the user or of the system is one line on stderr, with exit status 2.

    Ctrl-C is answered at once. SIGTERM and SIGHUP end every verb as Ctrl-C does, with exit status 128 + the signal.
    """
    gc.set_threshold(10_000)  # what a verb imports stays; to search it for garbage after every 700 objects takes a tenth of it
    console.escape_logs()
    with answered(), as_interrupts() as signals:
        try:
            _main()
        except SystemExit as end:
            if signals and end.code == 128 + signal.SIGINT:
                sys.exit(128 + signals[0])
            raise


def _main() -> None:
    try:
        sys.exit(app(prog_name="transfergan", standalone_mode=False) or 0)  # else Typer prints errors in a box
    except TyperException as error:
        if message := error.format_message().replace("Value error, ", "").rstrip("."):  # empty if the help was printed
            verb = getattr(getattr(error, "ctx", None), "command_path", "transfergan")
            _print_error(f"{message} (see {verb} --help)")
        sys.exit(error.exit_code)
    except UserErrors as errors:
        _print_error(f"{len(errors.problems)} problems:")
        for problem in errors.problems:
            _print_error(problem)
        sys.exit(2)
    except (UserError, OSError) as error:
        _print_error(str(error))
        sys.exit(2)


def _print_error(message: str) -> None:
    sys.stderr.write(f"transfergan: {console.printable(' '.join(message.split()))}\n")
