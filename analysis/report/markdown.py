"""The report as one Markdown file in GitHub's dialect, without HTML: the page's sections and tables, without its figures.

Names and errors come from outside; `escape` makes them plain text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from analysis.frames import Frames
from analysis.labels import visible
from analysis.report.blocks import Bar, Block, Bullets, Fold, Group, Heading, Paragraph, Report, Table, Terms, Text
from analysis.report.content import sections
from analysis.report.sentences.finding import finding
from analysis.statistics import analyse


def render(frames: Frames, replayed: pd.DataFrame | None = None) -> str:
    """Return the report of `frames` in Markdown; `replayed` as in `Report`."""
    report = Report(frames, [analyse(frames, embedding) for embedding in frames.embeddings], replayed)
    names, counts = sections.meta(report)
    parts = [f"# {escape(finding(report))}", f"Sweep {escape(names)}: {counts}." if names else f"{counts}."]
    for section, blocks in sections.walk(report, page=False):
        parts += [f"## {section.title}", *_render(blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: object) -> str:
    r"""Return text such that GitHub shows it unchanged, on one line, anywhere that a line of text may be.

    No character of it marks up, links, mentions a person or ends a table's cell; invisible characters, and those that change
    the direction of text, are written out.

    >>> escape("<b>a|b</b>\nc")
    '\\<b\\>a\\|b\\</b\\> c'
    """
    line = re.sub(r"[\\`*_\[\]<>|~&$#]|:(?=//)|(?<=www)\.", r"\\\g<0>", visible(str(text)))
    line = re.sub(r"^(\d*)([-+.)])(?=[ +-]|$)", r"\1\\\2", line)  # would begin a list, or be a rule
    # Would be a mention, a reference to an issue, or an emoji.
    return re.sub(r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=:)(?=[\w+-]+:)", "\u200b", line)


def table(heads: Sequence[str], rows: Iterable[Sequence[Text]], numbers: Iterable[bool] = ()) -> str:
    """Return a table, its columns of `numbers` aligned to the right. Everything in it is escaped."""
    rule = ["--:" if number else ":--" for number in numbers or [False] * len(heads)]
    lines = [[escape(head) for head in heads], rule, *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: Text, first: bool = True) -> str:
    """Return text with what is bold on the page in bold; other spans are plain, and those for the screen alone are left out."""
    if isinstance(text, tuple):
        return "".join(_text(span, first=place == 0) for place, span in enumerate(text)).strip()
    words, style = (text, "") if isinstance(text, str) else (text.text, text.style)
    if style == "screen":
        return ""
    mark = "**" if style == "b" else ""
    # A later span does not begin a line, but may begin with a space.
    escaped = escape(words) if first else escape(f"x{words}")[1:]
    return f"{mark}{escaped}{mark}{' ' * words.endswith(' ')}"


def _render(blocks: Iterable[Block]) -> Iterator[str]:
    """Yield each block in Markdown; figures and images are left out."""
    for block in blocks:
        match block:
            case Paragraph(str(words), "headline"):
                yield f"**{escape(words)}**"
            case Paragraph():
                yield _text(block.text)
            case Heading():
                yield f"{'#' * block.level} {escape(block.text)}"
            case Bullets():
                yield "\n".join(f"- {_text(item)}" for item in block.items)
            case Terms():
                yield "\n".join(f"- {escape(term)}: {_text(text)}" for term, text in block.pairs)
            case Table():
                columns = [column for column in block.columns if column.holds != "bars"]
                cells = ([cell for cell in row.cells if not isinstance(cell, Bar)] for row in block.rows)
                yield table([column.head for column in columns], cells, [column.holds == "numbers" for column in columns])
                if block.note:
                    yield _text(block.note)
            case Fold():
                if block.level:
                    yield f"{'#' * block.level} {escape(block.summary)}"
                yield from _render(block.blocks)
            case Group():
                yield from _render(block.blocks)
