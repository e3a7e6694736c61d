"""Which network carries the gain: how far the critic alone is behind the generator alone, at the first rung and at the last."""

from collections.abc import Iterator
from statistics import fmean

from bench.sweeps.expansion import make_plan
from bench.sweeps.loading import load_spec
from bench.sweeps.plan import Plan
from tests.benchmarks.science.table import Row
from trainers.config.trial import TrialConfig
from trainers.domains import get
from trainers.trial import checkpoints
from trainers.trial.checkpoints import Checkpoint
from trainers.trial.run import run
from trainers.trial.rung import Rung

#: The goal: the critic alone is behind at the last rung at most by this share of the first rung's FID.
LEFT = 0.5

_SETTINGS = (
    "sources=[numerals]", "sizes=[500]", "strategies=[finetune-g,finetune-d]", "stopping.rule=none", "training.steps=240",
    "training.generator_lr=0.002", "training.critic_lr=0.002", "training.critic_steps=2", "pretrain.steps=480",
    "pretrain.until={patience: 2, every: 120}",
)  # fmt: skip


def study(quick: bool) -> Iterator[Row]:
    """Yield FID with the critic alone transferred less FID with the generator alone, with 500 images."""
    seeds = "[0]" if quick else "[0, 1, 2]"
    plan = make_plan(load_spec("quickstart", [*_SETTINGS, f"seeds={seeds}", f"pretrain.seeds={seeds}"]), find=get)
    sources = {trial.key: _end(trial) for trial in plan.of_kind("pretrain")}
    behind = _behind(plan, sources)
    first, last = min(behind), max(behind)
    yield Row(
        "critic alone less generator alone: FID, digits from numerals, 500 images",
        f"{_text(behind[first])} at step {first}",
        f"{_text(behind[last])} at step {last}",
        f"at most {LEFT:g} of the former",
        fmean(behind[last]) <= LEFT * fmean(behind[first]),
    )


def _behind(plan: Plan, sources: dict[str, Checkpoint]) -> dict[int, list[float]]:
    """Return by rung the difference in FID for each seed."""
    fids: dict[tuple[str, int], dict[int, float]] = {}
    for trial in plan.of_kind("adapt"):
        rungs = [rung for rung in run(trial, parent=sources[trial.parent or ""]) if isinstance(rung, Rung) and rung.step]
        fids[trial.follows.key if trial.follows else "", trial.seed] = {
            rung.step: each.value
            for rung in rungs
            for each in rung.measurements
            if each.metric == "fid" and each.value is not None
        }
    seeds = sorted({seed for _, seed in fids})
    return {
        step: [fids["finetune-d", seed][step] - fids["finetune-g", seed][step] for seed in seeds]
        for step in fids["finetune-d", seeds[0]]
    }


def _end(trial: TrialConfig) -> Checkpoint:
    *_, last = run(trial)
    assert last.checkpoint is not None
    return checkpoints.load(last.checkpoint, "the source")


def _text(values: list[float]) -> str:
    return f"{fmean(values):.1f}" + (f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else "")
