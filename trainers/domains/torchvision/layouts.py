"""How each data set lies on disk: its official layout, read through torchvision. The only module of the domains with torch.

torchvision compares checksums with those of its downloads. Here a user may hold a part of a data set, or have deleted its
archive, and what there is has a fingerprint: so its classes are made to trust the files. Where it would unpickle files, write
others, or list them in the file system's order, they are read here instead.
"""

import io
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
    """One split as it lies on disk: images by index, and a label each unless there are no classes."""

    count: int
    read: Callable[[int], Image.Image]
    classes: tuple[str, ...] = ()
    labels: Sequence[int] = ()


def open_split(entry: Entry, root: Path, split: Split) -> Opened:
    """Return a split of the data set in a folder.

    Raises:
        UserError: a file is missing, damaged or does not fit another; images are looked at only by `Opened.read`.
    """
    with reading(root):
        found = _LAYOUTS[entry.torchvision](entry, root, split)
        if not found.count:
            raise ValueError(f"its {split} split has no images")
        if entry.classes:
            if not found.classes:
                raise ValueError(f"its {split} split has no classes")
            if len(found.labels) != found.count:
                raise ValueError(f"its {split} split has {found.count} images and {len(found.labels)} labels")
            if not 0 <= min(found.labels) <= max(found.labels) < len(found.classes):
                raise ValueError(f"its {split} split has a label beyond its {len(found.classes)} classes")
        return found


def download(entry: Entry, root: Path) -> None:
    """Download a data set through torchvision, which checks what it gets. Raises whatever the network does."""
    for official in entry.official.values():
        getattr(datasets, entry.torchvision)(str(root), **official, download=True)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a parser makes of a damaged file into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # parsers of several formats, fed with anything: there is no shorter list of what they raise
        clear = isinstance(error, OSError | ValueError | RuntimeError | pickle.UnpicklingError) and str(error)
        reason = str(error) if clear else f"{type(error).__name__} {error}".strip()
        raise UserError(f"{path} cannot be read: {shorten(reason, 300)}; place it anew") from error


# -- one file per image ---------------------------------------------------------------------------------------------------


def _files(paths: Sequence[str | Path], classes: Sequence[str] = (), labels: Sequence[int] = ()) -> Opened:
    def read(i: int) -> Image.Image:
        with reading(Path(paths[i])):
            return opened(Path(paths[i]))

    return Opened(len(paths), read, tuple(classes), labels)


def _trusting(entry: Entry, root: Path, split: Split) -> Any:
    """Return torchvision's data set, which neither compares checksums nor unpacks archives."""
    original = getattr(datasets, entry.torchvision)
    changed = {"_check_integrity": lambda *_: True, "parse_archives": lambda _: None}
    return type(original.__name__, (original,), changed)(str(root), **entry.official[split])


def _imagenet(entry: Entry, root: Path, split: Split) -> Opened:
    with reading(root / "meta.bin"):
        imagenet.load_meta_file(root)  # again by the class, which would not name it
    data = _trusting(entry, root, split)
    # With the id, for two classes are called "crane".
    classes = [f"{wnid} {names[0]}" for wnid, names in zip(data.wnids, data.classes, strict=True)]
    return _files([path for path, _ in data.imgs], classes, data.targets)


def _places365(entry: Entry, root: Path, split: Split) -> Opened:
    data = _trusting(entry, root, split)
    classes = sorted(data.class_to_idx, key=data.class_to_idx.get)
    return _files([path for path, _ in data.imgs], [each[len("/a/") :] for each in classes], data.targets)


def _celeba(entry: Entry, root: Path, split: Split) -> Opened:
    # torchvision reads four more lists of 202,599 lines first, which say nothing of which image is where.
    part = {"train": "0", "reference": "2"}[split]
    names = root / entry.needs[0]
    with reading(names):
        rows = [line.split() for line in names.read_text().splitlines()]
        return _files([root / entry.needs[1] / name for name, its in rows if its == part])


def _flowers102(entry: Entry, root: Path, split: Split) -> Opened:
    data = _trusting(entry, root, split)
    return _files(data._image_files, data.classes, data._labels)


def _lfw(entry: Entry, root: Path, split: Split) -> Opened:
    return _files(_trusting(entry, root, split).data)


def _cityscapes(entry: Entry, root: Path, split: Split) -> Opened:
    # torchvision wants the annotations too, which we have no use for, and lists in the file system's order.
    folder = root / "leftImg8bit" / entry.official[split]["split"]
    return _files(sorted(folder.glob("*/*_leftImg8bit.png")))


def _omniglot(entry: Entry, root: Path, split: Split) -> Opened:
    # Listed by torchvision in the file system's order, labels included. A file is CHARACTER_DRAWER.png, drawers 1 to 20.
    every = sorted((root / entry.needs[0]).glob("*/*/*.png"))
    names = {path: f"{path.parts[-3]}/{path.parts[-2]}" for path in every}
    classes = sorted(set(names.values()))
    label = {name: i for i, name in enumerate(classes)}
    chosen = [path for path in every if (int(path.stem.split("_")[1]) <= 16) == (split == "train")]
    return _files(chosen, classes, [label[names[path]] for path in chosen])


def _pets(entry: Entry, root: Path, split: Split) -> Opened:
    data = _trusting(entry, root, split)
    # A class that this copy has no image of has no name either: number those that it has.
    labels = np.unique(data._labels, return_inverse=True)[1]
    return _files(data._images, data.classes, labels.tolist())


def _dtd(entry: Entry, root: Path, split: Split) -> Opened:
    data = _trusting(entry, root, split)
    return _files(data._image_files, data.classes, data._labels)


# -- all images in an array -----------------------------------------------------------------------------------------------


def _array(images: np.ndarray, classes: Sequence[str], labels: Sequence[int]) -> Opened:
    """Open images uint8 (N, H, W) or (N, H, W, 3)."""
    return Opened(len(images), lambda i: Image.fromarray(images[i]), tuple(classes), labels)


class _Unpickler(pickle.Unpickler):
    """Reads arrays, lists, dictionaries and strings; a pickle can otherwise run any program."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no official file does")


def _unpickled(path: Path) -> Any:
    with reading(path), path.open("rb") as file:
        return _Unpickler(file, encoding="latin1").load()  # the official ones are Python 2's


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
    # By the functions that its classes read with: the classes would prefer a copy in another format that older ones left.
    file, label_file = (root / each for each in (entry.needs[:2] if split == "train" else entry.needs[2:]))
    with reading(file):
        images = mnist.read_image_file(str(file)).numpy()
    with reading(label_file):
        labels = mnist.read_label_file(str(label_file)).numpy()
    if entry.torchvision == "EMNIST":
        return _array(images.transpose(0, 2, 1), datasets.EMNIST.classes_split_dict["balanced"], labels)
    return _array(images, getattr(datasets, entry.torchvision).classes, labels)


# -- databases --------------------------------------------------------------------------------------------------------------


@cache  # a process may open a database once only, and two domains can share it
def _database(folder: Path) -> tuple[Any, list[bytes]]:
    import lmdb

    found = lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
    file = folder / "data.mdb"
    whole = (found.info()["last_pgno"] + 1) * found.stat()["psize"]
    if file.stat().st_size < whole:  # as after a download that broke off; reading beyond the end would kill the process
        found.close()
        raise ValueError(f"it has {file.stat().st_size:,} bytes of {whole:,}")
    with found.begin() as view:
        return found, list(view.cursor().iternext(values=False))


def _lsun(entry: Entry, root: Path, split: Split) -> Opened:
    # torchvision keeps a pickle of the keys in the working directory, and trusts the one that it finds there.
    where: list[tuple[int, Path, bytes]] = []
    categories = entry.official[split]["classes"]
    for label, category in enumerate(categories):
        folder = root / f"{category}_lmdb"
        with reading(folder / "data.mdb"):
            where += [(label, folder, key) for key in _database(folder)[1]]

    def read(i: int) -> Image.Image:
        _, folder, key = where[i]
        with reading(folder / "data.mdb"), _database(folder)[0].begin() as view:
            return opened(io.BytesIO(view.get(key)))

    classes = tuple(each.rpartition("_")[0] for each in categories) if len(categories) > 1 else ()
    return Opened(len(where), read, classes, [label for label, _, _ in where] if classes else ())


_LAYOUTS: dict[str, Callable[[Entry, Path, Split], Opened]] = {
    "ImageNet": _imagenet,
    "Places365": _places365,
    "LSUN": _lsun,
    "CelebA": _celeba,
    "Flowers102": _flowers102,
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
    "DTD": _dtd,
}
