"""The report: one self-contained HTML page that opens offline and can be forwarded.

Plotly and all images are in the page; it makes no request (its content security policy allows none). Everything that comes
from the store is escaped: `_text` and Jinja2 escape text, `blocks.in_script` JSON, `analysis.figures` what plotly would render.
The page of an empty or failed sweep says so in words; there are no empty figures.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from analysis.frames import Frames, load, records
from analysis.report import markdown, pdf
from analysis.report.blocks import Report, Text, in_script
from analysis.report.content import panels, sample_grids, sections
from analysis.report.content.first_screen import first_screen
from analysis.report.content.trials import earlier_grids, grids, trial_rows
from analysis.report.embedded_images import FORMS, Album
from analysis.report.on_demand import OnDemand
from analysis.report.sentences.finding import finding
from analysis.statistics import analyse
from bench.store import Store
from trainers.common.errors import UserError
from trainers.common.files import replacing

#: Bytes of a page of up to about 10,000 trials, and how many of them the sample grids of cells may take. The grids of
#: single trials take the rest, but at least the last number.
_PAGE, _WALLS, _GRIDS = 145 * 10**5, 3 * 10**6, 10**6

#: Most grids of cells in a page, those of single trials, and those of their earlier rungs: each takes milliseconds to compress.
MOST_GRIDS = 600

#: Bytes that the grids of single trials before their last rung may take, if the page has them left.
_RUNGS = 15 * 10**5

#: Placeholders for what is drawn on demand until all of it is known, and for the grids of single trials until the rest of the
#: page has a size. Escaped text cannot contain them.
_ON_DEMAND_PLACE, _GRIDS_PLACE = Markup("<!-- on demand -->"), Markup("<!-- grids -->")


def write_report(store: Store, out: Path, sweep: str | None = None, replayed: pd.DataFrame | None = None) -> Path:
    """Write the report of a store (of one of its sweeps, or of all) to `out` and return `out`.

    The suffix of `out` decides the format: `.md` is Markdown, `.pdf` PDF, any other the page.

    Raises:
        UserError: the store has no such sweep, `out` cannot be written, or no browser can print the PDF.
    """
    suffix = out.suffix.lower()
    program = pdf.browser() if suffix == ".pdf" else None  # first, since it fails without a browser
    with pd.option_context("mode.string_storage", "python"), _uncollected():  # in thousands of small tables Arrow's are slow
        frames = load(store, sweep)
        text = markdown.render(frames, replayed) if suffix == ".md" else render(frames, store, replayed)
    content = pdf.to_pdf(text, program) if program else text.encode()
    try:
        with replacing(out) as file:
            file.write(content)
    except OSError as error:
        raise UserError(f"report {str(out)!r} cannot be written: {error.strerror or error}; name a file with --out") from error
    return out


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let Python look for no cycles: what a report is made of lives to its end, and would be looked through time and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def render(frames: Frames, store: Store, replayed: pd.DataFrame | None = None) -> str:
    """Return the page for `frames`, with sample grids from their store; `replayed` as in `Report`."""
    analyses = [analyse(frames, embedding) for embedding in frames.embeddings]
    walls = [sample_grids.walls(analysis, frames.trials) for analysis in analyses]
    most = MOST_GRIDS // max(1, 2 * len(analyses))
    first = first_screen(analyses[0], frames.trials) if analyses else None
    pairs = [sample_grids.copies(analysis, frames.trials) for analysis in analyses]
    shown_walls, shown_pairs = ([sample_grids.bounded(cells, most) for cells in kind] for kind in (walls, pairs))
    wanted = [path for cells in (*shown_walls, *shown_pairs) for path in sample_grids.paths(cells)]
    album = Album(store, [*(first.paths if first else ()), *wanted], _WALLS)
    embedded = [sample_grids.embed(cells, album) for cells in shown_walls]
    samples = {
        analysis.embedding: [*sample_grids.blocks(cells, left_out, album.compressed, len(cells_of) - len(bounded))]
        for analysis, (cells, left_out), cells_of, bounded in zip(analyses, embedded, walls, shown_walls, strict=True)
    }
    copies = {
        analysis.embedding: [*sample_grids.blocks(sample_grids.with_copies(cells, album), 0, compressed=False)]
        for analysis, cells in zip(analyses, shown_pairs, strict=True)
    }
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    report = Report(frames, analyses, replayed, trial_rows(frames), samples, copies, f"transfergan {_version()}, {now}")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.report"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["count"] = lambda n: f"{n:,}"
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["text"] = _text
    environment.filters["of"] = _filtered_by(frames.trials)
    on_demand = OnDemand(environment.filters["of"])
    environment.filters |= {"figure": on_demand.figure, "rows": on_demand.rows}
    names, counts = sections.meta(report)
    page = environment.get_template("report.html.j2").render(
        title=finding(report),
        names=names,
        counts=counts,
        generated=now,
        plotlyjs=Markup(get_plotlyjs()),  # noqa: S704 - plotly's own bundle, made to be in a script element
        measured=bool(analyses),
        first=list(first.embed(album).blocks()) if first else [],
        sections=list(sections.walk(report, page=True)),
        key_entries=panels.key(report.style, frames.trials),
        grids=_GRIDS_PLACE,
        on_demand=_ON_DEMAND_PLACE,
    )
    page = page.replace(_ON_DEMAND_PLACE, on_demand.markup, 1)
    shown = {path for cells, _ in embedded for path in sample_grids.paths(cells)}
    room = _PAGE - len(page.encode())
    trial_grids = grids(report.trials, store, shown, max(_GRIDS, room), MOST_GRIDS)
    room -= len(in_script(trial_grids.images).encode())
    images = {**_of_rungs(store, report, shown, min(_RUNGS, room)), **trial_grids.images}
    markup = environment.get_template("grids.html.j2").render(grids=trial_grids, images=in_script(images))
    return page.replace(_GRIDS_PLACE, markup, 1)


def _of_rungs(store: Store, report: Report, elsewhere: set[str], budget: int) -> dict[str, str]:
    """Return the grids of trials before their last rung, as many as fit into `budget` bytes; see `trials.grids`."""
    wanted = (path for path in earlier_grids(report.frames, report.trials) if path not in elsewhere)
    paths = [*islice(wanted, MOST_GRIDS if budget > 0 else 0)]
    album = Album(store, paths, budget, FORMS[2:])
    return {path: uri for path in paths if (uri := album.uri(path))}


def _text(text: Text) -> Markup:
    """Return text as HTML, escaped."""
    if isinstance(text, str):
        return escape(text)
    if isinstance(text, tuple):
        return Markup().join(_text(span) for span in text)
    words = escape(text.text)
    if text.style in ("b", "i", "code"):
        words = Markup("<{0}>{1}</{0}>").format(text.style, words)
    elif text.style:
        words = Markup('<span class="{}">{}</span>').format(f"status {words}" if text.style == "status" else text.style, words)
    if not text.href:
        return words
    download = Markup('download="{}" ').format(text.file) if text.file else ""
    return Markup('<a {}href="{}">{}</a>').format(download, text.href, words)


def _filtered_by(trials: pd.DataFrame) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function from the subject of a block, row or column to the attributes by which the page filters it.

    A subject has a `target_label`, `size`, `strategy` and `source_label`, or the `cell_label` of a cell of `trials`, which
    has a target and a size. A size without a target is that of a source, and is not filtered by.
    """
    adapt = trials[trials["cell_label"].notna()].drop_duplicates("cell_label")
    cells = {row["cell_label"]: row for row in records(adapt[["cell_label", "target_label", "size"]])}

    def attributes(subject: dict[str, Any]) -> dict[str, Any]:
        cell = cells.get(subject.get("cell_label"), subject)
        target = cell.get("target_label")
        values = {"target": target, "strategy": subject.get("strategy"), "source": subject.get("source_label")}
        values["size"] = cell.get("size") if target else None
        return {f"data-{name}": value for name, value in values.items()}

    return attributes


def _version() -> str:
    try:
        return metadata.version("transfergan")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "from a checkout"
