"""Near-duplicates: encoded, resized and brightened copies are detected, other images are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from trainers.domains import get
from trainers.domains.files.near_duplicates import near_duplicates


def encoded_again(image: Image.Image) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=75)
    return Image.open(data)


CHANGES = {
    "same": lambda image: image,
    "encoded": encoded_again,
    "resized": lambda image: image.resize((48, 48)).resize((32, 32)),
    "brightened": lambda image: Image.fromarray((np.asarray(image).astype(int) // 2 + 40).astype(np.uint8)),
}
OTHERS = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "inverted": lambda image: Image.fromarray(255 - np.asarray(image)),
    "flattened": lambda image: ImageEnhance.Contrast(image).enhance(0.1),
}


@pytest.mark.parametrize("change", ["same", "encoded", "resized"])
def test_a_copy_is_found(change: str):
    train = get("textures").load("train", 32).images[:200]
    twins = [3, 50, 199]
    others = get("letters").load("reference", 32).images[:5]
    copies = np.stack([np.asarray(CHANGES[change](Image.fromarray(train[i]))) for i in twins])
    assert near_duplicates(train, np.concatenate([others, copies])).tolist() == [-1] * 5 + twins


def test_a_copy_of_another_brightness_is_found():
    train = get("textures").load("train", 32).images[:50] // 2
    np.testing.assert_array_equal(near_duplicates(train, train[::-1] + 60), np.arange(50)[::-1])


@pytest.mark.parametrize("change", OTHERS)
def test_another_image_is_not_a_copy(change: str):
    train = get("letters").load("train", 32).images[:100]
    changed = np.stack([np.asarray(OTHERS[change](Image.fromarray(image))) for image in train])
    assert (near_duplicates(train, changed) >= 0).mean() < 0.1


def test_blocks_and_order_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    train = get("textures").load("train", 16).images[:300]
    whole = near_duplicates(train, train[::3])
    monkeypatch.setattr("trainers.domains.files.near_duplicates.BLOCK", 37)
    np.testing.assert_array_equal(near_duplicates(train, train[::3]), whole)
    np.testing.assert_array_equal(whole, np.arange(0, 300, 3))


def test_uniform_images_match_uniform_images_only():
    grey = np.full((2, 16, 16, 3), 120, np.uint8)
    noisy = np.random.default_rng(0).integers(100, 140, (2, 16, 16, 3), dtype=np.uint8)
    assert near_duplicates(grey, np.concatenate([grey[:1], noisy])).tolist() == [0, -1, -1]
