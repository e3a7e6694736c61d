"""Mixtures: the union of domains, their names, classes and features; and the names of sources."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.store import open_store
from bench.store.references import StoredReferences, reference_path
from bench.sweeps.expansion import make_plan
from bench.sweeps.spec import SweepSpec
from tests.bench.test_plan import pictures
from trainers import domains
from trainers.common.errors import UserError
from trainers.config import sources
from trainers.config.settings import EvaluationConfig, GanConfig, TrainingConfig
from trainers.config.trial import DomainRef, TrialConfig
from trainers.domains.base import SPLITS
from trainers.domains.files import prepared_cache
from trainers.domains.mixtures import Mixture, parts_of
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.evaluator import real_grid
from trainers.trial.images import training_images

FEW = "letters[classes=3,per_class=4]"
MIXED = f"{FEW}+shapes[classes=2,per_class=10]"


def mixed(name: str = MIXED) -> Mixture:
    mixture = domains.get(name)
    assert isinstance(mixture, Mixture)
    return mixture


# -- names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("entry", "name"), [
    ("letters", "letters"),
    (["letters"], "letters"),
    (["shapes", "letters"], "letters+shapes"),
    (["shapes+numerals", "letters"], "letters+numerals+shapes"),
    ("shapes+letters", "letters+shapes"),
    (["folder:a+b/(c)", FEW], f"(folder:a+b/(c))+{FEW}"),
    ("letters->numerals", "letters -> numerals"),
    (" shapes + letters  -> numerals", "letters+shapes -> numerals"),
    ("folder:a->b", "folder:a->b"),
    ("folder:a+letters", "folder:a+letters"),
    ("(folder:a->b)+letters -> folder:c", "(folder:a->b)+letters -> folder:c"),
    ("letters[spread=1e+0]", "letters[spread=1e+0]"),
], ids=str)  # fmt: skip
def test_an_entry_of_a_sweep_file_has_a_canonical_name(entry: Any, name: str):
    assert sources.read(entry) == sources.read(name) == name


@pytest.mark.parametrize(
    "paths", [("folder:a+b", "folder:(c)"), ("folder:a)", "letters"), ("zip:a+letters", "tar:b[1]")], ids=str
)
def test_a_mixture_of_paths_is_split_into_its_parts(paths: tuple[str, ...]):
    assert sources.parts(sources.mixture(paths)) == tuple(sorted(paths))


@pytest.mark.parametrize(("entry", "message"), [
    (["letters", "letters"], "names domain 'letters' twice"),
    (["letters", "letters+shapes"], "names domain 'letters' twice"),
    ("letters -> ", "lacks a domain"),
    ("-> letters", "lacks a domain"),
    ("", "lacks a domain"),
    ([], "a list to mix"),
    ([["letters"], "shapes"], "a list to mix"),
    (3, "a list to mix"),
    (["letters", "letters -> shapes"], "has the chain"),
    (["folder:a)+b", "letters"], "rename the folder"),
], ids=str)  # fmt: skip
def test_an_invalid_entry_is_refused(entry: Any, message: str):
    with pytest.raises(UserError, match="(?s)" + message.replace("+", r"\+")):
        sources.read(entry)


def test_each_domain_of_a_source_is_listed_once():
    assert sources.domains("letters+shapes -> numerals -> letters") == ("letters", "shapes", "numerals")


# -- the union ----------------------------------------------------------------------------------------------------------


def test_the_order_of_the_names_does_not_matter():
    assert mixed("letters+shapes") is mixed("shapes+letters") is not mixed("letters+numerals")
    assert mixed("shapes+letters").name == "letters+shapes"
    assert len({mixed(name).fingerprint for name in ("letters+shapes", "letters+numerals", MIXED)}) == 3


@pytest.mark.parametrize("split", SPLITS)
def test_a_mixture_has_every_image_of_its_parts_once(split: Any):
    mixture = mixed()
    loaded = [part.load(split, 8) for part in mixture.parts]
    data = mixture.load(split, 8)
    np.testing.assert_array_equal(data.images, np.concatenate([part.images for part in loaded]))
    assert mixture.count(split) == len(data.images) == sum(part.count(split) for part in mixture.parts)
    assert data.labels is not None
    for part, images, label in zip(mixture.parts, loaded, np.split(data.labels, [len(loaded[0].images)]), strict=True):
        assert images.labels is not None
        assert [mixture.classes[k] for k in label] == [part.classes[k] for k in images.labels]


def test_picked_images_are_those_of_the_split():
    rows = np.array([31, 0, 13, 11, 12, 0])
    whole, picked = mixed().load("train", 8), mixed().pick("train", 8, rows)
    np.testing.assert_array_equal(picked.images, whole.images[rows])
    assert picked.labels is not None
    assert whole.labels is not None
    np.testing.assert_array_equal(picked.labels, whole.labels[rows])


def test_a_trial_on_a_mixture_trains_on_all_images_equally():
    mixture = mixed()
    ref = DomainRef(name=mixture.name, fingerprint=mixture.fingerprint, classes=mixture.classes)
    trial = TrialConfig(
        kind="pretrain", domain=ref, size=mixture.count("train"), gan=GanConfig(resolution=8), training=TrainingConfig(),
        evaluation=EvaluationConfig(),
    )  # fmt: skip
    assert [part.count("train") for part in mixture.parts] == [12, 20]
    seen = training_images(trial).images
    assert sorted(map(bytes, seen)) == sorted(map(bytes, mixture.load("train", 8).images))
    assert real_grid(mixture.name, 8).startswith(b"\x89PNG")


def test_classes_keep_their_names_unless_two_domains_have_them():
    assert mixed("letters+shapes").classes == domains.get("letters").classes + domains.get("shapes").classes
    assert mixed("digits+numerals").classes[::10] == ("digits/0", "numerals/0")
    assert len(set(mixed("digits+numerals").classes)) == 20


def test_folders_of_a_mixture_are_read_from_the_cache_and_may_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRANSFERGAN_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b"):
        pictures(tmp_path / name, 8, "cats", name)
    (tmp_path / "b" / "cats" / "00.png").unlink()
    mixture = mixed(sources.mixture(f"folder:{tmp_path / name}" for name in ("a", "b")))
    mixture.prepare(8)
    assert sorted(mixture.classes) == ["a", "a/cats", "b", "b/cats"]
    before = mixture.load("train", 8).images
    cached = list((prepared_cache.cache_root() / "images").glob("*/train-8.u8"))
    assert len(cached) == 2, "the mixture itself is not cached"
    shutil.copytree(tmp_path / "a", tmp_path / "z" / "a")  # its name is now the last
    moved = mixed(sources.mixture((f"folder:{tmp_path / 'z' / 'a'}", f"folder:{tmp_path / 'b'}")))
    assert moved.fingerprint == mixture.fingerprint
    assert moved.classes == mixture.classes
    np.testing.assert_array_equal(moved.load("train", 8).images, before)
    with pytest.raises(UserError, match="have the same images; leave one out"):
        _ = mixed(sources.mixture((f"folder:{tmp_path / 'z' / 'a'}", f"folder:{tmp_path / 'a'}"))).fingerprint


def test_a_mixture_with_a_part_without_classes_has_none_and_the_message_names_the_part(tmp_path: Path):
    bare = f"folder:{pictures(tmp_path / 'bare', 30)}"
    mixture = mixed(sources.mixture([bare, FEW]))
    assert mixture.classes == ()
    assert mixture.labels("train") is None
    grid = {"name": "t", "targets": ["digits"], "sizes": [5], "strategies": ["finetune"], "conditional": [True]}
    with pytest.raises(UserError, match=f"domain '{bare}' has no class labels"):
        make_plan(SweepSpec.model_validate({**grid, "sources": [[bare, FEW]]}))


def test_the_reference_of_a_mixture_is_the_union_of_its_parts(tmp_path: Path):
    store, embedding = open_store(str(tmp_path / "store"), create=True), load_embedding("builtin")
    reference = StoredReferences(store)(MIXED, 8, embedding)
    for domain in (mixed(), *parts_of(mixed())):
        assert store.has_file(reference_path(domain.fingerprint, 8, embedding.identity))
    np.testing.assert_allclose(reference.features, embedding(mixed().load("reference", 8).images), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(reference.statistics.mean, reference.features.astype(float).mean(0), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(reference.labels, mixed().labels("reference"))
