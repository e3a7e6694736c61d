"""A row of the benchmark's table."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One fault: the figure that showed it, measured before and after, and whether the goal holds now."""

    name: str
    before: str
    """The figure with the fault, measured once or with the former rule in the same run; with its unit."""
    after: str
    """The same figure now, with its unit and, where it varies, its interval."""
    goal: str
    holds: bool

    @property
    def text(self) -> str:
        """The row of the printed table."""
        return f"{self.name:72} {self.before:>28} {self.after:>28}  {self.goal:40} {'holds' if self.holds else 'MISSED'}"

    def as_data(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)
