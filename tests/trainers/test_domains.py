"""The contract of every domain, whether built-in or a folder; nested subsets; seeds."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.domains import Domain, Split, builtin_names, get, subset

SPLITS: tuple[Split, ...] = ("train", "reference")
GLYPHS = ("letters", "numerals")
FOLDER = "folder"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes with 30 images each; all images are smooth, so they look the same at every scale."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for number in range(60):
        path = folder / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((70 + number, 90), Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture(params=[*builtin_names(), FOLDER])
def domain(request: pytest.FixtureRequest, photographs: Path) -> Domain:
    return get(f"folder:{photographs}" if request.param == FOLDER else request.param)


def rows(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]


def fingerprint(domain: Domain, resolution: int) -> str:
    """Return a hash of all images and labels at a resolution."""
    digest = hashlib.sha256()
    for split in SPLITS:
        data = domain.load(split, resolution)
        assert data.labels is not None
        digest.update(data.images.tobytes() + data.labels.tobytes())
    return digest.hexdigest()


# -- the contract -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("resolution", [8, 20, 32])
def test_images_are_rgb_bytes_with_a_label_each(domain: Domain, split: Split, resolution: int):
    data = domain.load(split, resolution)
    assert data.images.shape == (domain.count(split), resolution, resolution, 3)
    assert data.images.dtype == np.uint8
    assert data.labels is not None
    assert data.labels.shape == (domain.count(split),)
    assert data.labels.dtype == np.int64
    assert set(data.labels) == set(range(len(domain.classes)))
    if split == "train":
        counts = np.bincount(data.labels)
        assert counts.max() - counts.min() <= 1
    assert data.images.std(axis=(1, 2)).max(axis=1).min() > 1, "an image is blank"


def test_a_domain_describes_itself(domain: Domain):
    assert get(domain.name) is domain
    assert domain.fingerprint
    assert domain.about
    assert domain.licence
    assert domain.skipped == ()
    assert len(set(domain.classes)) == len(domain.classes) > 1


@pytest.mark.parametrize("split", SPLITS)
def test_images_are_loaded_once_and_read_only(domain: Domain, split: Split):
    data = domain.load(split, 8)
    assert domain.load(split, 8) is data
    for array in (data.images, data.labels):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("resolution", [-8, 0, 3, 4096])
def test_a_resolution_out_of_range_is_refused_with_the_domains_name(domain: Domain, resolution: int):
    with pytest.raises(UserError, match=rf"^domain '{domain.name}' .* not at {resolution}$"):
        domain.check_resolution(resolution)


def test_train_and_reference_share_no_image(domain: Domain):
    train, reference = (rows(domain.load(split, 32).images) for split in SPLITS)
    assert len(set(train)) == len(train)
    assert len(set(reference)) == len(reference)
    assert not set(train) & set(reference)


@pytest.mark.slow
def test_a_sample_looks_the_same_at_every_resolution(domain: Domain):
    small = domain.load("reference", 32)
    large = domain.load("reference", 64)
    np.testing.assert_array_equal(small.labels, large.labels)
    shrunk = large.images.reshape(len(large.images), 32, 2, 32, 2, 3).mean((2, 4))

    def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = (images.reshape(len(images), -1) - images.mean((1, 2, 3))[:, None] for images in (a, b))
        return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))

    same = correlation(shrunk, small.images)
    others = correlation(shrunk, np.roll(small.images, 1, axis=0))
    assert same.min() > 0.9
    assert np.median(same) > 0.98
    assert np.median(others) < 0.7


# -- built-in domains --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_process_draws_the_same_bytes():
    program = (
        "from tests.trainers.test_domains import builtin_names, fingerprint, get\n"
        "print(*(fingerprint(get(name), 16) for name in reversed(builtin_names())))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[::-1] == [fingerprint(get(name), 16) for name in builtin_names()]


@pytest.mark.parametrize("resolution", [7, 65])
@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_domain_refuses_other_resolutions(name: str, resolution: int):
    with pytest.raises(UserError, match="8 to 64 pixels"):
        get(name).load("train", resolution)


def test_digits_are_the_1797_scans_each_once():
    from sklearn.datasets import load_digits

    scans = load_digits()
    expected = [(grey.astype(int).tobytes(), label) for grey, label in zip(scans.images, scans.target, strict=True)]
    loaded = []
    for split in SPLITS:
        data = get("digits").load(split, 8)
        assert data.labels is not None
        assert np.ptp(data.images, axis=-1).max() == 0, "not grey"
        sixteenths = np.rint(data.images[..., 0] * (16 / 255)).astype(int)
        loaded += [(grey.tobytes(), label) for grey, label in zip(sixteenths, data.labels, strict=True)]
    assert len(loaded) == 1797
    assert sorted(loaded) == sorted(expected)


@pytest.mark.parametrize("name", GLYPHS)
def test_glyphs_of_one_class_resemble_each_other_more_than_another_class(name: str):
    data = get(name).load("train", 16)
    assert data.labels is not None
    grey = data.images.mean(-1).reshape(len(data.images), -1)
    means = np.stack([grey[data.labels == label].mean(0) for label in range(len(get(name).classes))])
    reference = get(name).load("reference", 16)
    flat = reference.images.mean(-1).reshape(len(reference.images), -1)
    nearest = np.square(flat[:, None] - means[None]).sum(-1).argmin(1)
    assert (nearest == reference.labels).mean() > 0.7


@pytest.mark.parametrize(("wrong", "hint"), [
    ("digit", "did you mean digits or dtd?"), ("Letters", "did you mean letters or textures?"),
    ("texture", "did you mean textures?"),
    ("zzz", "Known: celeba, cifar10,"), ("folder:", "write folder:PATH"),
])  # fmt: skip
def test_the_message_about_an_unknown_domain_names_the_nearest(wrong: str, hint: str):
    with pytest.raises(UserError) as error:
        get(wrong)
    assert hint in str(error.value)
    assert "\n" not in str(error.value)


# -- subsets ------------------------------------------------------------------------------------------------------------

SEEDS = st.integers(0, 2**31 - 1)
LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)


@settings(deadline=None)
@given(labels=LABELS | st.none(), total=st.integers(1, 60), seed=SEEDS, balanced=st.booleans(), data=st.data())
def test_subsets_are_nested_and_choose_each_image_once(
    labels: np.ndarray | None, total: int, seed: int, balanced: bool, data: st.DataObject
):
    total = total if labels is None else len(labels)
    small = data.draw(st.integers(1, total))
    large = data.draw(st.integers(small, total))
    fewer, more = (subset(labels, total, size, seed, balanced=balanced) for size in (small, large))
    assert fewer.shape == (small,)
    assert fewer.dtype == np.int64
    assert len(set(more)) == large
    assert set(more) <= set(range(total))
    np.testing.assert_array_equal(more[:small], fewer)
    np.testing.assert_array_equal(fewer, subset(labels, total, small, seed, balanced=balanced))


@settings(deadline=None)
@given(labels=LABELS, seed=SEEDS, data=st.data())
def test_balanced_subsets_have_equal_classes_to_within_one_until_one_is_used_up(
    labels: np.ndarray, seed: int, data: st.DataObject
):
    size = data.draw(st.integers(1, len(labels)))
    chosen = np.bincount(labels[subset(labels, len(labels), size, seed, balanced=True)], minlength=5)
    available = np.bincount(labels, minlength=5)
    most = chosen.max()
    for taken, total in zip(chosen, available, strict=True):
        assert taken == total or taken >= most - 1


@settings(deadline=None)
@given(labels=LABELS, seed=SEEDS, data=st.data())
def test_other_subsets_have_the_classes_of_the_whole_to_within_a_bound(labels: np.ndarray, seed: int, data: st.DataObject):
    """Each class takes its images at even distances, so all but one of them by the time at which any class does."""
    size = data.draw(st.integers(1, len(labels)))
    chosen = np.bincount(labels[subset(labels, len(labels), size, seed)], minlength=5)
    shares = np.bincount(labels, minlength=5) / len(labels)
    assert (np.abs(chosen - size * shares) <= 1 + shares * np.count_nonzero(shares)).all()


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("labels", [None, np.arange(200) % 4])
def test_other_seeds_choose_other_images(labels: np.ndarray | None, balanced: bool):
    chosen = {tuple(subset(labels, 200, 20, seed, balanced=balanced)) for seed in range(10)}
    assert len(chosen) == 10


@pytest.mark.parametrize("labels", [np.arange(20) % 2, np.repeat([0, 1, 2], [12, 7, 1])], ids=["equal", "rare"])
def test_all_images_are_equally_likely(labels: np.ndarray):
    counts = np.zeros(20)
    for seed in range(2000):
        counts[subset(labels, 20, 10, seed)] += 1
    assert counts == pytest.approx(np.full(20, 1000), abs=6 * np.sqrt(2000 * 0.5 * 0.5))


def test_which_classes_a_small_balanced_subset_has_does_not_depend_on_the_seed():
    labels = np.repeat(np.arange(6), [9, 3, 5, 9, 1, 2])
    for size in range(1, 7):
        (classes,) = {tuple(sorted(labels[subset(labels, 29, size, seed, balanced=True)])) for seed in range(10)}
        assert len(set(classes)) == size


# -- seeds --------------------------------------------------------------------------------------------------------------


def test_a_seed_is_the_upper_63_bits_of_the_hash_of_its_purpose():
    digest = hashlib.sha256(b"str:subset\x1fint:5").hexdigest()
    assert derive_seed("subset", 5) == int(digest[:16], 16) >> 1 == 6335417708897870196


def test_seeds_distinguish_types_and_boundaries():
    purposes: list[tuple[str | int, ...]] = [(), ("1",), (1,), ("a", "b"), ("ab",), ("b", "a"), ("a", ""), ("a",)]
    seeds = [derive_seed(*purpose) for purpose in purposes]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
