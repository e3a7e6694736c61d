"""The predictors of a sweep beside distances: measured of each source's networks, once, and without another trial key."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from bench.cli import app
from bench.driver.ledger import Ledger
from bench.run.sweep import run_distances
from bench.store import Store
from bench.worker import responses as worker
from bench.worker.distances import between
from tests.support import tiny
from trainers.trial import responses

NAMES = ["projection", "critic", "probe"]


@pytest.mark.slow
def test_predictors_are_measured_once_of_each_sources_networks(
    finished: Store, monkeypatch: pytest.MonkeyPatch, steps: list[int]
):
    monkeypatch.setattr(responses, "PROBE_STEPS", 2)
    without, plan = tiny.make(), tiny.make(predictors=NAMES)
    assert set(plan.by_key) == set(without.by_key), "predictors are no part of a trial"
    ledger = Ledger.open(plan, finished)
    (source,) = plan.of_kind("pretrain")
    assert worker.missing(without, ledger, finished) == []
    assert worker.missing(plan, ledger, finished) == [(tiny.NUMERALS, source.key, (("digits", tuple(NAMES)),))]
    console = Console(quiet=True)
    assert run_distances(plan, ledger, finished, console, None, "here") == []
    assert len(steps) == 4, "a probe fine-tunes and trains from scratch"
    rows = {row["kind"]: row for row in between(plan, finished) if row["kind"] in NAMES}
    assert list(rows) == NAMES
    for row in rows.values():
        assert (row["source"], row["target"], row["trial"]) == (tiny.NUMERALS, "digits", source.key)
        assert 0 < row["low"] < row["value"] < row["high"]
    assert rows["projection"]["target_samples"] == responses.PROJECTED
    assert rows["probe"]["target_samples"] == responses.PROBED
    assert run_distances(plan, ledger, finished, console, None, "here") == []
    assert len(steps) == 4
    assert [row["kind"] for row in between(without, finished) if row["kind"] in NAMES] == []
    folder = Path(finished.address).parent
    spec = str(tiny.write_spec(folder, **{**tiny.SMALL, "predictors": NAMES}))
    told = CliRunner().invoke(app, ["distances", spec, "--store", finished.address, "--json"])
    values = {row["kind"]: row["value"] for row in json.loads(told.stdout) if row["trial"]}
    assert all(np.isclose(values[name], rows[name]["value"]) for name in NAMES)
    table = CliRunner().invoke(app, ["distances", spec, "--store", finished.address], env={"COLUMNS": "200"}).stdout
    assert all(name in table for name in NAMES)
