"""The figures of the page: each function yields those of a section, with titles, captions and data."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from analysis import figures
from analysis.comparison.cells import SCRATCH
from analysis.figures import PALETTE, Style, drawings
from analysis.figures.learning_curves import Axes, Point, points_of
from analysis.frames import records
from analysis.report.blocks import Block, Figures, Panel, Report, Subject, by_cell
from analysis.report.content import paper_panels
from analysis.statistics import Analysis
from analysis.transfer import classes, transferability
from analysis.words import against, saved, signed, span
from trainers.common.counts import counted

#: Pixels of a figure on a phone (a wider one scrolls), and of a letter of its labels.
_PHONE, _LETTER = 285, 6.6

#: Pixels that a figure with names beside its points and its lines needs.
_WIDE = 340

#: Sources from which on their distances have an order to compare with that of the gains.
_SOURCES = 3

#: Columns of measurements that the learning curves need.
_OF_CURVES = ["cell", "cell_label", "target", "target_label", "conditional", "family", "size", "resolution", "split"]
_OF_CURVES += ["trial", "strategy", "source_label", "status", "metric", "step", "value"]

#: What is drawn against the step, and how its title goes on.
_RAW = {"fid": "", "fid_raw": " of the generator without its moving average"}

#: Columns in which trials agree that are measured against the same real images.
_SAME_REAL = ("target", "resolution", "split")


def learning_curves(report: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield the figures of each cell, one per source; and others if the generator was also measured without its average."""
    references = records(analysis.references)
    floors = {tuple(row[name] for name in _SAME_REAL): row["fid_floor"] for row in references}
    usable = (analysis.curves["kind"] == "adapt") & (analysis.curves["value"].abs() < math.inf)
    usable &= analysis.curves["metric"].isin(_RAW)
    of_adapt = analysis.curves.loc[usable, _OF_CURVES]  # each figure copies all columns
    cells: list[tuple[str, Sequence[Block], Subject]] = []
    for _, cell in of_adapt.sort_values(["target", "conditional", "family", "size"]).groupby("cell", sort=False):
        first, measured = records(cell.iloc[:1])[0], cell["metric"].tolist()
        points = [*zip(measured, points_of(cell), strict=True)]
        floor = floors.get(tuple(first[name] for name in _SAME_REAL))
        subject = {"target_label": first["target_label"], "size": first["size"]}
        for metric, of_what in _RAW.items():
            of_metric = [point for name, point in points if name == metric]
            if len({step for _, _, _, step, _, _ in of_metric}) > 1:
                split = against(cell["split"][cell["metric"] == metric])
                title = f"{first['cell_label']}: FID by generator step{of_what}{split}"
                panels = [*_by_source(of_metric, report.style, floor, subject)]
                marks = () if cells else _ends(report.frames.trials)
                cells.append((title, [Figures(panels, marks=marks, small=True)], {"cell_label": first["cell_label"]}))
    yield from by_cell("cell", cells)


def _by_source(points: Sequence[Point], style: Style, floor: float | None, subject: Subject) -> Iterator[Panel]:
    """Yield a figure per source of a cell, with scratch; several of a source with more strategies than there are colours."""
    axes, scratch, transfers = Axes.of(points), [], defaultdict(list)
    for point in points:
        if point[0] == SCRATCH:
            scratch.append(point)
        elif point[1]:  # scratch with options has no source
            transfers[point[1]].append(point)
    for source, of_source in sorted(transfers.items()) or [("scratch", scratch)]:
        own = {strategy for strategy, *_ in of_source}
        names = [name for name in style.strategies if name in own]
        several = -(-len(names) // len(PALETTE))  # of nearly equal sizes
        parts = [{*names[part * len(names) // several : (part + 1) * len(names) // several]} for part in range(several)]
        for number, part in enumerate(parts, start=1):
            drawn = [point for point in of_source if point[0] in part]
            title = f"from {source}" if transfers else source
            title += f" ({number} of {len(parts)})" if len(parts) > 1 else ""
            statuses = Counter({trial: status for _, _, trial, _, _, status in drawn}.values())
            caption = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
            figure = drawings.of_points([*drawn, *scratch] if transfers else drawn, axes, style, floor)
            yield Panel.of(title, caption, figure, subject={**subject, "source_label": source} if transfers else {})


def fid_by_class(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield a figure per conditional cell."""
    panels, splits = [], analysis.curves[["cell", "split"]].drop_duplicates()
    for cell, rows in analysis.by_class.groupby("cell", sort=False):
        samples = rows[rows["class"] != classes.MEAN]["samples"]
        seeds = rows["seeds"].max()
        real = against(splits.loc[splits["cell"] == cell, "split"])
        caption = (
            f"FID at step {rows['step'].iloc[0]:,}{real}, from {span(samples)} generated images of a class"
            f"{f'; means over up to {seeds} seeds' if seeds > 1 else ''}. Each strategy with its best source."
        )
        width, title = 190 + 46 * rows["class"].nunique(), rows["cell_label"].iloc[0]
        panels.append(Panel.of(title, caption, drawings.fid_by_class(rows), min_width=width, subject=_subject(rows)))
    if panels:
        yield Figures(panels)


def fid_by_size(report: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield three figures per family (the nearest source, the best, the mean of all, each with scratch), and one of gains.

    The first two show the data multipliers that were measured at the full budget.
    """
    trials, style = report.frames.trials, report.style
    ranked = analysis.ranked.merge(
        analysis.nearest[["cell", "source"]].rename(columns={"source": "nearest"}), on="cell", how="left"
    )
    saved_by, panels, by = _saved(analysis, ranked), [], ["size", "strategy"]
    tried: dict[Any, dict[tuple[int, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, size, strategy, source in trials.loc[trials["source"].notna(), ["family", *by, "source"]].to_numpy(object):
        tried[name][size, strategy].add(source)
    for family, rows in ranked.groupby("family", sort=False):
        full = rows[rows["step"] >= rows["budget"]]
        scratch = full[full["strategy"] == SCRATCH].assign(note="no source")
        transfers = full[full["source"].notna()]  # scratch with options is neither
        best = transfers.sort_values("value").drop_duplicates(by)
        near = transfers[transfers["source"] == transfers["nearest"]]
        counts = transfers.groupby(by)["source"].nunique()
        means = transfers.groupby(by, as_index=False)["value"].mean()
        whole = [
            counts[size, strategy] == len(tried[family][size, strategy])
            for size, strategy in zip(means["size"], means["strategy"], strict=True)
        ]
        chosen = {
            "nearest source": (
                near.assign(note="from " + near["source_label"].astype(str)),
                "chosen by distance, before training",
            ),
            "best source": (best.assign(note="from " + best["source_label"].astype(str)), "chosen with hindsight"),
            "mean over sources": (means[whole].assign(note="mean over sources"), "averaged, if no trial was stopped"),
        }
        shown = pd.concat([scratch["value"], transfers["value"]])
        if transfers["source"].nunique() == 1:  # the nearest and the mean are the same
            del chosen["nearest source"], chosen["mean over sources"]
        for name, (data, how) in chosen.items():
            if len(data) and data["size"].nunique() > 1:
                figure = drawings.fid_by_size(
                    pd.concat([data, scratch]).reindex(columns=[*by, "value", "note", "source_label"]),
                    style,
                    (shown.min(), shown.max()),
                    saved_by.loc[data.index[data.index.isin(saved_by.index)]] if "source" in data else None,
                )
                every = len(tried[family])
                missing = every - len(data)
                rest = f" {missing} of {every} points are missing: not all of their trials ran so long." if missing else ""
                caption = f"FID at the full budget; source {how}.{rest}"
                subject = {"target_label": str(rows["target_label"].iloc[0])}
                panels.append(Panel.of(f"{family}: {name}", caption, figure, subject=subject))
    panels += paper_panels.gain_by_size(analysis, style)
    if panels:
        yield Figures(panels, ("paper",) if any(panel.paper for panel in panels) else ())


def _saved(analysis: Analysis, methods: pd.DataFrame) -> pd.DataFrame:
    """Return the data multipliers of methods (rows of the ranking) that were measured at the step of their values.

    The rows have the index of their methods.
    """
    on = ["family", "size", "strategy", "source", "step"]
    columns = [*on, "equivalent", "multiplier", "bound", "low", "high"]
    given = analysis.multipliers[analysis.multipliers["why"] == ""]
    rows = methods[[*on, "source_label", "value"]].reset_index().merge(given[columns], on=on).set_index("index")
    rows = rows[rows["equivalent"] != rows["size"]]  # a line of no length
    words = [
        f"{row['strategy']}, {row['size']:,} images: as good as scratch with {row['equivalent']:,.0f}, {saved(row)}"
        for row in records(rows)
    ]
    return rows.assign(words=pd.Series(words, index=rows.index, dtype="object"))


def heat_maps(report: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield two figures per strategy: at the first rung, and at the final step."""
    gains = analysis.gains
    cells = gains.drop_duplicates("cell_label")[["cell_label", "target_label", "size"]]
    sources = sorted(gains["source_label"].unique())
    limit = max(1.0, float(gains["gain"].abs().max())) if len(gains) else 1.0
    rows_wide = max((len(part) for label in cells["cell_label"] for part in label.rsplit(", ", 1)), default=0)
    columns_wide = len(sources) * (max((len(word) for name in sources for word in name.split()), default=0) + 1.5)
    needed = int(_LETTER * (rows_wide + columns_wide))
    width = needed if needed > _PHONE else 0
    panels = []
    for strategy in report.style.strategies:
        for at, title in (("first", "early gain at the first rung"), ("final", "gain at the final step")):
            rows = gains[(gains["strategy"] == strategy) & (gains["at"] == at)]
            if len(rows.groupby(["source_label", "cell_label"])) < 2:
                continue
            means = rows.groupby(["strategy", "source_label", "cell_label"], as_index=False).agg(
                gain=("gain", "mean"), step=("step", "min"), seeds=("gain", "size")
            )
            figure = drawings.heat_map(means, limit, cells=cells, sources=sources)
            steps = f"step {rows['step'].min():,}"
            if rows["step"].nunique() > 1:
                steps = f"steps {rows['step'].min():,} to {rows['step'].max():,}"
            caption = f"FID from scratch / FID of transfer; {steps}."
            panels.append(Panel.of(f"{strategy}, {title}", caption, figure, min_width=width))
    if panels:
        yield Figures(panels)


def gain_by_distance(report: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield a figure per cell, one of all targets together if there are several, and the paper's."""
    rows = transferability.points(analysis.gains[analysis.gains["distance"].notna()])
    rows = rows.assign(name=rows["source_label"])
    correlations = analysis.correlations
    panels = []
    for cell, group in rows.groupby("cell", sort=False):
        if group["source"].nunique() < _SOURCES:
            continue
        of_cell = correlations[(correlations["scope"] == "cell") & (correlations["cell"] == cell)]
        caption = f"At step {group['step'].min():,}. {_rank_words(of_cell)}"
        figure = drawings.gain_by_distance(group, report.style)
        title = group["cell_label"].iloc[0]
        panels.append(Panel.of(title, caption, figure, min_width=_WIDE, subject=_subject(group)))
    if rows["target"].nunique() > 1 and rows["source"].nunique() >= _SOURCES:
        pooled = rows.assign(name=rows["source_label"] + " → " + rows["target_label"])
        words = _rank_words(correlations[correlations["scope"] == "strategy"])
        caption = f"Distances to different targets are hardly comparable. {words}"
        figure = drawings.gain_by_distance(pooled, report.style)
        panels.append(Panel.of("All targets pooled", caption, figure, min_width=_WIDE))
    if panels:
        yield Figures([*panels, *paper_panels.gain_by_distance()], ("source", "paper"))


def _rank_words(correlations: pd.DataFrame) -> str:
    known = correlations[correlations["rho"].notna()]
    if len(known) == 0:
        return "Fewer than three sources: no rank correlation."
    words = [f"{row['strategy']} {signed(row['rho'])} (n={row['n']})" for row in records(known)]
    return f"Spearman's rank correlation (not tested): {', '.join(words)}."


def _subject(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the subject of rows of one cell."""
    return {"target_label": str(rows["target_label"].iloc[0]), "size": int(rows["size"].iloc[0])}


def stopping(replayed: pd.DataFrame) -> Figures:
    """Return the figure of what stopping would have saved and changed.

    `replayed` has a row per share kept at a rung: `keep`, `cells`, `saved`, `same_winner` and `source_order`.
    """
    half = min(records(replayed), key=lambda row: abs(row["keep"] - 0.5))
    rho = half["source_order"]
    order = "" if rho is None else f" and a rank correlation of the sources' order of {signed(rho)}"
    caption = (
        f"Keeping {half['keep']:g} of the methods at each rung would have saved {half['saved']:.0%} of the steps, with the "
        f"same winner in {half['same_winner']} of {counted(half['cells'], 'cell')}{order}. Labels: the share kept."
    )
    return Figures([Panel.of("Saved against unchanged", caption, drawings.stopping_audit(replayed))])


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


def _ends(trials: pd.DataFrame) -> Sequence[tuple[str, str]]:
    """Return the marks of curves that end before their budget, for statuses that occur: an SVG path, and its meaning."""
    return [_ENDS[status] for status in figures.ENDS if status in set(trials["status"])]


_ENDS = {  # the marks of figures.ENDS as paths to be stroked, and their meanings
    "stopped": ("M-6-6L6 6M-6 6L6-6", "stopped early"),
    "diverged": ("M-7 0H7M0-7V7M-5-5L5 5M-5 5L5-5", "diverged"),
    "failed": ("M-7 0H7M0-7V7", "failed"),
    "unfinished": ("M-5-6L6 0L-5 6Z", "not finished yet"),
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
