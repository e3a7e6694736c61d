"""The benchmarks run and their figures are consistent; no test asserts a speed."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ray.cluster_utils import Cluster

import tests.benchmarks.gpu.__main__ as gpu
import tests.benchmarks.science.__main__ as science
import tests.benchmarks.truth.__main__ as truth
from bench.costs.timings import read_timings
from bench.on_ray import cluster as on_ray
from bench.sweeps.spec import ResourcesConfig
from bench.upkeep.small_parts import MANY
from tests.benchmarks import harness, held_out, metrics, packing, simulation, style_step, training, verbs
from tests.benchmarks import report as report_benchmark
from tests.benchmarks.figures import __main__ as table_of_figures
from tests.benchmarks.figures.goals import GROUPS
from tests.benchmarks.figures.table import Row, judged
from tests.benchmarks.gpu.pieces import PIECES, SMALL
from tests.benchmarks.held_out_trials import jobs, train_all
from tests.benchmarks.overhead import checkpoints, sweeps
from tests.benchmarks.overhead.trivial import CELL, trivial_plan
from tests.benchmarks.training import measure, quality
from tests.support import tiny
from tests.support.command_line import call
from tests.support.plain_style import PlainStyleGan
from trainers.common.errors import UserError
from trainers.networks import make_generator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def figures(group: str, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the figures that the table of all figures takes from a benchmark's rows; each must be there."""
    table = list(judged(GROUPS[group], 1, list(rows)))
    assert [row.name for row in table if row.now is None] == []
    for figure, row in zip(GROUPS[group].figures, table, strict=True):
        named = ("before", "least", "most", "ratio")
        assert all(getattr(row, name) is not None for name in named if getattr(figure, name) is not None)
    return table


def test_every_mode_is_measured_at_the_requested_size():
    rows = measure((8, 4, 4, 1, 1), "cpu", rounds=2)
    assert [row["mode"] for row in rows] == ["plain", "float32", "bf16"]
    for row in rows:
        assert (row["device"], row["resolution"], row["width"], row["batch"]) == ("cpu", 8, 4, 4)
        assert row["images_per_s"] == pytest.approx(4 * row["steps_per_s"])
        assert row["times_plain"] == pytest.approx(row["steps_per_s"] / rows[0]["steps_per_s"])
        assert row["peak_mib"] > 10
        assert row["model_gflops_per_s"] / row["steps_per_s"] == pytest.approx(
            rows[0]["model_gflops_per_s"] / rows[0]["steps_per_s"]
        )
        assert row["matmul_share"] > 0
        json.dumps(row)
    figures("step", [{**row, "resolution": resolution} for resolution in (16, 32) for row in rows])


def test_a_style_step_is_measured_beside_a_plain_one_and_with_its_memory():
    gan, training = (
        config.model_copy(update=changes)
        for config, changes in (
            (style_step.GAN, {"resolution": 8, "width": 4, "latent": 8}), (style_step.TRAINING, {"batch": 4}),
        )
    )  # fmt: skip
    rows = list(style_step.measure("cpu", 1, gan, training, 1, memory=False))
    assert [row["mode"] for row in rows] == ["style plain", "style float32", "style bf16"]
    assert all(row["images_per_s"] == pytest.approx(4 * row["steps_per_s"]) for row in rows)
    assert style_step._memory("cpu") > 10
    ours, plain = make_generator(gan), PlainStyleGan(gan, training, "cpu").generator
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (ours, plain)]
    assert counts[0] == counts[1], "the same network"


def test_quality_is_compared_from_the_same_start():
    """After one step all modes have nearly the same generator; only the minibatch differs."""
    rows = list(quality(seeds=1, steps=1, device="cpu"))
    assert [row["mode"] for row in rows] == ["plain", "float32", "bf16"]
    for row in rows:
        assert row["fid_low"] == row["fid_mean"] == row["fid_high"]
        assert row["fid_mean"] == pytest.approx(rows[0]["fid_mean"], rel=0.2)
    assert rows[1]["fid_mean"] == pytest.approx(rows[2]["fid_mean"], rel=0.02)
    assert [row.before for row in figures("fid", rows)] == [rows[0]["fid_mean"]] * 2


@pytest.mark.endurance(only=True)
def test_simultaneous_trials_are_measured_together():
    rows = list(packing.measure((1, 2), (8, 4, 4, 1, 1), 50, "cpu", seconds=0.05))
    assert [row["packed"] for row in rows] == [1, 2]
    assert all(row["trials_per_hour"] > 0 and row["steps_per_trial"] == 50 for row in rows)
    json.dumps(rows)


@pytest.mark.parametrize(("rates", "expected"), [((10, 19, 20, 18), 2), ((10, 9, 8, 7), 1), ((10, 18, 30, 60), 8)])
def test_the_smallest_number_of_trials_near_the_greatest_throughput_is_recommended(rates: tuple[float, ...], expected: int):
    rows = [{"packed": count, "trials_per_hour": rate} for count, rate in zip((1, 2, 4, 8), rates, strict=True)]
    assert packing.recommend(rows) == expected


def test_winners_are_judged_by_held_out_images(tmp_path: Path):
    """Features of which one method's are those of the target, and all others far from it; one of two targets lacks a trial."""
    random = np.random.default_rng(0)
    for name in (*held_out.TARGETS, *held_out.SOURCES):
        np.save(tmp_path / f"{name}.features.npy", random.normal(size=(900, 6)))
    for job in jobs((0, 1)):
        good = (job.strategy, job.source) == ("finetune", "faces")
        np.save(tmp_path / job.name, random.normal(0 if good else 1, 1, (300, 6)))
    (tmp_path / next(jobs((1,))).name).unlink()
    rows = list(held_out.table(tmp_path, (0, 1), draws=4))
    assert {(row["reference"], row["rule"]) for row in rows} == {
        *((size, rule) for size in ("40", "100") for rule in ("before", "after", "recommend", "random")),
        ("2 x 40", "folds"), ("2 x 100", "folds"),
    }  # fmt: skip
    for row in rows:
        if row["rule"] == "random":
            assert row["best"] == pytest.approx(1 / 7)
            assert row["regret"] > 1.5
        else:
            assert (row["best"], row["near"], row["regret"]) == (1, 1, 1)
        if "target" in row:
            assert row["held_out"] == 900 - 160 - int(row["reference"])
            assert row["contains"] == 1
        else:
            assert row["targets"] == len(held_out.TARGETS) - 1
    json.dumps(rows)


def test_a_missing_archive_is_named_before_anything_is_trained(tmp_path: Path):
    with pytest.raises(UserError, match=r"--data: there is no mnist\.zip in .*, which 'digits' needs"):
        list(train_all(tmp_path, tmp_path / "out", list(jobs())))


@pytest.mark.endurance(only=True)
def test_the_training_benchmark_needs_no_ray():
    script = "import sys; sys.modules['ray'] = None; import tests.benchmarks.training, trainers.trial.run"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(("module", "wrong"), [
    (training, ["--rounds", "0"]), (training, ["--quality", "--packed"]), (harness, ["--per-part", "0", "--read"]),
    (science, ["--fast"]), (truth, ["--fast"]), (table_of_figures, ["--only", "nothing"]),
])  # fmt: skip
def test_a_command_reports_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: ModuleType, wrong: list[str]
):
    monkeypatch.setattr("sys.argv", ["benchmark", *wrong])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.parametrize("module", [science, truth])
def test_a_command_explains_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: ModuleType):
    monkeypatch.setattr("sys.argv", ["benchmark", "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert "--quick" in capsys.readouterr().out


def test_verbs_are_timed_beside_their_libraries():
    rows = list(verbs.measure(rounds=1))
    assert [row["command"] for row in rows] == ["peer", "--version", "--help", "domains", "plan", "status", "store list"]
    assert rows[0]["times_peer"] == 1
    assert all(row["cpu_seconds"] > 0 for row in rows)
    figures("verbs", rows)


def test_the_metrics_of_all_libraries_are_timed_and_agree():
    rows = list(metrics.measure(metrics.make_features(60, 16), rounds=2))
    assert [(row["task"], row["contestant"]) for row in rows] == [
        *((task, name) for task in ("frechet", "few") for name in ("ours", "clean-fid", "torch-fidelity")),
        *((task, name) for task in ("pairs", "all", "whole") for name in ("ours", "torch-fidelity")),
    ]
    ours = {row["task"]: row["seconds"] for row in rows if row["contestant"] == "ours"}
    for row in rows:
        others = [other["seconds"] for other in rows if other["task"] == row["task"] and other is not row]
        assert row["times"] == pytest.approx(min(others) / row["seconds"])
        assert row["times_ours"] == pytest.approx(row["seconds"] / ours[row["task"]])
        assert row.get("relative_difference", 0) < 1e-6
        json.dumps(row)
    figures("metrics", [{**row, "peak_mib": 1.0} for row in rows])


def test_a_compacted_store_is_read_faster():
    written, merged, compacted = harness.read(rows=2000, per_part=20, rounds=3)
    assert (written["parts"], merged["parts"], compacted["parts"]) == (100, 1 + 100 - MANY, 1)
    assert written["rows"] == merged["rows"] == compacted["rows"] == 2000
    assert written["times_as_written"] == 1
    assert compacted["times_as_written"] > 1
    json.dumps([written, merged, compacted])
    figures("read", [written, merged, compacted])


@pytest.fixture
def joined(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks join this module's cluster instead of starting one of their own."""

    def join(needed: ResourcesConfig, cpus: int | None = None) -> AbstractContextManager[None]:
        return on_ray.cluster(needed, address=cluster.address)

    monkeypatch.setattr(simulation, "cluster", join)


@pytest.mark.endurance(only=True)
def test_a_sweep_of_trivial_trials_is_compared_with_a_plain_search(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeps, "PER_ROW", 16)
    *rows, whole = sweeps.measure(24, 1, cluster.address)
    assert [(row["from"], row["to"]) for row in (*rows, whole)] == [(0, 16), (16, 24), (0, 24)]
    for row in (*rows, whole):
        assert row["times_plain"] == pytest.approx(row["harness_ms"] / row["plain_ms"])
        assert row["plain_ms"] > 0
        json.dumps(row)
    assert rows[0]["growth"] == 1
    assert whole["growth"] == rows[1]["growth"] == pytest.approx(rows[1]["harness_ms"] / rows[0]["harness_ms"])
    assert whole["harness_mib"] == pytest.approx(sum(row["harness_mib"] for row in rows))
    figures("driver", [*rows, whole])


def test_training_is_compared_with_and_without_checkpoints():
    row = checkpoints.measure(rounds=1, steps=4, every=1e-9)
    assert row["step_ms"] > 0
    assert row["share"] == pytest.approx(row["checkpoint_ms"] / 1000 / row["every_s"])
    json.dumps(row)


def test_a_large_plan_has_the_requested_trials_in_full_cells():
    row = harness.planning(6_000, rounds=1)
    assert 6_000 < row["trials"] < 6_100
    assert row["cpu_seconds"] > 0
    assert row["peak_mib"] > 10
    figures("plan", [row])
    plan = trivial_plan(6_000)
    assert set(map(len, plan.cells.values())) == {CELL}


@pytest.mark.endurance(only=True)
def test_the_memory_of_a_metric_is_measured_in_a_new_process():
    """Two sets of 3,000 features need at least their copies in float64."""
    features = metrics.make_features(3000, 512)
    assert 20 < metrics.growth("pairs", "ours", features) < 500


def test_the_cost_of_a_rung_is_compared_with_the_training_before_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics, "RUNG", 1)
    row = metrics.rung(rounds=1)
    assert row["share"] == pytest.approx(row["seconds"] / row["training_seconds"])
    assert row["seconds"] > 0
    json.dumps(row)


@pytest.mark.endurance(only=True)
def test_prepared_images_are_compared_with_torchvisions_loader():
    command = [sys.executable, "-m", "tests.benchmarks.images", "--count=40", "--rounds=1", "--workers=0", "--json"]
    command += ["--resolution=16", "--side=32", "--memory", "1000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    speed = {row["what"]: row for row in rows if "ratio" in row}
    assert len(speed) == 4
    plain = speed["ImageFolder + DataLoader"]
    for row in speed.values():
        assert row["ratio"] == pytest.approx(row["images_per_s"] / plain["images_per_s"])
    assert [row["images"] for row in rows if row["what"] == "memory"] == ([1000] if sys.platform == "linux" else [])


@pytest.mark.endurance(only=True)
def test_a_report_is_measured_in_a_new_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.argv", ["benchmark", "--trials", "60", "--rounds", "1", "--json"])
    report_benchmark.main()
    row = json.loads(capsys.readouterr().out)
    assert (row["trials"], row["measurements"]) == (65, 65 * 50)
    assert row["cpu_seconds"] > 0
    assert row["seconds"] > 0
    assert 50 < row["peak_mib"] < 2048
    assert 3 < row["page_mb"] < 15
    figures("page", [row])


def test_reports_of_no_trials_are_a_mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.argv", ["benchmark", "--trials", "0"])
    with pytest.raises(SystemExit) as ended:
        report_benchmark.main()
    assert ended.value.code == 2
    assert "argument --trials: 0 is less than 1" in capsys.readouterr().err


@pytest.mark.endurance(only=True)
def test_a_simulated_sweep_is_compared_with_its_real_run(joined: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(simulation, "STEPS", 2)
    (row,) = simulation.validate((simulation.Sweep("tiny", 1, {**tiny.SPEC, **tiny.SMALL}),))
    assert (row["sweep"], row["slots"], row["trials"], row["stopped"]) == ("tiny", 1, 3, 0)
    assert row["same_ends"]
    assert row["ratio"] == pytest.approx(row["simulated"] / row["real"])
    assert 0 < row["startup"] < row["real"]
    json.dumps(row)


@pytest.mark.endurance(only=True)
def test_a_gpu_is_measured_in_one_command(tmp_path: Path):
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--minutes", "5", "--out", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("*.json")
    pieces = json.loads(file.read_text())["pieces"]
    assert {name: piece["status"] for name, piece in pieces.items()} == dict.fromkeys(PIECES, "done")
    assert all(piece["rows"] for piece in pieces.values())
    assert str(tmp_path) not in file.read_text()
    assert len(read_timings(file)) == 8


def test_a_piece_that_fails_costs_no_other_and_sweeps_are_planned_with_the_times_of_the_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    ends = {
        "tests": ("ended after 1 s", [{"test": "a", "outcome": "passed"}], []),
        "steps": ("failed", [], ["ValueError: no card"]),
        "trials": ("done", list(PIECES["trials"][0]("cpu", 60, tmp_path)), []),
    }
    monkeypatch.setattr(gpu, "run", lambda piece, seconds, out: ends[piece])
    assert gpu.measure("cpu", [*ends], 60, tmp_path) == ["tests", "steps"]
    assert "steps: failed\n  ValueError: no card\n" in capsys.readouterr().out
    assert [row["trials"] for row in ends["trials"][1]] == [3, 3, 2]
    file = tmp_path / "cpu.json"
    timings = read_timings(file)
    assert {timing.trial.domain.name for timing in timings} == {"random"}
    assert all(len(timing.legs) == 2 for timing in timings)
    small = [f"{section}.{key}={value}" for section, values in SMALL.items() for key, value in values.items()]
    changes = [word for change in [*small, "targets=[digits]", "sources=[letters]"] for word in ("--set", change)]
    planned = call("plan", "full-grid", *changes, "--timings", file, "--store", tmp_path / "none", "--json")
    (estimate,) = json.loads(planned.stdout)["estimates"]
    assert estimate["measured"] == 8
    assert not estimate["scaled"]
    simulated = call("simulate", "full-grid", *changes, "--timings", file, "--store", tmp_path / "none", "--gpus", "4")
    assert simulated.exit_code == 0, simulated.output
