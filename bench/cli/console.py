"""What the command line prints with rich: tables and plain text on stdout, progress on stderr."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def progress_console() -> "Console":
    """Return a console on stderr that prints text as it is: names may contain what rich takes for markup."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def show(renderable: "RenderableType") -> None:
    """Print a table, or anything else that rich renders, on stdout; its text is printed without markup."""
    from rich.console import Console

    Console(highlight=False, markup=False).print(renderable)


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
