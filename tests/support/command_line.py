"""The command line, called in this process or in a separate one, and stores with a small sweep."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from bench.cli import app
from bench.store import Store, open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record
from bench.sweeps.spec import SweepSpec
from tests.support.shapes import check_output

ROOT = Path(__file__).resolve().parents[2]
SPEC: dict[str, Any] = {
    "name": "small",
    "sources": ["letters", "shapes"],
    "targets": ["digits"],
    "sizes": [10, 20],
    "strategies": ["scratch", "finetune"],
    "stopping": {"protect_strategies": False},
}


def process(*arguments: str, cwd: Path, script: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a separate process."""
    start = [sys.executable, "-m", "bench.cli"] if script is None else [sys.executable, "-c", script]
    return subprocess.run(
        [*start, *arguments], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def call(*arguments: object) -> Result:
    """Run the command line in this process; what it prints with ``--json`` must have the documented shape."""
    words = [str(argument) for argument in arguments]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, words)
    if "--json" in words and isinstance(result.exception, SystemExit | None) and result.exit_code < 2:
        check_output(words, result.stdout)
    return result


def tree(folder: Path) -> dict[str, int]:
    """Return the modification time of every file and folder below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def sweep_store(folder: Path, **changes: Any) -> tuple[Store, Plan]:
    """Return a new store that has planned a sweep, and the plan."""
    spec = SweepSpec.model_validate({**SPEC, **changes})
    plan, store = make_plan(spec), open_store(str(folder), create=True)
    store.write_sweep(spec.name, record(plan))
    return store, plan
