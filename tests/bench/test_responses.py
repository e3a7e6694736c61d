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
from bench.store.references import StoredReferences
from bench.store.trial_files import last_checkpoint
from bench.worker import responses as worker
from bench.worker.distances import between
from tests.support import tiny
from trainers.common.errors import UserError
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.trial import checkpoints, responses

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
    recommend = ["recommend", "--target", "letters[per_class=10]", "--store", finished.address, "--size", "20"]
    for by, said in (
        ("critic", r"--by critic: the store has no value of it; set predictors: \[critic\]"),
        ("fidd", "did you mean fid"),
    ):
        with pytest.raises(UserError, match=said):
            CliRunner().invoke(app, [*recommend, "--by", by], catch_exceptions=False)
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
    monkeypatch.setattr(responses, "SCORED", 10)
    told = CliRunner().invoke(app, [*recommend, "--by", "critic"], catch_exceptions=False, env={"COLUMNS": "200"})
    assert told.stdout.split()[:4] == ["strategy", "source", "critic", "targets"]
    assert "is the start from the nearest source (source critic's response " in told.stdout
    assert "The order is by source critic's response alone" in told.stdout
    (_, data) = last_checkpoint(finished, source.key)
    loaded, network = checkpoints.load(data, "here"), load_embedding("builtin")
    reference = StoredReferences(finished)("letters[per_class=10]", 8, network)
    own, used = responses.respond("critic", loaded, "letters[per_class=10]", plan.spec.training, reference, network, 64)
    assert used == 10
    assert f"{own.value:.4g}" in told.stdout
