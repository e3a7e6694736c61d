"""Short, unique labels of cells, and of families of cells that differ only in size."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from trainers.common.counts import counted
from trainers.config.trial import TUNED


def label_cells(trials: Iterable[Mapping[str, Any]], many_resolutions: bool) -> dict[str, tuple[str, str]]:
    """Return (label, family) per cell from a trial of each. A label contains only the settings in which cells differ."""
    families: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in trials:
        name = row["target_label"] + (", conditional" if row["conditional"] else "")
        families[name + (f", {row['resolution']} px" if many_resolutions else "")].append(row)
    labels: dict[str, tuple[str, str]] = {}
    for family, rows in families.items():
        settings = {row["cell"]: _settings(row) for row in rows}
        names = sorted({name for values in settings.values() for name in values})
        varying = [n for n in names if len({v[n] for v in settings.values() if n in v}) > 1]
        for row in rows:
            values = settings[row["cell"]]
            full = ", ".join([family, *(f"{name.partition('.')[2]} {values[name]}" for name in varying if name in values)])
            label = f"{full}, {counted(row['size'], 'image')}"
            if label in {other for other, _ in labels.values()}:
                full, label = f"{full} ({row['cell'][:6]})", f"{label} ({row['cell'][:6]})"
            labels[row["cell"]] = (label, full)
    return labels


def _settings(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a trial's GAN and training, without its budget, as text by dotted name."""
    if not row["config"]:
        return {}
    config = json.loads(row["config"])
    settings = {
        f"{part}.{name}": str(value)
        for part in ("gan", "training")
        for name, value in config.get(part, {}).items()
        if name not in ("resolution", "steps") and not (config.get("tuned") and name in TUNED)
    }
    return {
        **settings,
        "trial.augmentation": config.get("augmentation", "none"),
        "trial.strategies": "tuned" if config.get("tuned") else "not tuned",
    }
