"""The panels of a page: each figure with its title, its caption and its data."""

import json
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from analysis import figures
from analysis.figures import Style
from analysis.frames import records
from analysis.statistics import Analysis
from analysis.transfer import classes, transferability
from analysis.transfer.transferability import SCRATCH
from analysis.words import saved, signed, span

#: Pixels of a figure on a phone (a wider one scrolls in its own box), and of a letter of its labels.
_PHONE, _LETTER = 330, 6.6


@dataclass(frozen=True)
class Panel:
    """A figure in its place: what it is called, what to see in it, and how wide it must be."""

    title: str
    caption: str
    figure: Markup
    min_width: int = 0
    target: str | None = None
    """What all of it is of, where it is of one; the page filters by it."""
    size: int | None = None
    paper: bool = False
    """Whether the paper's numbers are in it."""


def learning_curves(analysis: Analysis, style: Style) -> list[Panel]:
    """Return a panel per cell, and one more where a moving average of the generator was measured."""
    panels = []
    of_adapt = analysis.curves[(analysis.curves["kind"] == "adapt") & (analysis.curves["value"].abs() < math.inf)]
    order = ["target", "conditional", "family", "size"]
    for _, cell in of_adapt.sort_values(order).groupby("cell", sort=False):
        for metric, of_what in (("fid", ""), ("fid_ema", ", moving average of the generator")):
            rows = cell[cell["metric"] == metric]
            if len(rows):
                status = rows.drop_duplicates("trial")["status"].value_counts()
                caption = f"FID by step{of_what}; " + ", ".join(f"{count} {name}" for name, count in status.items())
                last = rows[rows["status"] == "stopped"].groupby("trial")["step"].max().value_counts().sort_index()
                if len(last):
                    caption += f". Stopped: {', '.join(f'{count} at step {step:,}' for step, count in last.items())}"
                title = rows["cell_label"].iloc[0] + (" (EMA)" if of_what else "")
                panels.append(panel(title, f"{caption}.", figures.learning_curves(rows, style, metric), **_of(rows)))
    return panels


def fid_by_class(analysis: Analysis) -> list[Panel]:
    """Return a panel per conditional cell."""
    panels = []
    for _, rows in analysis.by_class.groupby("cell", sort=False):
        each = rows[rows["class"] != classes.MEAN]["samples"]
        seeds = rows["seeds"].max()
        caption = (
            f"FID at step {rows['step'].iloc[0]:,}, from {span(each)} generated images of a class"
            f"{f'; means over up to {seeds} seeds' if seeds > 1 else ''}. Each strategy with its best source."
        )
        width = 190 + 46 * rows["class"].nunique()
        panels.append(panel(rows["cell_label"].iloc[0], caption, figures.fid_by_class(rows), width, **_of(rows)))
    return panels


def fid_by_size(analysis: Analysis, trials: pd.DataFrame, style: Style) -> list[Panel]:
    """Return three panels per family: the nearest source, the best, the mean of all, each beside scratch.

    The first two have the data multipliers drawn in, where they were taken at the full budget too.
    """
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
                    pd.concat([data, scratch]).reindex(columns=[*by, "value", "note", "source_label"]),
                    style,
                    (shown.min(), shown.max()),
                    _saved(analysis, data) if "source" in data else None,
                )
                missing = len(tried) - len(data)
                rest = (
                    f" {missing} of {len(tried)} points are missing: not all of their trials ran that far." if missing else ""
                )
                caption = f"FID at the full budget; source {how}.{rest}"
                target = str(rows["target_label"].iloc[0])
                panels.append(panel(f"{family}: {name}", caption, figure, target=target))
    return panels


def _saved(analysis: Analysis, methods: pd.DataFrame) -> pd.DataFrame:
    """Return the data multipliers of methods (rows of the ranking) that were taken at the step of their values."""
    on = ["family", "size", "strategy", "source", "step"]
    columns = [*on, "equivalent", "multiplier", "bound", "low", "high"]
    rows = methods[[*on, "source_label", "value"]].merge(analysis.multipliers[columns], on=on)
    rows = rows[rows["equivalent"] != rows["size"]].reset_index(drop=True)  # of the largest size there is nothing to draw
    words = [
        f"{row['strategy']}, {row['size']:,} images: as good as scratch with {row['equivalent']:,.0f}, {saved(row)}"
        for row in records(rows)
    ]
    return rows.assign(words=pd.Series(words, index=rows.index, dtype="object"))


def heat_maps(analysis: Analysis, style: Style) -> list[Panel]:
    """Return two panels per strategy: at the first rung, and at the last matched step."""
    gains = analysis.gains
    cells = gains.drop_duplicates("cell_label")[["cell_label", "target_label", "size"]]
    sources = sorted(gains["source_label"].unique())
    limit = max(1.0, float(gains["gain"].abs().max())) if len(gains) else 1.0
    rows_wide = max((len(part) for label in cells["cell_label"] for part in label.rsplit(", ", 1)), default=0)
    columns_wide = len(sources) * (max((len(word) for name in sources for word in name.split()), default=0) + 1.5)
    needed = int(_LETTER * (rows_wide + columns_wide))
    width = needed if needed > _PHONE else 0
    panels = []
    for strategy in style.strategies:
        for at, title in (("first", "first rung"), ("matched", "last matched step")):
            rows = gains[(gains["strategy"] == strategy) & (gains["at"] == at)]
            if len(rows) == 0:
                continue
            means = rows.groupby(["strategy", "source_label", "cell_label"], as_index=False).agg(
                gain=("gain", "mean"), step=("step", "min"), censored=("censored", "any"), seeds=("gain", "size")
            )
            means["censored"] &= at == "matched"
            figure = figures.heat_map(means, limit, cells=cells, sources=sources)
            steps = (
                f"step {rows['step'].min():,}"
                if rows["step"].nunique() == 1
                else "steps differ; @ marks where a trial was stopped"
            )
            panels.append(panel(f"{strategy}, {title}", f"FID from scratch / FID of transfer; {steps}.", figure, width))
    return panels


def gain_by_distance(analysis: Analysis, style: Style) -> list[Panel]:
    """Return a panel per cell, and one of all targets together where there are several."""
    rows = transferability.points(analysis.gains[analysis.gains["distance"].notna()])
    rows = rows.assign(name=rows["source_label"])
    correlations = analysis.correlations
    panels = []
    for cell, group in rows.groupby("cell", sort=False):
        own = correlations[(correlations["scope"] == "cell") & (correlations["cell"] == cell)]
        caption = f"At step {group['step'].min():,}, which all reached. {_rank_words(own)}"
        panels.append(panel(group["cell_label"].iloc[0], caption, figures.gain_by_distance(group, style), **_of(group)))
    if rows["target"].nunique() > 1:
        pooled = rows.assign(name=rows["source_label"] + " → " + rows["target_label"])
        caption = f"A distance means little across targets. {_rank_words(correlations[correlations['scope'] == 'strategy'])}"
        panels.append(panel("All targets pooled", caption, figures.gain_by_distance(pooled, style)))
    return panels


def _rank_words(correlations: pd.DataFrame) -> str:
    known = correlations[correlations["rho"].notna()]
    if len(known) == 0:
        return "Fewer than three sources: no rank correlation."
    words = [f"{row['strategy']} {signed(row['rho'])} (n={row['n']})" for row in records(known)]
    return f"Spearman's rank correlation: {', '.join(words)}."


def _of(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the target and the size of the rows of one cell."""
    return {"target": str(rows["target_label"].iloc[0]), "size": int(rows["size"].iloc[0])}


def panel(title: str, caption: str, figure: go.Figure, min_width: int = 0, **of: Any) -> Panel:
    """Return a figure in its place; `of` is what else `Panel` has to say of it."""
    figure.update_layout(showlegend=False)  # the page has one key for all figures
    # No screen shows more than six digits of where a point lies, and they are a third of the bytes.
    whole = json.loads(figure.to_json(engine="json"), parse_float=lambda digits: float(f"{float(digits):.6g}"))
    return Panel(title, caption, in_script(json.dumps(whole, separators=(",", ":"))), min_width, **of)


def stopping_audit(replayed: pd.DataFrame) -> list[Panel]:
    """Return a panel of what stopping would have saved and changed where nobody was stopped; none where it had stopped nobody.

    Args:
        replayed: a row per share kept at a rung, with `keep`, `cells`, `saved`, `same_winner` and `source_order`.
    """
    if not (replayed["saved"] > 0).any():
        return []
    half = min(records(replayed), key=lambda row: abs(row["keep"] - 0.5))
    order = "" if half["source_order"] is None else f", sources' order {signed(half['source_order'])} (rank correlation)"
    caption = (
        f"Keeping {half['keep']:g} of the methods at each rung would have saved {half['saved']:.0%} of the steps, with the "
        f"same winner in {half['same_winner']} of {half['cells']} cells{order}. "
        "Labels: the share kept."
    )
    return [panel("Saved against unchanged", caption, figures.stopping_audit(replayed))]


def key(style: Style, trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the entries of the page's key and filters: targets, sizes, strategies, sources, and the paper's numbers."""
    adapt = trials[trials["target_label"].notna()]
    entries: list[dict[str, Any]] = [
        *({"kind": "target", "name": name} for name in sorted(adapt["target_label"].unique())),
        *({"kind": "size", "name": size, "label": f"{size:,}"} for size in sorted(adapt["size"].unique())),
        *({"kind": "strategy", "name": s, "color": style.color(s), "dash": style.dash(s)} for s in style.strategies),
        *({"kind": "source", "name": s, "path": _PATHS[style.symbol(s)]} for s in style.sources),
        {"kind": "paper", "name": figures.PAPER, "color": figures.NEUTRAL, "dash": "2,3"},
    ]
    return [{"label": entry["name"], **entry} for entry in entries]


def ends(trials: pd.DataFrame) -> list[dict[str, str]]:
    """Return the marks of curves that end before their budget, as far as a trial ended so: a path and what it says."""
    words = {"stopped": "stopped early", "diverged": "diverged", "failed": "failed", "unfinished": "not ended yet"}
    return [{"path": _END_PATHS[name], "name": words[name]} for name in figures.ENDS if name in set(trials["status"])]


_END_PATHS = {  # as figures.ENDS, to be stroked
    "stopped": "M-6-6L6 6M-6 6L6-6",
    "diverged": "M-7 0H7M0-7V7M-5-5L5 5M-5 5L5-5",
    "failed": "M-7 0H7M0-7V7",
    "unfinished": "M-5-6L6 0L-5 6Z",
}
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


def in_script(text: str) -> Markup:
    """Return JSON in which no string can end the script element that contains it."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - made safe just above
