"""What a run may spend, as the driver sees it."""

from collections.abc import Mapping
from types import MappingProxyType


class Limit:
    """No limit on what a run may spend; `bench.costs.budget.Budget` is a subclass with one.

    Attributes:
        slots: number of slots, and so of trials that can run at the same time if each takes one.
        rooms: the slots that a trial takes, or will take, by its key; one if it is absent.
        refused: not None once a launch was refused, after which every launch is.
    """

    slots: int = 1
    rooms: Mapping[str, int] = MappingProxyType({})
    refused: float | None = None

    def look(self) -> None:
        """Account for the time since the last call; called before the ledger changes."""

    def on_rung(self, key: str) -> None:
        """Note that a trial has reached a rung."""

    def allows(self, key: str) -> bool:
        """Return whether a trial may start, or go on from its rung."""
        return True
