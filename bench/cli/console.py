"""What the command line prints: tables and plain text on stdout, progress on stderr.

Names come from sweep files, stores and images, which may be a stranger's. Their control characters are escaped, as a terminal
would follow them: they can hide lines, rename the window or fill the clipboard.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text


#: Control characters except tabs and line breaks, and the marks of writing direction.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Return text with its control characters escaped.

    >>> printable("\x1b[2Jname")
    '\\u001b[2Jname'
    """
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def say(text: str, *, err: bool = False) -> None:
    """Print lines on stdout, with `err` on stderr."""
    typer.echo(printable(text), err=err)


def escape_logs() -> None:
    """Escape control characters in what is logged on stderr for lack of another handler."""

    def escape(record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage()), ()
        return True

    assert logging.lastResort is not None
    logging.lastResort.addFilter(escape)


def progress_console() -> "Console":
    """Return a console on stderr that prints text as it is: names may contain what rich takes for markup."""
    return _console(stderr=True)


@contextmanager
def download_bar(name: str) -> "Iterator[Callable[[int, int | None], None]]":
    """Yield a function that shows on stderr how many bytes of a file are there, and how many it has (None: unknown)."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = progress_console()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def show(renderable: "RenderableType") -> None:
    """Print a table, or anything else that rich renders, on stdout; its text is printed without markup."""
    _console(stderr=False).print(renderable)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    class Escaping(Console):
        """Escapes the control characters of each text, in tables too; rich removes only some."""

        def render_str(self, text: str, **how: Any) -> "Text":
            return super().render_str(printable(text), **how)

    return Escaping(stderr=stderr, highlight=False, markup=False)


def print_table(
    rows: Sequence[Mapping[str, str]], *, left: Collection[str], wrap: bool = True, cut: str | None = None
) -> None:  # fmt: skip
    """Print rows as a table on stdout; "none" if there are none.

    Args:
        rows: cells by column; their text is printed without markup.
        left: columns that are aligned left; the others contain numbers.
        wrap: whether cells wrap on a narrow terminal; if not, every column keeps its full width, `cut` excepted.
        cut: the column that is cut short on a narrow terminal.
    """
    from rich.table import Table

    if not rows:
        show("none")
        return
    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        width = 0 if wrap or column == cut else max(map(len, (column, *(row[column] for row in rows))))
        table.add_column(column, justify="left" if column in left else "right", no_wrap=not wrap, min_width=width)
    for row in rows:
        table.add_row(*row.values())
    show(table)
