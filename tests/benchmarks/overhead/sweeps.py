"""The driver's time and memory per trial, of a sweep of trivial trials and of a plain search of Ray Tune.

Each runs in a process of its own, whose memory is that of the driver: what an earlier run has freed would hide the growth.
"""

import multiprocessing
import statistics
import tempfile
import time
from array import array
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, RunConfig, TuneConfig

from bench.on_ray.cluster import cluster
from bench.store import open_store
from bench.sweeps.spec import ResourcesConfig
from tests.benchmarks.overhead.trivial import run_timed, trivial_on_ray, trivial_plan

#: Trials per row.
PER_ROW = 1000

#: Trials of a first run, which is not counted: what is imported and started for it is no cost of a trial.
WARM_UP = 24

#: A page of memory, bytes.
_PAGE = 4096


@dataclass
class Ends:
    """What is noted at the end of each trial.

    Attributes:
        before: the memory of this process, MiB, before it knew of the trials.
        seconds: the time, s.
        cpu: what this process has taken of the processor, s, which depends less on other load.
        memory: that of this process, MiB.
    """

    before: float = field(default_factory=lambda: _memory_mib())
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    cpu: "array[float]" = field(default_factory=lambda: array("d"))
    memory: "array[float]" = field(default_factory=lambda: array("d"))

    def note(self) -> None:
        """Note the end of a trial."""
        self.seconds.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.memory.append(_memory_mib())


class _Noted(Callback):
    """Notes the ends of Tune's trials."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ends.note()


def plain_on_ray(config: Mapping[str, Any]) -> None:
    """Report once, like a trivial trial with one rung."""
    tune.report({"fid": 1.0, "steps": 1})


def plain(trials: int, address: str = "local") -> Ends:
    """Run a plain random search that reuses its processes and logs nothing, on the Ray cluster at an address."""
    with cluster(ResourcesConfig(), address=address):
        _plain(WARM_UP)
        return _plain(trials)


def _plain(trials: int) -> Ends:
    ends = Ends()
    with tempfile.TemporaryDirectory(prefix="transfergan-", ignore_cleanup_errors=True) as scratch:
        tune.Tuner(
            tune.with_resources(plain_on_ray, {"CPU": 1}),
            param_space={"key": tune.uniform(0, 1)},  # for each trial of a grid, Tune copies the whole grid
            tune_config=TuneConfig(reuse_actors=True, num_samples=trials),
            run_config=RunConfig(storage_path=scratch, callbacks=[_Noted(ends)], verbose=0),
        ).fit()
    return ends


def harness(trials: int, address: str = "local") -> Ends:
    """Run a sweep of trivial trials with all outcomes stored, on the Ray cluster at an address."""
    with cluster(ResourcesConfig(), address=address):
        _harness(WARM_UP)
        return _harness(trials)


def _harness(trials: int) -> Ends:
    ends = Ends()
    plan = trivial_plan(trials)
    with tempfile.TemporaryDirectory(prefix="transfergan-", ignore_cleanup_errors=True) as scratch:
        store = open_store(str(Path(scratch) / "store"), create=True)
        ledger, _ = run_timed(plan, store, trivial_on_ray, ends.note)
        assert ledger.ended == len(store.rows("trials")) == len(plan.trials)
        assert ledger.count("done", "stopped") == ledger.ended
    return ends


CONTESTANTS = {"plain": plain, "harness": harness}


def measure(trials: int, rounds: int, address: str = "local") -> Iterator[dict[str, Any]]:
    """Yield a row for each `PER_ROW` trials, and one for all of them; figures are medians over the rounds.

    The time of the first trial, before which a process starts, does not count; "cpu_ms" is the driver's alone. "plain_mib" and
    "harness_mib" are the growth of the driver's memory, in the first row with what it knows of the trials to come.
    """
    runs: dict[str, list[Ends]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, run in CONTESTANTS.items():
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                runs[name].append(process.submit(run, trials, address).result())
    first = None
    for start in range(0, trials, PER_ROW):
        row = _row(runs, start, min(start + PER_ROW, trials))
        first = first or row["harness_ms"]
        yield {**row, "growth": row["harness_ms"] / first}
    whole = _row(runs, 0, trials)
    yield {**whole, "growth": row["harness_ms"] / first, "harness_kib": 1024 * whole["harness_mib"] / trials}


def _row(runs: Mapping[str, list[Ends]], start: int, end: int) -> dict[str, Any]:
    row: dict[str, Any] = {"from": start, "to": end}
    for name, rounds in runs.items():
        for unit, of_all in (("ms", [ends.seconds for ends in rounds]), ("cpu_ms", [ends.cpu for ends in rounds])):
            each = [(of[end - 1] - of[max(0, start - 1)]) / (end - max(1, start)) for of in of_all]
            row[f"{name}_{unit}"] = 1000 * statistics.median(each)
        memory = [ends.memory[end - 1] - (ends.memory[start - 1] if start else ends.before) for ends in rounds]
        row[f"{name}_mib"] = statistics.median(memory)
    return {**row, "times_plain": row["harness_ms"] / row["plain_ms"]}


def _memory_mib() -> float:
    """Return the resident memory of this process, MiB; NaN where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20
    except FileNotFoundError:
        return float("nan")
