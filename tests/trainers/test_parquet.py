"""Domains in Parquet files with the layout of the Hugging Face hub, and unusable files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.images import encoded, picture
from trainers.common.errors import UserError
from trainers.domains import get
from trainers.domains.base import SPLITS, Skipped

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def hub(path: Path, numbers: range, names: list[str] | None = None, labels: Any = None, image: str = "image") -> Path:
    """Write pictures as the hub does; a label is the picture's number modulo the number of classes."""
    if labels is None:
        labels = [number % len(names or "abc") for number in numbers]
    features: dict[str, Any] = {image: {"_type": "Image"}}
    if names:
        features["label"] = {"names": names, "_type": "ClassLabel"}
    rows = [{"bytes": encoded(picture(number)), "path": f"{number}.png"} for number in numbers]
    table = pa.table({image: pa.array(rows, IMAGE), "label": pa.array(labels)})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=7)
    return path


def refused(name: str) -> str:
    with pytest.raises(UserError) as error:
        get(name).prepare(8)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_hubs_layout_is_read(tmp_path: Path):
    for shard in range(2):
        hub(tmp_path / "data" / f"train-0000{shard}-of-00002.parquet", range(20 * shard, 20 * shard + 20), ["cat", "dog"])
    hub(tmp_path / "data" / "test-00000-of-00001.parquet", range(40, 50), ["cat", "dog"])
    domain = get(f"parquet:{tmp_path}/data")
    assert domain.classes == ("cat", "dog")
    assert {split: domain.count(split) for split in SPLITS} == {"train": 40, "reference": 10}
    for split, first in (("train", 0), ("reference", 40)):
        data = domain.load(split, 16)  # type: ignore[arg-type]
        assert data.labels is not None
        for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            expected = picture(first + i).resize((16, 16), Image.Resampling.BICUBIC)
            np.testing.assert_array_equal(image, np.asarray(expected))
            assert label == (first + i) % 2
    assert get(f"parquet:{tmp_path}/data/*.parquet").fingerprint == domain.fingerprint
    assert domain.fingerprint.startswith("parquet/1:")


def test_one_small_file_is_divided_one_in_two_of_each_class(tmp_path: Path):
    domain = get(f"parquet:{hub(tmp_path / 'all.parquet', range(60))}")
    assert domain.classes == ("000000", "000001", "000002")
    train, reference = (np.bincount(domain.load(split, 8).labels) for split in SPLITS)  # type: ignore[arg-type]
    assert train.tolist() == [10, 10, 10]
    assert reference.tolist() == [10, 10, 10]
    assert domain.fingerprint.startswith("parquet/2:")


def test_images_may_be_a_column_of_bytes_and_labels_be_strings(tmp_path: Path):
    words = pa.array(["rose", "tulip"] * 10)
    pq.write_table(
        pa.table({"img": pa.array([encoded(picture(i)) for i in range(20)], pa.large_binary()), "kind": words, "n": range(20)}),
        tmp_path / "a.parquet",
    )
    plain = get(f"parquet:{tmp_path}/a.parquet")
    assert plain.classes == ()
    named = get(f"parquet:{tmp_path}/a.parquet#image=img,label=kind")
    assert named.classes == ("rose", "tulip")
    assert named.fingerprint != plain.fingerprint


def test_rows_without_an_image_are_reported(tmp_path: Path):
    rows = [{"bytes": encoded(picture(i)), "path": None} for i in range(10)]
    rows[3], rows[5] = {"bytes": None, "path": "gone.png"}, {"bytes": b"no image", "path": None}
    rows[7] = None  # type: ignore[call-overload]
    pq.write_table(pa.table({"image": pa.array(rows, IMAGE)}), tmp_path / "a.parquet", row_group_size=4)
    domain = get(f"parquet:{tmp_path}/a.parquet")
    assert [file.name for file in domain.skipped] == ["a.parquet row 3", "a.parquet row 5", "a.parquet row 7"]
    assert "images must be embedded, not named by a path" in domain.skipped[0].reason
    assert "not an image" in domain.skipped[1].reason
    assert domain.count("train") + domain.count("reference") == 7


def test_unusable_files_are_refused_in_one_line(tmp_path: Path):
    whole = hub(tmp_path / "whole.parquet", range(20), ["cat", "dog"])
    (tmp_path / "half.parquet").write_bytes(whole.read_bytes()[:800])
    assert "half.parquet is not a complete Parquet file" in refused(f"parquet:{tmp_path}/half.parquet")
    assert "there is no such file" in refused(f"parquet:{tmp_path}/missing.parquet")
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "text.parquet")
    assert "has no columns of image bytes; it has text, label" in refused(f"parquet:{tmp_path}/text.parquet")
    assert "has no column 'picture' of image bytes; it has image, label" in refused(f"parquet:{whole}#image=picture")
    assert "has no column 'kind'; it has image, label" in refused(f"parquet:{whole}#label=kind")
    assert "unknown column 'mask'" in refused(f"parquet:{whole}#mask=label")
    hub(tmp_path / "odd" / "a.parquet", range(6), image="image")
    hub(tmp_path / "odd" / "b.parquet", range(6), image="picture")
    assert "b.parquet has no column 'image'; it has picture, label" in refused(f"parquet:{tmp_path}/odd")


@pytest.mark.parametrize("wrong", [-1, 2, None])
def test_labels_that_do_not_match_their_names_are_refused(tmp_path: Path, wrong: int | None):
    path = hub(tmp_path / "a.parquet", range(6), ["cat", "dog"], [0, 1, wrong, 0, wrong, 1])
    message = refused(f"parquet:{path}")
    assert "2 labels of a.parquet are not one of its 2 declared classes (first in row 2, column 'label')" in message


def test_shards_may_hold_images_as_bytes_and_as_structs(tmp_path: Path):
    hub(tmp_path / "train-0.parquet", range(10))
    plain = [encoded(picture(i)) for i in range(10, 20)]
    pq.write_table(pa.table({"image": plain, "label": [0] * 10}), tmp_path / "train-1.parquet")
    for order in ("train-*.parquet", "*.parquet"):
        domain = get(f"parquet:{tmp_path}/{order}")
        assert domain.count("train") + domain.count("reference") == 20
        assert domain.skipped == ()


@pytest.mark.parametrize("names", [("train/0000", "test/0000"), ("train_0", "test_0"), ("training-1", "validation.1")])
def test_the_split_begins_a_files_name_or_is_its_folder(tmp_path: Path, names: tuple[str, str]):
    hub(tmp_path / "default" / f"{names[0]}.parquet", range(12))
    hub(tmp_path / "default" / f"{names[1]}.parquet", range(12, 20))
    domain = get(f"parquet:{tmp_path}/default")
    assert {split: domain.count(split) for split in SPLITS} == {"train": 12, "reference": 8}


def test_files_without_a_split_beside_files_with_one_are_skipped(tmp_path: Path):
    for number, name in enumerate(("train-0", "test-0", "extra", "below/more")):
        hub(tmp_path / f"{name}.parquet", range(4 * number, 4 * number + 4))
    domain = get(f"parquet:{tmp_path}")
    assert {split: domain.count(split) for split in SPLITS} == {"train": 4, "reference": 4}
    reason = "its file names no split, and others do"
    rows = tuple(Skipped(f"extra.parquet row {i}", reason) for i in range(4))
    assert domain.skipped == (*rows, Skipped("below/more.parquet", "in a sub-folder"))


def test_files_of_one_name_in_several_folders_are_told_apart(tmp_path: Path):
    for number, folder in enumerate("ab"):
        hub(tmp_path / folder / "0.parquet", range(10 * number, 10 * number + 9))
        (tmp_path / folder / "1.parquet").write_bytes((tmp_path / folder / "0.parquet").read_bytes())
    with (tmp_path / "a" / "broken.parquet").open("wb") as file:
        pq.write_table(pa.table({"image": [b"no image"], "label": [0]}), file)
    domain = get(f"parquet:{tmp_path}")
    assert domain.count("train") + domain.count("reference") == 36
    assert [file.name for file in domain.skipped] == ["a/broken.parquet row 0"]
    assert domain.fingerprint.startswith("parquet/3:")


def test_each_file_declares_the_names_of_its_labels(tmp_path: Path):
    hub(tmp_path / "train-0.parquet", range(8), ["cat", "dog"], [0] * 8)
    hub(tmp_path / "test-0.parquet", range(8, 16), ["dog", "cat"], [1] * 4 + [0] * 4)
    domain = get(f"parquet:{tmp_path}")
    assert domain.classes == ("cat", "dog")
    assert [np.bincount(domain.load(split, 8).labels, minlength=2).tolist() for split in SPLITS] == [[8, 0], [4, 4]]  # type: ignore[arg-type]


def test_labels_with_and_without_names_are_not_mixed(tmp_path: Path):
    hub(tmp_path / "a.parquet", range(8), ["cat", "dog"])
    hub(tmp_path / "b.parquet", range(8, 16))
    assert "the labels of b.parquet are numbers without names, those of a.parquet have names" in refused(f"parquet:{tmp_path}")
    pq.write_table(pa.table({"image": [encoded(picture(i)) for i in range(4)]}), tmp_path / "a.parquet")
    assert "a.parquet has no column 'label'; it has image" in refused(f"parquet:{tmp_path}/*")
    assert get(f"parquet:{tmp_path}#label=").classes == ()


def test_names_of_columns_and_folders_may_contain_dots_and_number_signs(tmp_path: Path):
    (tmp_path / "c#1").mkdir()
    path = tmp_path / "c#1" / "a.parquet"
    pq.write_table(pa.table({"image.bytes": [encoded(picture(i)) for i in range(10)], "kind": ["x", "y"] * 5}), path)
    assert get(f"parquet:{path}").count("train") == 5
    assert get(f"parquet:{path}#image=image.bytes,label=kind").classes == ("x", "y")


def test_rows_with_paths_only_are_refused_with_the_reason(tmp_path: Path):
    rows = [{"bytes": None, "path": f"{i}.png"} for i in range(4)]
    pq.write_table(pa.table({"image": pa.array(rows, IMAGE)}), tmp_path / "a.parquet")
    message = "a.parquet row 0 (the row has no bytes; images must be embedded, not named by a path)"
    assert message in refused(f"parquet:{tmp_path}/a.parquet")
