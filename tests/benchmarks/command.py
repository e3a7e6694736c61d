"""The command line that all benchmarks share: ``--rounds``, ``--json``, and rows printed as text or as JSON."""

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import Any


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
