"""How long a report takes, how much memory, and how large its page is: ``python -m tests.benchmarks.report``.

The store is the one that the tests make up: four sources, four strategies, ten steps of five metrics, so 50 measurements a
trial. Each report is written in a process of its own; what is told is the median over the rounds, from the open store to the
written page.
"""

import argparse
import json
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

#: Trials per target, size and seed: scratch, and three strategies from four sources.
_PER_POINT = 13
_SIZES = (50, 100, 200, 500, 1000)
#: At most; a larger store has more targets.
_SEEDS = 4
_RUNGS = (25, 50, 100, 200, 400, 800, 1600, 3200, 6400)


def build(folder: Path, trials: int) -> tuple[int, int]:
    """Make up a store of about so many trials; return how many adapt trials and measurements it has."""
    from tests.support.synthetic import build as make

    points = max(1, round(trials / _PER_POINT / len(_SIZES)))
    seeds = min(_SEEDS, points)
    targets = [f"target {number}" for number in range(math.ceil(points / seeds))]
    store = make(folder, targets=targets, sizes=_SIZES, seeds=range(seeds), rungs=_RUNGS, keep=1.0, resolution=32)
    adapt = store.read("trials")["kind"] == "adapt"
    return int(adapt.sum()), len(store.read("measurements"))


def measure(folder: Path) -> dict[str, float]:
    """Write one report; return its seconds, on the clock and of the processor, the process's peak MiB and the page's MB."""
    from analysis.report.page import write_report
    from bench.store import open_store

    store, page = open_store(str(folder)), folder.with_suffix(".html")
    began, computed = time.perf_counter(), time.process_time()
    write_report(store, page)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - computed,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "page_mb": page.stat().st_size / 1e6,
    }


def report(sizes: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row per number of trials."""
    with tempfile.TemporaryDirectory(prefix="transfergan-") as root:
        for trials in sizes:
            folder = Path(root) / str(trials)
            adapt, measurements = build(folder, trials)
            found = []
            for _ in range(rounds):
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    found.append(pool.submit(measure, folder).result())
            medians = {name: statistics.median(row[name] for row in found) for name in found[0]}
            yield {"trials": adapt, "measurements": measurements, **medians}


def main() -> None:
    """Measure, and print a row per number of trials."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.report",
        description="Measure how long a report takes, its peak memory and the size of its page. Run it in a checkout.",
        epilog="Example: python -m tests.benchmarks.report --trials 1000 10000 --json",
    )
    parser.add_argument("--trials", type=int, nargs="+", default=[1000], help="about how many trials; several numbers in turn")
    parser.add_argument("--rounds", type=int, default=3, help="reports of each; their median is told")
    parser.add_argument("--json", action="store_true", help="print a JSON object per line")
    arguments = parser.parse_args()
    if min(arguments.trials) < 1:
        parser.error("--trials must be 1 or more")
    if arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    for row in report(arguments.trials, arguments.rounds):
        speed = f"{row['seconds']:.1f} s ({row['cpu_seconds']:.1f} s of one core)"
        words = f"{row['trials']:,} trials, {row['measurements']:,} measurements: {speed}"
        words += f", {row['peak_mib']:,.0f} MiB, a page of {row['page_mb']:.1f} MB"
        print(json.dumps(row) if arguments.json else words, flush=True)


if __name__ == "__main__":
    main()
