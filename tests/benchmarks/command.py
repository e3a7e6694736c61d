"""What all benchmarks share: ``--rounds``, ``--json``, rows printed as text or as JSON, goals, and the peak of memory."""

import argparse
import json
import resource
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol


class Judged(Protocol):
    """A row of a table that may have a goal."""

    @property
    def name(self) -> str:
        """What the row is about."""

    @property
    def holds(self) -> bool | None:
        """Whether it meets its goal; None where there is none."""

    @property
    def text(self) -> str:
        """The printed row."""

    def as_data(self) -> dict[str, Any]:
        """Return the row as plain data."""


def positive(text: str) -> int:
    """Return the integer in an argument, which must be 1 or more."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def make_parser(name: str, description: str, example: str, rounds: int) -> argparse.ArgumentParser:
    """Return the parser of ``python -m tests.benchmarks.NAME``; `rounds` is the default number of rounds."""
    command = f"python -m tests.benchmarks.{name}"
    parser = argparse.ArgumentParser(prog=command, description=description, epilog=f"Example: {command} {example}")
    parser.add_argument("--rounds", type=positive, default=rounds, help="rounds, whose median is reported (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    return parser


def show(rows: Iterable[tuple[Mapping[str, Any], str]], as_json: bool) -> None:
    """Print each row: its data as JSON, or its text."""
    for row, text in rows:
        print(json.dumps(row) if as_json else text, flush=True)


def judge(rows: Iterable[Judged], as_json: bool) -> int:
    """Print each row as soon as it is known, then name those that miss their goals; return the exit status."""
    missed = []
    for row in rows:
        print(json.dumps(row.as_data()) if as_json else row.text, flush=True)
        if row.holds is not None and not row.holds:
            missed.append(row.name)
    for name in missed:
        print(f"misses its goal: {name}", file=sys.stderr)
    return 1 if missed else 0


def peak_mib() -> float:
    """Return the greatest memory of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss of a new process starts at the peak of its parent
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
