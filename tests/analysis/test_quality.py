"""Metrics beside FID, method by method, and what they warn of."""

import numpy as np
import pandas as pd
import pytest

from analysis.transfer.quality import quality, warnings
from analysis.transfer.transferability import ranking


def curves(values: dict[str, float], seeds: int = 2, error: float = 0.1) -> pd.DataFrame:
    """Return the curves of scratch (FID 9) and of finetune from a source (FID 4), with other metrics as given."""
    common = {"cell": "c", "cell_label": "cats, 5 images", "embedding": "e", "kind": "adapt", "status": "done", "size": 5}
    common |= {"target": "t", "target_label": "t", "conditional": False, "resolution": 8, "family": "t", "budget": 20}
    rows = []
    for strategy, source, fid in (("scratch", None, 9.0), ("finetune", "dogs", 4.0)):
        for seed in range(seeds):
            for step in (10, 20):
                for metric, value in {"fid": fid, **values}.items():
                    own = {"strategy": strategy, "source": source, "source_label": source, "seed": seed, "step": step}
                    shift = (20 - step) + seed
                    rows.append({**common, **own, "metric": metric, "value": value + shift, "standard_error": error,
                                 "trial": f"{strategy}{seed}"})  # fmt: skip
    return pd.DataFrame(rows)


def test_each_method_is_told_by_every_metric_at_its_last_step():
    frame = curves({"recall": 0.5, "kid": 0.1, "fid/cats": 1.0, "fid_ema": 2.0})
    found = quality(frame, ranking(frame))
    assert list(found["metric"]) == ["fid", "kid", "recall"] * 2
    assert list(found["strategy"]) == ["finetune"] * 3 + ["scratch"] * 3
    assert set(found["step"]) == {20}
    assert list(found["value"]) == pytest.approx([4.5, 0.6, 1.0, 9.5, 0.6, 1.0])
    assert list(found["error"]) == pytest.approx([1.96 * 0.1 / np.sqrt(2)] * 6)
    assert set(found["seeds"]) == {2}


def test_without_a_standard_error_there_is_none():
    frame = curves({}, error=np.nan)
    assert quality(frame, ranking(frame))["error"].isna().all()
    assert len(quality(frame.iloc[:0], ranking(frame.iloc[:0]))) == 0


@pytest.mark.parametrize(("values", "said"), [
    ({"memorisation": 0.5, "diversity": 0.9}, []),
    ({"memorisation": 0.55, "diversity": 0.55}, []),
    ({"memorisation": 0.9}, ["copies", "nearer to its training images"]),
    ({"diversity": 0.3}, ["", "less than half of the real images' diversity"]),
])  # fmt: skip
def test_copies_and_collapse_are_warned_of(values: dict[str, float], said: list[str]):
    frame = curves(values, seeds=1, error=0.01)
    lines = warnings(quality(frame, ranking(frame)))
    assert len(lines) == (2 if said else 0)
    if said:
        assert all(said[1] in line and line.startswith("cats, 5 images: ") for line in lines)
        assert "finetune from dogs" in lines[0]
        assert "what scratch draws" in lines[1]
