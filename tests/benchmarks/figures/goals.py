"""The figures of the table, by the command that measures them: what each was, and what it should be.

Figures of before are those that were measured side by side on a quiet core on 2026-11-29, before the work on them began (commit
95889fd). None: it was not measured, or there is no goal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: A number, or the key in the figure's own row that has it.
Number = float | str | None


@dataclass(frozen=True)
class Figure:
    """A figure in the rows of a benchmark: the value `key` of the last row that has all of `where`.

    Attributes:
        name: what it is, with its unit.
        key: the key of its value.
        where: keys and values of its row.
        before: the figure before the work, or the peer's in the same run.
        least: its goal, where more is better.
        most: its goal, where less is better.
        ratio: its ratio to the peer in the same run.
    """

    name: str
    key: str
    where: Mapping[str, Any] = field(default_factory=dict)
    before: Number = None
    least: Number = None
    most: Number = None
    ratio: str | None = None


@dataclass(frozen=True)
class Group:
    """Figures of one command."""

    command: str
    """The benchmark and its options; "{rounds}" stands for the number of rounds."""
    figures: tuple[Figure, ...]

    def arguments(self, rounds: int) -> list[str]:
        """Return the arguments of the Python interpreter."""
        benchmark, *options = self.command.format(rounds=rounds).split()
        return ["-m", f"tests.benchmarks.{benchmark}", *options, "--json"]


def _step(size: int, mode: str, times: tuple[Number, Number], share: tuple[Number, Number]) -> tuple[Figure, Figure]:
    """Return the figures of a training step, each with its value before and its goal."""
    name, where = f"step {size}x{size} {mode}", {"resolution": size, "mode": mode}
    return (
        Figure(f"{name}: times as fast as the plain step", "times_plain", where, times[0], times[1], ratio="times_plain"),
        Figure(f"{name}: share of the rate of a matmul", "matmul_share", where, share[0], share[1], ratio="times_plain"),
    )


def _after_equal_steps(mode: str) -> Figure:
    """Return FID of a mode, which should lie among those of the plain step's seeds."""
    name = f"FID after equal steps, {mode} (before: plain step)"
    return Figure(name, "fid_mean", {"mode": mode}, "plain_mean", "plain_low", "plain_high", "times_plain")


def _verb(verb: str, most: float, before: Number = None) -> Figure:
    return Figure(f"{verb}: CPU s", "cpu_seconds", {"command": verb}, before, most=most, ratio="times_peer")


def _peer(task: str, library: str, name: str, before: Number, least: Number) -> Figure:
    """Return how many times as long as ours a library takes for a task."""
    return Figure(name, "times_ours", {"task": task, "contestant": library}, before, least, ratio="times_ours")


def _planning(name: str, key: str, before: Number, most: Number) -> Figure:
    return Figure(f"plan of 100,000 trials: {name}", key, before=before, most=most)


def _page(name: str, key: str, before: Number, most: Number) -> Figure:
    return Figure(f"page of 10,000 trials: {name}", key, before=before, most=most)


def _reading(store: str, most: Number) -> Figure:
    return Figure(f"a million measurements, {store}: s", "seconds", {"store": store}, most=most, ratio="times_as_written")


#: By name, in the order of measurement.
GROUPS: dict[str, Group] = {
    "verbs": Group("verbs --rounds {rounds}", (
        _verb("--version", 0.15), _verb("--help", 0.15), _verb("status", 0.6, 1.6), _verb("plan", 0.6, 2.0),
        _verb("domains", 0.6), _verb("store list", 0.6),
    )),
    "plan": Group("harness --plan --rounds {rounds}", (
        _planning("CPU s (before: 112,502)", "cpu_seconds", 18.0, 5.0), _planning("MiB", "peak_mib", None, 300e6 / 2**20),
    )),
    "step": Group("training --rounds {rounds}", (
        *_step(16, "float32", (1.44, 1.44), (0.40, 0.40)), *_step(16, "bf16", (None, None), (None, None)),
        *_step(32, "float32", (1.61, None), (0.75, None)), *_step(32, "bf16", (2.04, None), (0.95, None)),
    )),
    "metrics": Group("metrics --tasks frechet all --rounds {rounds}", (
        _peer("frechet", "torch-fidelity", "Frechet distance: torch-fidelity's time over ours", 2.6, 4.0),
        _peer("frechet", "clean-fid", "Frechet distance: clean-fid's time over ours", 9.3, None),
        _peer("all", "torch-fidelity", "FID, KID and PRDC: torch-fidelity's time over ours", 2.6, 4.0),
        Figure("FID, KID and PRDC: growth of memory, MiB", "peak_mib", {"task": "all", "contestant": "ours"}, most=1024.0),
    )),
    "read": Group("harness --read --rounds {rounds}", (
        _reading("compacted", 0.3), _reading("by a driver", 0.3), _reading("as written", None),
    )),
    "page": Group("report --trials 10000 --rounds {rounds}", (
        _page("CPU s", "cpu_seconds", 43.0, 15.0), _page("MB", "page_mb", 29.0, 15.0), _page("MiB", "peak_mib", None, None),
    )),
    "driver": Group("overhead --trials 2000 --rounds 1", (
        Figure("driver, a trial: KiB", "harness_kib", before=77.0, most=10.0),
        Figure("driver, a trial: ms (before: plain Ray Tune)", "harness_ms", before="plain_ms", ratio="times_plain"),
        Figure("driver, growth of its time from the first to the last 1,000", "growth", most=1.1),
    )),
    "fid": Group("training --quality --seeds 5 --steps 200", tuple(map(_after_equal_steps, ("float32", "bf16")))),
}  # fmt: skip
