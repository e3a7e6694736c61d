"""The tables of statistics: each function yields the blocks of a section about one embedding, none without a row."""

from collections.abc import Iterator, Sequence
from typing import Any

from analysis.claims import Outcome
from analysis.comparison.embeddings import agreement
from analysis.frames import grouped, records
from analysis.report.blocks import (
    Block,
    Column,
    Fold,
    Group,
    Heading,
    Paragraph,
    Report,
    Row,
    Span,
    Subject,
    Table,
    Text,
    by_cell,
    numbers,
)
from analysis.report.content import panels
from analysis.report.content.table_parts import INTERVAL, NONE, OUTCOME, P, interval, or_none, table
from analysis.statistics import Analysis
from analysis.words import number, probability, saved, saved_interval, signed, start, times
from trainers.common.counts import counted
from trainers.config.metrics import metrics


def ranking(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield a table per cell, folded if there are several: its methods, best first, with their gains."""
    gains = {(row["cell"], row["strategy"], row["source"]): row for row in records(analysis.significance)}
    tried = records(analysis.gains[["cell", "source", "distance"]])
    distances = {(row["cell"], row["source"]): row["distance"] for row in tried}
    columns = [
        *numbers(""), Column("strategy"), Column("source"),
        *numbers("distance", "FID", "over seeds", "seeds", "lost", "step", "gain", INTERVAL, P), Column("against scratch"),
    ]  # fmt: skip
    for cell, methods in analysis.ranked.groupby("cell", sort=False):
        rows = []
        for place, row in enumerate(records(methods), start=1):
            distance = distances.get((cell, row["source"]))
            seeds = f"{number(row['low'])} to {number(row['high'])}" if row["seeds"] > 1 else NONE
            gain = gains.get((cell, row["strategy"], row["source"]))
            cells = [
                str(place) if row["final"] else NONE, row["strategy"], row["source_label"] or NONE,
                NONE if distance is None else number(distance), number(row["value"]), seeds, str(row["seeds"]),
                str(row["lost"]) if row["lost"] else NONE, f"{row['step']:,}", *_gained(gain),
            ]  # fmt: skip
            rows.append(Row(cells, row))
        label = str(methods["cell_label"].iloc[0])
        note = ""
        if not methods["final"].all():
            note = (
                "Rows without a place ended before the cell's final step: their gains are early gains, at the step in the row, "
                "and are not compared with others."
            )
        table, alone = Table(f"Ranking, {label}", columns, rows, note, style="ranking"), analysis.ranked["cell"].nunique() == 1
        yield Group("table", [Heading(label), table] if alone else [Fold(label, [table], level=4)], {"cell_label": label})


def _gained(row: dict[str, Any] | None) -> list[Text]:
    """Return the gain of a row of `t_tests`, its interval, corrected p-value and outcome."""
    if row is None:
        return [NONE] * 4
    gain = NONE if row["gain"] is None else times(row["gain"])
    if row["early"]:
        return [f"early {gain} at {row['step']:,}", NONE, NONE, "ended early"]
    return [gain, interval(row["low"], row["high"], times), probability(row["p_holm"]), row["outcome"]]


def embeddings(report: Report) -> Iterator[Block]:
    """Yield the table of the first starts in every two embeddings; nothing for a report with one."""
    rows = records(agreement({analysis.embedding: analysis.cells for analysis in report.analyses}))
    if not rows:
        return
    differ = sum(not row["agree"] for row in rows)
    yield Paragraph(
        f"Of {counted(len(rows), 'comparison')} of a cell in two embeddings, {differ} {'has' if differ == 1 else 'have'} "
        "another start first."
    )
    heads = [Column("Cell"), *numbers("step"), Column("embeddings"), Column("first start"), *numbers("starts", "correlation")]
    lines = []
    for row in rows:
        first = row["first_start"] if row["agree"] else f"{row['first_start']} and {row['second_start']}"
        correlation = or_none(row["correlation"], signed)
        cells = [row["cell_label"], f"{row['step']:,}", f"{row['first']} and {row['second']}", first, str(row["starts"])]
        lines.append(Row([*cells, correlation], row))
    yield from table(
        "The first start by embedding", heads, lines,
        "The start with the lowest mean log FID over seeds at the final step, scratch included; Spearman's correlation of "
        "these means over the starts. Starts that are not told apart may change places by chance.",
    )  # fmt: skip


def savings(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield the table of what each strategy saves with its best source; nothing if no saving is known."""
    rows = savings_rows(analysis)
    if not any(row[name] != NONE for row in rows for name in ("images", "steps")):
        return
    columns = [
        Column("Cell"), Column("start"), *numbers("data multiplier", INTERVAL), Column(OUTCOME), *numbers("as scratch with"),
        *numbers("speed-up", INTERVAL), Column(OUTCOME),
    ]  # fmt: skip
    yield from table(
        "What a pre-trained start saves", columns,
        [Row([row[name] for name in ("cell_label", "name", *_OF_IMAGES, *_OF_STEPS)], row) for row in rows],
        "The data multiplier is read off scratch's FID by number of images, at the cell's final step, by linear interpolation "
        "between scratch's sizes on logarithmic axes. It is not extrapolated: beyond these sizes it is a bound. It is given "
        "only where more images help scratch by more than the spread between seeds explains. The speed-up compares the first "
        "steps at which each has scratch's best FID. Below 1× a pre-trained start is worse than scratch. An interval is from "
        "the spread between seeds (one seed gives none) and holds for all starts of its cell together, so also for the chosen "
        "one. The outcomes, against 1×, are corrected for all starts of the report by Holm's method.",
        style="savings",
    )  # fmt: skip


_OF_IMAGES = ("images", "images_interval", "images_outcome", "equivalent")
_OF_STEPS = ("steps", "steps_interval", "steps_outcome")


def savings_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Return, for each strategy of a cell with its best source, what it saves in images and in steps, in words.

    A cell with any such value has a row for all of its strategies; the outcome of one without a value is the reason.
    """
    chosen = analysis.ranked[analysis.ranked["source"].notna()].drop_duplicates(["cell", "strategy"])
    by = ["cell", "strategy", "source"]
    images = {tuple(row[name] for name in by): row for row in records(analysis.multipliers)}
    steps = {tuple(row[name] for name in by): row for row in records(analysis.speed_ups)}
    compared = set(analysis.speed_ups["cell"])
    rows = []
    for row in records(chosen):
        data, time = images.get(tuple(row[name] for name in by)), steps.get(tuple(row[name] for name in by))
        if data or time or row["cell"] in compared:
            words = dict.fromkeys((*_OF_IMAGES, *_OF_STEPS), NONE)
            if data:
                words["images_outcome"] = data["why"] or data["outcome"]
            if data and not data["why"]:
                sizes = f" ({data['sizes']} of {data['planned']} sizes)" if data["sizes"] < data["planned"] else ""
                words |= {"images": saved(data), "images_interval": saved_interval(data) or NONE}
                words["equivalent"] = f"{data['equivalent']:,.0f} at step {data['step']:,}{sizes}"
            if time:
                words["steps_outcome"] = time["why"] or time["outcome"]
            if time and not time["why"]:
                words |= {"steps": saved(time), "steps_interval": saved_interval(time) or NONE}
            rows.append(
                {name: row[name] for name in ("cell_label", "strategy", "source_label")} | {"name": start(row), **words}
            )
    return rows


def strategies(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield a table per cell in which a source has two strategies: by how much each is behind the best from that source."""
    cells: list[tuple[str, Sequence[Block], Subject]] = []
    for _cell, group in analysis.strategies.groupby("cell", sort=False):
        rows = records(group)
        heads = {
            row["source"]: Column(
                row["source_label"] + ("" if row["distance"] is None else f" (distance {row['distance']:.3g})"),
                "numbers",
                {"source_label": row["source_label"]},
            )
            for row in rows
        }
        texts = {(row["strategy"], row["source"]): _behind(row) for row in rows}
        order = group.groupby("strategy", sort=False)["rank"].mean().sort_values(kind="stable").index
        lines = [Row([str(name), *(texts.get((name, source), NONE) for source in heads)], {"strategy": name}) for name in order]
        label = str(group["cell_label"].iloc[0])
        columns = [Column("Strategy"), *heads.values()]
        cells.append((label, [Table(f"Strategies, {label}", columns, lines, style="strategies")], {"cell_label": label}))
    yield from by_cell("table", cells)


def _behind(row: dict[str, Any]) -> Text:
    if row["rank"] == 1:
        return f"first, at step {row['step']:,}"
    if row["early"]:
        return f"ended at step {row['step']:,}"
    if row["behind"] is None:
        return f"lost {counted(row['lost'], 'seed')}" if row["lost"] else NONE
    # The factors of an interval with one degree of freedom may be beyond any number.
    ends = [times(row[end]).removeprefix("×") for end in ("low", "high") if row[end] is not None]
    words = times(row["behind"]) + (f" ({' to '.join(ends)})" if ends else "")
    return Span(words, "b") if row["outcome"] == Outcome.APART else words


def stopping(report: Report) -> Iterator[Block]:
    """Yield what stopping would have saved in the cells where no trial was stopped; nothing if it would have saved no step."""
    replayed = report.replayed
    if replayed is None or not (replayed["saved"] > 0).any():
        return
    yield panels.stopping(replayed)
    yield from table(
        "What stopping saves",
        numbers("share kept at a rung", "steps saved", "same winner", "order of the sources (rank correlation)"),
        [
            Row([f"{row['keep']:g}", f"{row['saved']:.0%}", f"{row['same_winner']} of {row['cells']}",
                 or_none(row["source_order"], signed)])
            for row in records(replayed)
        ],
    )  # fmt: skip


def quality_tables(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield a table per cell of every metric: scratch, and each strategy with its best source."""
    cells: list[tuple[str, Sequence[Block], Subject]] = []
    for group in grouped(records(analysis.quality), ["cell"]).values():
        measured = {row["metric"] for row in group}
        names = [name for name in metrics() if name in measured]
        rows = []
        for of_method in grouped(group, ["strategy", "source"]).values():
            values = {row["metric"]: _with_error(row["value"], row["error"]) for row in of_method}
            first = of_method[0]
            texts = [start(first), f"{first['step']:,}", str(first["seeds"]), *(values.get(name, "") for name in names)]
            rows.append(Row(texts, first))
        label = group[0]["cell_label"]
        columns = [Column("Method"), *numbers("step", "seeds", *(metrics()[name].heading for name in names))]
        cells.append((label, [Table(f"Metrics, {label}", columns, rows, style="quality")], {"cell_label": label}))
    yield from by_cell("table", cells)


def _with_error(value: float, error: float | None) -> str:
    if error is None:
        return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"
    digits = 0 if error >= 10 else 1 if error >= 1 else 2 if error >= 0.1 else 3
    return f"{value:.{digits}f} ± {error:.{digits}f}"
