"""The rows of the table: each figure judged by its goal."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.figures.goals import GROUPS, Group, Number

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Row:
    """A figure before and now; see `tests.benchmarks.figures.goals.Figure`."""

    name: str
    command: str
    before: float | None
    now: float | None
    """None: the command has failed, or has no such row."""
    least: float | None
    most: float | None
    ratio: float | None

    @property
    def holds(self) -> bool | None:
        """Whether the figure meets its goal; None where there is no goal."""
        if self.now is None:
            return False
        if self.least is None and self.most is None:
            return None
        return (self.least is None or self.now >= self.least) and (self.most is None or self.now <= self.most)

    @property
    def text(self) -> str:
        """The row of the printed table."""
        before, now, least, most = (
            f"{x:.4g}" if x is not None else "-" for x in (self.before, self.now, self.least, self.most)
        )
        goal = "no goal" if least == most == "-" else f"at least {least}" if most == "-" else f"at most {most}"
        goal = f"{least} to {most}" if "-" not in (least, most) else goal
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}x"
        verdict = {True: "holds", False: "MISSED", None: ""}[self.holds]
        return f"{self.name:62} {before:>6} {now:>6}  {goal:14} {verdict:6} {ratio:>7}  {self.command}"

    def as_data(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {**asdict(self), "holds": self.holds}


def table(names: Iterable[str], rounds: int) -> Iterator[Row]:
    """Run the commands of some groups, and yield their figures; what a command says on stderr is passed on."""
    for name in names:
        command = [sys.executable, *GROUPS[name].arguments(rounds)]
        done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=False)
        yield from judged(GROUPS[name], rounds, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")])


def judged(group: Group, rounds: int, rows: list[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the figures of a group, found in the rows of its command."""
    command = " ".join(("python", *group.arguments(rounds)))
    for figure in group.figures:
        row: Mapping[str, Any] = next((r for r in reversed(rows) if figure.key in r and {**r, **figure.where} == r), {})
        numbers: dict[str, Number] = {
            "before": figure.before, "now": figure.key, "least": figure.least, "most": figure.most, "ratio": figure.ratio,
        }  # fmt: skip
        values = {name: row.get(number) if isinstance(number, str) else number for name, number in numbers.items()}
        yield Row(figure.name, command, **values)
