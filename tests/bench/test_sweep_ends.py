"""How the run of a sweep ends after failures or at a limit, on a Ray cluster where that matters."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from ray.cluster_utils import Cluster
from typer.testing import Result

from bench.costs.bill import bills
from bench.run.sweep import HERE
from bench.store import open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.loading import load_spec
from tests.support import tiny
from tests.support.command_line import call
from trainers.common.errors import UserError

pytestmark = pytest.mark.slow

PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data"

#: Runs a sweep file.
Run = Callable[..., Result]


@pytest.fixture
def run(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a sweep one trial at a time, with its store in the test's folder, on the cluster unless `address` says otherwise."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trainers.py").write_text("raise ImportError('a file of the user hides a package of ours')")

    def run_sweep(*arguments: object, expect: int = 0, address: str = cluster.address) -> Result:
        result = call("run", "--store", "store", "--address", address, *arguments)
        assert result.exit_code == expect, f"{result.output}{result.exception!r}"
        return result

    return run_sweep


def test_a_run_that_stops_at_its_limit_loses_nothing_and_the_next_goes_on(run: Run, tmp_path: Path, finished_once: Path):
    """A tiny limit allows only the first trial's first rung; a generous one allows the rest."""
    spec = tiny.write_spec(tmp_path, **tiny.SMALL)
    stopped = run(spec, "--max-hours", 1e-9, expect=3)
    assert "3 trials left" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    store = open_store(str(tmp_path / "store"))
    assert store.read("trials").empty
    assert set(tiny.values(store).index.get_level_values("step")) == {0, 2}
    assert tiny.claimed(tmp_path / "store") == []
    (bill,) = bills(tiny.make(), store)
    assert bill.measured == 1
    assert 0 < bill.left_at_most.value < bill.at_most.value

    run(spec, "--max-cost", 10, "--price", 2, address=HERE)
    whole = open_store(str(finished_once))
    pd.testing.assert_series_equal(tiny.values(store), tiny.values(whole), check_exact=True)
    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(whole))


def test_a_failing_trial_is_recorded_blocks_its_children_and_can_be_retried(run: Run, tmp_path: Path):
    spec = tiny.write_spec(tmp_path, **{**tiny.SMALL, "sources": [tiny.SHAPES]}, resources={"retries": 0})
    (source,) = (trial.key for trial in make_plan(load_spec(str(spec))).of_kind("pretrain"))
    # Its samples cannot be published: a folder has the name of their file.
    open_store(str(tmp_path / "store"), create=True)
    obstacle = tmp_path / "store" / "samples" / f"{source}-00000000.png"
    obstacle.mkdir(parents=True)

    failed = run(spec, expect=1)
    assert "trials: 1 failed, 1 blocked" in failed.stderr
    assert "Traceback" not in failed.stderr
    trials = open_store(str(tmp_path / "store")).read("trials").set_index("key")
    assert trials.loc[source, "status"] == "failed"
    assert source in trials.loc[source, "error"]
    (child,) = trials[trials["parent"] == source].itertuples()
    assert child.status == "blocked"
    assert f"{tiny.SHAPES} failed" in child.error
    assert sorted(trials["status"]) == ["blocked", "done", "failed"]
    assert "failed" in call("status", "--store", tmp_path / "store").stdout

    again = run(spec, expect=1, address=HERE)
    assert "--retry failed" in again.stderr, "a failed trial is not run again without --retry"
    obstacle.rmdir()
    run(spec, "--retry", "failed", address=HERE)
    ended = tiny.outcomes(tmp_path / "store")
    assert set(ended["status"]) <= {"done", "stopped"}
    assert len(ended) == 3


def test_a_trial_that_diverges_is_recorded_and_the_rest_goes_on(run: Run, tmp_path: Path):
    spec = tiny.write_spec(
        tmp_path,
        sources=[],
        conditional=[False],
        strategies=["scratch"],
        training={**tiny.SPEC["training"], "critic_lr": 1e30},
    )
    run(spec, address=HERE)
    (row,) = open_store(str(tmp_path / "store")).read("trials").itertuples()
    assert row.status == "diverged"
    assert row.error
    assert (tmp_path / "store" / "report.html").exists()


def test_a_trial_that_needs_more_resources_than_exist_is_a_user_error(cluster: Cluster, tmp_path: Path):
    spec = tiny.write_spec(tmp_path)
    options = "--store", tmp_path / "store", "--address", cluster.address, "--set", "resources.gpus=64"
    failed = call("run", spec, *options).exception
    assert isinstance(failed, UserError)
    assert str(failed).startswith("resources.gpus: ")
    assert "\n" not in str(failed)


def test_a_trial_that_hangs_is_ended_retried_and_recorded(run: Run, tmp_path: Path):
    """Its embedding never returns for a batch of the size that a trial samples: it reads what nobody writes."""

    class Hangs(torch.nn.Module):
        def __init__(self, pipe: str) -> None:
            super().__init__()
            self.pipe = pipe

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found = images.float().mean(dim=(2, 3))
            if images.shape[0] == 64:
                found = found + torch.from_file(self.pipe, False, 1, dtype=torch.float32)
            return found

    os.mkfifo(tmp_path / "pipe")
    with pytest.warns(FutureWarning, match="deprecated"):  # users have such files all the same
        torch.jit.script(Hangs(str(tmp_path / "pipe"))).save(str(tmp_path / "hangs.pt"))  # type: ignore[no-untyped-call]
    changes = {"sources": [], "strategies": ["scratch"], "conditional": [False]}
    spec = tiny.write_spec(
        tmp_path, **changes, evaluation={**tiny.SPEC["evaluation"], "embedding": f"custom:{tmp_path}/hangs.pt"},
        resources={"retries": 1, "stall_minutes": 0.05},
    )  # fmt: skip
    failed = run(spec, expect=1)
    assert "trials: 1 failed" in failed.stderr
    (row,) = open_store(str(tmp_path / "store")).read("trials").itertuples()
    assert row.status == "failed"
    assert "ended itself after 0.05 minutes without progress" in row.error


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the photographs are not part of the project")
def test_a_sweep_over_folders_of_photographs_runs_to_a_report(run: Run, tmp_path: Path):
    folders = {}
    for name in ("flowers5", "celeba5k"):
        folders[name] = tmp_path / name
        with zipfile.ZipFile(PHOTOGRAPHS / f"{name}.zip") as archive:
            inside = [entry for entry in archive.namelist() if entry.lower().endswith((".jpg", ".png"))]
            for entry in inside[:: max(1, len(inside) // 60)]:
                archive.extract(entry, folders[name])
    (folders["flowers5"] / "broken.jpg").write_bytes(b"")
    spec = tiny.write_spec(
        tmp_path,
        sources=[f"folder:{folders['celeba5k']}"],
        targets=["folder:flowers5"],
        strategies=["scratch", "finetune"],
        conditional=[False],
        gan={"resolution": 16, "width": 4, "latent": 16},
        training={"steps": 4, "batch": 8, "critic_steps": 1},
    )
    done = run(spec, address=HERE)
    assert "1 skipped (1 empty: broken.jpg)" in done.stderr
    ended = tiny.outcomes(tmp_path / "store")
    assert len(ended) == 3
    assert set(ended["status"]) == {"done"}
    page = (tmp_path / "store" / "report.html").read_text()
    assert "celeba5k" in page
    assert len(page) > 1_000_000
