"""What the command line prints: tables and plain text on stdout, progress on stderr.

Names come from sweep files, stores and images, which may be a stranger's. Their control characters are escaped, as a terminal
would follow them: they can hide lines, rename the window or fill the clipboard.
"""

import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import typer

from bench.run.interrupts import answer_by

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text


#: Columns of text in a table are folded to this many characters at least.
LEAST = 12

#: Columns of what is no terminal, such as a file or a pipe, unless COLUMNS says otherwise.
UNLIMITED = 10_000

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
    """Return a console on stderr that prints text as it is: names may contain what rich takes for markup.

    On a terminal it also prints the answer to a signal, as it may show a table that changes.
    """
    console = _console(stderr=True)
    if console.is_terminal:
        answer_by(console.print)
    return console


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

    console = Escaping(stderr=stderr, highlight=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNLIMITED
    return console


def print_table(rows: Sequence[Mapping[str, str]], *, left: Collection[str], cut: str | None = None) -> None:
    """Print rows as a table on stdout that fits the terminal; "none" if there are none.

    Numbers keep their width. Where a table is too wide, `cut` is cut short, and if that is not enough, other texts are folded,
    so that none of their characters is lost. What is no terminal gets the whole width.

    Args:
        rows: cells by column; their text is printed without markup.
        left: columns of text, aligned left; the others contain numbers.
        cut: the column that is cut short, to its name at least.
    """
    from rich.cells import cell_len
    from rich.table import Table

    if not rows:
        show("none")
        return
    console = _console(stderr=False)
    widths = {column: max(cell_len(printable(text)) for text in (column, *(row[column] for row in rows))) for column in rows[0]}
    room = console.width - 2 * (len(widths) - 1)
    if cut is not None:
        widths[cut] = min(widths[cut], max(len(cut), room - sum(widths.values()) + widths[cut]))
    while sum(widths.values()) > room and (long := [column for column in left if widths[column] > LEAST]):
        widths[max(long, key=widths.__getitem__)] -= 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column, width in widths.items():
        justify: Literal["left", "right"] = "left" if column in left else "right"
        overflow: Literal["ellipsis", "fold"] = "ellipsis" if column == cut else "fold"
        table.add_column(column, justify=justify, overflow=overflow, no_wrap=column == cut, width=width)
    for row in rows:
        table.add_row(*row.values())
    console.print(table)
