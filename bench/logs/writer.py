"""What a log is given, and what writes it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class LoggedTrial:
    """A trial as one evaluation measures it: one run of a log, because numbers of different evaluations are not comparable.

    Attributes:
        run: its identity in every log.
        name: what it is, in a few words.
        sweep: the sweep that runs it; not part of the identity.
        config: its configuration as plain data.
    """

    run: str
    name: str
    sweep: str
    config: Mapping[str, Any]

    def settings(self) -> dict[str, str | int | float | bool]:
        """Return its configuration without nesting, e.g. "training.batch"; lists as text; without what is None."""
        return dict(_flat(self.config))


class Writer(Protocol):
    """Writes one kind of log into a folder; any exception may be raised."""

    def __init__(self, folder: Path) -> None: ...

    def steps(self, trial: LoggedTrial) -> Collection[int]:
        """Return the steps of a trial that the log has."""

    def write(self, trial: LoggedTrial, step: int, values: Mapping[str, float], grid: bytes | None) -> None:
        """Write the values of a trial at a step that the log lacks, and its sample grid, PNG bytes."""

    def end(self, trial: LoggedTrial, *, failed: bool) -> None:
        """Note that a trial has ended; a longer budget may continue it."""

    def close(self) -> None:
        """End the log, with trials that go on another time."""


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str | int | float | bool]]:
    settings: list[tuple[str, str | int | float | bool]] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            settings += _flat(value, f"{prefix}{name}.")
        elif value is not None:
            settings.append((prefix + name, value if isinstance(value, str | int | float) else ", ".join(map(str, value))))
    return settings
