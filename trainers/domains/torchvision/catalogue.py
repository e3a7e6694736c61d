"""The table of torchvision's data sets: splits, files, licences and sources. Needs no torch.

Paths are relative to the folder of the data set, which torchvision calls its root.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainers.domains.base import Split


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set. The counts are the official ones; a user's copy may have fewer images."""

    name: str
    torchvision: str
    """The class in `torchvision.datasets`."""
    official: Mapping[Split, Mapping[str, Any]]
    """Arguments of that class for each split."""
    splits: str
    """Which official splits are used, for people."""
    needs: tuple[str, ...]
    """Files and folders from which the splits are read; the fingerprint covers them."""
    files: str
    """What to place in the folder if the data set is not downloaded, for people."""
    train: int
    reference: int
    classes: int
    about: str
    licence: str
    source: str
    download: bool = True
    """Whether torchvision can download it."""
    folder: str = ""
    """Folder under the data root, if it is not the name, because data sets share it."""
    package: str = ""
    """A package needed for reading in addition to the dependencies."""


_TRAIN_TEST: dict[Split, dict[str, Any]] = {"train": {"split": "train"}, "reference": {"split": "test"}}
_TRAIN_VAL: dict[Split, dict[str, Any]] = {"train": {"split": "train"}, "reference": {"split": "val"}}
_FLAG: dict[Split, dict[str, Any]] = {"train": {"train": True}, "reference": {"train": False}}


def _mnist(name: str, torchvision: str, about: str, licence: str, source: str) -> Entry:
    raw = f"{torchvision}/raw"
    needs = tuple(f"{raw}/{file}-ubyte" for file in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3",
                                                     "t10k-labels-idx1"))  # fmt: skip
    return Entry(
        name=name, torchvision=torchvision, official=_FLAG, splits="train; test as reference", needs=needs,
        files=f"the four idx-ubyte files, unpacked, in {raw}/", train=60_000, reference=10_000, classes=10,
        about=about, licence=licence, source=source,
    )  # fmt: skip


def _cifar(classes: int, base: str, train: tuple[str, ...], others: tuple[str, str]) -> Entry:
    return Entry(
        name=f"cifar{classes}", torchvision=f"CIFAR{classes}", official=_FLAG, splits="train; test as reference",
        needs=tuple(f"{base}/{file}" for file in (*train, *others)), files=f"{base}/, from cifar-{classes}-python.tar.gz",
        train=50_000, reference=10_000, classes=classes, about=f"small photographs of {classes} kinds of objects",
        licence="not stated", source="https://www.cs.toronto.edu/~kriz/cifar.html",
    )  # fmt: skip


#: Number of training images of each LSUN category; each has 300 validation images.
LSUN = {
    "bedroom": 3_033_042,
    "bridge": 818_687,
    "church_outdoor": 126_227,
    "classroom": 168_103,
    "conference_room": 229_069,
    "dining_room": 657_571,
    "kitchen": 2_212_277,
    "living_room": 1_315_802,
    "restaurant": 626_331,
    "tower": 708_264,
}


def _lsun(name: str, categories: tuple[str, ...], about: str) -> Entry:
    shown = categories[0] if len(categories) == 1 else "CATEGORY"
    return Entry(
        name=f"lsun-{name}", torchvision="LSUN",
        official={"train": {"classes": [f"{category}_train" for category in categories]},
                  "reference": {"classes": [f"{category}_val" for category in categories]}},
        splits="train; val as reference, because the categories of the test images are not public",
        needs=tuple(f"{category}_{part}_lmdb/data.mdb" for category in categories for part in ("train", "val")),
        files=f"{shown}_train_lmdb/ and {shown}_val_lmdb/, unpacked", train=sum(LSUN[category] for category in categories),
        reference=300 * len(categories), classes=len(categories) if len(categories) > 1 else 0, about=about,
        licence="research", source="https://www.yf.io/p/lsun", download=False, folder="lsun", package="lmdb",
    )  # fmt: skip


_ENTRIES = (
    Entry(
        name="imagenet", torchvision="ImageNet", official=_TRAIN_VAL,
        splits="train; val as reference, because the test labels are not public", needs=("meta.bin", "train", "val"),
        files="train/ and val/ with a folder per WordNet id, and meta.bin, as unpacked by torchvision's ImageNet",
        train=1_281_167, reference=50_000, classes=1000, about="photographs of 1000 kinds of objects",
        licence="research, non-commercial", source="https://image-net.org", download=False,
    ),
    Entry(
        name="places365", torchvision="Places365",
        official={"train": {"split": "train-standard", "small": True}, "reference": {"split": "val", "small": True}},
        splits="train-standard; val as reference, because the test labels are not public; the small images, 256 pixels",
        needs=("categories_places365.txt", "places365_train_standard.txt", "places365_val.txt", "data_256_standard", "val_256"),
        files="data_256_standard/, val_256/ and the lists of filelist_places365-standard.tar",
        train=1_803_460, reference=36_500, classes=365, about="photographs of 365 kinds of places",
        licence="research, non-commercial", source="http://places2.csail.mit.edu",
    ),
    *(_lsun(name.replace("_", "-"), (name,), f"photographs, {name.replace('_', ' ')}") for name in LSUN),
    _lsun("10", tuple(LSUN), "photographs of ten kinds of scenes"),
    Entry(
        name="celeba", torchvision="CelebA", official=_TRAIN_TEST,
        splits="train; test as reference; without labels, because its 40 attributes are not classes",
        needs=("celeba/list_eval_partition.txt", "celeba/img_align_celeba"),
        files="celeba/ with list_eval_partition.txt and img_align_celeba/", train=162_770, reference=19_962, classes=0,
        about="faces of celebrities, aligned", licence="research, non-commercial",
        source="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    ),
    Entry(
        name="flowers102", torchvision="Flowers102", official=_TRAIN_TEST, splits="train; test as reference; val is not used",
        needs=("flowers-102/setid.mat", "flowers-102/imagelabels.mat", "flowers-102/jpg"),
        files="flowers-102/ with jpg/, imagelabels.mat and setid.mat", train=1_020, reference=6_149, classes=102,
        about="photographs of 102 kinds of flowers", licence="not stated",
        source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
    ),
    Entry(
        name="lfw", torchvision="LFWPeople", official=_TRAIN_TEST,
        splits="DevTrain; DevTest as reference; without labels, because the two splits show different people",
        needs=("lfw-py/lfw-names.txt", "lfw-py/peopleDevTrain.txt", "lfw-py/peopleDevTest.txt", "lfw-py/lfw_funneled"),
        files="lfw-py/ with lfw_funneled/, lfw-names.txt, peopleDevTrain.txt and peopleDevTest.txt",
        train=9_525, reference=3_708, classes=0, about="faces in the news, funneled", licence="not stated",
        source="http://vis-www.cs.umass.edu/lfw", download=False,
    ),
    Entry(
        name="cityscapes", torchvision="Cityscapes", official=_TRAIN_VAL,
        splits="train; val as reference; without labels, because labels are per pixel",
        needs=("leftImg8bit/train", "leftImg8bit/val"), files="leftImg8bit/, from leftImg8bit_trainvaltest.zip",
        train=2_975, reference=500, classes=0, about="streets in 50 cities", licence="own, non-commercial",
        source="https://www.cityscapes-dataset.com", download=False,
    ),
    _cifar(10, "cifar-10-batches-py", tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch", "batches.meta")),
    _cifar(100, "cifar-100-python", ("train",), ("test", "meta")),
    Entry(
        name="stl10", torchvision="STL10", official=_TRAIN_TEST, splits="train; test as reference; unlabeled is not used",
        needs=tuple(f"stl10_binary/{file}" for file in ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin",
                                                        "class_names.txt")),
        files="stl10_binary/, from stl10_binary.tar.gz", train=5_000, reference=8_000, classes=10,
        about="photographs of 10 kinds of objects", licence="not stated", source="https://cs.stanford.edu/~acoates/stl10",
    ),
    _mnist("fashion-mnist", "FashionMNIST", "clothes", "MIT", "https://github.com/zalandoresearch/fashion-mnist"),
    _mnist("mnist", "MNIST", "handwritten digits", "CC BY-SA 3.0", "http://yann.lecun.com/exdb/mnist"),
    _mnist("kmnist", "KMNIST", "handwritten hiragana", "CC BY-SA 4.0", "https://github.com/rois-codh/kmnist"),
    Entry(
        name="emnist", torchvision="EMNIST", official={"train": {"split": "balanced", "train": True},
                                                       "reference": {"split": "balanced", "train": False}},
        splits="balanced: train; test as reference; rotated upright",
        needs=tuple(f"EMNIST/raw/emnist-balanced-{part}-{kind}-ubyte" for part in ("train", "test")
                    for kind in ("images-idx3", "labels-idx1")),
        files="the four emnist-balanced idx-ubyte files, unpacked, in EMNIST/raw/", train=112_800, reference=18_800, classes=47,
        about="handwritten digits and letters", licence="not stated",
        source="https://www.nist.gov/itl/products-and-services/emnist-dataset",
    ),
    Entry(
        name="omniglot", torchvision="Omniglot", official={"train": {"background": True}, "reference": {"background": True}},
        splits="background: drawers 1 to 16; drawers 17 to 20 as reference, because the evaluation set has other characters",
        needs=("omniglot-py/images_background",), files="omniglot-py/images_background/, from images_background.zip",
        train=15_424, reference=3_856, classes=964, about="handwritten characters of 30 alphabets", licence="MIT",
        source="https://github.com/brendenlake/omniglot",
    ),
    Entry(
        name="svhn", torchvision="SVHN", official=_TRAIN_TEST, splits="train; test as reference; extra is not used",
        needs=("train_32x32.mat", "test_32x32.mat"), files="train_32x32.mat and test_32x32.mat",
        train=73_257, reference=26_032, classes=10, about="house numbers", licence="non-commercial",
        source="http://ufldl.stanford.edu/housenumbers",
    ),
    Entry(
        name="oxford-pets", torchvision="OxfordIIITPet", splits="trainval; test as reference",
        official={"train": {"split": "trainval"}, "reference": {"split": "test"}},
        needs=("oxford-iiit-pet/annotations/trainval.txt", "oxford-iiit-pet/annotations/test.txt", "oxford-iiit-pet/images"),
        files="oxford-iiit-pet/ with images/ and annotations/", train=3_680, reference=3_669, classes=37,
        about="photographs of 37 breeds of cats and dogs", licence="CC BY-SA 4.0",
        source="https://www.robots.ox.ac.uk/~vgg/data/pets",
    ),
    Entry(
        name="dtd", torchvision="DTD", official=_TRAIN_TEST, splits="partition 1: train; test as reference; val is not used",
        needs=("dtd/dtd/labels/train1.txt", "dtd/dtd/labels/test1.txt", "dtd/dtd/images"),
        files="dtd/dtd/ with images/ and labels/", train=1_880, reference=1_880, classes=47,
        about="photographs of 47 kinds of texture", licence="research", source="https://www.robots.ox.ac.uk/~vgg/data/dtd",
    ),
)  # fmt: skip

#: All data sets by domain name.
CATALOGUE = {entry.name: entry for entry in _ENTRIES}
