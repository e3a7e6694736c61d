"""What stands in the tables of the report."""

from dataclasses import replace
from pathlib import Path

from analysis import tables
from analysis.frames import load
from tests.synthetic import EMBEDDING, build


def test_an_embedding_has_the_images_behind_fid_alone_and_distances_where_there_are_any(tmp_path: Path) -> None:
    store = build(tmp_path, conditional=(True,), classes=("a", "b"), sizes=(50,), images=False)
    key = store.read("trials")["key"].iloc[-1]
    own = {"trial": key, "step": 50, "embedding": EMBEDDING, "metric": "ada_signal", "value": 0.5, "samples": 32}
    store.append("measurements", "quickstart", [own])
    said = "1,000 generated images behind each FID and KID"
    frames = load(store)
    assert tables.embeddings(frames) == [
        {"name": EMBEDDING, "about": f"{said}; distances from 1,000 source and 500 target images"}
    ]
    without = replace(frames, distances=frames.distances.iloc[:0])
    assert tables.embeddings(without) == [{"name": EMBEDDING, "about": said}]


def test_large_values_have_no_exponent() -> None:
    assert [tables._with_error(value, None) for value in (0.01234, 97.12, 999.6, 12345.6)] == [
        "0.0123",
        "97.1",
        "1,000",
        "12,346",
    ]
