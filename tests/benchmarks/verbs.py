"""Processor time of the verbs that train nothing: ``python -m tests.benchmarks.verbs``.

Each verb is a new process on a small store. The peer is a process that only imports the libraries of the command line and of
sweep files, Typer and pydantic. Verbs and peer alternate, and the median over the rounds is reported.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.store import open_store
from tests.benchmarks.command import make_parser, show
from tests.support import tiny

PEER = ("-c", "import typer, pydantic")


def measure(rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row per command: its median seconds of the processor, and how many times the peer's they are."""
    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        commands = small_commands(Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in ("peer", *commands)}
        for _ in range(rounds):
            for name, command in (("peer", PEER), *commands.items()):
                seconds[name].append(cpu_seconds(command))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        yield {"command": name, "cpu_seconds": median, "times_peer": median / medians["peer"]}


def small_commands(folder: Path) -> dict[str, Sequence[str]]:
    """Make a small store in a folder; return the arguments of Python for each verb."""
    spec, store = str(tiny.write_spec(folder, **tiny.SMALL)), str(folder / "store")
    tiny.run_here(tiny.make(), open_store(store, create=True))
    verbs: dict[str, Sequence[str]] = {
        "--version": (),
        "--help": (),
        "domains": (),
        "plan": (spec, "--store", store),
        "status": ("--store", store),
        "store list": ("--store", store),
    }
    return {verb: ("-m", "bench.cli", *verb.split(), *options) for verb, options in verbs.items()}


def cpu_seconds(arguments: Sequence[str]) -> float:
    """Return the seconds of the processor that a Python process takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Run the benchmark and print one row per command."""
    arguments = make_parser("verbs", "Measure the verbs that train nothing.", "--rounds 3 --json", rounds=5).parse_args()
    text = "{command:12} {cpu_seconds:6.2f} s of a core  {times_peer:.2f}x the imports of Typer and pydantic"
    show(((row, text.format(**row)) for row in measure(arguments.rounds)), arguments.json)


if __name__ == "__main__":
    main()
