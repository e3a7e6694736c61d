"""Sweep files that are part of transfergan, by name."""

from importlib.resources import files
from pathlib import Path

from trainers.common.errors import unknown_name


def preset_names() -> tuple[str, ...]:
    """Return the sorted names of the presets."""
    return tuple(sorted(Path(file.name).stem for file in files(__name__).iterdir() if file.name.endswith(".yaml")))


def preset_text(name: str) -> str:
    """Return the YAML text of a preset, with its comments. Raises UserError for an unknown name, with the nearest ones."""
    if name not in preset_names():
        raise unknown_name("preset", name, preset_names())
    return (files(__name__) / f"{name}.yaml").read_text()
