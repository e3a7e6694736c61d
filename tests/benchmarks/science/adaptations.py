"""Adaptations from numerals to digits with the settings of the preset `strategies`, for the studies of strategies."""

from dataclasses import dataclass
from functools import cache

from bench.sweeps.expansion import make_plan
from bench.sweeps.loading import load_spec
from bench.sweeps.plan import Plan
from trainers.config.strategy import NETWORKS, Strategy
from trainers.core.gan import Gan
from trainers.domains import get
from trainers.evaluation.evaluator import Evaluator
from trainers.evaluation.references import references
from trainers.trial import checkpoints
from trainers.trial.checkpoints import Checkpoint
from trainers.trial.images import training_images
from trainers.trial.run import run, start
from trainers.trial.rung import subject_of

#: Generator steps of an adaptation.
STEPS = 100

_SETTINGS = (
    "tuning=null", "sources=[numerals]", "targets=[digits]", "sizes=[500]", "strategies=[finetune]", "seeds=[0]",
    f"training.steps={STEPS}",
)  # fmt: skip
_QUICK = (
    "gan.resolution=8", "gan.width=4", "training.batch=8", "training.critic_steps=1", "training.generator_lr=0.001",
    "training.critic_lr=0.001", "evaluation.samples=300",
)  # fmt: skip


@dataclass(frozen=True)
class Adapted:
    """FID after the last step, and by network the distance of its parameters from the source's (Euclidean)."""

    fid: float
    distances: dict[str, float]


@cache
def adapted(strategy: Strategy, seed: int, quick: bool) -> Adapted:
    """Return the outcome of an adaptation by a strategy. `quick` makes the networks, the source's training and FID small."""
    (trial,) = _plan(quick).of_kind("adapt")
    trial = trial.model_copy(update={"seed": seed})
    data, parent = training_images(trial), _source(quick)
    gan = Gan(trial.gan, trial.training, classes=0, seed=seed)
    start(gan, strategy, parent, ())
    gan.train(data.images, data.labels, STEPS)
    fid = next(each.value for each in Evaluator(trial, data, references, "cpu")(subject_of(gan)) if each.metric == "fid")
    assert fid is not None
    before = {key: value.double() for key, value in parent.tensors.items()}
    distances = {}
    for name in NETWORKS:
        moved = [
            (parameter.detach().double() - before[f"{name}.{key}"]).square().sum()
            for key, parameter in gan.networks[name].named_parameters()
            if f"{name}.{key}" in before
        ]
        distances[name] = float(sum(moved)) ** 0.5
    return Adapted(fid, distances)


@cache
def _plan(quick: bool) -> Plan:
    return make_plan(load_spec("strategies", [*_SETTINGS, *(_QUICK if quick else ())]), find=get)


@cache
def _source(quick: bool) -> Checkpoint:
    (trial,) = _plan(quick).of_kind("pretrain")
    *_, last = run(trial)
    assert last.checkpoint is not None
    return checkpoints.load(last.checkpoint, "the source")
