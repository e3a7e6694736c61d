"""A sweep that really runs in seconds, and helpers to run the command line as users do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.run import in_process
from bench.store import Store, open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record
from bench.sweeps.spec import SweepSpec
from bench.upkeep.repair import reopen

#: Sources with few images, since a source trains on all that it has and its metrics compare with all of them.
NUMERALS, SHAPES = "numerals[per_class=10]", "shapes[per_class=10]"

SPEC: dict[str, Any] = {
    "name": "tiny",
    "sources": [NUMERALS, SHAPES],
    "targets": ["digits"],
    "sizes": [20],
    "strategies": ["scratch", "finetune", "finetune-d"],
    "conditional": [False, True],
    "gan": {"resolution": 8, "width": 4, "latent": 16},
    "training": {"steps": 8, "batch": 8, "critic_steps": 1},
    "pretrain": {"steps": 4},
    "evaluation": {"samples": 64, "first_rung": 2},
    "stopping": {"protect_strategies": False},
}

#: Changes that reduce the tiny sweep to three trials: a source, scratch, and an adaptation from that source.
SMALL: dict[str, Any] = {
    "name": "small",
    "sources": [NUMERALS],
    "strategies": ["scratch", "finetune"],
    "conditional": [False],
    "stopping": {"rule": "none"},
}

#: Seconds that a test waits for what must come: a machine may be busy with other things.
PATIENCE = 300

#: Variable for the folder of Ray's sessions, whose path is in the command line of each of its processes.
RAY_FOLDER = "RAY_TMPDIR"


def write_spec(folder: Path, **changes: Any) -> Path:
    """Write the tiny sweep, with some keys changed, and return its path."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**SPEC, **changes}))
    return path


def make(**changes: Any) -> Plan:
    """Return the plan of the sweep of three trials, with some keys changed."""
    return make_plan(SweepSpec.model_validate({**SPEC, **SMALL, **changes}))


def run_here(plan: Plan, store: Store, *, retry_failed: bool = False) -> list[str]:
    """Run the trials of a sweep that the store lacks, in this process and without Ray.

    Returns:
        a line per trial that is run again because the store has lost results.
    """
    store.write_sweep(plan.spec.name, record(plan))
    ledger = Ledger.open(plan, store, retry_failed=retry_failed)
    lines = list(reopen(plan, ledger, store))
    driver = Driver(ledger, store)
    in_process.run_trials(driver)
    assert driver.unwritable is None
    return lines


def command(*arguments: object) -> list[str]:
    """Return the command line of a verb."""
    return [sys.executable, "-m", "bench.cli", *map(str, arguments)]


def transfergan(*arguments: object, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end and check its exit status."""
    done = subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def start(*arguments: object, cwd: Path, ray: Path | None = None) -> "subprocess.Popen[str]":
    """Start a verb; `ray`, a short path, marks the processes of the Ray that it starts."""
    environment = os.environ if ray is None else {**os.environ, RAY_FOLDER: str(ray)}
    return subprocess.Popen(
        command(*arguments), cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.05)


def trial_rows(store: Path) -> int:
    """Return the number of outcomes in a store that may not exist yet."""
    return len(list(store.glob("trials/**/*.parquet")))


def processes(mark: str) -> dict[int, str]:
    """Return the command lines of the live processes that contain a mark, by process id."""
    marked = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                text = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # the process has ended meanwhile
                continue
            if mark in text:
                marked[int(folder.name)] = text
    return marked


def workers(ray: Path) -> list[int]:
    """Return the processes that train trials under the Ray started with `ray`."""
    raylets = {pid for pid, text in processes(str(ray)).items() if "raylet/raylet" in text}
    return [pid for raylet in raylets for pid in children(raylet, "ray::ImplicitFunc")]


def children(parent: int, mark: str) -> list[int]:
    """Return the child processes of a process whose command lines contain a mark."""
    return [pid for pid in processes(mark) if _parent(pid) == parent]


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def kill(pid: int) -> None:
    """Kill a process without warning."""
    os.kill(pid, signal.SIGKILL)


def claimed(store: Path) -> list[str]:
    """Return the claims and heartbeats in a store, without temporary files of killed writers."""
    opened = open_store(str(store))
    return [*opened.list_files("claims"), *opened.list_files("drivers")]


def outcomes(store: Path | Store) -> pd.DataFrame:
    """Return status, steps and reason by trial key."""
    opened = store if isinstance(store, Store) else open_store(str(store))
    trials = opened.read("trials")
    return trials.set_index("key")[["status", "steps", "error"]].sort_index()


def values(store: Path | Store) -> "pd.Series[float]":
    """Return every measured value by its key."""
    opened = store if isinstance(store, Store) else open_store(str(store))
    return opened.read("measurements").set_index(["trial", "step", "metric", "view"])["value"].sort_index()


def distances(store: Path) -> "pd.Series[float]":
    """Return every distance by its key."""
    read = open_store(str(store)).read("distances").fillna({"trial": ""})
    return read.set_index(["source", "target", "trial", "kind"])["value"].sort_index()
