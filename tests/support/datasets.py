"""Tiny copies of torchvision's data sets in their official layouts. The images encode their label, split and orientation."""

import io
import pickle
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from trainers.domains import Split

#: The labels of the images of each split, except where a writer defines its own.
LABELS: dict[Split, tuple[int, ...]] = {"train": (0, 1, 2, 1), "reference": (2, 0, 1)}


def picture(split: Split, label: int, side: int = 24) -> np.ndarray:
    """Return an image uint8 (side, side, 3): red encodes the label (0 to 2), green the split, blue the upper half."""
    image = np.zeros((side, side, 3), np.uint8)
    image[:, :, 0] = 40 + 60 * label
    image[:, :, 1] = 200 if split == "train" else 50
    image[: side // 2, :, 2] = 255
    return image


def grey(split: Split, label: int, side: int = 28) -> np.ndarray:
    """Return an image uint8 (side, side): a black upper half, and a lower half whose brightness encodes label and split."""
    image = np.full((side, side), 40 + 60 * label + (0 if split == "train" else 25), np.uint8)
    image[: side // 2] = 0
    return image


def decoded(image: np.ndarray, coloured: bool) -> tuple[Split, int, bool]:
    """Return what an image (16, 16, 3) encodes: its split, its label, and whether it is upright."""
    top, low = image[3, 8].astype(int), image[12, 8].astype(int)
    assert not np.ptp(image.astype(int), axis=1).max() > 16, "rows are of one colour"
    if coloured:
        return "train" if low[1] > 125 else "reference", round((low[0] - 40) / 60), bool(top[2] > 200 > 60 > low[2])
    label, rest = divmod(int(low.mean()) - 40 + 12, 60)
    return "train" if rest < 25 else "reference", label, bool(top.max() < 20 and np.ptp(low) == 0)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95)


def lines(path: Path, rows: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def imagenet(root: Path) -> None:
    for split, folder in (("train", "train"), ("reference", "val")):
        for i, label in enumerate(LABELS[split]):
            save(root / folder / f"n0{label}" / f"{i}.JPEG", picture(split, label))
    torch.save(({f"n0{label}": ("crane", "bird") for label in range(3)}, ["n02"]), root / "meta.bin")


def places365(root: Path) -> None:
    names = ("/a/airfield", "/a/apartment_building/outdoor", "/z/zen_garden")
    train = [(f"{names[label]}/{i:08}.jpg", label) for i, label in enumerate(LABELS["train"])]
    val = [(f"Places365_val_{i:08}.jpg", label) for i, label in enumerate(LABELS["reference"])]
    for name, label in train:
        save(root / f"data_256_standard{name}", picture("train", label))
    for name, label in val:
        save(root / "val_256" / name, picture("reference", label))
    lines(root / "categories_places365.txt", [f"{name} {label}" for label, name in enumerate(names)])
    lines(root / "places365_train_standard.txt", [f"{name} {label}" for name, label in train])
    lines(root / "places365_val.txt", [f"{name} {label}" for name, label in val])


def lsun(*categories: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        import lmdb

        for label, category in enumerate(categories):
            for split, part in (("train", "train"), ("reference", "val")):
                with (
                    lmdb.open(str(root / f"{category}_{part}_lmdb"), map_size=2**20) as database,
                    database.begin(write=True) as to,
                ):
                    for i in range(4 if split == "train" else 3):
                        data = io.BytesIO()
                        Image.fromarray(picture(split, label % 3)).save(data, "WEBP", lossless=True)
                        to.put(f"{i:040x}".encode(), data.getvalue())

    return write


def celeba(root: Path) -> None:
    images = [("train", 0, 0)] * 4 + [("reference", 0, 2)] * 3 + [("reference", 0, 1)]
    for i, (split, label, _) in enumerate(images):
        save(root / f"celeba/img_align_celeba/{i:06}.jpg", picture(split, label))
    lines(root / "celeba/list_eval_partition.txt", [f"{i:06}.jpg {part}" for i, (_, _, part) in enumerate(images)])


def flowers102(root: Path) -> None:
    images = [(split, label) for split in ("train", "reference") for label in LABELS[split]]
    for i, (split, label) in enumerate(images, 1):
        save(root / f"flowers-102/jpg/image_{i:05}.jpg", picture(split, label))
    savemat(root / "flowers-102/imagelabels.mat", {"labels": np.array([[label + 1 for _, label in images]], np.uint8)})
    ids = {"trnid": np.arange(1, 5)[None], "valid": np.array([[1, 2]]), "tstid": np.arange(5, 8)[None]}
    savemat(root / "flowers-102/setid.mat", ids)


def lfw(root: Path) -> None:
    people = {"Ann_Lee": ("train", 3), "Bo": ("train", 1), "Cy_Oz": ("reference", 3)}
    for name, (split, count) in people.items():
        for i in range(1, count + 1):
            save(root / f"lfw-py/lfw_funneled/{name}/{name}_{i:04}.jpg", picture(split, 0))
    lines(root / "lfw-py/lfw-names.txt", [f"{name}\t{count}" for name, (_, count) in people.items()])
    lines(root / "lfw-py/peopleDevTrain.txt", ["2", "Ann_Lee\t3", "Bo\t1"])
    lines(root / "lfw-py/peopleDevTest.txt", ["1", "Cy_Oz\t3"])


def cityscapes(root: Path) -> None:
    for split, folder, cities in (("train", "train", "abcd"), ("reference", "val", "efg")):
        for city in cities:
            save(root / f"leftImg8bit/{folder}/{city}/{city}_000000_000019_leftImg8bit.png", picture(split, 0))


class Python2(pickle._Pickler):  # type: ignore[name-defined]
    """Pickles strings as Python 2 did, which wrote the official files."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, text: str | bytes) -> None:
        data = text.encode("latin1") if isinstance(text, str) else text
        self.write(b"T" + struct.pack("<i", len(data)) + data)

    dispatch[str] = dispatch[bytes] = save_string


def pickled(path: Path, content: object) -> None:
    data = io.BytesIO()
    Python2(data, protocol=2).dump(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.getvalue().replace(b"numpy._core.", b"numpy.core."))


def rows(split: Split, labels: Sequence[int]) -> np.ndarray:
    return np.array([picture(split, label, 32).transpose(2, 0, 1).ravel() for label in labels], np.uint8)


def cifar10(root: Path) -> None:
    base = root / "cifar-10-batches-py"
    for i, label in enumerate((0, 1, 2, 1, 0), 1):
        pickled(base / f"data_batch_{i}", {"data": rows("train", [label]), "labels": [label]})
    pickled(base / "test_batch", {"data": rows("reference", LABELS["reference"]), "labels": list(LABELS["reference"])})
    pickled(base / "batches.meta", {"label_names": ["airplane", "automobile", "bird"]})


def cifar100(root: Path) -> None:
    for split, name in (("train", "train"), ("reference", "test")):
        labels = list(LABELS[split])
        pickled(root / "cifar-100-python" / name, {"data": rows(split, labels), "fine_labels": labels, "coarse_labels": labels})
    pickled(root / "cifar-100-python/meta", {"fine_label_names": ["apple", "bear", "bee"], "coarse_label_names": ["fruit"]})


def stl10(root: Path) -> None:
    base = root / "stl10_binary"
    base.mkdir(parents=True)
    for split, name in (("train", "train"), ("reference", "test")):
        images = np.array([picture(split, label, 96).transpose(2, 1, 0) for label in LABELS[split]])
        images.tofile(base / f"{name}_X.bin")
        (base / f"{name}_y.bin").write_bytes(bytes(label + 1 for label in LABELS[split]))
    lines(base / "class_names.txt", ["airplane", "bird", "car"])


def svhn(root: Path) -> None:
    for split, name in (("train", "train"), ("reference", "test")):
        images = np.array([picture(split, label, 32) for label in LABELS[split]]).transpose(1, 2, 3, 0)
        labels = np.array([[label or 10] for label in LABELS[split]], np.uint8)
        savemat(root / f"{name}_32x32.mat", {"X": images, "y": labels})


def idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes())


def mnist(
    folder: str, prefix: str = "", train: str = "train", test: str = "t10k", turned: bool = False
) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for split, name in (("train", train), ("reference", test)):
            images = np.array([grey(split, label) for label in LABELS[split]])
            images = images.transpose(0, 2, 1) if turned else images
            idx(root / f"{folder}/raw/{prefix}{name}-images-idx3-ubyte", images)
            idx(root / f"{folder}/raw/{prefix}{name}-labels-idx1-ubyte", np.array(LABELS[split]))

    return write


def omniglot(root: Path) -> None:
    for label in range(3):
        for drawer in (1, 9, 16, 17):
            path = root / f"omniglot-py/images_background/Greek/character{label + 1:02}/{label:04}_{drawer:02}.png"
            save(path, grey("train" if drawer <= 16 else "reference", label, 105))


def pets(root: Path) -> None:
    breeds = ("Abyssinian", "american_bulldog", "Bengal")
    for split, name in (("train", "trainval"), ("reference", "test")):
        files = [(f"{breeds[label]}_{i + 100 * (split == 'train')}", label) for i, label in enumerate(LABELS[split])]
        for file, label in files:
            save(root / f"oxford-iiit-pet/images/{file}.jpg", picture(split, label))
        lines(root / f"oxford-iiit-pet/annotations/{name}.txt", [f"{file} {label + 1} 1 1" for file, label in files])


def dtd(root: Path) -> None:
    names = ("banded", "blotchy", "woven")
    for split, part in (("train", "train"), ("reference", "test")):
        files = [(f"{names[label]}/{part}_{i:04}.jpg", label) for i, label in enumerate(LABELS[split])]
        for file, label in files:
            save(root / "dtd/dtd/images" / file, picture(split, label))
        lines(root / f"dtd/dtd/labels/{part}1.txt", [file for file, _ in files])
