"""The sweep file: its keys as frozen, validated models."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_serializer, field_validator, model_validator

from bench.sweeps.misfits import chosen_by, misfits
from trainers.common.errors import Problems, unknown_name, within
from trainers.config import sources
from trainers.config.augmentations import get_augmentation
from trainers.config.base import Frozen, Number, PositiveInt, Seed, StrictBool, set_fields
from trainers.config.embeddings import ANNOUNCED, check_embedding
from trainers.config.metrics import stopping_metrics
from trainers.config.predictors import PredictorName
from trainers.config.settings import (
    EvaluationConfig,
    GanConfig,
    Images,
    LearningRate,
    Steps,
    TrainingConfig,
    Until,
    steps_of,
)
from trainers.config.strategies import get_strategy

#: A source in any notation of the sweep file, as its name.
Source = Annotated[str, BeforeValidator(sources.read)]

#: The names of a strategy and of an augmentation, with options.
Strategy = Annotated[str, AfterValidator(lambda name: get_strategy(name) and name)]
Augmentation = Annotated[str, AfterValidator(lambda name: get_augmentation(name).name)]

#: Number of training images that a trial may use.
Size = Annotated[PositiveInt, Field(le=10**9)]

#: Validation context of a sweep that is not run on this machine, so the embedding's weights may be absent.
PLAN_ONLY = {"plan_only": True}


class PretrainConfig(Frozen):
    """How sources are pre-trained: by the settings of `training`, except for those set here."""

    steps: Steps = 400
    """Budget in generator steps; by default twice that of `training`."""
    images: Annotated[Images | None, Field(exclude=True)] = None
    """Budget in real images seen by the critic, instead of `steps`; converted to steps, rounded up."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """Seeds of the trainings of each source. The sweep's `seeds` start from these trainings in turn: with `seeds` [0, 1, 2, 3]
    and two trainings, the first and third seed start from the first training, the others from the second."""
    until: Until | None = None
    """Ends a training before its budget when its metric no longer improves, so that all sources are trained equally well."""
    batch: Annotated[int | None, Field(strict=True, ge=2, le=65_536)] = None
    """Real images per critic step; by default that of `training`, as for the next three."""
    critic_steps: Annotated[PositiveInt | None, Field(le=1000)] = None
    generator_lr: LearningRate | None = None
    critic_lr: LearningRate | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> "PretrainConfig":
        if self.images is not None and "steps" in self.model_fields_set:
            raise ValueError("images: this and steps are both budgets; set one of them")
        return self

    def training(self, sweep: TrainingConfig) -> TrainingConfig:
        """Return how sources are trained in a sweep with these settings of `training`."""
        names = ("batch", "critic_steps", "generator_lr", "critic_lr")
        different = {name: value for name in names if (value := getattr(self, name)) is not None}
        return sweep.model_copy(update={**different, "steps": self.steps})


class StoppingConfig(Frozen):
    """Which trials stop early: by successive halving in each cell, and by their own curves (see `bench.driver.stopping`)."""

    rule: Literal["halving", "none"] = "halving"
    """`halving`: at each rung scratch and the best share of each cell's methods continue. `none`: every trial continues."""
    keep: Annotated[Number, Field(gt=0, le=1)] = 0.5
    """Share of a cell's methods (a strategy from a source, with all seeds) that continues at each rung, rounded up; above 0, at
    most 1. Scratch, the reference, always continues and is not counted."""
    metric: str = "fid"
    """A metric that is measured at every rung and of which lower is better, e.g. kid or fid_raw."""
    protect_strategies: StrictBool = True
    """Whether two seeds of each strategy's best method in a cell always continue, as some strategies improve late."""
    collapse: Annotated[Number, Field(ge=0, lt=1)] = 0.1
    """A trial stops at a rung where its samples' diversity has fallen below this share of the real images'; 0: never."""
    plateau: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 0
    """Rungs without a better mean of its seeds after which a method stops, unless it is scratch or the best; 0: never."""
    audit: Annotated[Number, Field(ge=0, le=1)] = 0
    """Share of the cells in which no trial is stopped, so that the cost of stopping can be measured; 0 to 1."""

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, name: str) -> str:
        if name not in stopping_metrics():
            raise unknown_name("metric to stop by", name, stopping_metrics())
        return name


class TuningConfig(Frozen):
    """The search for each strategy's learning rates, budget and options before the sweep; without it all share `training`'s.

    The same rates and budgets are tried for every strategy: first the sweep's own, then those that Ray Tune proposes. With each
    proposal a strategy also tries values of its options; one that the sweep sets to another value than its default is kept.
    `stopping` decides which settings of a strategy are abandoned early.
    """

    target: str
    """Held-out domain that settings are tried on; none of `targets`."""
    size: Size
    """Training images of `target` that a trial may use."""
    source: Source | None = None
    """Source that strategies start from; by default the first of `sources`."""
    trials: Annotated[int, Field(strict=True, ge=2, le=10_000)] = 8
    """Settings tried for each strategy, 2 or more."""
    learning_rate: tuple[LearningRate, LearningRate]
    """Bounds of the generator's learning rate, sampled log-uniformly."""
    ratio: tuple[LearningRate, LearningRate] | None = (0.25, 4.0)
    """Bounds of the critic's learning rate over the generator's, sampled log-uniformly; null: as in `training`."""
    steps: tuple[Steps, ...] = ()
    """Budgets to choose from, in generator steps, none above `training.steps`; by default only that."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """Seeds of each setting; their mean is compared."""
    seed: Seed = 0
    """Seed of the search."""

    @field_validator("learning_rate", "ratio")
    @classmethod
    def _low_first(cls, bounds: tuple[float, float] | None, info: ValidationInfo) -> tuple[float, float] | None:
        if bounds is not None and bounds[0] >= bounds[1]:
            example = "[0.25, 4], or null for that of training" if info.field_name == "ratio" else "[1.0e-5, 1.0e-3]"
            raise ValueError(f"the bounds are [low, high], such as {example}, got {list(bounds)}")
        return bounds


class ConfirmConfig(Frozen):
    """Trials after the sweep on fresh seeds: the best two transfers of each cell, and scratch. None of them stops early."""

    seeds: Annotated[int, Field(strict=True, ge=2, le=10_000)]
    """Fresh seeds of each of these methods, 2 or more."""


class ResourcesConfig(Frozen):
    """Resources of one trial. Not part of its key."""

    cpus: Annotated[PositiveInt, Field(le=10_000)] = 1
    """CPU cores, and threads. 1 by default because two trials with one thread each are faster than one with two."""
    gpus: Annotated[Number, Field(ge=0, le=10_000)] = 0
    """GPUs: a fraction, so that trials share one, or a whole number. `auto`: by the memory that like trials have used."""
    auto: Annotated[StrictBool, Field(exclude=True)] = False
    """Whether `gpus` is `auto`; `gpus` is 1 until the share is determined (see `bench.costs.gpu_share`)."""
    graphs: StrictBool = False
    """Whether training steps are recorded once and replayed as CUDA graphs; needs a GPU."""
    retries: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 2
    """Retries of a failed trial from one rung, each after a longer pause."""
    checkpoint_minutes: Annotated[Number, Field(gt=0, le=10**6)] = 5
    """Minutes of training after which a trial writes a checkpoint, in addition to those at its rungs; above 0."""
    stall_minutes: Annotated[Number, Field(gt=0, le=10**6)] = 60
    """Minutes without progress (training steps or rungs) after which a trial is killed, which counts as a failure; above 0."""

    @model_validator(mode="before")
    @classmethod
    def _read_auto(cls, data: Any) -> Any:
        return {**data, "gpus": 1.0, "auto": True} if isinstance(data, dict) and data.get("gpus") == "auto" else data

    @field_validator("gpus")
    @classmethod
    def _whole_or_a_share(cls, gpus: float) -> float:
        if gpus > 1 and gpus % 1:
            raise ValueError(f"must be a share of one GPU or a whole number of GPUs, got {gpus:g}; write {math.ceil(gpus)}")
        return gpus

    @field_serializer("gpus")
    def _write_auto(self, gpus: float) -> Any:
        return "auto" if self.auto else gpus

    @model_validator(mode="after")
    def _graphs_need_a_gpu(self) -> "ResourcesConfig":
        if self.graphs and not self.gpus:
            raise ValueError("graphs: needs a GPU, and trials have none; set resources.gpus, or leave it out")
        return self


class SweepSpec(Frozen):
    """A sweep: the grid, and how its trials are trained, evaluated and stopped."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Name in the store: letters, digits, `.`, `_` and `-`, at most 64."""
    domains: Mapping[str, str] = Field(default_factory=dict)
    """Names for domains, e.g. ``faces: folder:photos/faces``: sources and targets may use them, and they are shown instead."""
    sources: tuple[Source, ...] = ()
    """What to pre-train on: domains, lists of domains (their mixture), or chains of these (``letters -> numerals``)."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    """Domains to adapt to."""
    sizes: Annotated[tuple[Size, ...], Field(min_length=1)]
    """Training images of the target that a trial may use; a smaller set is contained in a larger one."""
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)]
    """How trials start from a source and what they train; see `transfergan strategies`."""
    conditional: Annotated[tuple[StrictBool, ...], Field(min_length=1)] = (False,)
    """Whether networks are conditional on class labels; true needs domains with classes."""
    augmentation: Annotated[tuple[Augmentation, ...], Field(min_length=1)] = ("none",)
    """Augmentations of the critic's images in adaptations; sources are pre-trained without."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """Seeds of the adaptations; sources have `pretrain.seeds`."""
    gan: GanConfig = GanConfig()
    training: TrainingConfig = TrainingConfig()
    pretrain: PretrainConfig = PretrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    stopping: StoppingConfig = StoppingConfig()
    predictors: tuple[PredictorName, ...] = ()
    """What is measured of each source's networks and each target beside the distances of images, to predict the gain."""
    tuning: TuningConfig | None = None
    confirm: ConfirmConfig | None = None
    resources: ResourcesConfig = ResourcesConfig()

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The names in `domains`, by domain."""
        return {domain: name for name, domain in self.domains.items()}

    @field_validator("sources", "targets")
    @classmethod
    def _without_names(cls, domains: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return tuple(sources.renamed(domain, info.data.get("domains", {})) for domain in domains)

    @field_validator("tuning")
    @classmethod
    def _without_names_in_tuning(cls, tuning: TuningConfig | None, info: ValidationInfo) -> TuningConfig | None:
        if tuning is None or not (names := info.data.get("domains")):
            return tuning
        source = None if tuning.source is None else sources.renamed(tuning.source, names)
        return tuning.model_copy(update={"target": sources.renamed(tuning.target, names), "source": source})

    @field_validator("evaluation")
    @classmethod
    def _known_embedding(cls, evaluation: EvaluationConfig, info: ValidationInfo) -> EvaluationConfig:
        with within("embedding"):
            name = check_embedding(evaluation.embedding, announced="plan_only" in _context(info))
        return evaluation.model_copy(update={"embedding": name})

    @field_validator("pretrain")
    @classmethod
    def _known_embedding_of_until(cls, pretrain: PretrainConfig, info: ValidationInfo) -> PretrainConfig:
        if (until := pretrain.until) is None:
            return pretrain
        with within("until.embedding"):
            name = check_embedding(until.embedding, announced="plan_only" in _context(info))
        return pretrain.model_copy(update={"until": until.model_copy(update={"embedding": name})})

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> "SweepSpec":
        if self.pretrain.images is not None:
            steps = steps_of(self.pretrain.images, self.pretrain.training(self.training))
            set_fields(self, pretrain=self.pretrain.model_copy(update={"steps": steps, "images": None}))
        problems, wrong = Problems(), _context(info).get("wrong", ())
        problems.lines = misfits(self, wrong)
        problems.check()
        if not wrong:
            set_fields(self, stopping=self.stopping.model_copy(update={"metric": chosen_by(self)}))
        return self


def _context(info: ValidationInfo) -> Mapping[str, Any]:
    return info.context or {}


def as_mapping(spec: SweepSpec) -> Mapping[str, Any]:
    """Return a sweep as plain data, as in a sweep file."""
    data = spec.model_dump(mode="json")
    for section in filter(None, (data["evaluation"], data["pretrain"]["until"])):
        section["embedding"] = section["embedding"].removeprefix(ANNOUNCED)
    return data
