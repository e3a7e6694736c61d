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
from trainers.domains.base import SPLITS

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
    assert domain.skipped == ("a.parquet row 3", "a.parquet row 5", "a.parquet row 7")
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
