"""Whether a sweep's strategies were tuned, on what, and at which cost: in words, and what was found for each."""

import json
from dataclasses import dataclass, field
from typing import Any

from analysis.frames import Frames
from analysis.words import counted, number
from trainers.config.trial import TUNED


@dataclass(frozen=True)
class Tuning:
    """What is said of one sweep: in words; and of each strategy its name, setting and value, and the value without tuning."""

    sweep: str
    words: str
    metric: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)


def searches(frames: Frames) -> list[Tuning]:
    """Return what is to be said of each sweep that has strategies to compare."""
    several = len(frames.sweeps) > 1
    found = []
    for name, planned in frames.sweeps.items():
        adapts = [row for row in planned["trials"] if row.get("kind") == "adapt" and row.get("config")]
        if len({row["strategy"] for row in adapts}) < 2:
            continue
        config = json.loads(adapts[0]["config"])
        record = frames.searches.get(config.get("tuned", ""))
        before = f"{name}: " if several else ""
        if record is not None:
            took = frames.trials[frames.trials["key"].isin([row["key"] for row in adapts])]
            words = before + _words(record, int(took["steps"].sum()))
            found.append(Tuning(name, words, record["metric"].upper(), [_row(row) for row in record["methods"]]))
        elif "tuned" in config:
            found.append(Tuning(name, f"{before}The strategies were tuned by a search of which this store has no record."))
        elif (training := config["training"]).keys() >= {*TUNED}:
            own = f"learning rate {_rate(training)} and {training['steps']:,} steps"
            found.append(
                Tuning(name, f"{before}Not tuned: all strategies share {own}, which may suit some better than others.")
            )
    return found


def _words(record: dict[str, Any], steps: int) -> str:
    cost, source = record["cost"], record["source"]
    machine = "GPU" if cost["gpus"] else "core"
    used = cost["seconds"] * (cost["gpus"] or cost["cpus"])
    share = f", {number(cost['steps'] / steps)} times what the adaptations themselves took" if steps else ""
    return (
        f"Tuned: each strategy has the learning rate and the budget with the least {record['metric'].upper()} among "
        f"{counted(record['tried'], 'setting')}, the same for all, on {record['target']}, which is held out "
        f"({counted(record['size'], 'image')}{f', from {source}' if source else ''}). The search took "
        f"{counted(cost['trials'], 'trial')} and {cost['steps']:,} steps{share}, and {used:,.0f} seconds of one {machine}."
    )


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["strategy"] + (", conditional" if row["conditional"] else ""),
        "rate": _rate(row),
        "steps": row["steps"],
        "value": f"{row['value']:.4g}",
        "own": "–" if row["own"] is None else f"{row['own']:.4g}",
    }


def _rate(setting: dict[str, Any]) -> str:
    generator, critic = setting["generator_lr"], setting["critic_lr"]
    return f"{generator:g}" if generator == critic else f"{generator:g} (critic {critic:g})"
