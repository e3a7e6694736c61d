"""What each target is measured against."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.reference import references
from analysis.frames import load
from analysis.report.markdown import render
from analysis.words import against
from tests.support.synthetic import EMBEDDING, build


def test_the_reference_images_samples_and_floors_of_each_target(tmp_path: Path):
    store = build(tmp_path / "store", targets=["digits", "letters"])
    known = {"domain": "digits", "resolution": 16, "embedding": EMBEDDING}
    figures = {"diversity": (9.0, 40), "dimensions": (256.0, 40), "fid_floor": (2.5, 160), "kid_floor": (-0.001, 160)}
    store.append("domains", "quickstart", [
        {**known, "figure": name, "value": value, "low": value - 1, "high": value + 1, "samples": count}
        for name, (value, count) in figures.items()
    ])  # fmt: skip
    found = references(load(store), EMBEDDING).set_index("target")
    digits, letters = found.loc["digits"], found.loc["letters"]
    assert (digits["reference"], digits["samples"], digits["dimensions"]) == (40, 1000, 256)
    assert (digits["fid_floor"], digits["fid_floor_low"], digits["fid_floor_high"]) == (2.5, 1.5, 3.5)
    assert (digits["kid_floor"], digits["floor_samples"]) == (-0.001, 160)
    assert digits["few"]
    assert digits["narrow"]
    assert letters["samples"] == 1000
    assert np.isnan(letters[["reference", "dimensions", "fid_floor"]].astype(float)).all()
    assert not letters["few"]
    assert not letters["narrow"]


@pytest.mark.parametrize(("count", "few"), [(499, True), (500, False)])
def test_below_five_hundred_reference_images_there_are_few(tmp_path: Path, count: int, few: bool):
    store = build(tmp_path / "store", sizes=[50])
    row = {"domain": "digits", "resolution": 16, "embedding": EMBEDDING, "figure": "diversity", "value": 9.0, "samples": count}
    store.append("domains", "quickstart", [row])
    assert list(references(load(store), EMBEDDING)["few"]) == [few]
    assert len(references(load(store), "another")) == 0


def test_what_is_measured_against_the_train_split_says_so(tmp_path: Path):
    few = {"sources": {"letters": 42.0}, "strategies": ["scratch", "finetune"], "sizes": [50], "images": False}
    store = build(tmp_path / "store", **few)
    known = {"domain": "digits", "resolution": 16, "embedding": EMBEDDING, "samples": 40}
    store.append("domains", "quickstart", [{**known, "figure": name, "value": 2.5} for name in ("diversity", "fid_floor")])
    held_out = load(store)
    assert set(held_out.trials["split"]) == {"held-out"}
    build(tmp_path / "store", sweep="as-papers", reference="train", **few)
    both = load(store)
    assert set(both.trials["split"]) == {"held-out", "train"}, "a source has no curve"
    alone, with_train = both.embeddings
    assert (alone, with_train) == (f"{EMBEDDING}/1000", f"{EMBEDDING}/1000/train")
    (held,), (train,) = (references(both, name).to_dict("records") for name in both.embeddings)
    assert (held["split"], held["reference"], held["fid_floor"]) == ("held-out", 40, 2.5)
    assert train["split"] == "train"
    assert np.isnan([train["reference"], train["fid_floor"]]).all()
    assert not train["few"]
    text = render(both)
    assert "The real images are the train split of digits, which contains the training images" in text
    assert "contains the training images, so copies of them get better values" in text
    assert "never the training images, or with" in text


def test_captions_say_whose_images_are_real():
    assert against(pd.Series(["held-out"])) == against(pd.Series([], dtype=str)) == ""
    assert against(pd.Series(["train"])) == " (against the train split)"
    assert against(pd.Series(["train", "held-out"])) == " (in part against the train split)"
