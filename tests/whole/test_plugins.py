"""Plug-ins: a sweep with the README's example package, and packages with mistakes."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import trials_of
from tests.support.plugins import install, install_example
from trainers.common.errors import UserError
from trainers.config import embeddings, metrics, plugins, strategies
from trainers.domains import plugin_domains

#: Run in a separate process: a sweep with a domain, a strategy, a metric and an embedding of a plug-in, and its report.
SWEEP = """
import json, sys
from tests.support import tiny
from bench.sweeps.expansion import make_plan
from bench.sweeps.loading import load_spec
tiny.write_spec(__import__("pathlib").Path("."), **tiny.SMALL | {
    "sources": ["numerals"], "targets": ["discs"], "gan": {"resolution": 16, "width": 4, "latent": 16},
    "strategies": ["scratch", "freeze-ends[blocks=1]"],
    "evaluation": {"samples": 64, "first_rung": 4, "embedding": "colours"}, "stopping": {"metric": "mean_shift"},
})
plan = make_plan(load_spec("tiny.yaml"))
assert "torch" not in sys.modules, "planning imports torch"
from bench.store import open_store
from bench.worker import distances
from tests.support.command_line import call
from trainers.config.embeddings import embedding_identity
store = open_store("store", create=True)
tiny.run_here(plan, store)
distances.measure("store", plan.spec.name, "colours", 16, 64, "numerals", None, ("discs",))
assert not call("report", "--store", "store", "--out", "page.html").exit_code
environment = json.loads(store.read("environments")["details"][0])
listed = {row["name"]: row["about"] for row in json.loads(call("strategies", "tiny.yaml", "--json").stdout)}
mistakes = {
    key: str(call("plan", "tiny.yaml", "--set", f"{key}={value}").exception)
    for key, value in {
        "targets": "[disks]", "strategies": "[freeze-end]", "stopping.metric": "mean_shifts", "evaluation.embedding": "colour",
    }.items()
}
print(json.dumps({
    "trials": [[trial.strategy, trial.domain.fingerprint] for trial in plan.trials],
    "status": store.read("trials")["status"].tolist(),
    "metrics": store.read("measurements").groupby("metric").size().to_dict(),
    "embeddings": [sorted(set(store.read(table)["embedding"])) for table in ("measurements", "distances")],
    "identity": embedding_identity("colours"),
    "kinds": store.read("distances")["kind"].tolist(),
    "package": environment["packages"]["my_gans"],
    "strategies": listed, "domains": call("domains").stdout, "mistakes": mistakes,
}))
"""

NAMES = {"targets": "discs", "strategies": "freeze-ends", "stopping.metric": "mean_shift", "evaluation.embedding": "colours"}


def run(script: str, packages: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(packages), str(Path(__file__).resolve().parents[2])])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    return subprocess.run([sys.executable, "-c", script], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_sweep_with_a_plug_in_of_each_kind(tmp_path: Path):
    done = run(SWEEP, install_example(tmp_path / "packages"), tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert [None, "numerals/1"] in found["trials"]
    assert ["freeze-ends[blocks=1]", "discs/1"] in found["trials"]
    assert found["status"] == ["done"] * 3
    assert found["metrics"]["mean_shift"] == found["metrics"]["fid"] > 0
    assert found["embeddings"] == [[found["identity"]]] * 2
    assert found["identity"].startswith("colours:")
    assert "mean_shift" in found["kinds"]
    assert found["package"] == "0.1"
    assert found["strategies"]["freeze-ends"].startswith("The critic's two ends are frozen")
    assert any("discs" in line and "plug-in" in line for line in found["domains"].splitlines())
    for key, message in found["mistakes"].items():
        assert f"did you mean {NAMES[key]}" in message, key
    page = (tmp_path / "page.html").read_text()
    assert "mean shift ↓" in page
    assert '"mean_shift": "mean shift"' in json.dumps(trials_of(page))


# -- mistakes -----------------------------------------------------------------------------------------------------------

LOOK_UP = {
    "transfergan.strategies": strategies.strategies,
    "transfergan.metrics": metrics.metrics,
    "transfergan.domains": plugin_domains,
    "transfergan.embeddings": embeddings.plugin_embeddings,
}

METRIC = "from trainers.config.metrics import Metric\nM = Metric(name='{}', label='x', compute=print)\n"
STRATEGY = "from trainers.config.strategy import Strategy\nclass S(Strategy):\n    key = '{}'\n"
DOMAIN = "from trainers.domains.builtin import Rendered\nD = Rendered('{}', 1, (), '', print)\n"
EMBEDDING = "from trainers.config.embeddings import PluginEmbedding\nE = PluginEmbedding(name='{}', version='1', load=print)\n"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Make this process look for plug-ins anew, now and after the test."""

    def forget() -> None:
        for function in (plugins._installed, *LOOK_UP.values()):
            function.cache_clear()

    forget()
    yield
    forget()


@pytest.mark.parametrize(("group", "source", "names", "said"), [
    ("transfergan.metrics", METRIC.format("hue"), {"hue": "{}:N"}, "cannot be imported: AttributeError: "),
    ("transfergan.metrics", "import no_such_module", {"hue": "{}:M"}, "cannot be imported: ModuleNotFoundError: No module"),
    ("transfergan.metrics", "M = print", {"hue": "{}:M"}, "must be a trainers.config.metrics.Metric with a `compute`, and is"),
    ("transfergan.metrics", METRIC.format("hue"), {"tone": "{}:M"}, "has the name 'hue'; give both one name"),
    ("transfergan.metrics", METRIC.format("a/b"), {"a/b": "{}:M"}, "of letters, digits, dots, hyphens and underscores"),
    ("transfergan.metrics", METRIC.format("fid"), {"fid": "{}:M"}, "'fid' is taken by transfergan itself"),
    ("transfergan.metrics", METRIC.format("kid_raw"), {"kid_raw": "{}:M"}, "taken by transfergan itself"),
    ("transfergan.strategies", STRATEGY.format("l2-sp"), {"l2-sp": "{}:S"}, "'l2-sp' is taken by transfergan itself"),
    ("transfergan.strategies", STRATEGY.format("hold"), {"hold": "{}:S()"}, "cannot be imported"),
    ("transfergan.domains", DOMAIN.format("cifar10"), {"cifar10": "{}:D"}, "'cifar10' is taken by transfergan itself"),
    ("transfergan.embeddings", EMBEDDING.format("custom"), {"custom": "{}:E"}, "'custom' is taken by transfergan itself"),
    ("transfergan.embeddings", "def E(images): ...", {"hue": "{}:E"}, "must be a trainers.config.embeddings.PluginEmbedding"),
])  # fmt: skip
def test_a_mistake_names_the_package_and_the_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, group: str, source: str,
    names: dict[str, str], said: str,
):  # fmt: skip
    module = f"mistake_{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}"
    references = {name: value.format(module) for name, value in names.items()}
    monkeypatch.syspath_prepend(install(tmp_path, module, source, {group: references}))
    with pytest.raises(UserError) as error:
        LOOK_UP[group]()
    ((name, value),) = references.items()
    assert f"plug-in {name!r} of {module} 0.1 (entry point {value!r} in group {group})" in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_two_packages_cannot_use_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for package in ("first_hue", "second_hue"):
        install(tmp_path, package, METRIC.format("hue"), {"transfergan.metrics": {"hue": f"{package}:M"}})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"'hue' of second_hue 0.1 .*: the name 'hue' is taken by first_hue 0.1; rename it"):
        metrics.metrics()
    assert plugins.packages() == {"first_hue": "0.1", "second_hue": "0.1"}


def test_an_embedding_is_known_by_its_version_and_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    embeddings.embedding_identity.cache_clear()
    source = EMBEDDING.format("hue").replace("load=print", f"load=print, weights=__import__('pathlib').Path('{tmp_path}/w')")
    monkeypatch.syspath_prepend(install(tmp_path, "weighty", source, {"transfergan.embeddings": {"hue": "weighty:E"}}))
    with pytest.raises(UserError, match=f"embedding 'hue': there is no file '{tmp_path}/w'"):
        embeddings.check_embedding("hue")
    assert embeddings.check_embedding("hue", announced=True) == "announced:hue"
    identities = set()
    for weights in (b"1", b"2"):
        (tmp_path / "w").write_bytes(weights)
        embeddings.embedding_identity.cache_clear()
        identities.add(embeddings.embedding_identity("hue"))
    assert len(identities) == 2
    with pytest.raises(UserError, match="unknown embedding 'hue:x'; did you mean hue"):
        embeddings.check_embedding("hue:x")


@pytest.mark.slow
def test_a_broken_plug_in_ends_a_command_in_one_line(tmp_path: Path):
    packages = install(tmp_path, "broken", "1 / 0", {"transfergan.strategies": {"hold": "broken:S"}})
    done = run("from bench.cli import main; import sys; sys.argv = ['transfergan', 'plan']; main()", packages, tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "plug-in 'hold' of broken 0.1" in done.stderr
    assert "ZeroDivisionError: division by zero; repair or uninstall the package" in done.stderr
