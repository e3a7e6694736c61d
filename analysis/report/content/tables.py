"""The tables of statistics: each function yields the blocks of a section about one embedding, none without a row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from analysis.claims import Outcome
from analysis.frames import records
from analysis.report.blocks import Block, Column, Fold, Group, Heading, Report, Row, Span, Table, Text, marked, numbers
from analysis.report.content import answers, panels
from analysis.statistics import Analysis
from analysis.words import counted, number, predictor, probability, saved, saved_interval, signed, start, times
from trainers.config.metrics import metrics

NONE, _INTERVAL, _P = "–", "95 % interval", "p, corrected"


def ranking(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield a folded table per cell: its methods, best first, with their gains."""
    gains = {(row["cell"], row["strategy"], row["source"]): row for row in records(analysis.significance)}
    distances = {(row["cell"], row["source"]): row["distance"] for row in records(analysis.gains)}
    columns = [
        *numbers(""), Column("strategy"), Column("source"),
        *numbers("distance", "FID", "over seeds", "seeds", "lost", "step", "gain", _INTERVAL, _P), Column("against scratch"),
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
        table = Table(f"Ranking, {label}", columns, rows, note)
        yield Group("table", [Fold(label, [table], level=4)], {"cell_label": label})


def _gained(row: dict[str, Any] | None) -> list[Text]:
    """Return the gain of a row of `t_tests`, its interval, corrected p-value and outcome."""
    if row is None:
        return [NONE] * 4
    gain = NONE if row["gain"] is None else times(row["gain"])
    if row["early"]:
        return [f"early {gain} at {row['step']:,}", NONE, NONE, "ended early"]
    return [gain, _range(row["low"], row["high"], times), probability(row["p_holm"]), row["outcome"]]


def savings(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield the table of what each strategy saves with its best source."""
    columns = [
        Column("Cell"), Column("start"),
        *numbers("data multiplier", _INTERVAL, "as scratch with", "speed-up", _INTERVAL),
    ]  # fmt: skip
    yield from _table(
        "What a pre-trained start saves", columns,
        [Row([row[name] for name in ("cell_label", "name", *_OF_IMAGES, *_OF_STEPS)], row) for row in savings_rows(analysis)],
        "The data multiplier is read off scratch's FID by number of images, at one step that all trials reached, by linear "
        "interpolation between scratch's sizes on logarithmic axes. It is not extrapolated: beyond these sizes it is a bound. "
        "The speed-up compares the first steps at which each has scratch's best FID. Below 1× a pre-trained start is worse "
        "than scratch. The intervals are from the spread between seeds; one seed gives none.",
        style="savings",
    )  # fmt: skip


_OF_IMAGES, _OF_STEPS = ("images", "images_interval", "equivalent"), ("steps", "steps_interval")


def savings_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Return, for each strategy of a cell with its best source, what it saves in images and in steps, in words.

    A cell with any such value has a row for all of its strategies; one whose best source diverged has no values.
    """
    chosen = analysis.ranked[analysis.ranked["source"].notna()].drop_duplicates(["cell", "strategy"])
    by_size, by_cell = ["family", "size", "strategy", "source"], ["cell", "strategy", "source"]
    images = {tuple(row[name] for name in by_size): row for row in records(analysis.multipliers)}
    steps = {tuple(row[name] for name in by_cell): row for row in records(analysis.speed_ups)}
    compared = set(analysis.speed_ups["cell"])
    rows = []
    for row in records(chosen):
        data, time = images.get(tuple(row[name] for name in by_size)), steps.get(tuple(row[name] for name in by_cell))
        if data or time or row["cell"] in compared:
            words = dict.fromkeys((*_OF_IMAGES, *_OF_STEPS), NONE)
            if data:
                sizes = f" ({data['sizes']} of {data['planned']} sizes)" if data["sizes"] < data["planned"] else ""
                words |= {"images": saved(data), "images_interval": saved_interval(data) or NONE}
                words["equivalent"] = f"{data['equivalent']:,.0f} at step {data['step']:,}{sizes}"
            if time:
                words |= {"steps": saved(time), "steps_interval": saved_interval(time) or NONE}
            rows.append(
                {name: row[name] for name in ("cell_label", "strategy", "source_label")} | {"name": start(row), **words}
            )
    return rows


def sources(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield the tables of sources over all targets, and of the regret of following advice."""
    rows = records(analysis.sources)
    left_out = max((row["left"] for row in rows), default=0)
    yield from _titled(
        "Sources over all targets",
        [Column("Strategy"), Column("source"), *numbers("mean gain", _INTERVAL, "regret", "best in", "targets")],
        [
            Row(
                [row["strategy"], row["source_label"], *_factor(row), times(row["regret"]),
                 f"{row['best_in']} of {row['cells']}", str(row["targets"])],
                row,
            )
            for row in rows
        ],
        "At each cell's common step, over the cells that all sources of the strategy have"
        f"{f' (up to {left_out} cells of a strategy are left out)' if left_out else ''}. Regret is FID with the source divided "
        "by FID with the cell's best source: ×1.00 is no regret. The interval is Student's over targets; "
        "one target gives none.",
        style="sources",
    )  # fmt: skip
    yield from _titled(
        "Regret of following advice",
        [Column("Start from"), *numbers("regret", _INTERVAL, "best on")],
        [
            Row([row["about"], *_factor(row, "regret"), f"{row['best_in']} of {row['targets']} targets"])
            for row in records(analysis.advice)
        ],
        marked(
            "Each target is left out in turn, and a start is chosen for it from the results on the other targets. Regret is "
            "FID with the chosen start divided by FID with the target's best source and strategy: ×1.00 is no regret. "
            "`transfergan recommend` weighs distance and mean gain. Nearest, largest (most training images) and random choose "
            "a source only, with the strategy that has the highest mean gain over the other targets. Intervals are Student's "
            "over targets."
        ),
        style="advice",
    )


def strategies(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield a table per cell in which a source has two strategies: by how much each is behind the best from that source."""
    cells = list(analysis.strategies.groupby("cell", sort=False))
    for _cell, group in cells:
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
        table = Table(f"Strategies, {label}", [Column("Strategy"), *heads.values()], lines, style="strategies")
        titled: list[Block] = [Fold(label, [table], level=4)] if len(cells) > answers.UNFOLDED else [Heading(label), table]
        yield Group("table", titled, {"cell_label": label})


def _behind(row: dict[str, Any]) -> Text:
    if row["rank"] == 1:
        return f"first, at step {row['step']:,}"
    if row["early"]:
        return f"ended at step {row['step']:,}"
    if row["behind"] is None:
        return f"lost {counted(row['lost'], 'seed')}" if row["lost"] else NONE
    interval = "" if row["low"] is None else f" ({2 ** row['low']:.2f} to {2 ** row['high']:.2f})"
    words = f"{times(row['behind'])}{interval}"
    return Span(words, "b") if row["outcome"] == Outcome.APART else words


def distances(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield the tables of what predicts the gain: kinds of distance, the mixed model, and all rank correlations."""
    yield from _predictors(records(analysis.predictors))
    yield from _titled(
        "What drives the gain",
        [
            *(Column(head) for head in ("Strategy", "effect of", "that is")),
            *numbers("gain", _INTERVAL, _P, "points", "sources", "targets"),
        ],
        [
            Row(
                [row["strategy"], row["covariate"], row["about"], *_factor(row, "value"), probability(row["p_holm"]),
                 str(row["points"]), str(row["sources"]), str(row["targets"])],
                row,
            )
            for row in records(analysis.drivers)
        ],
        "A linear mixed model of log2 gain with targets and sources as random effects, fitted by restricted maximum "
        "likelihood; all effects are in one model. Covariates of the source alone (density, diversity, amount) have no more "
        "observations than there are sources, and are included only with enough sources. Corrected for all rows "
        "by Holm's method.",
        style="drivers",
    )  # fmt: skip
    correlations = Table(
        "Rank correlations",
        [Column("Cell"), Column("strategy"), *numbers("points", "real images", "generator's samples")],
        [
            Row(
                [row["cell_label"] if row["scope"] == "cell" else "all cells pooled",
                 "all" if row["scope"] == "all" else row["strategy"], str(row["n"]),
                 _or_none(row["rho"], signed), _or_none(row["rho_generator"], signed)],
                row,
            )
            for row in records(analysis.correlations)
        ],
        "Spearman's correlation between the distance from source to target and the gain, with the distance measured from the "
        "source's real images and from samples of its pre-trained generator. Negative: nearer sources help more. Fewer than "
        "three points give none; with four points even ±1 may be chance. Pooled points of one source are not independent.",
    )  # fmt: skip
    if correlations.rows:
        yield Fold("All rank correlations", [correlations], level=4)


def _predictors(rows: Sequence[dict[str, Any]]) -> Iterator[Block]:
    if not rows:
        return
    first = rows[0]
    fewest, most = first["least"], first["most"]
    over = first["over"] or "targets; one target with one seed gives none"
    interval = f"The interval is by bootstrap over {over}" + (" and holds for this target alone" if over == "seeds" else "")
    yield from _titled(
        "Which distance predicts transfer best",
        [
            Column("Distance"),
            *numbers("mean rank correlation", _INTERVAL, "least to most", _P, "pooled"),
            *numbers("nearest was best", "regret of nearest"),
        ],
        [
            Row([
                predictor(row), signed(row["rho"]), _range(row["interval_low"], row["interval_high"], signed),
                _range(row["low"], row["high"], signed), probability(row["p_holm"]), _or_none(row["pooled"], signed),
                f"{row['hits']} of {row['groups']}", times(row["regret"]),
            ])
            for row in rows
        ],
        f"How well each way to measure the distance orders {fewest if fewest == most else f'{fewest} to {most}'} sources by "
        "their gain: Spearman's correlation between nearness and gain within a cell and strategy, averaged over "
        f"{counted(first['groups'], 'such group')}; +1: the nearer source always helped more. Precision, recall, density and "
        "coverage are the source's for the target: recall is the share of the target's images within the source's reach, so "
        f"more is nearer. {interval}; p is the probability of as strong an order by chance, from permutations of each target's "
        f"sources, corrected by Holm's method for {len(rows)} ways to measure. Pooled: over the points of all targets. Regret "
        "of nearest: FID when starting from the nearest source divided by FID with the best source; for a random source it is "
        f"{times(first['chance'])}.",
        style="predictors",
    )  # fmt: skip


def knobs(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield the table of the effects of the sources' knobs."""
    yield from _table(
        "Effects of density, diversity, amount and spread",
        [
            *(Column(head) for head in ("Cell", "strategy", "effect of", "that is")),
            *numbers("gain", _INTERVAL, "sources"),
        ],
        [
            Row(
                [row["cell_label"], row["strategy"], row["effect"], row["about"],
                 Span(times(row["value"]), "b") if row["low"] > 0 or row["high"] < 0 else times(row["value"]),
                 _range(row["low"], row["high"], times), str(row["sources"])],
                row,
            )
            for row in records(analysis.knobs)
        ],
        "Least squares of log2 gain on log2 classes, log2 images per class and spread, with Student's intervals from the "
        "residuals between sources. Each source was pre-trained once; the variation between trainings of one source is part of "
        "the residuals. In bold: intervals that exclude ×1.00.",
    )  # fmt: skip


def stopping(report: Report) -> Iterator[Block]:
    """Yield what stopping would have saved in the cells where no trial was stopped; nothing if it would have saved no step."""
    replayed = report.replayed
    if replayed is None or not (replayed["saved"] > 0).any():
        return
    yield panels.stopping(replayed)
    yield from _table(
        "What stopping saves",
        numbers("share kept at a rung", "steps saved", "same winner", "order of the sources (rank correlation)"),
        [
            Row([f"{row['keep']:g}", f"{row['saved']:.0%}", f"{row['same_winner']} of {row['cells']}",
                 _or_none(row["source_order"], signed)])
            for row in records(replayed)
        ],
    )  # fmt: skip


def quality_tables(_: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield a table per cell of every metric: scratch, and each strategy with its best source."""
    for _cell, group in analysis.quality.groupby("cell", sort=False):
        names = [name for name in metrics() if name in set(group["metric"])]
        rows = []
        for _method, of_method in group.groupby(["strategy", "source"], sort=False, dropna=False):
            values = {row["metric"]: _with_error(row["value"], row["error"]) for row in records(of_method)}
            first = records(of_method)[0]
            cells = [start(first), f"{first['step']:,}", str(first["seeds"]), *(values.get(name, "") for name in names)]
            rows.append(Row(cells, first))
        label = str(group["cell_label"].iloc[0])
        columns = [Column("Method"), *numbers("step", "seeds", *(metrics()[name].heading for name in names))]
        table = Table(f"Metrics, {label}", columns, rows, style="quality")
        yield Group("table", [Heading(label), table], {"cell_label": label})


def _with_error(value: float, error: float | None) -> str:
    if error is None:
        return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"
    digits = 0 if error >= 10 else 1 if error >= 1 else 2 if error >= 0.1 else 3
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _table(title: str, columns: Iterable[Column], rows: Sequence[Row], note: Text = "", style: str = "") -> Iterator[Block]:
    if rows:
        yield Table(title, tuple(columns), rows, note, style=style)


def _titled(title: str, columns: Iterable[Column], rows: Sequence[Row], note: Text, style: str) -> Iterator[Block]:
    if rows:
        yield Heading(title)
        yield Table(title, tuple(columns), rows, note, style=style)


def _factor(row: dict[str, Any], name: str = "gain") -> tuple[str, str]:
    """Return an effect in log2, and its 95 % interval, as factors."""
    return times(row[name]), _range(row["low"], row["high"], times)


def _range(low: float | None, high: float | None, words: Callable[[float], str]) -> str:
    return NONE if low is None or high is None else f"{words(low)} to {words(high)}"


def _or_none(value: float | None, words: Callable[[float], str]) -> str:
    return NONE if value is None else words(value)
