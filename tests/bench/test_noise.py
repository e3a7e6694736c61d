"""The spread between seeds in a store: pooled by hand, of the transfers and of scratch separately."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.costs.noise import SHIPPED, noise
from bench.store import Store, open_store


def write(
    store: Store, method: str, fids: list[float], status: str = "done", cell: str = "c", *,
    training: Callable[[int], int] = lambda seed: 0, **columns: Any,
) -> None:  # fmt: skip
    """Write the seeds of a method, "strategy source", with their FIDs at the budget, and worse ones before it.

    `training` returns the number of the source's training that a seed starts from.
    """
    strategy, _, source = method.partition(" ")
    for seed, fid in enumerate(fids):
        key = f"{cell} {method} {seed} {columns}"
        row = {
            "key": key,
            "kind": "adapt",
            "cell": cell,
            "strategy": strategy,
            "source": source or None,
            "parent": None if not source else f"{source} {training(seed)}",
            "seed": seed,
            "steps": 8,
        }
        store.append("trials", "s", [{**row, "status": status, **columns}])
        common = {"trial": key, "metric": "fid", "embedding": "e", "view": "e/1000", "version": "1"}
        values = [{**common, "step": step, "value": fid * (9 - step)} for step in (4, 8)]
        store.append("measurements", "s", [*values, {**values[1], "metric": "kid", "value": 1e9 * seed}])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), create=True)


def test_the_spread_is_pooled_within_methods_and_cells(store: Store):
    """Deviations of log2 are 1 and -1; 0; 2, 0 and -2: a sum of squares of 10 with four degrees of freedom."""
    write(store, "finetune a", [1.0, 4.0])
    write(store, "finetune b", [64.0, 64.0])
    write(store, "finetune a", [1.0, 4.0, 16.0], cell="d")
    write(store, "freeze-d a", [1000.0])
    write(store, "scratch", [1.0, 2.0, 4.0])
    found = noise(store)
    assert (found.transfer.value, found.transfer.freedom) == (pytest.approx(math.sqrt(10 / 4)), 4)
    assert (found.scratch.value, found.scratch.freedom) == (pytest.approx(1.0), 2)
    assert found.transfer.measured
    assert found.scratch.measured


def test_several_trainings_of_a_source_vary_not_the_seeds_that_start_from_them(store: Store):
    """Means of log2 by training are 1 and 5; by trial they are 0, 4, 2 and 6."""
    write(store, "finetune a", [1.0, 16.0, 4.0, 64.0], training=lambda seed: seed % 2)
    assert (noise(store).transfer.value, noise(store).transfer.freedom) == (pytest.approx(math.sqrt(8)), 1)


def test_only_seeds_at_the_budget_with_a_positive_finite_fid_count(store: Store):
    for status in ("stopped", "diverged", "failed"):
        write(store, "finetune a", [1.0, 99.0], status, cell=status)
    write(store, "finetune a", [1.0, 0.0, math.inf, math.nan])
    write(store, "finetune b", [1.0, 99.0], kind="tune")
    assert noise(store).transfer == SHIPPED.transfer


def test_each_spread_that_the_store_lacks_is_the_shipped_one(store: Store):
    assert noise(None) == noise(store) == SHIPPED
    write(store, "scratch", [1.0, 2.0])
    assert noise(store).transfer == SHIPPED.transfer
    assert noise(store).scratch.value == pytest.approx(math.sqrt(0.5))
