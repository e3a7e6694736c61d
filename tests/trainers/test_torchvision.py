"""torchvision's data sets: small copies in the official layouts, missing and damaged ones, and fingerprints."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support import datasets
from trainers.common.errors import UserError
from trainers.domains import Split, builtin_names, get, torchvision_names
from trainers.domains.base import Skipped
from trainers.domains.torchvision import domain as domains
from trainers.domains.torchvision import layouts
from trainers.domains.torchvision.catalogue import LSUN
from trainers.domains.torchvision.domain import TorchvisionDomain

SPLITS: tuple[Split, ...] = ("train", "reference")
Writer = Callable[[Path], None]

# name: writer, train images, reference images, classes, whether the images are in colour
ROWS: dict[str, tuple[Writer, int, int, int, bool]] = {
    "imagenet": (datasets.imagenet, 4, 3, 3, True),
    "places365": (datasets.places365, 4, 3, 3, True),
    **{f"lsun-{name.replace('_', '-')}": (datasets.lsun(name), 4, 3, 0, True) for name in LSUN},
    "lsun-10": (datasets.lsun(*LSUN), 40, 30, 10, True),
    "celeba": (datasets.celeba, 4, 3, 0, True),
    "flowers102": (datasets.flowers102, 4, 3, 102, True),
    "lfw": (datasets.lfw, 4, 3, 0, True),
    "cityscapes": (datasets.cityscapes, 4, 3, 0, True),
    "cifar10": (datasets.cifar10, 5, 3, 3, True),
    "cifar100": (datasets.cifar100, 4, 3, 3, True),
    "stl10": (datasets.stl10, 4, 3, 3, True),
    "fashion-mnist": (datasets.mnist("FashionMNIST"), 4, 3, 10, False),
    "mnist": (datasets.mnist("MNIST"), 4, 3, 10, False),
    "kmnist": (datasets.mnist("KMNIST"), 4, 3, 10, False),
    "emnist": (datasets.mnist("EMNIST", "emnist-balanced-", test="test", turned=True), 4, 3, 47, False),
    "omniglot": (datasets.omniglot, 9, 3, 3, False),
    "svhn": (datasets.svhn, 4, 3, 10, True),
    "oxford-pets": (datasets.pets, 4, 3, 3, True),
    "dtd": (datasets.dtd, 4, 3, 3, True),
}
FEW = ["lsun-bedroom" if name.startswith("lsun") and name != "lsun-10" else name for name in ROWS]
FEW = list(dict.fromkeys(FEW))


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSFERGAN_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def copy(name: str) -> TorchvisionDomain:
    """Return a domain whose data set has just been written."""
    if name.startswith("lsun"):
        pytest.importorskip("lmdb")
    domain = absent(name)
    domain.path.mkdir(parents=True)
    ROWS[name][0](domain.path)
    return domain


def absent(name: str) -> TorchvisionDomain:
    domain = get(name)
    assert isinstance(domain, TorchvisionDomain)
    return domain


def again(domain: TorchvisionDomain) -> TorchvisionDomain:
    """Return the domain as another process would see it."""
    return TorchvisionDomain(domain.entry, domains.data_root())


def refused(domain: TorchvisionDomain) -> str:
    """Return the message of one line about why a domain cannot be loaded."""
    with pytest.raises(UserError) as error:
        _ = [domain.load(split, 8) for split in SPLITS]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_there_is_a_row_for_every_domain():
    assert list(ROWS) == list(torchvision_names())
    assert not set(ROWS) & set(builtin_names())


@pytest.mark.parametrize("name", ROWS)
def test_the_official_layout_is_read(name: str, tmp_path: Path):
    _, train, reference, classes, coloured = ROWS[name]
    before = set(tmp_path.iterdir()) | {tmp_path / "data"}
    domain = copy(name)
    assert domain.ready() is None
    assert (domain.count("train"), domain.count("reference"), len(domain.classes)) == (train, reference, classes)
    assert len(set(domain.classes)) == classes
    for split in SPLITS:
        data = domain.load(split, 16)
        assert data.images.shape == (domain.count(split), 16, 16, 3)
        assert data.images.dtype == np.uint8
        assert domain.load(split, 16) is data
        labels = domain.labels(split)
        if classes:
            assert labels is not None
            assert data.labels is not None
            assert labels.dtype == np.int64
            np.testing.assert_array_equal(labels, data.labels)
        else:
            assert labels is data.labels is None
        for i, image in enumerate(data.images):
            label = 0 if labels is None else int(labels[i]) % 3
            assert datasets.decoded(image, coloured) == (split, label, True)
    assert set(tmp_path.iterdir()) == before, "something was written to the working directory"


@pytest.mark.parametrize("name", ROWS)
def test_the_message_about_a_missing_data_set_says_what_to_place_where(name: str):
    domain = absent(name)
    message = refused(domain)
    assert str(domain.path) in message
    assert domain.entry.files in message
    assert (f"transfergan domains prepare {name} --download" in message) == domain.entry.download
    assert domain.entry.download or domain.entry.source in message
    for use in (
        lambda: domain.fingerprint,
        lambda: domain.classes,
        lambda: domain.count("train"),
        lambda: get(f"{name}[classes=2]"),
    ):
        with pytest.raises(UserError, match="lacks"):
            use()
    assert not domain.path.exists()


@pytest.mark.parametrize("name", FEW)
def test_the_message_about_an_incomplete_data_set_names_the_missing_file(name: str):
    domain = copy(name)
    for need in domain.entry.needs:
        (domain.path / need).rename(domain.path / "away")
        assert f"lacks {need};" in refused(again(domain))
        (domain.path / "away").rename(domain.path / need)
    assert domain.ready() is None


def damaged(domain: TorchvisionDomain) -> list[Path]:
    """Return the files that a domain needs; of a folder of images, one."""
    files = []
    for need in domain.entry.needs:
        path = domain.path / need
        files.append(path if path.is_file() else min(file for file in path.rglob("*") if file.is_file()))
    return files


@pytest.mark.slow
@pytest.mark.parametrize("how", ["empty", "garbage", "cut"])
@pytest.mark.parametrize("name", FEW)
def test_a_damaged_file_is_reported_in_one_line(name: str, how: str):
    domain = copy(name)
    for file in damaged(domain):
        whole = file.read_bytes()
        if how == "cut" and file.suffix == ".txt":
            continue  # a shorter list is valid
        content = {"empty": b"", "garbage": b"\x07\xffgarbage " * 9, "cut": whole[: len(whole) // 2]}[how]
        file.unlink()
        file.write_bytes(content)
        layouts._database.cache_clear()  # as in another process
        message = refused(again(domain))
        where = {file, file.parent, domain.path} if file.suffix in (".bin", ".txt", ".mat") else {file}
        assert any(str(path) in message for path in where)
        assert len(message) < 600
        file.write_bytes(whole)


def test_a_listed_image_that_is_missing_is_skipped_and_named():
    domain = copy("dtd")
    images, fingerprint = domain.count("train") + domain.count("reference"), domain.fingerprint
    file = damaged(domain)[-1]
    file.unlink()
    part = again(domain)
    assert part.count("train") + part.count("reference") == images - 1
    assert part.skipped == (Skipped(f"{file.parent.name}/{file.name}", "not in this copy"),)
    assert part.fingerprint != fingerprint


@pytest.mark.parametrize("name", ["imagenet", "omniglot"])
def test_hidden_files_beside_the_images_change_nothing(name: str):
    domain = copy(name)
    expected = [(domain.load(split, 16).images, domain.labels(split)) for split in SPLITS]
    for file in damaged(domain)[-3:]:
        if file.suffix != ".bin":
            (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7")
    for split, (images, labels) in zip(SPLITS, expected, strict=True):
        after = again(domain).load(split, 16)
        np.testing.assert_array_equal(after.images, images)
        np.testing.assert_array_equal(after.labels, labels)


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("attacked",)


def test_a_pickle_that_runs_a_program_is_refused(tmp_path: Path):
    domain = copy("cifar10")
    (domain.path / "cifar-10-batches-py/data_batch_3").write_bytes(pickle.dumps({"data": Attack(), "labels": [0]}))
    assert "data_batch_3 cannot be read: it contains posix.mkdir" in refused(domain)
    domain = copy("imagenet")
    (domain.path / "meta.bin").write_bytes(pickle.dumps(Attack()))
    assert "meta.bin cannot be read" in refused(domain)
    assert not (tmp_path / "attacked").exists()


def test_inconsistent_labels_are_refused():
    domain = copy("mnist")
    datasets.idx(domain.path / "MNIST/raw/train-labels-idx1-ubyte", np.array([0, 1, 2]))
    assert "4 images and 3 labels" in refused(domain)
    datasets.idx(domain.path / "MNIST/raw/train-labels-idx1-ubyte", np.array([0, 1, 2, 10]))
    assert "a label outside its 10 classes" in refused(again(domain))
    datasets.idx(domain.path / "MNIST/raw/train-images-idx3-ubyte", np.zeros((0, 28, 28)))
    assert "train-images-idx3-ubyte cannot be read" in refused(again(domain))
    domain = copy("cityscapes")
    shutil.rmtree(domain.path / "leftImg8bit/val/e")
    assert domain.count("reference") == 2
    shutil.rmtree(domain.path / "leftImg8bit/val")
    (domain.path / "leftImg8bit/val").mkdir()
    assert "its reference split has no images" in refused(again(domain))


def test_labels_and_class_names_match_in_a_part_of_a_data_set():
    domain = copy("dtd")
    datasets.lines(domain.path / "dtd/dtd/labels/test1.txt", ["woven/test_0000.jpg"])
    assert domain.classes == ("banded", "blotchy", "woven")
    np.testing.assert_array_equal(domain.labels("reference"), [2])
    datasets.lines(domain.path / "dtd/dtd/labels/train1.txt", ["banded/train_0000.jpg"])
    assert "reference images of class 'woven' but no train images" in refused(again(domain))


def test_emnist_has_classes_of_letters_and_digits_and_knobs_apply():
    assert copy("emnist").classes[9:12] == ("9", "A", "B")
    few = get("emnist[classes=2]")
    assert len(few.classes) == 2
    assert few.fingerprint == f"{get('emnist').fingerprint}[classes=2]"


@pytest.mark.parametrize("name", FEW)
def test_the_fingerprint_covers_the_content_and_not_the_path(name: str, root: Path, monkeypatch: pytest.MonkeyPatch):
    domain = copy(name)
    here = domain.fingerprint
    assert here == again(domain).fingerprint
    shutil.copytree(root, root.parent / "elsewhere", copy_function=shutil.copy)
    monkeypatch.setenv("TRANSFERGAN_DATA", str(root.parent / "elsewhere"))
    assert get(name).fingerprint == here
    file = damaged(absent(name))[-1]
    file.write_bytes(file.read_bytes() + b"\n")
    assert again(absent(name)).fingerprint != here


def test_the_fingerprint_is_stored_with_the_data_until_a_file_changes(monkeypatch: pytest.MonkeyPatch):
    domain = copy("svhn")
    first = domain.fingerprint
    stored = domain.path / ".svhn.fingerprint.json"
    assert stored.is_file()
    monkeypatch.setattr(domains, "_content", lambda *_: pytest.fail("the files were read again"))
    assert again(domain).fingerprint == first
    monkeypatch.undo()
    monkeypatch.setenv("TRANSFERGAN_DATA", str(domain.path.parent))
    stored.write_text("{")
    assert again(domain).fingerprint == first
    os.utime(domain.path / "test_32x32.mat", (1, 1))
    assert again(domain).fingerprint == first


def test_only_the_size_of_a_large_file_matters(monkeypatch: pytest.MonkeyPatch):
    domain = copy("svhn")
    monkeypatch.setattr(domains, "HASHED", 100)
    first = domain.fingerprint
    file = domain.path / "test_32x32.mat"
    file.write_bytes(bytes(file.stat().st_size))
    assert again(domain).fingerprint == first
    file.write_bytes(bytes(file.stat().st_size + 1))
    assert again(domain).fingerprint != first


def test_the_message_about_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    domain = copy("lsun-tower")
    monkeypatch.setattr(domains, "find_spec", lambda _: None)
    assert "pip install lmdb" in refused(again(domain))


@pytest.mark.parametrize(("wrong", "hint"), [("cifar", "did you mean cifar10"), ("lsun-church", "lsun-church-outdoor")])
def test_the_message_about_an_unknown_name_has_the_nearest(wrong: str, hint: str):
    with pytest.raises(UserError, match=hint):
        get(wrong)
