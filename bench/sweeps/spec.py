"""The sweep file: YAML to frozen, validated models, with errors that name the file, the key and the fix."""

import math
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_serializer, field_validator, model_validator

from bench.sweeps.spec_errors import explain
from trainers.common.errors import UserError, unknown_name
from trainers.config import sources
from trainers.config.augmentations import get_augmentation
from trainers.config.base import Frozen, PositiveInt, Seed, StrictBool, set_fields
from trainers.config.embeddings import ANNOUNCED, check_embedding
from trainers.config.metrics import EMA, stopping_metrics
from trainers.config.settings import EvaluationConfig, GanConfig, TrainingConfig, check_together, steps_of
from trainers.config.strategies import get_strategy

#: A source by its name, however the file says it.
Source = Annotated[str, BeforeValidator(sources.read)]

LearningRate = Annotated[float, Field(gt=0)]

#: Context in which a sweep is validated that will not be run here, so that its embedding's weights may be elsewhere.
PLAN_ONLY = {"plan_only": True}

#: What PyYAML raises: its own errors, those of values such as 2024-13-45, and that of too deep a nesting.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class PretrainConfig(Frozen):
    """How sources are pre-trained: as `training` says, but for the budget."""

    steps: PositiveInt = 400
    """Budget, in generator steps."""
    images: Annotated[PositiveInt | None, Field(exclude=True)] = None
    """Budget, in real images that the critic sees, instead of `steps`, which the sweep turns it into (rounded up)."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _one_budget(self) -> "PretrainConfig":
        if self.images is not None and "steps" in self.model_fields_set:
            raise ValueError("steps and images are both budgets; give one of them")
        return self


class StoppingConfig(Frozen):
    """Which trials stop early: successive halving within each cell, and more (see `bench.stopping`)."""

    rule: Literal["halving", "none"] = "halving"
    """With "none" every trial runs to its end."""
    keep: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of a cell's methods (a strategy from a source, all its seeds) that goes on at each rung, rounded up."""
    metric: str = "fid"
    """One that is measured at every rung and of which less is better, e.g. kid or fid_ema."""
    protect_strategies: StrictBool = True
    """Whether a trial of every strategy's best method in a cell always goes on: a slow starter is not a poor one."""
    collapse: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """A trial stops at a rung where its samples, once more diverse, are less than so many times as diverse as real ones."""
    plateau: Annotated[int, Field(ge=0)] = 0
    """A trial that is not its cell's best stops after so many rungs without a better value; 0: never."""
    audit: Annotated[float, Field(ge=0, le=1)] = 0
    """Share of the cells in which nobody is stopped, for telling afterwards what stopping cost."""

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, name: str) -> str:
        if name not in stopping_metrics():
            raise unknown_name("metric to stop by", name, stopping_metrics())
        return name


class TuningConfig(Frozen):
    """How each strategy's learning rate and budget are searched for, before the sweep; without it all have the sweep's own.

    The settings that are tried are the same for every strategy: the sweep's own, then what Ray Tune proposes. `stopping` says
    which of a strategy's are given up early.
    """

    target: str
    """A domain that is held out: none of `targets`."""
    size: PositiveInt
    """Training images of it."""
    source: Source | None = None
    """What strategies start from; by default the first of `sources`."""
    trials: Annotated[int, Field(strict=True, ge=2)] = 8
    """Settings tried for each strategy."""
    learning_rate: tuple[LearningRate, LearningRate]
    """Bounds of the generator's, drawn log-uniformly; the critic's stays as many times as high as `training` has it."""
    steps: tuple[PositiveInt, ...] = ()
    """Budgets to draw from, in generator steps, none above `training.steps`, which is the only one by default."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """Of the trials of each setting, which the mean counts of."""
    seed: Seed = 0
    """Of the proposals."""

    @field_validator("learning_rate")
    @classmethod
    def _low_first(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] >= bounds[1]:
            raise ValueError(f"the bounds are [low, high], such as [1.0e-5, 1.0e-3], got {list(bounds)}")
        return bounds


class ResourcesConfig(Frozen):
    """What one trial takes. Not part of a trial's key."""

    cpus: PositiveInt = 1
    """CPU cores, and threads, of one trial. Two trials with one thread each beat one with two."""
    gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of one trial; a fraction lets trials share one. "auto" derives it from the memory that like trials have taken."""
    auto: Annotated[StrictBool, Field(exclude=True)] = False
    """Whether `gpus` is "auto": a whole one until it is derived (see `bench.memory`)."""
    graphs: StrictBool = False
    """Whether training steps are recorded once and replayed as CUDA graphs."""
    retries: Annotated[int, Field(ge=0)] = 2
    """How often a trial that fails is taken up again from one rung, each time after a longer pause."""
    stall_minutes: Annotated[float, Field(gt=0)] = 60
    """A trial without progress for so long (no training steps, no rung) is killed, which counts as a failure."""

    @model_validator(mode="before")
    @classmethod
    def _read_auto(cls, data: Any) -> Any:
        return {**data, "gpus": 1.0, "auto": True} if isinstance(data, dict) and data.get("gpus") == "auto" else data

    @field_validator("gpus")
    @classmethod
    def _whole_or_a_share(cls, gpus: float) -> float:
        if gpus > 1 and gpus % 1:
            raise ValueError(f"a trial takes a share of one GPU or several whole ones, got {gpus:g}; write {math.ceil(gpus)}")
        return gpus

    @field_serializer("gpus")
    def _say_auto(self, gpus: float) -> Any:
        return "auto" if self.auto else gpus

    @model_validator(mode="after")
    def _graphs_need_a_gpu(self) -> "ResourcesConfig":
        if self.graphs and not self.gpus:
            raise ValueError("graphs are CUDA graphs, and a trial has no GPU; set resources.gpus, or leave graphs out")
        return self


class SweepSpec(Frozen):
    """A sweep: the grid, and how its trials are trained, evaluated and stopped."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sources: tuple[Source, ...] = ()
    """Domains; a list of domains to pre-train on their mixture; or a chain of these (``letters -> numerals``)."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    strategies: Annotated[tuple[str, ...], Field(min_length=1)]
    conditional: Annotated[tuple[StrictBool, ...], Field(min_length=1)] = (False,)
    augmentation: Annotated[tuple[str, ...], Field(min_length=1)] = ("none",)
    """What adaptations' images go through before the critic; sources are pre-trained without."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    gan: GanConfig = GanConfig()
    training: TrainingConfig = TrainingConfig()
    pretrain: PretrainConfig = PretrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    stopping: StoppingConfig = StoppingConfig()
    tuning: TuningConfig | None = None
    resources: ResourcesConfig = ResourcesConfig()

    @field_validator("strategies")
    @classmethod
    def _known_strategies(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            get_strategy(name)
        return names

    @field_validator("augmentation")
    @classmethod
    def _known_augmentations(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(get_augmentation(name).name for name in names)

    @field_validator("evaluation")
    @classmethod
    def _known_embedding(cls, evaluation: EvaluationConfig, info: ValidationInfo) -> EvaluationConfig:
        name = check_embedding(evaluation.embedding, announced=info.context == PLAN_ONLY)
        return evaluation.model_copy(update={"embedding": name})

    @model_validator(mode="after")
    def _fits_together(self) -> "SweepSpec":
        if self.pretrain.images is not None:
            steps = steps_of(self.pretrain.images, self.training)
            set_fields(self, pretrain=self.pretrain.model_copy(update={"steps": steps, "images": None}))
        check_together(self.gan, self.training)
        for name in self.strategies:
            get_strategy(name).check(self.gan)
        if self.stopping.metric.endswith(EMA) and not self.training.ema:
            raise ValueError(
                f"stopping.metric {self.stopping.metric} needs an average of the generator: set training.ema, e.g. 0.999"
            )
        if self.tuning and max(self.tuning.steps, default=0) > self.training.steps:
            raise ValueError(
                f"tuning.steps: {max(self.tuning.steps)} is more than the budget that all may use, training.steps "
                f"{self.training.steps}; leave it out, or raise that"
            )
        return self


def preset_names() -> tuple[str, ...]:
    """Return the names of the sweeps that come with transfergan, sorted."""
    return tuple(sorted(Path(p.name).stem for p in files("bench.sweeps.presets").iterdir() if p.name.endswith(".yaml")))


def load_spec(name: str, overrides: Iterable[str] = (), *, plan_only: bool = False) -> SweepSpec:
    """Load a sweep from a YAML file or a preset's name.

    Args:
        name: a path ending in .yaml or .yml (or any existing file), or a preset.
        overrides: "key=value" or "section.key=value", values in YAML; they win over the file.
        plan_only: whether it will not be run here, so that its embedding's weights may be elsewhere.

    Raises:
        UserError: one line that names the file, the key and the fix.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        where, text = name, _read(path)
    elif name in preset_names():
        where, text = f"preset {name}", (files("bench.sweeps.presets") / f"{name}.yaml").read_text()
    else:
        raise UserError(f"{unknown_name('preset', name, preset_names())}; a sweep file's name ends in .yaml")
    try:
        data = _parse(text)
    except _NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{where}:{line} is not YAML: {getattr(error, 'problem', None) or 'cannot be parsed'}") from error
    if not isinstance(data, dict):
        raise UserError(f"{where}: a sweep file is a mapping with keys such as name, sources, targets, sizes, strategies")
    for override in overrides:
        _override(data, override)
    try:
        return SweepSpec.model_validate(data, context=PLAN_ONLY if plan_only else None)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, SweepSpec)}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise UserError(f"there is no sweep file {str(path)!r}; presets: {', '.join(preset_names())}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"sweep file {str(path)!r} is not text in UTF-8; save it as such") from error
    except OSError as error:
        raise UserError(f"sweep file {str(path)!r} cannot be read: {error}") from error


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader


def _override(data: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override!r} is not of the form key=value, e.g. --set training.steps=100")
    try:
        value = _parse(text)
    except _NOT_YAML as error:
        raise UserError(f"--set {key}: the value {text!r} is not YAML") from error
    *sections, last = key.split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise UserError(f"--set {key}: {section!r} is not a section")
    data[last] = value


def as_mapping(spec: SweepSpec) -> Mapping[str, Any]:
    """Return a sweep as plain data, as it would stand in a file."""
    data = spec.model_dump(mode="json")
    data["evaluation"]["embedding"] = spec.evaluation.embedding.removeprefix(ANNOUNCED)
    return data
