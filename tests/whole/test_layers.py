"""Which folder may import which, read from the source, with imports inside functions; and what a process loads."""

import ast
import json
import os
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("analysis", "bench", "trainers")

#: The rooms of each package from the ground up; those of one line do not import each other. A room has all below its name
#: that no other line names, so a new folder or file belongs to a room at once, or the test names it.
FLOORS = {
    "trainers": (
        ("trainers.common",),
        ("trainers.config",),
        ("trainers.networks", "trainers.domains"),
        ("trainers.adaptation",),
        ("trainers.core",),
        ("trainers.evaluation",),
        ("trainers.trial",),
    ),
    "bench": (
        ("bench.store", "bench.sweeps"),
        ("bench.driver", "bench.images"),
        ("bench.costs", "bench.upkeep", "bench.worker", "bench.logs"),
        ("bench.on_ray", "bench.design"),
        ("bench.run",),
        ("bench.cli",),
    ),
    "analysis": (
        ("analysis.words", "analysis.labels", "analysis.cell_labels", "analysis.claims", "analysis.views"),
        ("analysis.frames",),
        ("analysis.comparison",),
        ("analysis.transfer",),
        ("analysis.prediction", "analysis.figures"),
        ("analysis.statistics", "analysis.published", "analysis.studies"),
        ("analysis.report",),
    ),
}

#: What a package may import of the others.
OUTSIDE = {
    "trainers": (),
    "bench": ("trainers",),
    "bench.cli": ("trainers", "analysis"),
    "analysis": ("bench.store", "trainers.common", "trainers.config"),
}

#: The only rooms and modules that may import a library.
LIBRARIES = {
    "ray": ("bench.on_ray",),
    "torch": (
        "bench.worker", "bench.images", "bench.store.environments", "bench.design.timing",
        "bench.design.precision", "trainers.networks",
        "trainers.adaptation", "trainers.core", "trainers.evaluation", "trainers.trial", "trainers.domains.torchvision.layouts",
    ),
    "torchvision": ("trainers.domains.torchvision.layouts", "trainers.evaluation.embeddings.vision_transformer"),
    "tensorboardX": ("bench.logs",),
    "wandb": ("bench.logs",),
    "mlflow": ("bench.logs",),
    "analysis": ("analysis", "bench.cli"),
    "tests": (),
}  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports at any depth; of `from package import module` the module."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            module = node.module or ""
            names = {f"{module}.{alias.name}" for alias in node.names}
            modules |= {name if name in MODULES else module for name in names}
    return modules


ROOMS = [room for floors in FLOORS.values() for floor in floors for room in floor]


@cache
def imports() -> dict[str, set[str]]:
    """Return what each module imports; to read all of them takes a second."""
    return {name: imported(path) for name, path in MODULES.items()}


def within(module: str, room: str) -> bool:
    return f"{module}.".startswith(f"{room}.")


def room_of(module: str) -> str:
    """Return the room that a module is in; a package itself is its own."""
    return next((room for room in ROOMS if within(module, room)), module)


def test_every_module_has_a_room():
    assert {module for module in MODULES if room_of(module) not in ROOMS} == set(PACKAGES)
    assert {room_of(module) for module in MODULES} - set(PACKAGES) == set(ROOMS)


def test_a_late_import_counts():
    assert "bench.on_ray" in {room_of(name) for name in imports()["bench.run.sweep"]}
    tree = ast.parse(MODULES["bench.run.sweep"].read_text())
    assert not any("on_ray" in ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_from_the_floors_below(package: str):
    floor = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms}
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in imports()[module]
        if within(module, package) and within(name, package) and name in MODULES and room_of(module) != room_of(name)
        if floor[room_of(name)] >= floor[room_of(module)]
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_sees_of_the_others_what_it_may(package: str):
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in imports()[module]
        if within(module, package) and name.partition(".")[0] in {*PACKAGES, "tests"} - {package}
        if not any(within(name, allowed) for allowed in OUTSIDE["bench.cli" if within(module, "bench.cli") else package])
    ]
    assert not wrong


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_the_business_of_few(library: str):
    wrong = [
        module
        for module in MODULES
        if any(within(name, library) for name in imports()[module])
        if not any(within(module, allowed) for allowed in LIBRARIES[library])
    ]
    assert not wrong


def test_no_module_imports_itself_through_others_not_even_late():
    order = list(TopologicalSorter({name: names & set(MODULES) for name, names in imports().items()}).static_order())
    assert order.index("trainers.common.errors") < order.index("bench.store.store") < order.index("analysis.report.page")


def test_a_folder_has_about_ten_files():
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in MODULES.values()}}
    assert {folder.name: count for folder, count in counts.items() if count > 13} == {}


HEAVY = {"ray", "torch", "torchvision"}

#: Modules, and what a process may load of the heavy libraries that imports them. The last may load most.
LOADED: dict[str, set[str]] = {
    "analysis.report.page": set(),
    "bench.cli": set(),
    "bench.sweeps.expansion": set(),
    "bench.driver.ledger": set(),
    "bench.run.status": set(),
    "bench.run.sweep": set(),
    "bench.images.generate": set(),
    "bench.images.export": set(),
    "bench.images.domains": set(),
    "bench.design.from_images": set(),
    "trainers.config.trial": set(),
    "trainers.config.strategies": set(),
    "trainers.config.embeddings": set(),
    "trainers.domains.builtin": set(),
    "trainers.domains.torchvision.domain": set(),
    "trainers.trial.run": {"torch"},
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """What each module of `LOADED` loads of the heavy libraries, in one process that imports one after the other."""
    script = (
        "import importlib, sys\nbefore = set()\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
        f"    now = {HEAVY} & set(sys.modules)\n    print(name, *sorted(now - before))\n    before = now"
    )
    command = [sys.executable, "-c", script, *LOADED]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return {name: set(found) for name, *found in map(str.split, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("module", LOADED)
def test_a_process_that_imports_a_module_loads_no_more_than_it_needs(loaded: dict[str, set[str]], module: str):
    assert loaded[module] == LOADED[module]


@pytest.mark.slow
def test_a_trials_process_loads_none_of_what_it_does_not_use(tmp_path: Path):
    """PyTorch's compiler alone takes a second and some 150 MB, in each of a sweep's processes."""
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


#: Libraries that take long to import; `bench.store.columns` says how a store is read without pandas.
SLOW = ("torch", "ray", "pandas", "pydantic", "pyarrow.dataset", "sklearn", "scipy", "plotly")


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "allowed"), [
    ("--help", ""),
    ("--version", ""),
    ("domains", "pydantic"),  # it shapes the options of domains, and sweep files
    ("plan small.yaml", "pydantic"),  # of networks that the store has timed; others are scaled, by torch
    ("status", "pydantic"),
    ("store list", "pydantic"),
])  # fmt: skip
def test_a_verb_imports_no_slow_library_that_it_does_not_need(verb: str, allowed: str, finished_once: Path, tmp_path: Path):
    (plan,) = (finished_once / "sweeps").glob("*.json")
    (tmp_path / "small.yaml").write_text(json.dumps(json.loads(plan.read_text())["spec"]))
    script = "import atexit, sys; from bench.cli import main\n"
    script += f"atexit.register(lambda: print(*sorted({set(SLOW)} & set(sys.modules)), file=sys.stderr)); main()"
    store = ["--store", str(finished_once)] if verb.partition(" ")[0] in ("plan", "status", "store") else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *verb.split(), *store]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.split() == allowed.split()
