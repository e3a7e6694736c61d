"""References: computed once per domain, split, resolution and embedding, kept in the store, and checked when read."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from bench.store import open_store
from bench.store import references as stored
from bench.store.references import StoredReferences, reference_path
from trainers import domains
from trainers.common.errors import DamagedError
from trainers.config.embeddings import reference_key
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.metrics.fid import statistics
from trainers.evaluation.references import Reference, dump, embed, load, references


def reference(labels: bool = True) -> Reference:
    features = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    return Reference(features, np.array([0, 0, 2, 2, 2, 5, 0, 2, 2]) if labels else None, statistics(features))


@pytest.mark.parametrize("labels", [True, False])
def test_a_reference_comes_back_as_it_was_written(labels: bool):
    written = reference(labels)
    read = load(dump(written))
    assert read.features.dtype == np.float32
    np.testing.assert_array_equal(read.features, written.features)
    np.testing.assert_array_equal(read.statistics.mean, written.statistics.mean)
    np.testing.assert_array_equal(read.statistics.covariance, written.statistics.covariance)
    assert read.statistics.samples == 9
    assert (read.labels is None) is not labels
    if read.labels is not None:
        np.testing.assert_array_equal(read.labels, written.labels)


def test_statistics_by_class_are_those_of_classes_with_two_images_or_more():
    labelled = reference()
    assert set(labelled.by_class) == {0, 2}
    np.testing.assert_allclose(labelled.by_class[2].mean, labelled.features[[2, 3, 4, 7, 8]].mean(0), rtol=1e-6)
    assert reference(labels=False).by_class == {}


def checksum(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return what older files have instead of a seal."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def without_a_seal() -> bytes:
    """Return the bytes of a reference as older versions wrote it: with a checksum tensor, without metadata."""
    old = reference()
    assert old.labels is not None
    arrays = {"features": old.features, "labels": old.labels}
    arrays |= {"mean": old.statistics.mean, "covariance": old.statistics.covariance}
    return save({**arrays, "sha256": checksum(arrays)})


def test_a_reference_without_a_seal_is_read():
    read, written = load(without_a_seal()), reference()
    for array, expected in (
        (read.features, written.features), (read.labels, written.labels), (read.statistics.mean, written.statistics.mean),
        (read.statistics.covariance, written.statistics.covariance),
    ):  # fmt: skip
        assert array is not None
        assert expected is not None
        np.testing.assert_array_equal(array, expected)
    with pytest.raises(DamagedError, match="do not match their checksum"):
        load(save({"features": written.features, "mean": written.statistics.mean, "covariance": written.statistics.covariance}))


@pytest.mark.parametrize("data", [dump(reference()), without_a_seal()], ids=["sealed", "without a seal"])
def test_damage_is_detected_anywhere_in_a_reference(data: bytes):
    for place in range(8, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(ValueError, match="reference"):
            load(bytes(damaged))
    for length in (0, 5, 100, len(data) - 1):
        with pytest.raises(ValueError, match="reference"):
            load(data[:length])


def test_all_that_determines_a_reference_is_in_its_key():
    keys = {
        reference_key("digits/1", 16, "builtin:1"),
        reference_key("digits/2", 16, "builtin:1"),
        reference_key("digits/1", 32, "builtin:1"),
        reference_key("digits/1", 16, "builtin:2"),
        reference_key("digits/1", 16, "builtin:1", "train"),
    }
    assert len(keys) == 5


def test_a_stored_reference_is_read_and_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, builtin = open_store(str(tmp_path / "store"), create=True), load_embedding("builtin")
    expected = embed("digits", 8, builtin)
    file = tmp_path / "store" / reference_path(domains.get("digits").fingerprint, 8, builtin.identity)
    np.testing.assert_array_equal(StoredReferences(store)("digits", 8, builtin).features, expected.features)
    before = file.read_bytes()
    assert StoredReferences(store)("digits", 8, builtin) is StoredReferences(store)("digits", 8, builtin)

    def refuse(images: np.ndarray) -> np.ndarray:
        raise AssertionError("the images were embedded again")

    refuse.identity = builtin.identity  # type: ignore[attr-defined]
    stored._kept.clear()  # as in another process
    np.testing.assert_array_equal(
        StoredReferences(store)("digits", 8, refuse).features,  # type: ignore[arg-type]
        expected.features,
    )
    assert file.read_bytes() == before


def test_the_train_split_has_a_reference_of_its_own(tmp_path: Path):
    store, builtin = open_store(str(tmp_path / "store"), create=True), load_embedding("builtin")
    of_train, mixed = StoredReferences(store)("digits", 8, builtin, "train"), "letters[classes=2,per_class=20]+digits"
    np.testing.assert_array_equal(of_train.features, embed("digits", 8, builtin, "train").features)
    assert len(StoredReferences(store)("digits", 8, builtin).features) == 797 != len(of_train.features)
    assert len(list((tmp_path / "store" / "references").iterdir())) == 2
    np.testing.assert_array_equal(
        references(mixed, 8, builtin, "train").features, embed(mixed, 8, builtin, "train").features
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"not a reference"])
def test_a_damaged_reference_is_computed_again(tmp_path: Path, damage: bytes):
    store, builtin = open_store(str(tmp_path / "store"), create=True), load_embedding("builtin")
    StoredReferences(store)("digits", 8, builtin)
    (file,) = (tmp_path / "store" / "references").iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage)
    stored._kept.clear()
    assert StoredReferences(store)("digits", 8, builtin).statistics.samples == 797
    assert file.read_bytes() == whole
