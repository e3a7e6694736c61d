"""Speed of the harness: ``python -m tests.benchmarks.harness --read``, ``--plan`` or ``--simulate``.

``--read`` reads a store as written, as a driver merges it, and after compaction. ``--plan`` plans a large sweep. ``--simulate``
runs small sweeps and simulates them, to compare the makespans. Compared tasks alternate, so that other load on the machine
affects all of them alike; the median over the rounds is reported.
"""

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from bench.store import Store, open_store
from bench.upkeep.compact import compact
from bench.upkeep.small_parts import MANY, SmallParts
from tests.benchmarks.command import make_parser, positive, show

#: Steps at which a trial is measured, and metrics at each step.
STEPS, METRICS = 5, 20


def write(store: Store, rows: int, per_part: int, written: Callable[[], None] = lambda: None) -> None:
    """Append measurements to a store, `per_part` rows to a part, of trials with `STEPS` times `METRICS` rows each.

    `written` is called after each part.
    """
    pending = []
    for number in range(rows):
        trial, row = divmod(number, STEPS * METRICS)
        step, metric = divmod(row, METRICS)
        pending.append(
            {
                "trial": hashlib.sha256(str(trial).encode()).hexdigest()[:16],
                "step": 50 * step,
                "metric": f"metric-{metric}",
                "embedding": "builtin:1a2b3c4d5e6f",
                "view": "builtin:1a2b3c4d5e6f/1000",
                "version": "1",
                "value": number / 7,
                "standard_error": number / 700,
                "samples": 1000,
                "images_seen": 1600 * step,
                "seconds": 0.5 * step,
            }
        )
        if len(pending) == per_part or number == rows - 1:
            store.append("measurements", "benchmark", pending)
            pending = []
            written()


def read(rows: int, per_part: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row per store: the median seconds to read its measurements into a data frame.

    One is as trials write it, one is merged as by the driver of a sweep while it is written, one is compacted. A first round,
    which is not counted, warms up.
    """
    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        stores = {
            name: open_store(str(Path(folder) / name), create=True) for name in ("as written", "by a driver", "compacted")
        }
        small = SmallParts(stores["by a driver"], "measurements", "benchmark")
        written = count(1)

        def look() -> None:
            if not next(written) % MANY:
                small.look()
                small.delete_replaced(None)

        for name, store in stores.items():
            write(store, rows, per_part, look if name == "by a driver" else lambda: None)
        compact(stores["compacted"])
        seconds: dict[str, list[float]] = {name: [] for name in stores}
        for turn in range(rounds + 1):
            for name, store in stores.items():
                began = time.perf_counter()
                frame = store.read("measurements")
                if turn:
                    seconds[name].append(time.perf_counter() - began)
                assert len(frame) == rows
        slow = statistics.median(seconds["as written"])
        for name, store in stores.items():
            median = statistics.median(seconds[name])
            parts = len(store.list_parts("measurements"))
            yield {"store": name, "rows": rows, "parts": parts, "seconds": median, "times_as_written": slow / median}


#: The verb, which tells at its end what it took: seconds of the processor and the peak of its memory, MiB.
_VERB = """
import atexit, sys, time
from bench.cli import main
from tests.benchmarks.command import peak_mib
atexit.register(lambda: print(time.process_time(), peak_mib(), file=sys.stderr))
main()
"""


def large_sweep(folder: Path, trials: int) -> list[str]:
    """Write a sweep of about `trials` trials into a folder; return the command that plans it."""
    from tests.benchmarks.overhead.trivial import trivial_spec  # importing Ray takes seconds

    file = folder / "large.yaml"
    file.write_text(json.dumps(trivial_spec(trials)))
    return ["plan", str(file), "--store", str(folder / "none")]


def planning(trials: int, rounds: int) -> dict[str, Any]:
    """Return the number of trials in a plan of about `trials`, the median seconds to make it, and what the verb `plan` takes.

    "cpu_seconds" and "peak_mib" are of a new process that plans, estimates and prints the sweep, medians too.
    """
    from tests.benchmarks.overhead.trivial import trivial_plan  # importing Ray takes seconds

    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        plan = trivial_plan(trials)
        assert len(plan.by_key) == sum(map(len, plan.cells.values())) + len(plan.of_kind("pretrain"))
        seconds.append(time.perf_counter() - began)
    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        command = [sys.executable, "-c", _VERB, *large_sweep(Path(folder), trials)]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(rounds)]
    costs = zip(*(map(float, run.stderr.splitlines()[-1].split()) for run in runs), strict=True)
    cpu, peak = map(statistics.median, costs)
    return {"trials": len(plan.trials), "seconds": statistics.median(seconds), "cpu_seconds": cpu, "peak_mib": peak}


def main() -> None:
    """Run one of the benchmarks and print a row per measurement."""
    parser = make_parser(
        "harness",
        "Measure the time to read a store or to plan a sweep, or the accuracy of simulated makespans.",
        "--read --rounds 3 --json",
        rounds=5,
    )
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--read", action="store_true", help="read a store as written, as a driver merges it, and compacted")
    task.add_argument("--plan", action="store_true", help="plan a large sweep")
    task.add_argument("--simulate", action="store_true", help="run small sweeps, and simulate them")
    parser.add_argument("--rows", type=positive, default=1_000_000, help="--read: measurements in the store (%(default)s)")
    parser.add_argument("--per-part", type=positive, default=200, help="--read: rows per part; at a rung ~20 (%(default)s)")
    parser.add_argument("--trials", type=positive, nargs="+", help="--plan: numbers of trials (100000)")
    arguments = parser.parse_args()
    if arguments.read:
        text = "{store:11}  {rows:,} rows in {parts:,} parts: {seconds:.3f} s  {times_as_written:.1f}x"
        rows = read(arguments.rows, arguments.per_part, arguments.rounds)
    elif arguments.simulate:
        from tests.benchmarks.simulation import validate

        text = "{sweep:14} {trials} trials on {slots}: {real:.1f} s, simulated {simulated:.1f} s: {ratio:.3f}x"
        rows = validate()
    else:
        text = "{trials:,} trials planned in {seconds:.2f} s; the verb takes {cpu_seconds:.2f} s of a core, {peak_mib:.0f} MiB"
        rows = (planning(trials, arguments.rounds) for trials in arguments.trials or [100_000])
    show(((row, text.format(**row)) for row in rows), arguments.json)


if __name__ == "__main__":
    main()
