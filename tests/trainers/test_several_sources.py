"""A real sweep from a mixture and a chain: its store, repair, distances and report."""

import io
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from analysis.frames import load
from analysis.report.page import write_report
from bench.costs.replay import replay
from bench.driver.ledger import Ledger
from bench.run.status import progressing, tables
from bench.store import Store, open_store
from bench.store.trial_files import last_checkpoint
from bench.sweeps.spec import StoppingConfig
from bench.upkeep.check import check
from bench.upkeep.compact import compact
from bench.worker import distances
from tests.support import tiny
from trainers import domains
from trainers.config.trial import TrialConfig
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.metrics.fid import fid, statistics
from trainers.trial import checkpoints
from trainers.trial.run import run

pytestmark = pytest.mark.slow

LETTERS, SHAPES = "letters[classes=3,per_class=20]", "shapes[classes=2,per_class=20]"
MIXED = f"{LETTERS}+{SHAPES}"
CHAIN = f"{LETTERS} -> {MIXED}"
PLAN = tiny.make(sources=[[SHAPES, LETTERS], CHAIN], conditional=[True], evaluation={"samples": 64, "first_rung": 4})
MIXTURE, FIRST, SECOND = PLAN.of_kind("pretrain")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with the finished sweep and its distances; read-only."""
    folder = tmp_path_factory.mktemp("several") / "store"
    store = open_store(str(folder), create=True)
    assert tiny.run_here(PLAN, store) == []
    ledger = Ledger.open(PLAN, store)
    common = (store.address, "small", "builtin", 8)
    for embedding in distances.unembedded(PLAN, store):
        distances.embed(*common, *embedding)
    for task in distances.missing(PLAN, ledger, store):
        distances.measure(*common, 64, *task)
    return folder


@pytest.fixture
def ran(once: Path, tmp_path: Path) -> Store:
    """A copy of that store, which a test may change."""
    shutil.copytree(once, tmp_path / "store")
    return open_store(str(tmp_path / "store"))


def source(store: Store, trial: TrialConfig) -> checkpoints.Checkpoint:
    checkpoint = last_checkpoint(store, trial.key)
    assert checkpoint is not None
    return checkpoints.load(checkpoint[1], checkpoint[0])


def test_every_trial_is_done_once_and_the_store_has_no_faults(ran: Store):
    assert set(tiny.outcomes(ran)["status"]) == {"done"}
    assert check(ran) == []
    before = tiny.values(ran)
    assert tiny.run_here(PLAN, ran) == []
    assert tiny.values(ran).equals(before)


def test_a_link_starts_from_the_previous_one_and_can_be_a_source_itself(ran: Store):
    first, second = source(ran, FIRST), source(ran, SECOND)
    data = next(run(SECOND, parent=first)).checkpoint
    assert data is not None
    start = checkpoints.load(data, "here")
    of_first, of_start, of_second = (loaded.network("generator") for loaded in (first, start, second))
    shared = [name for name, tensor in of_first.items() if tensor.ndim == 4]
    assert shared
    assert all(torch.equal(of_start[name], of_first[name]) for name in shared)
    assert not all(torch.equal(of_second[name], of_first[name]) for name in shared)
    assert not set(second.matches["generator"].unmatched)
    assert second.classes == MIXTURE.domain.classes


def test_lost_checkpoints_of_a_chain_are_trained_again_link_by_link(ran: Store):
    before = tiny.values(ran)
    for trial in (FIRST, SECOND):
        shutil.rmtree(Path(ran.root) / "checkpoints" / trial.key)
    messages = tiny.run_here(PLAN, ran)
    assert [line.partition(" restarts")[0] for line in messages] == [f"trial {trial.key}" for trial in (FIRST, SECOND)]
    assert check(ran) == []
    assert tiny.values(ran).equals(before)


def test_compaction_and_replay_distinguish_the_methods(ran: Store):
    before = tiny.values(ran)
    assert compact(ran)
    assert tiny.values(ran).equals(before)
    (cell,), left_out = replay(ran, None, StoppingConfig(keep=0.5, protect_strategies=False))
    assert (cell.trials, left_out) == (3, 0)
    assert cell.stopped == 1


def test_distances_are_of_the_union_of_the_images_and_of_a_chains_last_link(ran: Store):
    assert distances.missing(PLAN, Ledger.open(PLAN, ran), ran) == []
    assert distances.unembedded(PLAN, ran) == []
    rows = distances.between(PLAN, ran)
    ends = {(row["source"], row["trial"]) for row in rows}
    assert ends == {(MIXED, None), (CHAIN, None), (MIXED, MIXTURE.key), (CHAIN, SECOND.key)}, (
        "there is none from the first link"
    )
    value = {(row["source"], row["trial"]): row["value"] for row in rows if row["kind"] == "fid"}
    embedding = load_embedding("builtin")
    union, target = (embedding(domains.get(name).load("reference", 8).images) for name in (MIXED, "digits"))
    assert value[MIXED, None] == pytest.approx(fid(statistics(target), statistics(union)), rel=1e-4)
    assert value[CHAIN, None] == value[MIXED, None]
    assert value[CHAIN, SECOND.key] != value[MIXED, MIXTURE.key]
    samples = {row["source_samples"] for row in rows if row["trial"] is None}
    assert samples == {domains.get(MIXED).count("reference")}


def test_the_report_uses_short_names(ran: Store, tmp_path: Path):
    labels = load(ran).domains
    assert labels[MIXED] == "letters 3×20+shapes 2×20"
    assert len(set(labels.values())) == len(labels) == 4
    page = write_report(ran, tmp_path / "page.html").read_text()
    assert labels[MIXED] in page
    assert labels[CHAIN] in page
    console = Console(width=200, file=io.StringIO(), record=True)
    for table in (table for of in progressing(ran) for table in tables(of)):
        console.print(table)
    assert "small: 6 of 6 trials ended" in console.export_text()
