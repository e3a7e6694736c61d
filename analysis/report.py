"""The report: one self-contained HTML page that opens offline and can be forwarded.

Plotly and all images are in the page; it makes no request (its content security policy allows none). Everything that comes
from the store is escaped: Jinja2 escapes text, `panels` the figures' JSON, `analysis.figures` what plotly would render.
An empty or failed sweep gives a page that says so in words; there are no empty figures.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis import panels, tables, transferability, tuning
from analysis.album import Album, Samples, samples
from analysis.answers import Answer, answers
from analysis.downloads import Download, of_analysis, of_trials
from analysis.figures import Style
from analysis.frames import STATUSES, Frames, load, records
from analysis.panels import Panel
from analysis.statistics import Analysis, analyse
from analysis.summary import caveats, overall
from analysis.tables import Quality, Ranking
from analysis.wording import predictor, signed, times
from bench.store import Store, UserError


@dataclass(frozen=True)
class View:
    """What the page shows of one embedding."""

    embedding: str
    answers: list[Answer] = field(default_factory=list)
    overall: list[str] = field(default_factory=list)
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
    samples: list[Samples] = field(default_factory=list)
    samples_left_out: int = 0
    downloads: list[Download] = field(default_factory=list)


def write_report(store: Store, out: Path, sweep: str | None = None, replayed: pd.DataFrame | None = None) -> Path:
    """Write the report of a store (of one of its sweeps, or of all) to `out` and return `out`.

    Raises:
        UserError: the store knows no such sweep, or `out` cannot be written.
    """
    page = render(load(store, sweep), store, replayed)
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        if temporary.exists():
            temporary.unlink()
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
    album = Album(store)
    several = len(frames.embeddings) > 1
    views = [
        _view(frames, analyse(frames, embedding), style, album, number if several else 0)
        for number, embedding in enumerate(frames.embeddings, start=1)
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["count"] = lambda n: f"{n:,}"
    environment.filters["signed"] = signed
    environment.filters["times"] = times
    environment.filters["p"] = lambda p: "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
    coverage = transferability.coverage(frames.trials, STATUSES)
    return environment.get_template("report.html.j2").render(
        title=", ".join(sorted({*frames.sweeps, *frames.trials["sweep"]})),
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
        key_entries=panels.key(style),
        trials=tables.trial_rows(frames),
        embeddings=tables.embeddings(frames),
        frames=frames,
        environments=[{**row, "details": list(tables.flatten(row["details"]))} for row in records(frames.environments)],
    )


def _view(frames: Frames, analysis: Analysis, style: Style, album: Album, number: int) -> View:
    grids, left_out = samples(analysis, frames.trials, album)
    return View(
        embedding=analysis.embedding,
        answers=answers(analysis, frames.trials),
        overall=overall(analysis),
        caveats=caveats(analysis, frames.trials),
        curves=panels.learning_curves(analysis, style),
        by_size=panels.fid_by_size(analysis, frames.trials, style),
        savings=tables.savings_rows(analysis),
        strategies=tables.strategy_tables(analysis),
        sources=records(analysis.sources),
        advice=records(analysis.advice),
        heat_maps=panels.heat_maps(analysis, style),
        classes=panels.fid_by_class(analysis),
        distance=panels.gain_by_distance(analysis, style),
        correlations=records(analysis.correlations),
        predictors=[{**row, "name": predictor(row)} for row in records(analysis.predictors)],
        drivers=records(analysis.drivers),
        quality=tables.quality_tables(analysis),
        knobs=records(analysis.knobs),
        samples=grids,
        samples_left_out=left_out,
        downloads=of_analysis(analysis, number),
    )


def _version() -> str:
    try:
        return metadata.version("transfergan")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "from a checkout"
