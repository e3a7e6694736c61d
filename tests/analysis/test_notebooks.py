"""The notebooks are valid, have no outputs, and every cell runs."""

import ast
import json
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from tests.support.synthetic import build

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "analysis" / "notebooks"
NAMES = (
    "01_first_look",
    "02_transferability_vs_distance",
    "03_data_efficiency",
    "04_density_vs_diversity",
    "05_stopping_audit",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with several targets, sizes and seeds, sources that differ in their knobs, and no stopped trials."""
    folder = tmp_path_factory.mktemp("notebooks") / "store"
    knobs = {f"letters[classes={c},per_class={m}]": 10.0 * c + m / 4 for c in (2, 4) for m in (100, 200)}
    strategies = ("scratch", "finetune")
    build(folder, sources=knobs, targets=("t1", "t2", "t3"), strategies=strategies, seeds=(0, 1), keep=1.0, images=False)
    return folder


def cells(name: str, kind: str) -> list[str]:
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell and return its output, the value of its last expression."""
    tree = ast.parse(source)
    shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(shown.value), "<cell>", "eval"), names) if isinstance(shown, ast.Expr) else None


def test_these_are_the_notebooks():
    assert sorted(path.stem for path in FOLDER.iterdir()) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_whole_and_without_outputs(name: str):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    identities = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identities)) == len(identities)
    for cell in notebook["cells"]:
        assert isinstance(cell["metadata"], dict)
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            assert ".show(" not in "".join(cell["source"])
    assert cells(name, "markdown")[0].startswith("# ")


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_runs_and_shows_something(name: str, store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRANSFERGAN_STORE", str(store))
    names: dict[str, Any] = {}
    shown = [run(source, names) for source in cells(name, "code")]
    figures = [value for value in shown if isinstance(value, go.Figure)]
    tables = [value for value in shown if isinstance(value, pd.DataFrame)]
    assert len(figures) + len(tables) == len(shown) - 1, "all but the first, which names the embeddings"
    assert figures
    assert all(len(figure.data) for figure in figures)
    assert all(len(table) for table in tables)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_a_small_store(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    build(tmp_path, sizes=(50,), images=False)
    monkeypatch.setenv("TRANSFERGAN_STORE", str(tmp_path))
    names: dict[str, Any] = {}
    for source in cells(name, "code"):
        assert run(source, names) is not None
