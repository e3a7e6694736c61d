"""How fast the harness is: ``python -m tests.benchmarks.harness --read``, ``--overhead``, ``--plan`` or ``--simulate``.

A store is read as it was written, and compacted; a sweep's trials are run beside a plain grid search; a large sweep is planned;
small sweeps are run and simulated, which says how well a simulation tells their makespan.
What is compared takes turns, so that whatever else the machine does falls on both; what is told is the median of the rounds.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.store import Store, open_store
from bench.upkeep.compact import compact

#: Steps at which a trial is measured, and by how many metrics: one part each, as a real trial writes.
STEPS, METRICS = 5, 20


def write(store: Store, rows: int, per_part: int) -> None:
    """Write so many measurements, so many to a part, of trials with `STEPS` times `METRICS` each."""
    pending = []
    for number in range(rows):
        trial, own = divmod(number, STEPS * METRICS)
        step, metric = divmod(own, METRICS)
        pending.append(
            {
                "trial": hashlib.sha256(str(trial).encode()).hexdigest()[:16],
                "step": 50 * step,
                "metric": f"metric-{metric}",
                "embedding": "builtin:1a2b3c4d5e6f",
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


def read(rows: int, per_part: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row per store: the median seconds that its measurements take to become a data frame.

    The first round warms up and does not count.
    """
    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        stores = {name: open_store(str(Path(folder) / name), create=True) for name in ("as written", "compacted")}
        for store in stores.values():
            write(store, rows, per_part)
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


def main() -> None:
    """Measure, and print a row per thing measured."""
    parser = argparse.ArgumentParser(
        description="Measure how long it takes to read a store, to plan a sweep, or to run trials that take no time.",
        epilog="Example: python -m tests.benchmarks.harness --overhead --trials 100 1000 10000 --rounds 3 --json",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--read", action="store_true", help="read a store as written, and compacted")
    what.add_argument("--overhead", action="store_true", help="run a sweep of trivial trials, and a plain grid search")
    what.add_argument("--plan", action="store_true", help="plan a large sweep")
    what.add_argument("--simulate", action="store_true", help="run small sweeps, and simulate them")
    parser.add_argument("--rows", type=int, default=1_000_000, help="measurements in the store (--read)")
    parser.add_argument("--per-part", type=int, default=200, help="measurements in a part (--read); a real rung has about 20")
    parser.add_argument("--trials", type=int, nargs="+", help="trials (--overhead: 100 1000, --plan: 100000)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds; their median is told")
    parser.add_argument("--json", action="store_true", help="print a JSON object per line")
    arguments = parser.parse_args()
    trials = arguments.trials or ([100, 1000] if arguments.overhead else [100_000])
    if min(arguments.rows, arguments.per_part, arguments.rounds, *trials) < 1:
        parser.error("--rows, --per-part, --trials and --rounds must be 1 or more")

    def show(row: dict[str, Any], words: str) -> None:
        print(json.dumps(row) if arguments.json else words.format(**row), flush=True)

    if arguments.read:
        for row in read(arguments.rows, arguments.per_part, arguments.rounds):
            show(row, "{store:10}  {rows:,} rows in {parts:,} parts: {seconds:.3f} s  {times_as_written:.1f}x")
        return
    if arguments.simulate:
        from tests.benchmarks.simulation import validate

        words = "{sweep:14} {trials} trials on {slots}: {real:.1f} s, simulated {simulated:.1f} s: {ratio:.3f}x"
        for row in validate():
            show(row, words)
        return
    from tests.benchmarks.overhead import overhead, planning  # Ray takes a while to import

    if arguments.plan:
        for count in trials:
            show(planning(count, arguments.rounds), "{trials:,} trials planned in {seconds:.2f} s")
        return
    words = "{trials:6,} trials: {harness_ms:.1f} ms each, plain {plain_ms:.1f} ms: {times_plain:.2f}x; growth {growth:.2f}x"
    for row in overhead(trials, arguments.rounds):
        show(row, words)


if __name__ == "__main__":
    main()
