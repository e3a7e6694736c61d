"""The official layout of each data set, read through torchvision. The only module of the domains that imports torch.

torchvision checks the checksums of its downloads. Here that check is disabled: a user may have only part of a data set, or
have deleted its archive, and the fingerprint identifies the files. Files are read here without torchvision where it would
unpickle them, write other files, or list them in the file system's order.
"""

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from PIL import Image
from torchvision import datasets
from torchvision.datasets import imagenet, mnist

from trainers.common.errors import UserError
from trainers.domains.base import Split
from trainers.domains.files.decode_image import opened
from trainers.domains.torchvision.catalogue import Entry


@dataclass(frozen=True)
class Opened:
    """One split on disk: images by index, one label per image if there are classes, and listed files that are not there."""

    count: int
    read: Callable[[int], Image.Image]
    classes: tuple[str, ...] = ()
    labels: Sequence[int] = ()
    absent: tuple[str, ...] = ()


def open_split(entry: Entry, root: Path, split: Split) -> Opened:
    """Return a split of the data set in a folder. Images are not read before `Opened.read`.

    Raises:
        UserError: a file is missing, damaged or inconsistent with another.
    """
    with reading(root):
        opened_split = _LAYOUTS[entry.torchvision](entry, root, split)
        if not opened_split.count:
            raise ValueError(f"its {split} split has no images")
        if entry.classes:
            if not opened_split.classes:
                raise ValueError(f"its {split} split has no classes")
            if len(opened_split.labels) != opened_split.count:
                raise ValueError(f"its {split} split has {opened_split.count} images and {len(opened_split.labels)} labels")
            if not 0 <= min(opened_split.labels) <= max(opened_split.labels) < len(opened_split.classes):
                raise ValueError(f"its {split} split has a label outside its {len(opened_split.classes)} classes")
        return opened_split


def download(entry: Entry, root: Path) -> None:
    """Download a data set through torchvision, which checks checksums. Raises any error of torchvision or the network."""
    for official in entry.official.values():
        getattr(datasets, entry.torchvision)(str(root), **official, download=True)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert any error that a parser raises on a damaged file into a UserError that names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the parsers of these formats may raise anything on damaged files
        is_clear = isinstance(error, OSError | ValueError | RuntimeError | pickle.UnpicklingError) and str(error)
        reason = str(error) if is_clear else f"{type(error).__name__} {error}".strip()
        raise UserError(f"{path} cannot be read: {shorten(reason, 300)}; copy or download it again") from error


# -- one file per image ---------------------------------------------------------------------------------------------------


def _files(listed: Sequence[str | Path], classes: Sequence[str] = (), labels: Sequence[int] = ()) -> Opened:
    """Open the listed files that are there and not hidden; macOS writes ``._NAME`` beside a file."""
    # Strings, because the lists of the largest data sets have millions of paths.
    paths = [str(path).rpartition(os.sep) for path in listed]
    there = {folder: _names(Path(folder)) for folder in {folder for folder, _, _ in paths}}
    kept = [i for i, (folder, _, name) in enumerate(paths) if name in there[folder] and not name.startswith(".")]
    absent = tuple(f"{Path(folder).name}/{name}" for folder, _, name in paths if name not in there[folder])

    def read(i: int) -> Image.Image:
        with reading(path := Path(listed[kept[i]])):
            return opened(path)

    return Opened(len(kept), read, tuple(classes), [labels[i] for i in kept] if len(labels) == len(paths) else labels, absent)


def _names(folder: Path) -> set[str]:
    return {file.name for file in os.scandir(folder)} if folder.is_dir() else set()


def _trusting(entry: Entry, root: Path, split: Split) -> Any:
    """Return torchvision's data set without its checks of checksums and its unpacking of archives."""
    original = getattr(datasets, entry.torchvision)
    changed = {"_check_integrity": lambda *_: True, "parse_archives": lambda _: None}
    return type(original.__name__, (original,), changed)(str(root), **entry.official[split])


def _imagenet(entry: Entry, root: Path, split: Split) -> Opened:
    with reading(root / "meta.bin"):
        imagenet.load_meta_file(root)  # the class reads it too, but its errors do not name the file
    data = _trusting(entry, root, split)
    # With the id, because two classes are called "crane".
    classes = [f"{wnid} {names[0]}" for wnid, names in zip(data.wnids, data.classes, strict=True)]
    return _files([path for path, _ in data.imgs], classes, data.targets)


def _places365(entry: Entry, root: Path, split: Split) -> Opened:
    data = _trusting(entry, root, split)
    classes = sorted(data.class_to_idx, key=data.class_to_idx.get)
    return _files([path for path, _ in data.imgs], [name[len("/a/") :] for name in classes], data.targets)


def _celeba(entry: Entry, root: Path, split: Split) -> Opened:
    # torchvision would first read four more lists of 202,599 lines that are not needed here.
    part = {"train": "0", "reference": "2"}[split]
    names = root / entry.needs[0]
    with reading(names):
        rows = [line.split() for line in names.read_text().splitlines()]
        return _files([root / entry.needs[1] / name for name, partition in rows if partition == part])


def _flowers102_or_dtd(entry: Entry, root: Path, split: Split) -> Opened:
    data = _trusting(entry, root, split)
    return _files(data._image_files, data.classes, data._labels)


def _lfw(entry: Entry, root: Path, split: Split) -> Opened:
    return _files(_trusting(entry, root, split).data)


def _cityscapes(entry: Entry, root: Path, split: Split) -> Opened:
    # torchvision also requires the annotations, which are not used, and lists files in the file system's order.
    folder = root / "leftImg8bit" / entry.official[split]["split"]
    return _files(sorted(folder.glob("*/*_leftImg8bit.png")))


def _omniglot(entry: Entry, root: Path, split: Split) -> Opened:
    # torchvision lists files and labels in the file system's order. A file is CHARACTER_DRAWER.png, drawers 1 to 20.
    files = sorted((root / entry.needs[0]).glob("*/*/[!.]*.png"))
    names = {path: f"{path.parts[-3]}/{path.parts[-2]}" for path in files}
    classes = sorted(set(names.values()))
    labels = {name: i for i, name in enumerate(classes)}
    chosen = [path for path in files if (int(path.stem.split("_")[1]) <= 16) == (split == "train")]
    return _files(chosen, classes, [labels[names[path]] for path in chosen])


def _pets(entry: Entry, root: Path, split: Split) -> Opened:
    data = _trusting(entry, root, split)
    # `classes` omits classes without images, so the labels are renumbered.
    labels = np.unique(data._labels, return_inverse=True)[1]
    return _files(data._images, data.classes, labels.tolist())


# -- all images in one array ----------------------------------------------------------------------------------------------


def _array(images: np.ndarray, classes: Sequence[str], labels: Sequence[int]) -> Opened:
    """Open images uint8 (N, H, W) or (N, H, W, 3)."""
    return Opened(len(images), lambda i: Image.fromarray(images[i]), tuple(classes), labels)


class _Unpickler(pickle.Unpickler):
    """Reads only arrays, lists, dictionaries and strings; an unrestricted pickle can run any program."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it contains {module}.{name}, which no official file does")


def _unpickled(path: Path) -> Any:
    with reading(path), path.open("rb") as file:
        return _Unpickler(file, encoding="latin1").load()  # the official files were written by Python 2


def _cifar(entry: Entry, root: Path, split: Split) -> Opened:
    kind = getattr(datasets, entry.torchvision)
    images, labels = [], []
    for name, _ in kind.train_list if split == "train" else kind.test_list:
        path = root / kind.base_folder / name
        batch = _unpickled(path)
        with reading(path):
            images.append(np.asarray(batch["data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            labels += batch["labels" if "labels" in batch else "fine_labels"]
    meta = root / kind.base_folder / kind.meta["filename"]
    names = _unpickled(meta)
    with reading(meta):
        classes = names[kind.meta["key"]]
    return _array(np.concatenate(images), classes, labels)


def _stl10(entry: Entry, root: Path, split: Split) -> Opened:
    with reading(root / "stl10_binary"):
        data = _trusting(entry, root, split)
        return _array(data.data.transpose(0, 2, 3, 1), data.classes, data.labels)


def _svhn(entry: Entry, root: Path, split: Split) -> Opened:
    with reading(root / entry.needs[split == "reference"]):
        data = _trusting(entry, root, split)
        return _array(data.data.transpose(0, 2, 3, 1), [str(digit) for digit in range(10)], data.labels)


def _mnist(entry: Entry, root: Path, split: Split) -> Opened:
    # By the functions of torchvision's classes, which themselves would prefer a copy in an older format if there is one.
    file, label_file = (root / need for need in (entry.needs[:2] if split == "train" else entry.needs[2:]))
    with reading(file):
        images = mnist.read_image_file(str(file)).numpy()
    with reading(label_file):
        labels = mnist.read_label_file(str(label_file)).numpy()
    if entry.torchvision == "EMNIST":
        return _array(images.transpose(0, 2, 1), datasets.EMNIST.classes_split_dict["balanced"], labels)
    return _array(images, getattr(datasets, entry.torchvision).classes, labels)


# -- databases --------------------------------------------------------------------------------------------------------------


@cache  # a process can open a database only once, and two domains may share it
def _database(folder: Path) -> tuple[Any, list[bytes]]:
    import lmdb

    database = lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
    file = folder / "data.mdb"
    expected = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    if file.stat().st_size < expected:  # as after an interrupted download; reading beyond the end would kill the process
        database.close()
        raise ValueError(f"it has {file.stat().st_size:,} bytes instead of {expected:,}")
    with database.begin() as view:
        return database, list(view.cursor().iternext(values=False))


def _lsun(entry: Entry, root: Path, split: Split) -> Opened:
    # torchvision stores the keys as a pickle in the working directory, and trusts any file of that name there.
    images: list[tuple[int, Path, bytes]] = []
    categories = entry.official[split]["classes"]
    for label, category in enumerate(categories):
        folder = root / f"{category}_lmdb"
        with reading(folder / "data.mdb"):
            images += [(label, folder, key) for key in _database(folder)[1]]

    def read(i: int) -> Image.Image:
        _, folder, key = images[i]
        with reading(folder / "data.mdb"), _database(folder)[0].begin() as view:
            return opened(view.get(key))

    classes = tuple(category.rpartition("_")[0] for category in categories) if len(categories) > 1 else ()
    return Opened(len(images), read, classes, [label for label, _, _ in images] if classes else ())


_LAYOUTS: dict[str, Callable[[Entry, Path, Split], Opened]] = {
    "ImageNet": _imagenet,
    "Places365": _places365,
    "LSUN": _lsun,
    "CelebA": _celeba,
    "Flowers102": _flowers102_or_dtd,
    "LFWPeople": _lfw,
    "Cityscapes": _cityscapes,
    "CIFAR10": _cifar,
    "CIFAR100": _cifar,
    "STL10": _stl10,
    "FashionMNIST": _mnist,
    "MNIST": _mnist,
    "KMNIST": _mnist,
    "EMNIST": _mnist,
    "Omniglot": _omniglot,
    "SVHN": _svhn,
    "OxfordIIITPet": _pets,
    "DTD": _flowers102_or_dtd,
}
