"""All metrics of the best methods, and the warnings from them."""

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.cells import cells
from analysis.transfer.quality import metrics_of_best, warnings
from analysis.transfer.transferability import ranking


def curves(values: dict[str, float], seeds: int = 2, error: float = 0.1) -> pd.DataFrame:
    """Return the curves of scratch (FID 9) and of finetune from a source (FID 4), with other metrics as given."""
    common = {"cell": "c", "cell_label": "cats, 5 images", "embedding": "e", "kind": "adapt", "status": "done", "size": 5}
    common |= {"target": "t", "target_label": "t", "conditional": False, "resolution": 8, "family": "t", "budget": 20}
    common |= {"lost": False, "cut": False, "lost_seeds": 0, "confirmation": False, "parent": None}
    rows = []
    for strategy, source, fid in (("scratch", None, 9.0), ("finetune", "dogs", 4.0)):
        for seed in range(seeds):
            for step in (10, 20):
                for metric, value in {"fid": fid, **values}.items():
                    columns = {"strategy": strategy, "source": source, "source_label": source, "seed": seed, "step": step}
                    shift = (20 - step) + seed
                    rows.append({**common, **columns, "metric": metric, "value": value + shift, "standard_error": error,
                                 "trial": f"{strategy}{seed}"})  # fmt: skip
    return pd.DataFrame(rows)


def test_every_metric_of_each_method_at_its_last_step():
    frame = curves({"recall": 0.5, "kid": 0.1, "fid/cats": 1.0, "fid_raw": 2.0})
    result = metrics_of_best(frame, ranking(cells(frame)))
    assert list(result["metric"]) == ["fid", "kid", "recall"] * 2
    assert list(result["strategy"]) == ["finetune"] * 3 + ["scratch"] * 3
    assert set(result["step"]) == {20}
    assert list(result["value"]) == pytest.approx([4.5, 0.6, 1.0, 9.5, 0.6, 1.0])
    assert list(result["error"]) == pytest.approx([1.96 * 0.1 / np.sqrt(2)] * 6)
    assert set(result["seeds"]) == {2}


def test_without_a_standard_error_there_is_none():
    frame = curves({}, error=np.nan)
    assert metrics_of_best(frame, ranking(cells(frame)))["error"].isna().all()
    assert len(metrics_of_best(frame.iloc[:0], ranking(cells(frame.iloc[:0])))) == 0


@pytest.mark.parametrize(("values", "texts"), [
    ({"memorisation": 0.5, "diversity": 0.9}, []),
    ({"memorisation": 0.55, "diversity": 0.55}, []),
    ({"memorisation": 0.9}, ["copies", "nearer to its training images"]),
    ({"diversity": 0.3}, ["", "less than half of the real images' diversity"]),
])  # fmt: skip
def test_warnings_of_copies_and_collapse(values: dict[str, float], texts: list[str]):
    frame = curves(values, seeds=1, error=0.01)
    lines = warnings(metrics_of_best(frame, ranking(cells(frame))))
    assert len(lines) == (2 if texts else 0)
    if texts:
        assert all(texts[1] in line and line.startswith("cats, 5 images: ") for line in lines)
        assert "finetune from dogs" in lines[0]
        assert "the images of scratch" in lines[1]
