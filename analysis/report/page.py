"""The report: one self-contained HTML page that opens offline and can be forwarded.

Plotly and all images are in the page; it makes no request (its content security policy allows none). Everything that comes
from the store is escaped: Jinja2 escapes text, `panels` the figures' JSON, `analysis.figures` what plotly would render.
An empty or failed sweep gives a page that says so in words; there are no empty figures.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.figures import Style
from analysis.frames import STATUSES, Frames, load, records
from analysis.report import markdown, pdf
from analysis.report.content import panels, paper_panels, tables, tuning
from analysis.report.content.answers import Answer, answers
from analysis.report.content.csv_files import Download, of_analysis, of_trials
from analysis.report.content.embedded_images import Album
from analysis.report.content.panels import Panel, in_script
from analysis.report.content.sample_grids import Wall, hung, paths, walls
from analysis.report.content.summary import by_question, caveats
from analysis.report.content.tables import Quality, Ranking
from analysis.report.content.trial_details import dossiers, grids
from analysis.statistics import Analysis, analyse
from analysis.transfer import transferability
from analysis.words import predictor, probability, signed, times
from bench.store import Store
from trainers.common.errors import UserError
from trainers.common.files import replacing

#: Bytes of a page of up to a thousand trials or so, and in it at most of the sample walls. What these and all else leave is
#: for the grids of single trials, but at least so many bytes.
_PAGE, _WALLS, _DOSSIERS = 15 * 10**6, 3 * 10**6, 10**6

#: Where these grids will stand when it is known how many bytes are left. No text from outside can look like it.
_GRIDS = Markup("<!-- grids -->")


@dataclass(frozen=True)
class View:
    """What the page shows of one embedding."""

    embedding: str
    answers: list[Answer] = field(default_factory=list)
    overall: list[tuple[str, list[str]]] = field(default_factory=list)
    caveats: list[str] = field(default_factory=list)
    curves: list[Panel] = field(default_factory=list)
    by_size: list[Panel] = field(default_factory=list)
    savings: list[dict[str, Any]] = field(default_factory=list)
    heat_maps: list[Panel] = field(default_factory=list)
    strategies: list[Ranking] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    advice: list[dict[str, Any]] = field(default_factory=list)
    classes: list[Panel] = field(default_factory=list)
    distance: list[Panel] = field(default_factory=list)
    correlations: list[dict[str, Any]] = field(default_factory=list)
    predictors: list[dict[str, Any]] = field(default_factory=list)
    drivers: list[dict[str, Any]] = field(default_factory=list)
    quality: list[Quality] = field(default_factory=list)
    knobs: list[dict[str, Any]] = field(default_factory=list)
    walls: list[Wall] = field(default_factory=list)
    grids_left_out: int = 0
    downloads: list[Download] = field(default_factory=list)


def write_report(store: Store, out: Path, sweep: str | None = None, replayed: pd.DataFrame | None = None) -> Path:
    """Write the report of a store (of one of its sweeps, or of all) to `out` and return `out`.

    As Markdown or as PDF where `out` is named so, else as the page.

    Raises:
        UserError: the store knows no such sweep, `out` cannot be written, or no browser is there to print to PDF.
    """
    suffix = out.suffix.lower()
    program = pdf.browser() if suffix == ".pdf" else None  # which may lack, so it comes before the work
    frames = load(store, sweep)
    text = markdown.render(frames, replayed) if suffix == ".md" else render(frames, store, replayed)
    written = pdf.to_pdf(text, program) if program else text.encode()
    try:
        with replacing(out) as file:
            file.write(written)
    except OSError as error:
        raise UserError(f"report {str(out)!r} cannot be written: {error.strerror or error}; name a file with --out") from error
    return out


def render(frames: Frames, store: Store, replayed: pd.DataFrame | None = None) -> str:
    """Return the page for `frames`.

    Args:
        frames: what is told.
        store: where the sample grids are read from.
        replayed: what stopping would have saved where nobody was stopped, see `panels.stopping_audit`; None for nothing.
    """
    style = Style.of(frames.trials)
    analyses = [analyse(frames, embedding) for embedding in frames.embeddings]
    planned = [walls(analysis, frames.trials) for analysis in analyses]
    album = Album(store, [path for own in planned for path in paths(own)], _WALLS)
    several = len(analyses) > 1
    views = [
        _view(frames, analysis, style, hung(own, album), number if several else 0)
        for number, (analysis, own) in enumerate(zip(analyses, planned, strict=True), start=1)
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.report"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["count"] = lambda n: f"{n:,}"
    environment.filters["of"] = tables.filtered_by(frames.trials)
    environment.filters["signed"] = signed
    environment.filters["times"] = times
    environment.filters["p"] = probability
    trials = tables.trial_rows(frames)
    coverage = transferability.coverage(frames.trials, STATUSES)
    page = environment.get_template("report.html.j2").render(
        title=", ".join(frames.names),
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=_version(),
        plotlyjs=Markup(get_plotlyjs()),  # noqa: S704 - plotly's own bundle, made to stand in a script element
        views=views,
        by_class=any(view.classes for view in views),
        knobs=any(view.knobs for view in views),
        stopping=[] if replayed is None else panels.stopping_audit(replayed),
        savings=any(view.savings for view in views),
        strategies=any(view.strategies for view in views),
        tuning=tuning.searches(frames),
        statuses=[status for status in STATUSES if coverage[status].sum()],
        coverage=records(coverage),
        trials_csv=of_trials(frames),
        errors=tables.errors(frames.trials),
        totals=coverage[["planned", *STATUSES]].sum().to_dict(),
        key_entries=panels.key(style, frames.trials),
        ends=panels.ends(frames.trials),
        trials=trials,
        dossiers=_json(dossiers(frames, trials)),
        grids=_GRIDS,
        compressed=album.compressed,
        embeddings=tables.embeddings(frames),
        frames=frames,
        environments=[{**row, "details": list(tables.flatten(row["details"]))} for row in records(frames.environments)],
    )
    shown = {path for view in views for path in paths(view.walls)}
    found = grids(trials, store, shown, max(_DOSSIERS, _PAGE - len(page.encode())))
    last = environment.get_template("grids.html.j2").render(found=found, images=_json(found.images))
    return page.replace(_GRIDS, last, 1)


def _json(data: dict[str, Any]) -> Markup:
    return in_script(json.dumps(data, separators=(",", ":")))


def _view(frames: Frames, analysis: Analysis, style: Style, hung: tuple[list[Wall], int], number: int) -> View:
    by_distance = panels.gain_by_distance(analysis, style)
    return View(
        embedding=analysis.embedding,
        answers=answers(analysis, frames.trials),
        overall=by_question(analysis),
        caveats=caveats(analysis, frames.trials_in(analysis.embedding)),
        curves=panels.learning_curves(analysis, style),
        by_size=[*panels.fid_by_size(analysis, frames.trials, style), *paper_panels.gain_by_size(analysis, style)],
        savings=tables.savings_rows(analysis),
        strategies=tables.strategy_tables(analysis),
        sources=records(analysis.sources),
        advice=records(analysis.advice),
        heat_maps=panels.heat_maps(analysis, style),
        classes=panels.fid_by_class(analysis),
        distance=[*by_distance, *paper_panels.gain_by_distance()] if by_distance else [],
        correlations=records(analysis.correlations),
        predictors=[{**row, "name": predictor(row)} for row in records(analysis.predictors)],
        drivers=records(analysis.drivers),
        quality=tables.quality_tables(analysis),
        knobs=records(analysis.knobs),
        walls=hung[0],
        grids_left_out=hung[1],
        downloads=of_analysis(analysis, number),
    )


def _version() -> str:
    try:
        return metadata.version("transfergan")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "from a checkout"
