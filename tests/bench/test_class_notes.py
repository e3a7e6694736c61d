"""A plan's remarks on classes without training images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.sweeps.expansion import make_plan
from bench.sweeps.spec import SweepSpec
from trainers.common.errors import UserError
from trainers.domains import get


def notes(**changes: Any) -> tuple[str, ...]:
    spec = {"name": "n", "sources": ["shapes"], "targets": ["digits"], "sizes": [6], "strategies": ["scratch", "finetune"]}
    return make_plan(SweepSpec.model_validate({**spec, **changes})).notes


def classes(folder: Path, **counts: tuple[int, int]) -> str:
    """Write a folder with a number of train and of reference images in each class; return its domain's name."""
    images = iter(get("letters").load("train", 8).images)
    for name, of_splits in counts.items():
        for split, count in zip(("train", "val"), of_splits, strict=True):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(next(images)).save(folder / split / name / f"{number}.png")
    return f"folder:{folder}"


def test_fewer_images_than_classes_are_noted():
    left_out = "conditional trials leave them out of their samples and of their reference"
    assert notes(conditional=[True]) == (f"digits: size 6, of 10 classes: 4 classes have no image; {left_out}",)
    assert notes(conditional=[False, True], sizes=[4, 6, 10])[1:] == notes(conditional=[True])
    assert notes() == ("digits: size 6, of 10 classes: 4 classes or more have no image; the reference has all classes",)
    assert notes(sizes=[9]) == ("digits: size 9, of 10 classes: 1 class or more have no image; the reference has all classes",)
    assert notes(sizes=[10, 50], conditional=[False, True]) == ()


def test_images_that_ada_holds_out_are_not_trained_on():
    left_out = "conditional trials leave them out of their samples and of their reference"
    assert notes(conditional=[True], sizes=[12, 20], augmentation=["none", "ada"]) == (
        f"digits: size 12, 4 of them held out by ada, of 10 classes: 2 classes have no image; {left_out}",
    )
    with pytest.raises(
        UserError, match="ada holds out 4 training images, and a trial on 'digits' has 7; set sizes to 8 or more"
    ):
        notes(sizes=[7, 20], augmentation=["ada"])


def test_a_class_without_training_images_is_noted_if_a_trial_is_conditional(tmp_path: Path):
    name = classes(tmp_path, a=(60, 60), b=(0, 20), c=(60, 60))
    left_out = "conditional trials leave it out of their samples and of their reference"
    note = f"{name}: 1 class has no image in the train split; {left_out}"
    assert notes(targets=[name], sizes=[50], conditional=[True]) == (note,)
    assert notes(sources=[name], sizes=[50], conditional=[True]) == (note,), "a source"
    assert notes(targets=[name], sizes=[50]) == ()


def test_too_few_reference_images_of_the_trained_classes_are_a_mistake(tmp_path: Path):
    """Whichever class the one image is of, there are fewer than four reference images of it."""
    name = classes(tmp_path, a=(50, 2), b=(50, 3), c=(50, 3))
    with pytest.raises(
        UserError, match=r"sizes: with 1 image of domain .* trains? classes that have [23] reference images and"
    ):
        notes(targets=[name], sizes=[1], conditional=[True])
    assert len(notes(targets=[name], sizes=[2], conditional=[False])) == 2


def test_a_domain_without_classes_has_no_such_remarks(tmp_path: Path):
    images = np.asarray(get("letters").load("train", 8).images[:250])
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    assert notes(targets=[f"folder:{tmp_path}"], sizes=[1]) == ()
