"""Whether a sweep's strategies were tuned, on which domain, at which cost, and the setting chosen for each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from analysis.frames import Frames
from analysis.report.blocks import Block, Column, Paragraph, Report, Row, Table, numbers
from analysis.words import number
from trainers.common.counts import counted
from trainers.config.trial import TUNED


@dataclass(frozen=True)
class Tuning:
    """How one sweep's strategies were tuned, in words, and what the search found."""

    sweep: str
    words: str
    metric: str = ""
    rows: tuple[Row, ...] = ()
    """Per strategy: its name, options, learning rate, steps and value, and the value with the sweep's own setting."""


def tables(report: Report) -> Iterator[Block]:
    """Yield, for each sweep with strategies to compare, whether they were tuned, and the settings chosen."""
    for search in searches(report.frames):
        yield Paragraph(search.words)
        if search.rows:
            heads = numbers("learning rate", "steps", search.metric, "with the sweep's own setting")
            names = [Column("Strategy"), Column("options")]
            yield Table(f"Settings found by tuning, {search.sweep}", [*names, *heads], search.rows)


def searches(frames: Frames) -> list[Tuning]:
    """Return how the strategies were tuned, for each sweep with several of them."""
    several = len(frames.sweeps) > 1
    tunings = []
    for name, planned in frames.sweeps.items():
        adapts = [row for row in planned["trials"] if row.get("kind") == "adapt" and row.get("config")]
        if len({row["strategy"] for row in adapts}) < 2:
            continue
        config = json.loads(adapts[0]["config"])
        record = frames.searches.get(config.get("tuned", ""))
        before = f"{name}: " if several else ""
        if record is not None:
            trials = frames.trials[frames.trials["key"].isin([row["key"] for row in adapts])]
            words = before + _words(record, int(trials["steps"].sum()))
            if (judge := record.get("view", view := planned.get("view"))) != view:
                words += f" It judged in {judge}, and the sweep is measured in {view}."
            tunings.append(Tuning(name, words, record["metric"].upper(), tuple(_row(row) for row in record["methods"])))
        elif "tuned" in config:
            tunings.append(Tuning(name, f"{before}The strategies were tuned by a search that this store has no record of."))
        elif (training := config.get("training", {})).keys() >= {*TUNED}:
            setting = f"learning rate {_rate(training)} and {counted(training['steps'], 'step')}"
            tunings.append(
                Tuning(name, f"{before}Not tuned: all strategies share {setting}, which may suit some better than others.")
            )
    return tunings


def _words(record: dict[str, Any], steps: int) -> str:
    cost, source = record["cost"], record["source"]
    machine = "GPU" if cost["gpus"] else "core"
    used = cost["seconds"] * (cost["gpus"] or cost["cpus"])
    share = f", {number(cost['steps'] / steps)} times the steps of the adaptations themselves" if steps else ""
    return (
        f"Tuned: each strategy has the learning rates, the budget and the options with the lowest {record['metric'].upper()} "
        f"among {counted(record['tried'], 'setting')}, as many for each, on {record['target']}, which is held out "
        f"({counted(record['size'], 'image')}{f', from {source}' if source else ''}). The search took "
        f"{counted(cost['trials'], 'trial')} and {counted(cost['steps'], 'step')}{share}, and {used:,.0f} seconds of one "
        f"{machine}."
    )


def _row(row: dict[str, Any]) -> Row:
    name = row["strategy"] + (", conditional" if row["conditional"] else "")
    untuned = "–" if row["own"] is None else f"{row['own']:.4g}"
    return Row([name, _options(row), _rate(row), f"{row['steps']:,}", f"{row['value']:.4g}", untuned])


def _options(row: dict[str, Any]) -> str:
    """Return the options that the search chose in addition to those in the strategy's name."""
    return (row.get("with_options") or "").partition("[")[2].removesuffix("]") or "–"


def _rate(setting: dict[str, Any]) -> str:
    generator, critic = setting["generator_lr"], setting["critic_lr"]
    return f"{generator:g}" if generator == critic else f"{generator:g} (critic {critic:g})"
