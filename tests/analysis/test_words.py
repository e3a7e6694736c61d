"""Wording of numbers."""

from typing import Any

import pytest

from analysis.words import chance, method, multiple, saved, saved_interval, times

INF = float("inf")


@pytest.mark.parametrize(("row", "value", "interval"), [
    ({"multiplier": 4.42, "bound": "", "low": 3.06, "high": 6.0}, "4.4×", "3.1× to 6.0×"),
    ({"multiplier": 20.0, "bound": "at least", "low": 8.0, "high": INF}, "at least 20.0×", "at least 8.0×"),
    ({"multiplier": 0.25, "bound": "at most", "low": 0.0, "high": 0.5}, "at most 0.25×", "at most 0.50×"),
    ({"multiplier": 1.0, "bound": "", "low": 0.0, "high": INF}, "1.0×", "anything"),
    ({"multiplier": 120.0, "bound": "", "low": None, "high": None}, "120×", ""),
])  # fmt: skip
def test_multipliers_and_their_intervals(row: dict[str, Any], value: str, interval: str):
    assert (saved(row), saved_interval(row)) == (value, interval)


@pytest.mark.parametrize(("strategy", "source", "words"), [
    ("finetune", "faces", "fine-tuning both networks from faces"),
    ("finetune[from=unconditional]", "faces", "fine-tuning both networks from unconditional faces"),
    ("freeze-d[blocks=2,rate=0.1,from=conditional]", "faces", "freeze-d (blocks 2, rate 0.1) from conditional faces"),
    ("scratch[rate=0.1]", None, "training from scratch (rate 0.1)"),
])  # fmt: skip
def test_methods_in_words(strategy: str, source: str | None, words: str):
    assert method({"strategy": strategy, "source_label": source}) == words


def test_factors_beyond_a_thousand_are_bounds():
    assert [times(log2) for log2 in (0.0, -1.0, 9.9, 10.0, 40.0, -12.0)] == [
        "×1.00", "×0.50", "×955.43", "over ×1,000", "over ×1,000", "below ×0.001"
    ]  # fmt: skip


def test_small_numbers_keep_their_digits():
    assert [multiple(value) for value in (0.951, 0.949, 99.4, 99.6)] == ["1.0×", "0.95×", "99.4×", "100×"]
    assert [chance(p) for p in (0.0004, 0.0123, 0.5)] == ["p < 0.001", "p = 0.012", "p = 0.5"]
