"""How fast a store is read, as it was written beside the same rows compacted: ``python -m bench.benchmark --read``.

The two take turns, so that whatever else the machine does falls on both; what is told is the median of the rounds.
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

from bench.compaction import compact
from bench.store import Store, open_store

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
    """Measure, and print a row per store."""
    parser = argparse.ArgumentParser(
        description="Measure how long a store's measurements take to become a data frame.",
        epilog="Example: python -m bench.benchmark --read --rounds 9 --json",
    )
    parser.add_argument("--read", action="store_true", required=True, help="read a store as written, and compacted")
    parser.add_argument("--rows", type=int, default=1_000_000, help="measurements in the store")
    parser.add_argument("--per-part", type=int, default=200, help="measurements in a part; a real trial's rung has about 20")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds; their median is told")
    parser.add_argument("--json", action="store_true", help="print a JSON object per line")
    arguments = parser.parse_args()
    for name in ("rows", "per_part", "rounds"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    for row in read(arguments.rows, arguments.per_part, arguments.rounds):
        words = f"{row['store']:10}  {row['rows']:,} rows in {row['parts']:,} parts: {row['seconds']:.3f} s"
        print(json.dumps(row) if arguments.json else f"{words}  {row['times_as_written']:.1f}x", flush=True)


if __name__ == "__main__":
    main()
