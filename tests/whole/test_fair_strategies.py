"""The benchmark of the strategies' learning rates and penalties, in its quick form."""

import pytest

from tests.benchmarks.science.anchors import anchors
from tests.benchmarks.science.rates import rates

pytestmark = pytest.mark.slow


def test_few_parameters_get_a_rate_that_suits_them():
    rows = list(rates(True))
    assert [row.name.partition(":")[0] for row in rows] == ["scale-shift", "lora"]
    assert all(row.holds for row in rows), [row.text for row in rows]


def test_a_penalty_holds_the_generator_and_does_no_harm():
    rows = list(anchors(True))
    assert [row.name.partition(":")[0] for row in rows] == ["l2-sp", "ewc"]
    assert all(row.holds for row in rows), [row.text for row in rows]
