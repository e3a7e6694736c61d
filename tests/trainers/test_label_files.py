"""Labels in a file beside the images: StyleGAN's ``dataset.json``, Tiny ImageNet's ``val_annotations.txt``."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import encoded, picture, write
from tests.trainers.test_archive import tarred, zipped
from trainers.common.errors import UserError
from trainers.domains import Domain, get
from trainers.domains.base import SPLITS, Skipped
from trainers.domains.files.collection import NamedFiles
from trainers.domains.files.folder import Folder

#: In StyleGAN's data sets, a folder has a thousand images and is no class.
NAMES = [f"{number // 10:05d}/img{number:08d}.png" for number in range(24)]


def stylegan(labels: object, names: list[str] = NAMES) -> dict[str, bytes]:
    """Return the files of a data set as StyleGAN's tool writes it."""
    return {
        **{name: encoded(picture(int(name[-12:-4]))) for name in names},
        "dataset.json": json.dumps({"labels": labels}).encode(),
    }


def made(kind: str, folder: Path, contents: dict[str, bytes]) -> Domain:
    """Return files as a domain: in a folder, in an archive, or in a folder of an archive."""
    if kind == "folder":
        return get(f"folder:{write(folder / 'set', contents)}")
    wrapped = {f"set/{name}" if kind == "wrapped" else name: data for name, data in contents.items()}
    if kind == "tar":
        return get(f"tar:{tarred(folder / 'set.tar', wrapped)}")
    return get(f"zip:{zipped(folder / 'set.zip', wrapped)}")


def labels_by_image(domain: Domain) -> dict[bytes, str]:
    """Return the class of each image, by its pixels."""
    by_image = {}
    for split in SPLITS:
        data = domain.load(split, 16)
        assert data.labels is not None
        by_image |= {image.tobytes(): domain.classes[label] for image, label in zip(data.images, data.labels, strict=True)}
    return by_image


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "wrapped"])
def test_stylegans_labels_are_classes_and_its_folders_are_not(tmp_path: Path, kind: str):
    contents = stylegan([[name, 2 + 9 * (number % 2)] for number, name in enumerate(NAMES)])
    domain = made(kind, tmp_path, contents)
    assert domain.classes == ("02", "11")
    assert domain.skipped == ()
    plain = Folder(write(tmp_path / "plain", {name: data for name, data in contents.items() if name != "dataset.json"}))
    expected = {}
    for split in SPLITS:
        expected |= {image.tobytes(): None for image in plain.load(split, 16).images}
    classes = labels_by_image(domain)
    assert classes.keys() == expected.keys()
    one = Folder(write(tmp_path / "one", {name: contents[name] for name in NAMES[:2]}))
    of_two = {split: one.load(split, 16).images[0].tobytes() for split in SPLITS}
    assert sorted(classes[image] for image in of_two.values()) == ["02", "11"]
    assert domain.fingerprint != plain.fingerprint
    assert domain.fingerprint.startswith("files/5:")


def test_labels_lie_beside_a_single_folder_too(tmp_path: Path):
    names = NAMES[:10]
    contents = stylegan([[name, number % 3] for number, name in enumerate(names)], names)
    domains = [made(kind, tmp_path / kind, contents) for kind in ("folder", "wrapped") if not (tmp_path / kind).mkdir()]
    assert [domain.classes for domain in domains] == [("0", "1", "2")] * 2
    assert domains[0].fingerprint == domains[1].fingerprint


def test_without_labels_the_folders_are_no_classes(tmp_path: Path):
    domain = made("folder", tmp_path, stylegan(None))
    assert isinstance(domain, Folder)
    assert domain.classes == ()
    assert domain.layout.text == "no classes: dataset.json has no labels"


@pytest.mark.parametrize("content", [b"[]", b'{"images": []}', b'{"labels": 3}'])
def test_another_file_of_that_name_is_no_label_file(tmp_path: Path, content: bytes):
    domain = made("folder", tmp_path, {**stylegan(None), "dataset.json": content})
    assert domain.classes == ("00000", "00001", "00002")


@pytest.mark.parametrize("content", [b"", b'{"labels": [["0000', b"[" * 100_000])
def test_a_damaged_label_file_is_refused(tmp_path: Path, content: bytes):
    with pytest.raises(UserError, match=r"dataset.json is no JSON, so the labels of these images are unknown; copy it again"):
        made("folder", tmp_path, {**stylegan(None), "dataset.json": content})


def test_two_labels_for_an_image_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"dataset.json has two labels for 00000/img00000000.png"):
        made("folder", tmp_path, stylegan([*([name, 0] for name in NAMES), [NAMES[0], 1]]))


@pytest.mark.parametrize("labels", [
    [[name, 0] for name in NAMES[1:]], [[name, [0, 1]] for name in NAMES], [[name, -1] for name in NAMES],
])  # fmt: skip
def test_an_image_without_a_label_is_refused_in_one_line(tmp_path: Path, labels: list[Any]):
    with pytest.raises(
        UserError, match=r"dataset.json has no whole number as label for \d+ of 24 images, e.g. 00000/img00000000"
    ):
        made("folder", tmp_path, stylegan(labels))


def test_a_changed_label_changes_the_fingerprint_and_the_classes(tmp_path: Path):
    folders = [
        Folder(write(tmp_path / "set", stylegan([[name, number % classes] for number, name in enumerate(NAMES)])))
        for classes in (2, 3)
    ]
    assert folders[0].listing != folders[1].listing
    assert folders[0].fingerprint != folders[1].fingerprint
    assert [folder.classes for folder in folders] == [("0", "1"), ("0", "1", "2")]


def tiny_imagenet(rows: str = "val_0.JPEG\tn01\t0\t0\t9\t9\nval_1.JPEG\tn02\t0\t0\t9\t9\n") -> dict[str, bytes]:
    train = [f"train/{name}/images/{name}_{i}.JPEG" for name in ("n01", "n02") for i in range(3)]
    others = ["val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG"]
    contents = {name: encoded(picture(i), "JPEG") for i, name in enumerate([*train, *others])}
    return {**contents, "val/val_annotations.txt": rows.encode(), "train/n01/n01_boxes.txt": b"n01_0.JPEG\t0\t0\t9\t9\n"}


@pytest.mark.parametrize("kind", ["folder", "wrapped"])
def test_the_classes_of_tiny_imagenets_validation_images_are_those_of_its_file(tmp_path: Path, kind: str):
    domain = made(kind, tmp_path, tiny_imagenet())
    assert domain.classes == ("n01", "n02")
    reference = domain.labels("reference")
    assert reference is not None
    assert sorted(reference.tolist()) == [0, 1]
    assert (domain.count("train"), domain.count("reference")) == (6, 2)
    assert isinstance(domain, NamedFiles)
    text = "test, train, val are the splits; 2 folders are the classes; those of val are in val/val_annotations.txt"
    assert domain.layout.text == text
    reason = "without a class, by its folder or by val/val_annotations.txt"
    assert [file.reason for file in domain.skipped if "test_0" in file.name] == [reason]


def test_an_unlisted_validation_image_is_skipped_and_an_unknown_class_refused(tmp_path: Path):
    domain = made("folder", tmp_path, tiny_imagenet("val_0.JPEG\tn01\n"))
    reason = "without a class, by its folder or by val/val_annotations.txt"
    assert domain.skipped == (Skipped("test/images/test_0.JPEG", reason), Skipped("val/images/val_1.JPEG", reason))
    with pytest.raises(UserError, match=r"val/val_annotations.txt has no line with a file and its class"):
        made("folder", tmp_path / "empty", tiny_imagenet(""))
    with pytest.raises(UserError, match=r"val/val_annotations.txt names the class 'n03', which has no training images"):
        made("folder", tmp_path / "other", tiny_imagenet("val_0.JPEG\tn03\n"))
