"""Knobs: diversity, density, variation within a class and shift. Selections are nested and exact, effects are monotone."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.common.errors import UserError
from trainers.domains import builtin_names, get
from trainers.domains.knobs import Knobs, split_name
from trainers.domains.rendering.shift import shifted
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.metrics.fid import fid, statistics
from trainers.evaluation.metrics.kid import kid

RENDERED = ("letters", "numerals", "shapes", "textures")


def rows(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


# -- names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "name", "knobs"), [
    ("letters", "letters", Knobs()),
    ("letters[classes=5,per_class=2000]", "letters", Knobs(classes=5, per_class=2000)),
    ("letters[ spread = 0.5 , shift=1e-1]", "letters", Knobs(spread=0.5, shift=0.1)),
    ("letters[spread=1,shift=0]", "letters", Knobs()),
    ("folder:/photos[old]", "folder:/photos[old]", Knobs()),
    ("folder:/photos[old][classes=2]", "folder:/photos[old]", Knobs(classes=2)),
])  # fmt: skip
def test_a_name_is_split_from_its_knobs(text: str, name: str, knobs: Knobs):
    assert split_name(text) == (name, knobs)


@pytest.mark.parametrize(("text", "message"), [
    ("letters[clases=5]", "unknown option 'clases'; did you mean classes"),
    ("letters[classes=0]", "classes must be a whole number, 1 or more, got '0'"),
    ("letters[classes=2.5]", "got '2.5'"),
    ("letters[classes=]", "'classes' is not of the form option=value"),
    ("letters[per_class=-1]", "got '-1'"),
    ("letters[shift=1.5]", "shift must be a number, 0 to 1, got '1.5'"),
    ("letters[spread=nan]", "got 'nan'"),
    ("letters[classes=2,classes=3]", "option 'classes' is given twice"),
    ("letters[classes=27]", "'letters' has 26 classes"),
    ("leters[classes=2]", "unknown domain 'leters'"),
    ("digits[shift=0.5]", "'digits' is not rendered, so it has no shift"),
    ("digits[per_class=101]", "a class of 'digits' has"),
    ("digits[fit=stretch]", "fit must be crop or pad, got 'stretch'"),
    ("digits[fit=pad]", "'digits' has square images, so it has no fit"),
])  # fmt: skip
def test_a_mistake_in_a_knob_is_reported(text: str, message: str):
    with pytest.raises(UserError) as error:
        get(text).count("train")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_classes_has_no_knobs_for_classes(tmp_path: Path):
    for i in range(10):
        Image.fromarray(np.full((9, 9, 3), 20 * i, np.uint8)).save(tmp_path / f"{i}.png")
    with pytest.raises(UserError, match="need class labels"):
        get(f"folder:{tmp_path}[classes=2]")


def test_equal_settings_have_equal_names_and_fingerprints_and_others_differ():
    assert get("letters[per_class=9,classes=5]") is get("letters[classes=5,per_class=9]")
    assert get("letters[spread=1]") is get("letters")
    names = ["letters", "letters[classes=5]", "letters[per_class=5]", "letters[spread=0.5]", "letters[shift=0.5]"]
    assert len({get(name).fingerprint for name in names}) == 5
    for name in names:
        assert get(get(name).name) is get(name)


@pytest.mark.parametrize(("text", "canonical"), [
    ("letters[per_class=9,classes=5]", "letters[classes=5,per_class=9]"),
    ("letters[ spread = 0.5 , shift=1e-1]", "letters[spread=0.5,shift=0.1]"),
    ("letters[spread=1e-5,classes=26]", "letters[classes=26,spread=1e-05]"),
    ("letters[shift=1,spread=1.0]", "letters[shift=1]"),
    ("shapes[shift=0.3,spread=0.5,per_class=40,classes=3]", "shapes[classes=3,per_class=40,spread=0.5,shift=0.3]"),
    ("textures[shift=0.3333333333]", "textures[shift=0.333333]"),
    ("numerals[spread=0]", "numerals[spread=0]"),
    ("digits[per_class=20,classes=3]", "digits[classes=3,per_class=20]"),
])  # fmt: skip
def test_the_text_of_knobs_stays_as_it_is_in_the_keys_of_existing_trials(text: str, canonical: str):
    domain = get(text)
    assert domain.name == canonical
    assert domain.fingerprint == canonical.replace("[", "/1[")
    knobs = Knobs(classes=2, per_class=7, spread=0.1234567, shift=0.25, fit="pad")
    assert str(knobs) == "classes=2,per_class=7,spread=0.123457,shift=0.25,fit=pad"
    assert not str(Knobs())


# -- diversity and density ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", builtin_names())
def test_classes_are_nested_and_complete_in_both_splits(name: str):
    base, fewer, more = get(name), get(f"{name}[classes=2]"), get(f"{name}[classes=4]")
    assert len(fewer.classes) == 2
    assert set(fewer.classes) < set(more.classes) < set(base.classes)
    for split in ("train", "reference"):
        whole, part = base.load(split, 8), fewer.load(split, 8)
        assert whole.labels is not None
        assert part.labels is not None
        wanted = np.isin(np.array(base.classes)[whole.labels], fewer.classes)
        np.testing.assert_array_equal(part.images, whole.images[wanted])
        np.testing.assert_array_equal(np.array(fewer.classes)[part.labels], np.array(base.classes)[whole.labels[wanted]])
        assert fewer.count(split) == len(part.images)
        np.testing.assert_array_equal(fewer.labels(split), part.labels)


@pytest.mark.parametrize(("name", "small", "large"), [("digits", 20, 60), ("letters", 200, 600), ("shapes", 3, 700)])
def test_per_class_is_exact_and_nested_and_does_not_change_the_reference(name: str, small: int, large: int):
    """Rendered domains allow more images than they have by default."""
    few, many = (get(f"{name}[classes=3,per_class={count}]") for count in (small, large))
    for domain, count in ((few, small), (many, large)):
        labels = domain.load("train", 8).labels
        assert labels is not None
        assert np.bincount(labels).tolist() == [count] * 3
        assert domain.count("train") == 3 * count
    assert rows(few.load("train", 8).images) <= rows(many.load("train", 8).images)
    reference = get(f"{name}[classes=3]").load("reference", 8)
    np.testing.assert_array_equal(few.load("reference", 8).images, reference.images)
    assert not rows(many.load("train", 16).images) & rows(get(name).load("reference", 16).images)


def test_fewer_images_of_a_class_are_a_subset_of_its_images():
    chosen = get("digits[classes=2,per_class=30]").load("train", 8).images
    assert rows(chosen) < rows(get("digits").load("train", 8).images)


# -- variation and shift ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", RENDERED)
def test_variation_within_a_class_rises_with_spread_from_zero(name: str):
    def within(spread: float) -> float:
        data = get(f"{name}[spread={spread}]").load("reference", 16)
        assert data.labels is not None
        images = data.images.astype(float)
        return float(np.mean([images[data.labels == k].var(0).mean() for k in np.unique(data.labels)]))

    variances = [within(spread) for spread in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert variances[0] == 0
    assert all(a < b for a, b in pairwise(variances))


@pytest.mark.slow
@pytest.mark.parametrize("name", RENDERED)
def test_distance_rises_strictly_with_shift(name: str):
    embed = load_embedding("builtin")
    shifts = [embed(get(f"{name}[shift={fifths / 5}]").load("reference", 16).images) for fifths in range(6)]
    base = statistics(shifts[0])
    for distances in (
        [fid(base, statistics(features)) for features in shifts],
        [kid(shifts[0][:400], features[:400]).value for features in shifts],
    ):
        assert all(a < b for a, b in pairwise(distances)), distances
        assert distances[1] > 0.01 * distances[-1]


def test_a_shift_changes_colours_and_a_shift_of_zero_changes_nothing():
    images = get("letters").load("reference", 16).images[:5]
    assert shifted(images, 0.0) is images
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    mean = shifted(white, 1.0).reshape(-1, 3).mean(0)
    assert mean[0] > mean[1] > mean[2]
    half = shifted(images, 0.5)
    assert (half.shape, half.dtype) == (images.shape, np.uint8)


def test_knobs_combine_and_the_images_are_the_same_at_every_resolution():
    domain = get("shapes[classes=3,per_class=40,spread=0.5,shift=0.3]")
    small, large = domain.load("train", 8), domain.load("train", 32)
    means = [data.images.mean((1, 2)) for data in (small, large)]
    assert np.abs(means[0] - means[1]).max() < 12
    assert small.images.shape == (120, 8, 8, 3)
    assert len(rows(large.images)) == 120
