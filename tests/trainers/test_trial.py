"""A trial from its configuration to its last measurement, on real domains; its key and cell."""

import io
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from trainers import domains
from trainers.common.contact_sheet import png_grid
from trainers.common.errors import Left, UserError
from trainers.config.blocks import Network
from trainers.config.metrics import metrics
from trainers.config.settings import EvaluationConfig
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.sampling import proportional, sample
from trainers.evaluation.comparison import METRICS, Comparison
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.evaluator import real_grid
from trainers.evaluation.metrics.fid import fid, statistics
from trainers.evaluation.metrics.iw import iw_score
from trainers.evaluation.metrics.kid import kid
from trainers.evaluation.metrics.memorisation import memorisation
from trainers.evaluation.references import references
from trainers.trial import checkpoints
from trainers.trial.checkpoints import Checkpoint
from trainers.trial.images import training_images
from trainers.trial.run import Interim, run
from trainers.trial.rung import Rung


def ref(name: str) -> DomainRef:
    domain = domains.get(name)
    return DomainRef(name=domain.name, fingerprint=domain.fingerprint, classes=domain.classes)


def config(**changes: Any) -> TrialConfig:
    """Return a trial that takes seconds, digits from scratch, with changes such as ``training__steps=2``."""
    data: dict[str, Any] = {
        "kind": "adapt",
        "domain": ref("digits").model_dump(),
        "size": 20,
        "strategy": "scratch",
        "gan": {"resolution": 8, "width": 4, "latent": 8},
        "training": {"steps": 6, "batch": 8, "critic_steps": 1, "generator_lr": 1e-2, "critic_lr": 1e-2},
        "evaluation": {"samples": 64, "first_rung": 2},
    }
    for path, value in changes.items():
        *sections, name = path.split("__")
        section = data
        for section_name in sections:
            section = section[section_name]
        section[name] = value
    return TrialConfig.model_validate(data)


def pretrain(source: str, **changes: Any) -> TrialConfig:
    return config(kind="pretrain", domain=ref(source), strategy=None, training__steps=2, **changes)


def adapt(parent: TrialConfig, strategy: str = "finetune", **changes: Any) -> TrialConfig:
    return config(source=parent.domain, strategy=strategy, parent=parent.key, conditional=parent.conditional, **changes)


@cache
def rungs(trial: TrialConfig) -> tuple[Rung, ...]:
    return tuple(run(trial))


def checkpoint(rung: Rung) -> Checkpoint:
    assert rung.checkpoint is not None
    return checkpoints.load(rung.checkpoint, "here")


def outcome(rung: Rung) -> tuple[Any, ...]:
    """Return the results of a rung that do not depend on time or memory."""
    return rung.step, rung.measurements, rung.samples, rung.images_seen, rung.finished, rung.diverged


def assert_same_weights(a: Checkpoint, b: Checkpoint, prefix: str = "") -> None:
    names = {name for name in a.tensors if name.startswith(prefix)}
    assert names == {name for name in b.tensors if name.startswith(prefix)} != set()
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in names)


# -- the results of a trial ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [False, True])
def test_a_trial_yields_step_0_and_every_rung(conditional: bool):
    trial = config(conditional=conditional)
    results = rungs(trial)
    assert [rung.step for rung in results] == [0, *trial.rungs] == [0, 2, 4, 6]
    assert [rung.finished for rung in results] == [False, False, False, True]
    assert [rung.images_seen for rung in results] == [0, 16, 32, 48]
    assert [rung.images_per_second is None for rung in results] == [True, False, False, False]
    assert all(a.seconds < b.seconds for a, b in zip(results, results[1:], strict=False))
    for rung in results:
        assert rung.diverged is None
        assert rung.view == f"{load_embedding('builtin').identity}/64"
        assert rung.peak_memory_mib > 10
        names = [name for name in METRICS if name != "fid_infinity"]
        names += [f"fid/{digit}" for digit in range(10)] + ["intra_fid"] if conditional else []
        names += ["fid_infinity"] if rung.finished else []
        assert [measurement.metric for measurement in rung.measurements] == names
        metrics = {measurement.metric: measurement for measurement in rung.measurements}
        for name in set(METRICS) & set(names):
            assert metrics[name].samples == 64
            assert math.isfinite(metrics[name].value)
            assert metrics[name].standard_error is not None
        for name in ("fid", "kid"):
            assert 0 < (metrics[name].standard_error or 0) < abs(metrics[name].value)
    assert len({rung.measurements[0].value for rung in results}) == 4, "training had no effect"


@pytest.mark.slow
def test_metrics_agree_with_their_functions_on_the_samples_the_reference_and_the_training_images():
    trial = config(evaluation__iw_steps=3)
    rung, embed = rungs(trial)[-1], load_embedding("builtin")
    network, latent = checkpoints.generator(checkpoint(rung))
    images, real = sample(network, latent, 64, 0), domains.get("digits").load("reference", 8).images
    training = embed(training_images(trial).images)
    pair = Comparison(references("digits", 8, embed), embed(images), training)
    metrics = {measurement.metric: measurement.value for measurement in rung.measurements}
    for name, metric in METRICS.items():
        assert metrics[name] == pytest.approx(metric(pair).value, rel=1e-3, abs=1e-3), name
    assert metrics["memorisation"] == pytest.approx(memorisation(training, embed(real), embed(images)).value, abs=1e-3)
    assert metrics["iw"] == pytest.approx(iw_score(real, images, trial.gan, 0, 3).value, rel=1e-2)
    assert list(metrics)[-1] == "iw"
    assert all(measurement.metric != "iw" for rung in rungs(config()) for measurement in rung.measurements)


@pytest.mark.slow
def test_the_train_split_can_be_the_reference_and_memorisation_keeps_held_out_images():
    as_papers = config(evaluation__reference="train", evaluation__selection=0.3, evaluation__iw_steps=3)
    last, embed = rungs(as_papers)[-1], load_embedding("builtin")
    metrics = {measurement.metric: measurement.value for measurement in last.measurements}
    network, latent = checkpoints.generator(checkpoint(last))
    images = sample(network, latent, 64, 0)
    features, data = embed(images), domains.get("digits").load("train", 8)
    rest, apart = references("digits", 8, embed, "train").split(0.3)
    assert len(rest.features) + len(apart.features) == len(data.images)
    assert metrics["fid"] == pytest.approx(fid(rest.statistics, statistics(features)), rel=1e-6)
    assert metrics["fid_selection"] == pytest.approx(fid(apart.statistics, statistics(features)), rel=1e-6)
    assert metrics["iw"] == pytest.approx(iw_score(data.images, images, as_papers.gan, 0, 3).value, rel=1e-2)
    by_default = {measurement.metric: measurement.value for measurement in rungs(config())[-1].measurements}
    assert metrics["memorisation"] == by_default["memorisation"]
    assert metrics["fid"] != by_default["fid"]


@pytest.mark.slow
def test_fid_by_class_uses_the_images_of_the_class_only():
    rung = rungs(config(conditional=True, evaluation__samples=200))[-1]
    embed, data = load_embedding("builtin"), domains.get("digits").load("reference", 8)
    assert data.labels is not None
    network, latent = checkpoints.generator(checkpoint(rung))
    counts = np.bincount(data.labels)
    labels = proportional(counts, 200)
    assert np.bincount(labels) == pytest.approx(200 * counts / counts.sum(), abs=1)
    images = sample(network, latent, 200, 0, labels)
    metrics = {measurement.metric: measurement for measurement in rung.measurements}
    values = []
    for digit in range(10):
        theirs, ours = embed(data.images[data.labels == digit]), embed(images[labels == digit])
        values.append(fid(statistics(theirs), statistics(ours)))
        assert metrics[f"fid/{digit}"].value == pytest.approx(values[-1], rel=1e-3)
        assert metrics[f"fid/{digit}"].samples == (labels == digit).sum()
    assert metrics["intra_fid"].value == pytest.approx(np.mean(values), rel=1e-3)


def test_the_moving_average_is_measured_and_the_generator_without_it_on_request():
    start, *_, last = rungs(config(training__ema=0.5, evaluation__raw=True))
    for rung, equal in ((start, True), (last, False)):
        metrics = {measurement.metric: measurement.value for measurement in rung.measurements}
        assert [name for name in metrics if name.endswith("_raw")] == ["fid_raw", "kid_raw"]
        assert (metrics["fid"] == metrics["fid_raw"]) == equal
    raw = {measurement.metric + "_raw": measurement.value for measurement in rungs(config(training__ema=0))[-1].measurements}
    for measurement in last.measurements:
        if measurement.metric.endswith("_raw"):
            assert measurement.value == raw[measurement.metric], "the average must not change the training"


def test_samples_generators_and_metrics_are_of_the_moving_average():
    trial = config(training__ema=0.5, evaluation__raw=True)
    last = rungs(trial)[-1]
    assert last.generator is not None
    kept = checkpoints.load(last.generator, "here")
    assert not any(name.startswith("critic.") for name in kept.tensors)
    images = {}
    for raw in (False, True):
        network, latent = checkpoints.generator(kept, raw=raw)
        images[raw] = sample(network, latent, trial.evaluation.samples, 0)
    assert last.samples == png_grid(images[False][:32])
    embedding = load_embedding("builtin", "cpu")
    reference = references(trial.domain.name, trial.gan.resolution, embedding)
    metrics = {measurement.metric: measurement.value for measurement in last.measurements}
    for raw, name in ((False, "fid"), (True, "fid_raw")):
        assert metrics[name] == pytest.approx(fid(reference.statistics, statistics(embedding(images[raw]))), rel=1e-6)


def test_choices_and_results_are_measured_on_disjoint_reference_images():
    trial = config(evaluation__selection=0.3)
    last = rungs(trial)[-1]
    metrics = {measurement.metric: measurement.value for measurement in last.measurements}
    embedding = load_embedding("builtin", "cpu")
    whole = references(trial.domain.name, trial.gan.resolution, embedding)
    rest, apart = whole.split(0.3)
    assert len(apart.features) == round(0.3 * len(whole.features))
    rows = {row.tobytes() for row in whole.features}
    ours, theirs = ({row.tobytes() for row in part.features} for part in (rest, apart))
    assert ours | theirs == rows
    assert len(ours & theirs) <= len(whole.features) - len(rows), "only images that the split has twice"
    assert last.generator is not None
    network, latent = checkpoints.generator(checkpoints.load(last.generator, "here"))
    features = embedding(sample(network, latent, trial.evaluation.samples, 0))
    assert metrics["fid"] == pytest.approx(fid(rest.statistics, statistics(features)), rel=1e-6)
    assert metrics["fid_selection"] == pytest.approx(fid(apart.statistics, statistics(features)), rel=1e-6)
    with pytest.raises(UserError, match="each part needs 4"):
        whole.split(3 / len(whole.features))


@pytest.mark.slow
def test_after_a_transfer_the_moving_average_starts_at_the_source():
    source = pretrain("letters")
    parent = checkpoint(rungs(source)[-1])
    start = checkpoint(next(run(adapt(source, training__ema=0.9), parent=parent)))
    for name, tensor in parent.network("generator").items():
        assert torch.equal(start.tensors[f"average.{name}"], tensor)
        assert torch.equal(start.tensors[f"generator.{name}"], tensor), "the source's average is transferred"


def test_samples_are_a_grid_of_32_images():
    for rung in rungs(config()):
        assert rung.samples is not None
        image = Image.open(io.BytesIO(rung.samples))
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (8 * 9 - 1, 4 * 9 - 1))
    real = np.asarray(Image.open(io.BytesIO(real_grid("digits", 8))))
    np.testing.assert_array_equal(real[:8, :8], domains.get("digits").load("reference", 8).images[0])
    np.testing.assert_array_equal(real[-8:, -8:], domains.get("digits").load("reference", 8).images[-1])


@pytest.mark.parametrize("kind", ["adapt", "pretrain", "tune"])
def test_checkpoints_have_their_trial_step_and_report_and_only_the_last_of_a_search_cannot_be_resumed(kind: str):
    trial = config(kind=kind, strategy=None if kind == "pretrain" else "scratch")
    for rung in rungs(trial):
        written = checkpoint(rung)
        assert (written.trial, written.step, written.report) == (trial, rung.step, rung.report)
        assert written.resumable is not (rung.finished and kind == "tune")


@pytest.mark.slow
def test_training_reduces_fid_and_kid():
    results = rungs(config(size=200, training__steps=60, training__batch=16, evaluation__first_rung=60))
    before, after = ({m.metric: m.value for m in rung.measurements} for rung in (results[0], results[-1]))
    for name in ("fid", "kid"):
        assert after[name] < 0.7 * before[name], name


# -- resuming and repeating ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "conditional"), [
    ("scratch", False), ("finetune", True), ("ewc", False), ("lora", True), ("mine", False), ("mine", True),
])  # fmt: skip
def test_resuming_from_any_rung_gives_the_same_results_to_the_bit(strategy: str, conditional: bool):
    source = pretrain("numerals", conditional=conditional)
    trial = config(conditional=conditional) if strategy == "scratch" else adapt(source, strategy)
    whole = list(run(trial, parent=checkpoint(rungs(source)[-1])))
    for i, stop in enumerate(whole[:-1]):
        rest = list(run(trial, resume=checkpoint(stop)))
        assert [outcome(other) for other in rest] == [outcome(other) for other in whole[i + 1 :]]
        assert rest[0].seconds > stop.seconds
        ours, theirs = checkpoint(rest[-1]), checkpoint(whole[-1])
        assert_same_weights(ours, theirs)
        assert ours.matches == theirs.matches
        assert bool(ours.matches) == (strategy != "scratch")


def until_plateau(patience: int = 2) -> TrialConfig:
    """Return a source whose FID soon stops to fall, as its learning rate is almost 0."""
    of_source = {
        "kind": "pretrain",
        "strategy": None,
        "training__steps": 40,
        "until": {"patience": patience, "every": 2, "samples": 64},
    }
    return config(**of_source, training__generator_lr=1e-9, training__critic_lr=1e-9)


@pytest.mark.slow
def test_a_source_ends_when_its_metric_has_not_fallen_for_as_many_rungs_as_its_patience():
    steps = rungs(until_plateau())
    fids = [next(m.value for m in rung.measurements if m.metric == "fid") for rung in steps[1:]]
    assert [rung.step for rung in steps] == [0, *range(2, 2 * len(fids) + 1, 2)]
    assert [rung.finished for rung in steps] == [False] * len(fids) + [True]
    assert steps[-1].step < 40
    since = [len(fids[: i + 1]) - 1 - int(np.argmin(fids[: i + 1])) for i in range(len(fids))]
    assert [count >= 2 for count in since] == [False] * (len(fids) - 1) + [True]
    assert {m.metric for m in steps[-1].measurements} == {m.metric for m in steps[-2].measurements} | {"fid_infinity"}
    assert not checkpoint(steps[-1]).resumable


@pytest.mark.slow
def test_a_source_that_improves_ends_at_its_budget():
    steps = rungs(until_plateau(patience=1000))
    assert (steps[-1].step, steps[-1].finished) == (40, True)


def test_a_checkpoint_between_rungs_has_the_report_of_the_last_one_and_continues_with_the_same_bits():
    trial = config(training__steps=24, evaluation__first_rung=12)
    whole = rungs(trial)
    events = list(run(trial, checkpoint_seconds=0))
    assert [(type(event), event.step) for event in events] == [
        (Rung, 0), (Interim, 10), (Rung, 12), (Interim, 20), (Rung, 24),
    ]  # fmt: skip
    assert [outcome(event) for event in events if isinstance(event, Rung)] == [outcome(rung) for rung in whole]
    for event, rung in ((events[1], whole[0]), (events[3], whole[1])):
        saved = checkpoints.load(event.checkpoint or b"", "memory")
        assert (saved.step, saved.resumable, saved.report["steps"]) == (event.step, True, rung.step)
        assert saved.report["fid"] == rung.report["fid"]
        rest = [outcome(later) for later in run(trial, resume=saved) if isinstance(later, Rung)]
        assert rest == [outcome(later) for later in whole if later.step > event.step]


def leaving(trial: TrialConfig, calls: int, resume: Checkpoint | None = None) -> Iterator[Rung | Interim]:
    """Run a trial whose caller wishes it to leave at the given number of questions whether it should."""
    asked = itertools.count(1)
    with suppress(Left):
        yield from run(trial, resume=resume, leave=lambda: next(asked) >= calls)


@pytest.mark.slow
def test_a_trial_that_leaves_at_any_moment_loses_no_step_and_goes_on_with_the_same_bits():
    """It leaves between steps, or in the middle of an evaluation: then it resumes with the evaluation."""
    source = {"kind": "pretrain", "strategy": None, "domain": ref("numerals[per_class=2]")}
    trial = config(**source, training__steps=4, until={"patience": 1, "every": 2, "samples": 64})
    whole = rungs(trial)
    left: list[int] = []
    for calls in itertools.count(1):
        *measured, last = [None, *leaving(trial, calls)]
        if isinstance(last, Rung):
            break  # it ended before
        if last is None:
            continue  # it left before its first rung, and starts anew
        saved = checkpoints.load(last.checkpoint or b"", "memory")
        left.append(saved.step)
        later = run(trial, resume=saved)
        assert [outcome(rung) for rung in (*measured, *later) if isinstance(rung, Rung)] == [outcome(rung) for rung in whole]
    assert set(left) == {*range(1, whole[-1].step + 1)}
    assert left.count(2) > 2, "an evaluation is left at each of its heartbeats"


@pytest.mark.slow
def test_a_source_that_is_resumed_ends_at_the_same_plateau():
    whole = rungs(until_plateau())
    for stop in whole[1:-1]:
        rest = list(run(until_plateau(), resume=checkpoint(stop)))
        assert [outcome(rung) for rung in rest] == [outcome(rung) for rung in whole if rung.step > stop.step]


def test_the_time_between_rungs_does_not_count(monkeypatch: pytest.MonkeyPatch):
    """The clock advances by an hour after every rung."""
    clock, away = time.perf_counter, 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + away)
    seconds = []
    for rung in run(config()):
        seconds.append(rung.seconds)
        away += 3600
    assert max(seconds) < 600


def test_the_time_of_evaluation_adds_up_over_sessions(monkeypatch: pytest.MonkeyPatch):
    """The clock advances by a second at every reading, so that each evaluation takes one, and so does what precedes them."""
    monkeypatch.setattr(time, "perf_counter", map(float, itertools.count()).__next__)
    whole = list(run(config()))
    assert [rung.evaluation_seconds for rung in whole] == [2, 3, 4, 5]
    assert all(rung.report["evaluation_seconds"] < rung.report["seconds"] for rung in whole)
    assert [rung.evaluation_seconds for rung in run(config(), resume=checkpoint(whole[1]))] == [5, 6]
    older = replace(checkpoint(whole[1]), report={"steps": 2, "seconds": 9.0})
    assert [rung.evaluation_seconds for rung in run(config(), resume=older)] == [None, None]


def test_a_repeated_trial_is_the_same_and_another_seed_is_not():
    trial = config()
    assert [outcome(other) for other in run(trial)] == [outcome(other) for other in rungs(trial)]
    other = rungs(config(seed=1))
    assert all(a.measurements != b.measurements for a, b in zip(rungs(trial), other, strict=True))


def test_trials_of_other_kinds_and_domains_start_from_other_networks_and_draw_other_numbers():
    """All have seed 0 and the same networks. At step 0 a source's are its initialisation, as are those from scratch."""
    trials = (pretrain("digits"), config(), config(kind="tune"), config(domain=ref("numerals")), config(seed=1))
    starts = [checkpoint(next(run(trial))) for trial in trials]
    for name in ("generator.input.latent.weight", "critic.input.weight", "random"):
        assert len({start.tensors[name].numpy().tobytes() for start in starts}) == len(trials), name
    assert len({trial.base_seed for trial in trials}) == len(trials)
    images = [training_images(trial).images.tobytes() for trial in trials]
    assert len(set(images)) == len(trials)


# -- the start ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strategy", "copied"), [
    ("finetune", {"generator", "critic"}), ("finetune-g", {"generator"}), ("finetune-d", {"critic"}), ("scratch", set()),
])  # fmt: skip
def test_a_strategy_copies_the_networks_that_it_names(strategy: str, copied: set[str]):
    source = pretrain("letters")
    last = rungs(source)[-1]
    start = next(run(adapt(source, strategy), parent=checkpoint(last)))
    fresh = rungs(config())[0]
    names: tuple[Network, ...] = ("generator", "critic")
    for network in names:
        expected = checkpoint(last if network in copied else fresh).network(network)
        for name, tensor in checkpoint(start).network(network, raw=True).items():
            assert torch.equal(tensor, expected[name])
    assert (start.samples == last.samples) == ("generator" in copied)
    assert (start.measurements == fresh.measurements) == ("generator" not in copied)
    assert set(checkpoint(start).matches) == copied


@pytest.mark.parametrize("strategy", ["finetune", "finetune-g", "finetune-d"])
def test_a_strategy_with_a_source_needs_one(strategy: str):
    with pytest.raises(UserError, match=f"strategy '{strategy}' needs a source, and none was given"):
        next(run(config(strategy=strategy)))


def test_a_source_of_other_networks_does_not_fit():
    source = pretrain("letters")
    for misfit in (
        adapt(source, gan__width=8),
        adapt(source, gan__resolution=16),
        adapt(source, gan__family="sngan", training__loss="hinge"),
    ):
        with pytest.raises(UserError, match="'letters' does not fit"):
            next(run(misfit, parent=checkpoint(rungs(source)[-1])))


def test_classes_that_the_source_lacks_start_from_the_mean():
    source = pretrain("letters", conditional=True)
    parent = checkpoint(rungs(source)[-1])
    results = list(run(adapt(source), parent=parent))
    assert results[-1].finished
    assert results[-1].diverged is None
    rows = checkpoint(results[0]).tensors["generator.norm.scale"]
    assert rows.shape[0] == 10
    torch.testing.assert_close(rows, parent.network("generator")["norm.scale"].mean(0).expand_as(rows))


@pytest.mark.parametrize("labelled", [False, True])
def test_only_one_of_source_and_target_may_have_labels(labelled: bool):
    source = pretrain("numerals", conditional=labelled)
    strategy = "finetune[from=conditional]" if labelled else "finetune[from=unconditional]"
    trial = adapt(source, strategy).model_copy(update={"conditional": not labelled})
    results = list(run(trial, parent=checkpoint(rungs(source)[-1])))
    assert results[-1].finished
    if not labelled:
        assert results[0].samples == rungs(source)[-1].samples, "at step 0 it generates the images of the source"
        assert "classify.weight" in checkpoint(results[0]).matches["critic"].fresh


def test_classes_are_mapped_by_name(tmp_path: Path):
    """The source's classes are 3, 7 and x, in this order; the target's are the ten digits."""
    for number, image in enumerate(domains.get("numerals").load("train", 8).images[:90]):
        path = tmp_path / "x37"[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    source = pretrain(f"folder:{tmp_path}", conditional=True)
    assert source.domain.classes == ("3", "7", "x")
    parent = checkpoint(rungs(source)[-1])
    start = checkpoint(next(run(adapt(source), parent=parent)))
    of_source = {f"generator.{name}": tensor for name, tensor in parent.network("generator").items()}
    for name in ("generator.norm.scale", "generator.blocks.0.norm1.shift", "critic.classify.weight"):
        theirs, ours = of_source.get(name, parent.tensors[name]), start.tensors[name]
        assert len(theirs.unique(dim=0)) == 3, "the source's classes have equal rows"
        assert torch.equal(ours[3], theirs[0])
        assert torch.equal(ours[7], theirs[1])
        assert not torch.equal(ours[0], theirs[2])


# -- failures -----------------------------------------------------------------------------------------------------------


def test_a_diverging_trial_reports_it_and_ends():
    results = list(run(config(training__steps=40, training__critic_lr=1e6)))
    assert [rung.diverged is None for rung in results] == [True] * (len(results) - 1) + [False]
    last = results[-1]
    assert last.diverged is not None
    assert "a loss reached" in last.diverged
    assert (last.measurements, last.checkpoint, last.samples) == ((), None, None)
    assert last.step < 40
    assert not last.finished


def test_a_changed_domain_is_an_error():
    with pytest.raises(UserError, match="domain 'digits' has changed since the sweep was planned; run the command again"):
        next(run(config(domain__fingerprint="digits/0")))


@pytest.mark.slow
def test_a_folder_that_changes_between_plan_and_trial_is_detected(tmp_path: Path):
    for number, image in enumerate(domains.get("digits").load("train", 8).images[:30]):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    trial = config(domain=ref(f"folder:{tmp_path}"), size=15)
    assert len(training_images(trial).images) == 15
    (tmp_path / "0.png").unlink()
    domains._in_files.cache_clear()  # as in another process
    with pytest.raises(UserError, match="has changed since the sweep was planned"):
        training_images(trial)


def test_a_conditional_trial_needs_labels(tmp_path: Path):
    for number, image in enumerate(domains.get("digits").load("train", 8).images[:30]):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    unlabelled = ref(f"folder:{tmp_path}")
    with pytest.raises(UserError, match="has no class labels: set conditional to false"):
        next(run(config(domain=unlabelled, conditional=True)))
    assert training_images(config(domain=unlabelled, size=15)).labels is None


# -- training images ----------------------------------------------------------------------------------------------------


def test_subsets_are_nested():
    few, many = (training_images(config(size=size, conditional=True)) for size in (20, 50))
    assert few.labels is not None
    assert many.labels is not None
    np.testing.assert_array_equal(many.images[:20], few.images)
    np.testing.assert_array_equal(many.labels[:20], few.labels)
    assert np.bincount(few.labels).tolist() == [2] * 10
    assert np.bincount(many.labels).tolist() == [5] * 10


def test_subsets_have_the_classes_of_the_domain_or_equal_ones_if_conditional(tmp_path: Path):
    images = iter(domains.get("digits").load("train", 8).images)
    for name, split, count in (("common", "train", 90), ("rare", "train", 10), ("common", "val", 9), ("rare", "val", 9)):
        (tmp_path / split / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(next(images)).save(tmp_path / split / name / f"{number}.png")
    for conditional, counts in ((False, [18, 2]), (True, [10, 10])):
        labels = training_images(config(domain=ref(f"folder:{tmp_path}"), size=20, conditional=conditional)).labels
        assert labels is not None
        assert np.bincount(labels) == pytest.approx(counts, abs=0 if conditional else 1)


def test_labels_belong_to_their_images():
    data = domains.get("digits").load("train", 8)
    assert data.labels is not None
    labels = {image.tobytes(): label for image, label in zip(data.images, data.labels, strict=True)}
    seen = training_images(config(size=50))
    assert seen.labels is not None
    assert [labels[image.tobytes()] for image in seen.images] == list(seen.labels)


def test_trials_of_one_seed_have_the_same_images_and_others_do_not():
    source = pretrain("letters")
    images = training_images(config()).images
    for same in (adapt(source), config(training__steps=9), config(augmentation="flip")):
        np.testing.assert_array_equal(training_images(same).images, images)
    assert not np.array_equal(training_images(config(seed=1)).images, images)


def test_classes_without_training_images_are_neither_generated_nor_measured():
    """Six training images of ten classes: the other four are in no sample, no reference, and no seed's trial."""
    trial = config(size=6, conditional=True, evaluation__iw_steps=2)
    images = training_images(trial)
    classes = np.unique(images.labels)
    assert len(classes) == 6
    np.testing.assert_array_equal(np.unique(training_images(config(size=6, conditional=True, seed=1)).labels), classes)

    rung = rungs(trial)[-1]
    metrics = {measurement.metric: measurement for measurement in rung.measurements}
    assert {name for name in metrics if name.startswith("fid/")} == {f"fid/{digit}" for digit in classes}
    loaded = checkpoint(rung)
    requested = loaded.requested(64)
    assert set(requested) == set(classes)
    network, latent = checkpoints.generator(loaded)
    generated = sample(network, latent, 64, 0, requested)
    assert rung.samples == png_grid(generated[:32])

    embed, data = load_embedding("builtin"), domains.get("digits").load("reference", 8)
    real = data.images[np.isin(data.labels, classes)]
    assert np.bincount(requested, minlength=10) == pytest.approx(
        64 * np.isin(range(10), classes) * np.bincount(data.labels) / len(real), abs=1
    )
    assert metrics["fid"].value == pytest.approx(fid(statistics(embed(real)), statistics(embed(generated))), rel=1e-3)
    assert metrics["kid"].value == pytest.approx(kid(embed(real), embed(generated)).value, rel=1e-3, abs=1e-3)
    assert metrics["iw"].value == pytest.approx(iw_score(real, generated, trial.gan, 0, 2).value, rel=1e-2)


def test_an_unconditional_trial_of_few_classes_is_measured_against_all():
    loaded = checkpoint(rungs(config(size=6))[-1])
    assert loaded.requested(64) is None
    assert "class_counts" not in loaded.tensors


def test_trials_of_all_sizes_use_the_same_reference():
    """At step 0 trials of two sizes have the same generator, so their metrics are equal."""
    compared = [name for name, record in metrics().items() if record.training_images]
    small, large = ([m for m in rungs(config(size=n))[0].measurements if m.metric not in compared] for n in (20, 500))
    assert small == large
    features, summary = (getattr(references("digits", 8, load_embedding("builtin")), n) for n in ("features", "statistics"))
    assert len(features) == summary.samples == 797
    whole = load_embedding("builtin")(domains.get("digits").load("reference", 8).images)
    np.testing.assert_array_equal(features, whole)


# -- keys and cells -----------------------------------------------------------------------------------------------------

BASE = config(source=ref("letters"), strategy="finetune", parent="0" * 16)

#: By field of a trial: another value, and whether trials that differ in it are in the same cell.
CHANGES: list[tuple[str, Any, bool]] = [
    ("kind", "pretrain", False),
    ("domain__fingerprint", "digits/2", False),
    ("size", 21, False),
    ("source__fingerprint", "letters/2", True),
    ("source", None, True),
    ("strategy", "finetune-g", True),
    ("strategy", None, True),
    ("parent", "1" * 16, True),
    ("parent", None, True),
    ("conditional", True, False),
    ("augmentation", "diffaugment", False),
    ("seed", 1, True),
    ("tuned", "0" * 16, False),
    ("until", {"patience": 2}, False),
    ("with_options", "finetune[from=conditional]", True),
    ("gan__resolution", 16, False),
    ("gan__family", "sngan", False),
    ("gan__conditioning", "concat", False),
    ("gan__batch_norm", "running", False),
    ("gan__base", 2, False),
    ("gan__width", 5, False),
    ("gan__depth", 2, False),
    ("gan__latent", 9, False),
    ("training__loss", "non-saturating", False),
    ("training__ema", 0.9, False),
    ("training__flip", True, False),
    ("training__crop", 1, False),
    ("training__precision", "bf16", False),
    ("training__batch", 9, False),
    ("training__critic_steps", 2, False),
    ("training__generator_lr", 2e-2, False),
    ("training__critic_lr", 2e-2, False),
    ("training__betas", (0.5, 0.9), False),
    ("training__gradient_penalty", 9.0, False),
]

#: The fields that are not part of a key: names and classes, how far a training goes, and how it is measured.
SAME: list[tuple[str, Any]] = [
    ("domain__name", "folder:/elsewhere"),
    ("source__name", "folder:/elsewhere"),
    ("domain__classes", ("a", "b")),
    ("source__classes", ("a", "b")),
    ("training__steps", 7),
    ("evaluation__embedding", "custom:/network.pt"),
    ("evaluation__samples", 65),
    ("evaluation__first_rung", 3),
    ("evaluation__rung_factor", 3.0),
    ("evaluation__iw_steps", 5),
    ("evaluation__raw", True),
    ("evaluation__selection", 0.3),
    ("evaluation__reference", "train"),
    ("evaluation__where", "task"),
]


def changed(path: str, value: Any) -> TrialConfig:
    start = {"source": ref("letters").model_dump(), "strategy": "finetune", "parent": "0" * 16}
    return config(**{**start, path: value})


def test_every_field_of_a_trial_is_tested():
    data = BASE.model_dump()
    paths = {f"{k}__{inner}" for k, v in data.items() if isinstance(v, dict) for inner in v}
    paths |= {k for k, v in data.items() if not isinstance(v, dict)}
    assert {path for path, _, _ in CHANGES} - {"source"} | {path for path, _ in SAME} == paths


@pytest.mark.parametrize(("path", "value", "same_cell"), CHANGES)
def test_a_field_that_changes_the_outcome_changes_the_key(path: str, value: Any, same_cell: bool):
    other = changed(path, value)
    assert other.key != BASE.key
    assert (other.cell == BASE.cell) == same_cell


@pytest.mark.parametrize(("path", "value"), SAME)
def test_names_the_budget_and_the_evaluation_are_not_part_of_the_key(path: str, value: Any):
    other = changed(path, value)
    assert other != BASE
    assert (other.key, other.cell) == (BASE.key, BASE.cell)


@pytest.mark.parametrize("changes", [
    {"kind": "pretrain"},
    {"kind": "pretrain", "until": {"patience": 2}},
    {"kind": "tune", "strategy": "scratch"},
    {"strategy": "linear-probe-then-finetune", "parent": "0" * 16, "source": ref("letters").model_dump()},
    {"strategy": "mine", "parent": "0" * 16, "source": ref("letters").model_dump()},
])  # fmt: skip
def test_the_budget_is_part_of_the_key_where_it_decides_the_course_or_the_end(changes: dict[str, Any]):
    assert config(**changes).key != config(**changes, training__steps=7).key
    assert config(**changes).key == config(**changes, evaluation__samples=65).key


@pytest.mark.parametrize("setting", [{"metric": "kid"}, {"patience": 9}, {"every": 3}, {"samples": 65}, {"threshold": 0.1}])
def test_what_ends_a_source_is_part_of_its_key(setting: dict[str, Any]):
    first, second = (config(kind="pretrain", strategy=None, until=until) for until in ({}, setting))
    assert first.key != second.key


def test_keys_differ_and_are_short_hexadecimal():
    keys = [BASE.key, *(changed(path, value).key for path, value, _ in CHANGES)]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 and set(key) <= set("0123456789abcdef") for key in keys)


def test_a_pretrain_trial_has_no_cell():
    assert pretrain("letters").cell is None
    assert BASE.cell not in (None, BASE.key)


def test_a_trial_survives_json():
    again = TrialConfig.model_validate_json(BASE.canonical_json())
    assert again == BASE
    assert again.key == BASE.key
    assert again.canonical_json() == BASE.canonical_json()


@pytest.mark.parametrize(("path", "value", "wrong"), [
    ("sise", 3, "sise"), ("size", 0, "size"), ("size", 2.0, "size"), ("size", "20", "size"), ("seed", -1, "seed"),
    ("conditional", 1, "conditional"), ("strategy", "finetun", "did you mean finetune"),
    ("gan__resolution", 24, "power of two"), ("gan__resolution", 4, "power of two"), ("training__batch", 1, "batch"),
    ("training__critic_lr", math.nan, "critic_lr"),
    ("training__critic_lr", math.inf, "critic_lr"), ("training__betas", (0.0, 1.0), "betas"),
    ("evaluation__samples", 63, "samples"), ("evaluation__rung_factor", 1.0, "rung_factor"),
])  # fmt: skip
def test_an_invalid_trial_is_refused(path: str, value: Any, wrong: str):
    with pytest.raises(ValidationError, match=wrong):
        changed(path, value)


def test_a_trial_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        BASE.size = 3  # type: ignore[misc]


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 400), st.floats(1.1, 5))
def test_rungs_ascend_to_the_budget(first: int, steps: int, factor: float):
    steps_of_rungs = EvaluationConfig(first_rung=first, rung_factor=factor).rungs(steps)
    assert list(steps_of_rungs) == sorted(set(steps_of_rungs))
    assert steps_of_rungs[0] == min(first, steps)
    assert steps_of_rungs[-1] == steps
    # Each is the next power of the factor, rounded to a step; powers that round to the same step count once.
    powers = {round(first * factor**k) for k in range(200) if first * factor**k < steps}
    assert all(min(abs(rung - power) for power in powers) <= 1 for rung in steps_of_rungs[:-1])
