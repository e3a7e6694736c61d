"""Logs for TensorBoard, Weights & Biases and MLflow, read back by their own libraries.

Only TensorBoard is installed with the tests: wandb and mlflow take longer to install than these tests to run. Where one of
them is installed, its log is tested like TensorBoard's; elsewhere, that the verb says what to install.
"""

import io
import json
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.logs.kinds import WRITERS, Log, folder_of
from bench.logs.sweep_log import log_of
from bench.run import in_process
from bench.run.progress import describe
from bench.store import Store, open_store
from bench.store.trial_files import samples_path
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record
from tests.support import tiny
from tests.support.command_line import call

pytestmark = pytest.mark.slow

#: What a log has: by metric and step the value, by step the sample grid, and the configuration without nesting.
Content = tuple[dict[str, dict[int, float]], dict[int, np.ndarray], dict[str, Any]]

#: A sweep of one trial, which has no distances to measure.
SCRATCH: dict[str, Any] = {"sources": [], "strategies": ["scratch"]}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def of_tensorboard(folder: Path) -> Content:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    (of_trial,) = folder.iterdir()
    assert of_trial.name.startswith("scratch-digits-20-images-seed-0-")
    events = EventAccumulator(str(of_trial), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    values = {tag: {each.step: each.value for each in points} for tag, points in scalars.items()}
    assert all(len(points) == len(values[tag]) for tag, points in scalars.items()), "doubled points"
    images = events.Images("samples")
    assert len({image.step for image in images}) == len(images)
    start = HParamsPluginData.FromString(events.PluginTagToContent("hparams")["_hparams_/session_start_info"])
    config = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.session_start_info.hparams.items()}
    return values, {image.step: pixels(image.encoded_image_string) for image in images}, config


def of_wandb(folder: Path) -> Content:
    from wandb.proto.wandb_internal_pb2 import Record

    values: dict[str, dict[int, float]] = {}
    images: dict[int, np.ndarray] = {}
    config: dict[str, Any] = {}
    for run in sorted((folder / "wandb").glob("offline-run-*")):
        (file,) = run.glob("*.wandb")
        for data in records(file.read_bytes()):
            read = Record.FromString(data)
            config |= {each.key: json.loads(each.value_json) for each in read.run.config.update}
            step = read.history.step.num
            items = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in read.history.item}
            for name, value in items.items():
                if name in ("samples", "samples.path"):
                    assert step not in images
                    path = value["path"] if name == "samples" else value
                    images[step] = pixels((run / "files" / path).read_bytes())
                elif not name.startswith(("_", "samples.")):
                    assert step not in values.setdefault(name, {}), "doubled points"
                    values[name][step] = value
    return values, images, {f"training.{name}": value for name, value in config["training"].items()}


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a file of wandb: LevelDB's log format, after 7 bytes; a record may be in parts."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # the rest of a block that is too small for a header
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def of_mlflow(folder: Path) -> Content:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(folder.absolute().as_uri())
    experiment = client.get_experiment_by_name("transfergan")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    points = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    values = {name: {each.step: each.value for each in history} for name, history in points.items()}
    assert all(len(history) == len(values[name]) for name, history in points.items()), "doubled points"
    files = list(folder.rglob("*.png"))
    images = {int(file.name.split("+")[2]): pixels(file.read_bytes()) for file in files}
    assert len(images) == len(files)
    return values, images, {name: float(value) if value.isdecimal() else value for name, value in run.data.params.items()}


READ: Mapping[Log, Callable[[Path], Content]] = {
    Log.tensorboard: of_tensorboard,
    Log.wandb: of_wandb,
    Log.mlflow: of_mlflow,
}


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def session(log: Log, plan: Plan, store: Store, *, rungs: int | None = None) -> list[str]:
    """Run what the store lacks of a plan with a log, or interrupt it after some rungs; return the lines that were printed."""
    ledger, lines = Ledger.open(plan, store), list[str]()
    reported = 0

    def listen(key: str, report: Mapping[str, Any] | None) -> None:
        nonlocal reported
        update(key, report)
        reported += 1
        if reported == rungs:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt), log_of(log, ledger, store, lines.append, partial(describe, labels={})) as update:
        in_process.run_trials(Driver(ledger, store, listen))
    return lines


@pytest.mark.parametrize("log", list(Log))
def test_a_log_has_each_rung_of_an_interrupted_trial_once(log: Log, tmp_path: Path):
    if log is not Log.tensorboard and find_spec(WRITERS[log][0]) is None:
        result = call("run", "quickstart", "--store", tmp_path / "store", "--log", log)
        assert str(result.exception) == f"--log {log} needs {log}: pip install {log}"
        assert not list(tmp_path.iterdir())
        return
    plan, spec = tiny.make(**SCRATCH), tiny.write_spec(tmp_path, **tiny.SMALL | SCRATCH)
    store = open_store(str(tmp_path / "store"), create=True)
    store.write_sweep(plan.spec.name, record(plan))
    folder = folder_of(log, store)
    (key,) = plan.by_key
    for rungs in (1, None):  # interrupted; gone on
        assert session(log, plan, store, rungs=rungs) == [f"log: {folder}"]
    result = call("run", spec, "--store", store.uri, "--address", "here", "--log", log)  # nothing is left to train
    assert result.exit_code == 0, result.output
    assert f"log: {folder}" in result.stderr.replace("\n", "")
    check(READ[log](folder), store, key)

    shutil.copytree(tmp_path / "store", tmp_path / "copy", ignore=shutil.ignore_patterns("logs"))
    copy = open_store(str(tmp_path / "copy"))
    session(log, plan, copy)  # trained before there was a log
    check(READ[log](folder_of(log, copy)), copy, key)


def check(content: Content, store: Store, key: str) -> None:
    values, images, config = content
    measured = store.read("measurements").query("step > 0")
    expected = {metric: dict(zip(rows["step"], rows["value"], strict=True)) for metric, rows in measured.groupby("metric")}
    assert set(values) == {*expected, "seconds"}
    for metric, by_step in expected.items():
        assert values[metric] == pytest.approx(by_step, rel=1e-6), metric
    assert sorted(values["seconds"]) == sorted(images) == sorted(expected["fid"]) == [2, 4, 8]
    for step, image in images.items():
        np.testing.assert_array_equal(image, pixels(store.read_file(samples_path(key, step))))
    assert config["training.batch"] == 8


def test_a_log_that_fails_says_so_once_and_ends_no_run(tmp_path: Path):
    plan = tiny.make(**SCRATCH, training={"steps": 4, "batch": 8, "critic_steps": 1})
    store = open_store(str(tmp_path / "store"), create=True)
    store.write_sweep(plan.spec.name, record(plan))
    (tmp_path / "store/logs").write_text("a file where the folder goes")
    _, line = session(Log.tensorboard, plan, store)
    assert line.startswith("note: --log tensorboard failed (")
    assert line.endswith("; the run goes on without it, and the same command writes what is missing")
    assert list(store.read("trials")["status"]) == ["done"]
