"""Our statistics of the paper's tables against the paper's numbers and calculations by hand."""

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.comparison.cells import SCRATCH
from analysis.published import __main__ as command
from analysis.published import paper_tables as tables
from analysis.published.results import results


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return results()


def test_distance_orders_the_sources_within_a_target_and_not_across(found: dict[str, Any]):
    expected = {"flowers": 0.8, "kitchens": 0.8, "lfw": 0.8, "cityscapes": -0.4}
    assert found["distance_against_fid"] == pytest.approx(expected)
    assert found["distance_against_fid_pooled"] == pytest.approx(-0.07, abs=0.005)
    both = tables.DISTANCE.frame().merge(tables.SOURCE_TARGET.frame(), on=["target", "source"], suffixes=("", "_after"))
    assert found["distance_against_fid_pooled"] == pytest.approx(stats.spearmanr(both["fid"], both["fid_after"]).statistic)


def test_means_and_counts_are_the_papers(found: dict[str, Any]):
    rounded = {source: round(value, 1) for source, value in found["mean_fid"].items()}
    assert rounded == {"bedrooms": 53.8, "imagenet": 55.1, "celeba": 61.0, "places": 66.8}
    assert round(found["mean_fid_scratch"], 1) == 72.4
    assert found["transfers_ahead_of_scratch"] == [16, 16]
    assert found["nearest_was_best"] == [3, 4]


def test_regret_is_that_of_cityscapes_alone(found: dict[str, Any]):
    # The nearest to Cityscapes is Places (151.34); ImageNet (122.46) is the best. For the other three the nearest is.
    assert found["regret_of_nearest"] == pytest.approx((151.34 / 122.46) ** 0.25)


def test_speed_up_lies_within_the_reading_error(found: dict[str, Any]):
    # Scratch's last is 26.1; fine-tuning has 26.6 at 20k and 23.1 at 30k.
    assert found["speed_up"]["value"] == pytest.approx(40 / (20 + 10 * 0.5 / 3.5))
    assert found["speed_up"]["low"] < 40 / 21.7 < found["speed_up"]["high"], "the crossing in the figure itself, at 21.7k"


def test_regret_of_advice_by_hand(found: dict[str, Any]):
    """Geometric means over the four targets of table 4's FIDs relative to the best source's."""
    fids = tables.SOURCE_TARGET.frame().dropna(subset="source").pivot(index="target", columns="source", values="fid")
    over = np.log2(fids).sub(np.log2(fids.min(axis=1)), axis=0)
    result = found["regret_of_advice"]
    assert result["largest"] == pytest.approx(2 ** over["bedrooms"].mean()), "bedrooms has three million images"
    assert result["random"] == pytest.approx(2 ** over.mean(axis=1).mean())
    assert result["nearest"] == pytest.approx(found["regret_of_nearest"])
    assert result["recommended"] < result["average"] < result["nearest"] < result["random"]


def test_data_multiplier_by_hand(found: dict[str, Any]):
    result = {row["size"]: row for row in found["data_multiplier"]}
    share = np.log(256.1 / 93.4) / np.log(256.1 / 86.0)  # from 1k to 5k
    assert result[1_000]["multiplier"] == pytest.approx(5**share)
    assert [round(result[size]["multiplier"], 1) for size in (5_000, 10_000, 50_000, 100_000)] == [1.9, 4.5, 3.7, 5.4]
    assert (result[1_000_000]["multiplier"], result[1_000_000]["bound"]) == (1.0, "at least")
    assert [row["size"] for row in found["data_multiplier_conditional"]] == [1_000, 10_000, 100_000]


def test_classes_average_to_what_is_printed(found: dict[str, Any]):
    frame = tables.CLASSES.frame()
    averages = frame[~frame["class"].isin(["average", "all"])].groupby("iteration")[[SCRATCH, "finetune"]].mean()
    printed = frame[frame["class"] == "average"].set_index("iteration")[[SCRATCH, "finetune"]]
    assert np.abs(averages - printed).to_numpy().max() < 0.06  # as rounded
    assert found["mean_fid_of_a_class"] == {"scratch": 67.2, "finetune": 55.0}
    assert found["classes_ahead_of_scratch"] == [10, 10]


def test_tables_have_a_provenance():
    assert {table.name for table in tables.TABLES if "recalled" in table.provenance} == {"Table 5"}
    assert "within 0.1" in tables.FIGURE.provenance
    for table in tables.TABLES:
        assert {len(row) for row in table.rows} == {len(table.columns)}, table.name


@pytest.mark.slow
def test_command(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def output(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["published", *arguments])
        command.main()
        return capsys.readouterr().out

    text = output()
    for words in ("cityscapes  -0.40", "pooled      -0.07", "bedrooms    53.8", "Speed-up (Figure 1a", "4.4x, as 4,427 from"):
        assert words in text
    parsed = json.loads(output("--json"))
    assert parsed["results"] == json.loads(json.dumps(found))
    assert parsed["tables"]["Table 5"]["provenance"].startswith("recalled")


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--jsn", 2)])
def test_help_has_an_example_and_a_usage_error_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argument: str, status: int
):
    monkeypatch.setattr("sys.argv", ["published", argument])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == status
    printed = capsys.readouterr()
    assert ("Example: python -m analysis.published --json" in printed.out) == (status == 0)
    assert ("--jsn" in printed.err) == (status == 2)
