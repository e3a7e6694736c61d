"""Where several embeddings agree on the first start of a cell."""

from pathlib import Path

import pytest

from analysis.comparison.embeddings import agreement
from analysis.frames import load
from analysis.report.blocks import Report
from analysis.report.content import tables
from analysis.report.markdown import render
from analysis.statistics import analyse
from bench.store import Store
from tests.support.synthetic import build

EMBEDDINGS = ("builtin:88d105204ef9", "inception:0123456789ab")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build(tmp_path, sizes=(50,), keep=1.0, images=False, embeddings=EMBEDDINGS)


def turned(store: Store) -> None:
    """Make the last start of every cell the first one in the second embedding."""
    rows = store.read("measurements")
    rows = rows[(rows["embedding"] == EMBEDDINGS[1]) & (rows["metric"] == "fid")].drop(columns=["sweep", "recorded_at"])
    store.append("measurements", "quickstart", rows.assign(value=1e4 / (1 + rows["value"])).to_dict("records"))


def report(store: Store) -> Report:
    frames = load(store)
    return Report(frames, [analyse(frames, embedding) for embedding in frames.embeddings], None)


def test_embeddings_that_differ_by_a_factor_agree(store: Store):
    rows = agreement({analysis.embedding: analysis.cells for analysis in report(store).analyses})
    assert len(rows) == load(store).curves["cell"].nunique()
    assert rows["agree"].all()
    assert rows["correlation"].tolist() == pytest.approx([1.0] * len(rows))
    assert (rows["first"].unique().tolist(), rows["second"].unique().tolist()) == ([EMBEDDINGS[0]], [EMBEDDINGS[1]])


def test_an_order_that_is_turned_disagrees_and_the_report_says_so(store: Store):
    turned(store)
    rows = agreement({analysis.embedding: analysis.cells for analysis in report(store).analyses})
    assert not rows["agree"].any()
    assert rows["correlation"].tolist() == pytest.approx([-1.0] * len(rows))
    text = render(load(store))
    assert len(rows) == 1
    assert "Of 1 comparison of a cell in two embeddings, 1 has another start first." in text
    assert f"{rows['first_start'][0]} and {rows['second_start'][0]}" in text


def test_one_embedding_has_nothing_to_compare(tmp_path: Path):
    alone = report(build(tmp_path, sizes=(50,), keep=1.0, images=False))
    assert list(tables.embeddings(alone)) == []


def test_samples_of_another_number_count_as_an_embedding_of_their_own(store: Store):
    """Values from different numbers of images are never mixed; distances do not depend on these numbers."""
    rows = store.read("measurements").drop(columns=["sweep", "recorded_at"])
    rows = rows[rows["embedding"] == EMBEDDINGS[0]]
    more = rows.assign(view=f"{EMBEDDINGS[0]}/2000", samples=2000, value=rows["value"] / 2)
    store.append("measurements", "quickstart", more.to_dict("records"))
    frames = load(store)
    assert frames.embeddings == [f"{EMBEDDINGS[0]}/1000", f"{EMBEDDINGS[0]}/2000", EMBEDDINGS[1]]
    fid = frames.curves[frames.curves["metric"] == "fid"].pivot_table(
        index=["trial", "step"], columns="embedding", values="value"
    )  # fmt: skip
    assert (fid[f"{EMBEDDINGS[0]}/2000"] * 2).tolist() == pytest.approx(fid[f"{EMBEDDINGS[0]}/1000"].tolist())
    assert set(frames.distances["embedding"]) == set(frames.embeddings)
    assert frames.distances.groupby("embedding").size().nunique() == 1


def test_each_view_has_the_distances_and_floors_from_as_many_images(store: Store):
    rows = store.read("measurements").drop(columns=["sweep", "recorded_at"])
    more = rows[rows["embedding"] == EMBEDDINGS[0]].assign(view=f"{EMBEDDINGS[0]}/2000", samples=2000)
    store.append("measurements", "quickstart", more.to_dict("records"))
    common = {"resolution": 16, "embedding": EMBEDDINGS[0]}
    of_generator = {
        "source": load(store).distances["source"].iloc[0],
        "target": "digits",
        "trial": "k",
        "kind": "fid",
        **common,
    }
    floor = {"domain": "digits", "figure": "fid_floor", **common}
    for number in (500, 1000, 2000):
        store.append("distances", "quickstart", [{**of_generator, "source_samples": number, "value": float(number)}])
        store.append("domains", "quickstart", [{**floor, "samples": number, "value": float(number)}])
    frames = load(store)
    distances = frames.distances[frames.distances["trial"] == "k"].set_index("embedding")["value"]
    floors = frames.domain_statistics.query("figure == 'fid_floor'").set_index("embedding")["value"]
    expected = {f"{EMBEDDINGS[0]}/1000": 1000.0, f"{EMBEDDINGS[0]}/2000": 2000.0}
    assert distances.to_dict() == floors.to_dict() == expected


def test_values_by_a_former_definition_are_left_out(store: Store):
    rows = store.read("measurements").drop(columns=["sweep", "recorded_at"])
    former = rows[rows["metric"] == "kid"].assign(version="0", value=99.0)
    store.append("measurements", "quickstart", former.to_dict("records"))
    assert not (load(store).curves["value"] == 99.0).any()
