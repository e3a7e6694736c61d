"""The report: one self-contained HTML page that opens offline and can be forwarded.

Plotly and all images are in the page; it makes no request (its content security policy allows none). Everything that comes
from the store is escaped: Jinja2 escapes text, `_embed` the figures' JSON, `analysis.figures` what plotly would render.
An empty or failed sweep gives a page that says so in words; there are no empty figures.
"""

import base64
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

from analysis import classes, figures, quality, transferability
from analysis.answers import Analysis, Answer, analyse, answers, caveats, method, overall, predictor, signed, times
from analysis.figures import Style
from analysis.frames import STATUSES, Frames, load, records
from analysis.transferability import SCRATCH
from bench.store import Store, UserError

_IMAGE_BUDGET = 6 * 2**20  # bytes of sample grids in a page; with plotly and a thousand trials it stays below 15 MB
_LARGE_IMAGE = 40 * 2**10  # bytes; a larger PNG is embedded as WebP
_WIDE = 4  # sources in a heat map that fit a phone; a wider one scrolls in its own box


@dataclass(frozen=True)
class Panel:
    """A figure in its place: what it is called, what to see in it, and how wide it must be."""

    title: str
    caption: str
    figure: Markup
    min_width: int = 0


@dataclass(frozen=True)
class Samples:
    """The sample grids of one cell: (caption, alternative text, data URI) each."""

    cell_label: str
    grids: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Quality:
    """What the metrics say of one cell: their names, and by method (name, step, seeds) what each says, "" for nothing."""

    cell_label: str
    metrics: list[str]
    rows: list[tuple[str, int, int, list[str]]]


@dataclass(frozen=True)
class View:
    """What the page shows of one embedding."""

    embedding: str
    answers: list[Answer] = field(default_factory=list)
    overall: list[str] = field(default_factory=list)
    caveats: list[str] = field(default_factory=list)
    curves: list[Panel] = field(default_factory=list)
    by_size: list[Panel] = field(default_factory=list)
    heat_maps: list[Panel] = field(default_factory=list)
    classes: list[Panel] = field(default_factory=list)
    distance: list[Panel] = field(default_factory=list)
    correlations: list[dict[str, Any]] = field(default_factory=list)
    predictors: list[dict[str, Any]] = field(default_factory=list)
    quality: list[Quality] = field(default_factory=list)
    knobs: list[dict[str, Any]] = field(default_factory=list)
    samples: list[Samples] = field(default_factory=list)
    samples_left_out: int = 0


def write_report(store: Store, out: Path, sweep: str | None = None) -> Path:
    """Write the report of a store (of one of its sweeps, or of all) to `out` and return `out`.

    Raises:
        UserError: the store knows no such sweep, or `out` cannot be written.
    """
    page = render(load(store, sweep), store)
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


def render(frames: Frames, store: Store) -> str:
    """Return the page for `frames`; `store` is where the sample grids are read from."""
    style = Style.of(frames.trials)
    album = _Album(store)
    views = [_view(frames, analyse(frames, embedding), style, album) for embedding in frames.embeddings]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["count"] = lambda n: f"{n:,}"
    environment.filters["signed"] = signed
    environment.filters["times"] = times
    coverage = transferability.coverage(frames.trials, STATUSES)
    return environment.get_template("report.html.j2").render(
        title=", ".join(sorted({*frames.sweeps, *frames.trials["sweep"]})),
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=_version(),
        plotlyjs=Markup(get_plotlyjs()),  # noqa: S704 - plotly's own bundle, made to stand in a script element
        views=views,
        by_class=any(view.classes for view in views),
        knobs=any(view.knobs for view in views),
        statuses=[status for status in STATUSES if coverage[status].sum()],
        coverage=records(coverage),
        errors=_errors(frames.trials),
        totals=coverage[["planned", *STATUSES]].sum().to_dict(),
        key_entries=_key(style),
        trials=_trial_rows(frames),
        embeddings=_embeddings(frames),
        frames=frames,
        environments=[{**row, "details": list(_flatten(row["details"]))} for row in records(frames.environments)],
    )


def _view(frames: Frames, analysis: Analysis, style: Style, album: "_Album") -> View:
    samples, left_out = _samples(analysis, frames.trials, album)
    return View(
        embedding=analysis.embedding,
        answers=answers(analysis, frames.trials),
        overall=overall(analysis),
        caveats=caveats(analysis, frames.trials),
        curves=_learning_curves(analysis, style),
        by_size=_fid_by_size(analysis, frames.trials, style),
        heat_maps=_heat_maps(analysis, style),
        classes=_fid_by_class(analysis),
        distance=_gain_by_distance(analysis, style),
        correlations=records(analysis.correlations),
        predictors=[{**row, "name": predictor(row)} for row in records(analysis.predictors)],
        quality=_quality(analysis),
        knobs=records(analysis.knobs),
        samples=samples,
        samples_left_out=left_out,
    )


# -- panels -------------------------------------------------------------------------------------------------------------


def _learning_curves(analysis: Analysis, style: Style) -> list[Panel]:
    panels = []
    of_adapt = analysis.curves[(analysis.curves["kind"] == "adapt") & (analysis.curves["value"].abs() < math.inf)]
    order = ["target", "conditional", "family", "size"]
    for _, cell in of_adapt.sort_values(order).groupby("cell", sort=False):
        for metric, of_what in (("fid", ""), ("fid_ema", ", moving average of the generator")):
            rows = cell[cell["metric"] == metric]
            if len(rows):
                status = rows.drop_duplicates("trial")["status"].value_counts()
                caption = f"FID by step{of_what}; " + ", ".join(f"{count} {name}" for name, count in status.items())
                title = rows["cell_label"].iloc[0] + (" (EMA)" if of_what else "")
                panels.append(_panel(title, f"{caption}.", figures.learning_curves(rows, style, metric)))
    return panels


def _fid_by_class(analysis: Analysis) -> list[Panel]:
    panels = []
    for _, rows in analysis.by_class.groupby("cell", sort=False):
        each = rows[rows["class"] != classes.MEAN]["samples"]
        seeds = rows["seeds"].max()
        caption = (
            f"FID at step {rows['step'].iloc[0]:,}, from {_span(each)} generated images of a class"
            f"{f'; means over up to {seeds} seeds' if seeds > 1 else ''}. Each strategy with its best source."
        )
        width = 190 + 46 * rows["class"].nunique()
        panels.append(_panel(rows["cell_label"].iloc[0], caption, figures.fid_by_class(rows), width))
    return panels


def _fid_by_size(analysis: Analysis, trials: pd.DataFrame, style: Style) -> list[Panel]:
    """Return three panels per family: the nearest source, the best, the mean of all, each beside scratch."""
    ranked = analysis.ranked.merge(
        analysis.nearest[["cell", "source"]].rename(columns={"source": "nearest"}), on="cell", how="left"
    )
    panels = []
    for family, rows in ranked.groupby("family", sort=False):
        full = rows[rows["step"] >= rows["budget"]]
        scratch = full[full["strategy"] == SCRATCH].assign(note="no source")
        transfers = full[full["strategy"] != SCRATCH]
        by = ["size", "strategy"]
        best = transfers.sort_values("value").drop_duplicates(by)
        near = transfers[transfers["source"] == transfers["nearest"]]
        tried = trials[(trials["family"] == family) & trials["source"].notna()].groupby(by)["source"].nunique()
        counts = transfers.groupby(by)["source"].nunique()
        means = transfers.groupby(by, as_index=False)["value"].mean()
        whole = [
            counts[size, strategy] == tried[size, strategy]
            for size, strategy in zip(means["size"], means["strategy"], strict=True)
        ]
        chosen = {
            "nearest source": (
                near.assign(note="from " + near["source_label"].astype(str)),
                "chosen by distance, before training",
            ),
            "best source": (best.assign(note="from " + best["source_label"].astype(str)), "chosen with hindsight"),
            "mean over sources": (means[whole].assign(note="mean over sources"), "averaged out, where none was stopped"),
        }
        shown = pd.concat([scratch["value"], transfers["value"]])
        for name, (data, how) in chosen.items():
            if len(data):
                figure = figures.fid_by_size(
                    pd.concat([data, scratch])[[*by, "value", "note"]], style, (shown.min(), shown.max())
                )
                missing = len(tried) - len(data)
                rest = f" {missing} of {len(tried)} points are missing: none ran that far." if missing else ""
                caption = f"FID at the full budget; source {how}.{rest}"
                panels.append(_panel(f"{family}: {name}", caption, figure))
    return panels


def _heat_maps(analysis: Analysis, style: Style) -> list[Panel]:
    gains = analysis.gains
    cells, sources = list(gains["cell_label"].unique()), sorted(gains["source_label"].unique())
    limit = max(1.0, float(gains["gain"].abs().max())) if len(gains) else 1.0
    panels = []
    for strategy in style.strategies:
        for at, title in (("first", "first rung"), ("matched", "last matched step")):
            rows = gains[(gains["strategy"] == strategy) & (gains["at"] == at)]
            if len(rows) == 0:
                continue
            means = rows.groupby(["source_label", "cell_label"], as_index=False).agg(
                gain=("gain", "mean"), step=("step", "min"), censored=("censored", "any"), seeds=("gain", "size")
            )
            means["censored"] &= at == "matched"
            figure = figures.heat_map(means, limit, cells=cells, sources=sources)
            steps = (
                f"step {rows['step'].min():,}"
                if rows["step"].nunique() == 1
                else "steps differ; @ marks where a trial was stopped"
            )
            width = 130 + 60 * len(sources) if len(sources) > _WIDE else 0
            panels.append(_panel(f"{strategy}, {title}", f"FID from scratch / FID of transfer; {steps}.", figure, width))
    return panels


def _gain_by_distance(analysis: Analysis, style: Style) -> list[Panel]:
    rows = transferability.points(analysis.gains[analysis.gains["distance"].notna()])
    rows = rows.assign(name=rows["source_label"])
    correlations = analysis.correlations
    panels = []
    for cell, group in rows.groupby("cell", sort=False):
        own = correlations[(correlations["scope"] == "cell") & (correlations["cell"] == cell)]
        caption = f"At step {group['step'].min():,}, which all reached. {_rank_words(own)}"
        panels.append(_panel(group["cell_label"].iloc[0], caption, figures.gain_by_distance(group, style)))
    if rows["target"].nunique() > 1:
        pooled = rows.assign(name=rows["source_label"] + " → " + rows["target_label"])
        caption = f"A distance means little across targets. {_rank_words(correlations[correlations['scope'] == 'strategy'])}"
        panels.append(_panel("All targets pooled", caption, figures.gain_by_distance(pooled, style)))
    return panels


def _rank_words(correlations: pd.DataFrame) -> str:
    known = correlations[correlations["rho"].notna()]
    if len(known) == 0:
        return "Fewer than three sources: no rank correlation."
    words = [f"{row['strategy']} {signed(row['rho'])} (n={row['n']})" for row in records(known)]
    return f"Spearman's rank correlation: {', '.join(words)}."


def _panel(title: str, caption: str, figure: go.Figure, min_width: int = 0) -> Panel:
    figure.update_layout(showlegend=False)  # the page has one key for all figures
    return Panel(title, caption, _embed(figure), min_width)


def _embed(figure: go.Figure) -> Markup:
    """Return a figure's JSON such that no string in it can end the script element that holds it."""
    text = figure.to_json(engine="json")
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - made safe just above


def _key(style: Style) -> list[dict[str, Any]]:
    """Return the entries of the page's key, which is its filter too."""
    strategies = [{"name": s, "kind": "strategy", "color": style.color(s), "dash": style.dash(s)} for s in style.strategies]
    return [*strategies, *({"name": s, "kind": "source", "path": _PATHS[style.symbol(s)]} for s in style.sources)]


_PATHS = {  # plotly's symbols as SVG paths in a box from -8 to 8
    "circle": "M6 0A6 6 0 1 1-6 0A6 6 0 1 1 6 0Z",
    "square": "M-5.5-5.5H5.5V5.5H-5.5Z",
    "diamond": "M0-7L7 0L0 7L-7 0Z",
    "triangle-up": "M0-6.5L6.5 5H-6.5Z",
    "triangle-down": "M0 6.5L6.5-5H-6.5Z",
    "pentagon": "M0-6.5L6.2-2L3.8 5.3H-3.8L-6.2-2Z",
    "star": "M0-7L1.7-2.3L6.7-2.2L2.7.9L4.1 5.7L0 2.9L-4.1 5.7L-2.7.9L-6.7-2.2L-1.7-2.3Z",
    "hexagon": "M-5.6-3.2L0-6.5L5.6-3.2V3.2L0 6.5L-5.6 3.2Z",
    "cross": "M-2.2-6.5H2.2V-2.2H6.5V2.2H2.2V6.5H-2.2V2.2H-6.5V-2.2H-2.2Z",
    "bowtie": "M-6.5-5L0 0L6.5-5V5L0 0L-6.5 5Z",
}


# -- sample grids -------------------------------------------------------------------------------------------------------


class _Album:
    """Turns sample grids into data URIs until the page has had its share of bytes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left = _IMAGE_BUDGET

    def uri(self, path: str | None) -> str | None:
        """Return a grid's data URI; None where it is missing, no image, or does not fit any more."""
        try:
            data = self._store.read_file(path) if path else b""
            with Image.open(io.BytesIO(data)) as image:
                kind = str(image.format).lower()
                if len(data) > _LARGE_IMAGE:
                    stream = io.BytesIO()
                    image.convert("RGB").save(stream, "WEBP", quality=85)
                    data, kind = stream.getvalue(), "webp"
        except OSError:  # no such file, or not an image
            return None
        text = base64.b64encode(data).decode()
        if len(text) > self._left:
            return None
        self._left -= len(text)
        return f"data:image/{kind};base64,{text}"


def _samples(analysis: Analysis, trials: pd.DataFrame, album: _Album) -> tuple[list[Samples], int]:
    """Return each cell's grids (real, best transfer, scratch), and how many grids were left out."""
    found, left_out = [], 0
    known = trials.set_index("key")
    for _, group in analysis.ranked.groupby("cell", sort=False):
        methods = records(group)
        with_grid = [row for row in methods if known.at[row["trial"], "samples"]]
        transfer = next((row for row in with_grid if row["strategy"] != SCRATCH), None)
        scratch = next((row for row in with_grid if row["strategy"] == SCRATCH), None)
        wanted: list[tuple[str, str]] = []
        for row in (transfer, scratch):
            if row is not None:
                trial = known.loc[row["trial"]]
                if not wanted and trial["real_samples"]:
                    wanted.append((f"Real images of {trial['target_label']}", trial["real_samples"]))
                name = method(row)
                words = f"{name[0].upper()}{name[1:]}: FID {row['low']:.1f} at step {row['step']:,}"
                wanted.append((words, trial["samples"]))
        grids = []
        for words, path in wanted:
            uri = album.uri(path)
            if uri:
                grids.append((words, f"Grid of images. {words}", uri))
            else:
                left_out += 1
        if grids:
            found.append(Samples(methods[0]["cell_label"], grids))
    return found, left_out


def _quality(analysis: Analysis) -> list[Quality]:
    """Return a table per cell: scratch, and each strategy with its best source."""
    tables = []
    for _, cell in analysis.quality.groupby("cell", sort=False):
        metrics = [name for name in quality.METRICS if name in set(cell["metric"])]
        rows = []
        for _, own in cell.groupby(["strategy", "source"], sort=False, dropna=False):
            first = records(own)[0]
            said = {row["metric"]: _with_error(row["value"], row["error"]) for row in records(own)}
            rows.append((_short(first), first["step"], first["seeds"], [said.get(name, "") for name in metrics]))
        tables.append(Quality(str(cell["cell_label"].iloc[0]), [quality.METRICS[name] for name in metrics], rows))
    return tables


def _short(row: dict[str, Any]) -> str:
    return f"{row['strategy']} from {row['source_label']}" if row["source_label"] else str(row["strategy"])


def _with_error(value: float, error: float | None) -> str:
    if error is None:
        return f"{value:.3g}"
    digits = 0 if error >= 10 else 1 if error >= 1 else 2 if error >= 0.1 else 3
    return f"{value:.{digits}f} ± {error:.{digits}f}"


# -- tables -------------------------------------------------------------------------------------------------------------


def _trial_rows(frames: Frames) -> list[dict[str, Any]]:
    """Return the trials with their last finite FID and KID in each embedding."""
    curves = frames.curves[frames.curves["value"].abs() < math.inf]
    last = curves.sort_values("step").drop_duplicates(["trial", "metric", "embedding"], keep="last")
    values = {(row["trial"], row["embedding"], row["metric"]): row["value"] for row in records(last)}
    trials = frames.trials.assign(rank=frames.trials["status"].map(STATUSES.index))
    trials = trials.sort_values(
        ["kind", "target", "conditional", "size", "strategy", "source", "seed"], ascending=[False] + [True] * 6
    )
    rows = records(trials)
    for row in rows:
        row["values"] = [
            (values.get((row["key"], name, "fid")), values.get((row["key"], name, "kid"))) for name in frames.embeddings
        ]
    return rows


def _errors(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each distinct error with its status and `size`, how many trials have it."""
    counts = trials.groupby(["status", "error"], as_index=False).size()
    return records(counts.sort_values("status", key=lambda names: names.map(STATUSES.index), kind="stable"))


def _embeddings(frames: Frames) -> list[dict[str, Any]]:
    """Return each embedding with the sample counts behind its numbers."""
    rows = []
    for name in frames.embeddings:
        counts = frames.curves.loc[frames.curves["embedding"] == name, "samples"]
        own = frames.distances[frames.distances["embedding"] == name]
        rows.append(
            {
                "name": name,
                "generated": _span(counts),
                "source": _span(own["source_samples"]),
                "target": _span(own["target_samples"]),
            }
        )
    return rows


def _span(counts: "pd.Series[int]") -> str:
    known = counts.dropna()
    if len(known) == 0:
        return "unknown"
    low, high = int(known.min()), int(known.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _flatten(details: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in details.items():
        if isinstance(value, dict):
            yield from _flatten(value)
        elif value not in (None, "", []):
            yield name.replace("_", " "), str(value)


def _version() -> str:
    try:
        return metadata.version("transfergan")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "from a checkout"
