"""What the command line prints with rich: tables and plain text on stdout, progress on stderr."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def progress_console() -> "Console":
    """Return a console on stderr that prints text as it is: names may contain what rich takes for markup."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def show(renderable: "RenderableType") -> None:
    """Print a table, or anything else that rich renders, on stdout."""
    from rich.console import Console

    Console().print(renderable)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[str], wrap: bool = True, cut: str | None = None
) -> None:
    """Print a table on stdout.

    Args:
        columns: the header.
        rows: the cells; their text is printed as it is, without markup.
        left: columns that are aligned left; the others contain numbers.
        wrap: whether cells wrap on a narrow terminal; if not, every column keeps its full width, `cut` excepted.
        cut: the column that is cut short where a terminal is too narrow.
    """
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        width = 0 if wrap or column == cut else max(len(column), *(len(row[i]) for row in cells), 0)
        table.add_column(column, justify="left" if column in left else "right", no_wrap=not wrap, min_width=width)
    for row in cells:
        table.add_row(*row)
    show(table)
