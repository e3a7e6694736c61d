"""Profiles as text: what takes the time of the small step, the page, a plan, the driver, and the start of verbs."""

import cProfile
import io
import multiprocessing
import pstats
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

#: Lines of each list.
LINES = 25

#: Runs of each verb.
RUNS = 3

#: An import in the output of Python's ``-X importtime``: microseconds of the module alone, and with what it imports.
_IMPORT = re.compile(r"import time: +(\d+) \| +(\d+) \| *(\S+)")


def step(steps: int = 20) -> str:
    """Return what the operators of the quickstart's training step take: 16x16, width 16, batch 32."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from tests.benchmarks.training import SIZES, contestants

    torch.set_num_threads(1)
    train = contestants(*SIZES["cpu"][0][:-1], "cpu")["float32"]
    train(3)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        train(steps)
    operators = profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=LINES, max_name_column_width=50)
    return f"{steps} steps\n{operators}"


def page(trials: int = 2000) -> str:
    """Return what the functions that write a report take."""
    from tests.benchmarks.report import build, measure

    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        store = Path(folder) / "store"
        build(store, trials)
        return _calls(lambda: measure(store))


def plan(trials: int = 20_000) -> str:
    """Return what the functions that plan and estimate a sweep take, as the verb `plan` calls them."""
    from tests.benchmarks.harness import large_sweep
    from tests.support.command_line import call

    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        small = call(*large_sweep(Path(folder), 1))  # imports at first use do not count
        assert small.exit_code == 0, small.output
        return _calls(lambda: call(*large_sweep(Path(folder), trials)))


def driver(trials: int = 500) -> str:
    """Return what the functions of the driver take while trivial trials run on Ray."""
    from tests.benchmarks.overhead.sweeps import harness

    return _calls(lambda: harness(trials))


def verbs() -> str:
    """Return which modules the verbs that train nothing import, and the least microseconds that each took alone."""
    from tests.benchmarks.verbs import small_commands

    lists = []
    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        for name, command in small_commands(Path(folder)).items():
            python = [sys.executable, "-X", "importtime", *command]
            seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
            for _ in range(RUNS):
                done = subprocess.run(python, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
                for own, whole, module in _IMPORT.findall(done.stderr):
                    seen[module].append((int(own), int(whole)))
            modules = [(*min(times), module) for module, times in seen.items()]
            total = f"{name}: {len(modules)} modules, {sum(own for own, *_ in modules) / 1000:.0f} ms"
            slowest = sorted(modules, reverse=True)[:LINES]
            lists += [
                total,
                "      us  with imports  module",
                *(f"{own:8} {whole:13}  {module}" for own, whole, module in slowest),
            ]
    return "\n".join(lists)


#: By the name of the file.
PROFILES: dict[str, Callable[[], str]] = {"step": step, "page": page, "plan": plan, "driver": driver, "verbs": verbs}


def write(folder: Path) -> Iterator[Path]:
    """Write each profile, made in a process of its own, into a folder, and yield its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PROFILES.items():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            text = process.submit(make).result()
        file = folder / f"{name}.txt"
        file.write_text(text)
        yield file


def _calls(function: Callable[[], object]) -> str:
    """Run a function, and return the functions that took the most time alone, then those that did with what they call."""
    profiler, text = cProfile.Profile(time.thread_time), io.StringIO()  # of the processor: waiting does not count
    profiler.runcall(function)
    counted = pstats.Stats(profiler, stream=text).strip_dirs()
    for order in ("tottime", "cumulative"):
        counted.sort_stats(order).print_stats(LINES)
    return text.getvalue()
