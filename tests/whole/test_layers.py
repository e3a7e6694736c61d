"""Which module may import which: read from the source, and checked in processes that import them."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("analysis", "bench", "trainers")
RAY = {
    "bench.jobs", "bench.on_ray", "bench.overhead", "bench.proposals", "bench.remote", "bench.scheduler", "bench.searcher",
    "bench.worker",
}  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def named(nodes: Iterator[ast.AST]) -> set[str]:
    """Return the modules that import statements name; of `from package import module` the module."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            module = node.module or ""
            full = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else module for name in full}
    return found


IMPORTS = {name: named(ast.walk(ast.parse(path.read_text()))) for name, path in MODULES.items()}
AT_ONCE = {name: named(iter(ast.parse(path.read_text()).body)) for name, path in MODULES.items()}


def importers(package: str, imports: dict[str, set[str]] = IMPORTS) -> set[str]:
    """Return the modules outside a package that import any of it."""
    return {
        name
        for name, imported in imports.items()
        if name.partition(".")[0] != package and any(f"{other}.".startswith(f"{package}.") for other in imported)
    }


def of(package: str) -> set[str]:
    return {name for name in MODULES if f"{name}.".startswith(f"{package}.")}


def test_the_walk_finds_modules_and_what_they_import_at_once_or_later():
    assert {"bench.cli", "bench.presets", "trainers", "trainers.domains", "analysis.report"} <= set(MODULES)
    assert "trainers.trial" in IMPORTS["bench.worker"] - AT_ONCE["bench.worker"]
    assert "bench.on_ray" in IMPORTS["bench.sweep"] - AT_ONCE["bench.sweep"]
    assert "trainers.checkpoints" in AT_ONCE["trainers.trial"]


def test_trainers_know_of_nobody():
    assert not importers("bench") & of("trainers")
    assert not importers("analysis") & of("trainers")


def test_ray_is_the_business_of_few_modules():
    assert importers("ray") == RAY
    assert importers("bench.on_ray") - RAY <= {"bench.sweep", "bench.validation"}
    assert importers("bench.overhead") == {"bench.benchmark", "bench.validation"}
    assert importers("bench.proposals") == {"bench.tuning"}
    assert "bench.on_ray" not in AT_ONCE["bench.sweep"]
    assert "bench.proposals" not in AT_ONCE["bench.tuning"]


def test_torch_is_the_business_of_trainers_and_bench_asks_for_it_late():
    assert not importers("torch") & of("analysis")
    assert importers("torch", AT_ONCE) <= of("trainers")
    torch_free = {
        "trainers.config",
        "trainers.errors",
        "trainers.frozen",
        "trainers.strategies",
        "trainers.seeds",
        "trainers.evaluation.names",
    }
    torch_free |= {f"trainers.{name}" for name in ("augmentations", "options", "sources", "stages", "strategy")}
    assert torch_free <= set(MODULES)
    assert importers("torch") & (torch_free | of("trainers.domains")) == {"trainers.domains.benchmark"}
    # torchvision loads torch: one module of the domains imports it, and is itself imported late; and a benchmark against it.
    reading = {"trainers.domains.layouts", "trainers.domains.benchmark"}
    assert importers("torchvision") & (torch_free | of("trainers.domains")) == reading
    assert not any("trainers.domains.layouts" in imported for imported in AT_ONCE.values())


def test_analysis_reads_the_store_and_nothing_else_of_ours():
    ours = {name for module in of("analysis") for name in IMPORTS[module] if name.partition(".")[0] in PACKAGES}
    assert ours - of("analysis") == {"bench.store"}


def test_only_the_command_line_imports_analysis():
    assert importers("analysis") <= of("bench.cli")
    assert not importers("analysis", AT_ONCE)


def test_no_module_imports_itself_through_others():
    graph = {name: imported & set(MODULES) for name, imported in AT_ONCE.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("trainers.errors") < order.index("bench.store") < order.index("analysis.report")


HEAVY = {"ray", "torch", "torchvision"}


@pytest.mark.parametrize(("module", "allowed"), [
    ("analysis.report", set()),
    ("bench.cli", set()),
    ("bench.plan", set()),
    ("bench.status", set()),
    ("bench.sweep", set()),
    ("bench.generate", set()),
    ("bench.domains", set()),
    ("trainers.domains.builtin", set()),
    ("trainers.domains.torchvision", set()),
    ("trainers.trial", {"torch"}),
])  # fmt: skip
def test_a_process_that_imports_a_module_loads_no_more_than_it_needs(module: str, allowed: set[str]):
    script = f"import sys; import {module}; print(*sorted({HEAVY} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == allowed


def test_a_trials_process_loads_none_of_what_it_does_not_use(tmp_path: Path):
    """PyTorch's compiler alone is a second's work and some 150 MB, in each of a sweep's processes."""
    script = "import sys; from tests.support import tiny; from bench.store import open_store\n"
    script += (
        "tiny.run_here(tiny.make(sources=[], targets=['shapes'], strategies=['scratch']), open_store('store', create=True))\n"
    )
    script += (
        "print(*sorted({'analysis', 'scipy.stats', 'sklearn', 'torch', 'torch._dynamo', 'torchvision'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["torch"]
