"""Time, memory and page size of a report: ``python -m tests.benchmarks.report``.

The store is the synthetic one of the tests: four sources, four strategies, and ten steps of five metrics, so 50 measurements
per trial. Each report is written in a new process; the median over the rounds is reported, from the open store to the written
page.
"""

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

from tests.benchmarks.command import make_parser, positive, show

#: Trials per target, size and seed: scratch, and three strategies from each of four sources.
_PER_POINT = 13
_SIZES = (50, 100, 200, 500, 1000)
#: Most seeds per setting; a larger store has more targets.
_SEEDS = 4
_RUNGS = (25, 50, 100, 200, 400, 800, 1600, 3200, 6400)


def build(folder: Path, trials: int) -> tuple[int, int]:
    """Make a synthetic store of about `trials` trials; return its numbers of adapt trials and of measurements."""
    from tests.support.synthetic import build as build_store

    points = max(1, round(trials / _PER_POINT / len(_SIZES)))
    seeds = min(_SEEDS, points)
    targets = [f"target {number}" for number in range(math.ceil(points / seeds))]
    store = build_store(folder, targets=targets, sizes=_SIZES, seeds=range(seeds), rungs=_RUNGS, keep=1.0, resolution=32)
    adapt = store.read("trials")["kind"] == "adapt"
    return int(adapt.sum()), len(store.read("measurements"))


def measure(folder: Path) -> dict[str, float]:
    """Write one report; return its wall-clock and CPU seconds, the peak memory of the process, MiB, and the page size, MB."""
    from analysis.report.page import write_report
    from bench.store import open_store

    store, page = open_store(str(folder)), folder.with_suffix(".html")
    began, cpu_began = time.perf_counter(), time.process_time()
    write_report(store, page)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu_began,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "page_mb": page.stat().st_size / 1e6,
    }


def report(sizes: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row per number of trials."""
    with tempfile.TemporaryDirectory(prefix="transfergan-") as root:
        for trials in sizes:
            folder = Path(root) / str(trials)
            adapt, measurements = build(folder, trials)
            rows = []
            for _ in range(rounds):
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    rows.append(pool.submit(measure, folder).result())
            medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
            yield {"trials": adapt, "measurements": measurements, **medians}


def main() -> None:
    """Run the benchmark and print one row per number of trials."""
    parser = make_parser(
        "report",
        "Measure the time that a report takes, its peak memory and the size of its page.",
        "--trials 1000 10000 --json",
        rounds=3,
    )
    parser.add_argument("--trials", type=positive, nargs="+", default=[1000], help="approximate numbers of trials (1000)")
    arguments = parser.parse_args()
    text = "{trials:,} trials, {measurements:,} measurements: {seconds:.1f} s ({cpu_seconds:.1f} s of one core), "
    text += "{peak_mib:,.0f} MiB, a page of {page_mb:.1f} MB"
    show(((row, text.format(**row)) for row in report(arguments.trials, arguments.rounds)), arguments.json)


if __name__ == "__main__":
    main()
