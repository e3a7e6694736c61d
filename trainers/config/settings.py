"""What a trial is: frozen, validated models, and the content hash that names it.

A trial's key covers everything that changes its outcome and nothing that does not (not the cluster, not where the store or
a folder of images lies). Needs no torch, so that planning is quick.
"""

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from trainers.config.augmentations import get_augmentation
from trainers.config.base import Frozen, as_json, set_fields
from trainers.config.embeddings import embedding_identity
from trainers.config.sources import ARROW

Kind = Literal["pretrain", "adapt", "tune"]
PositiveInt = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
StrictBool = Annotated[bool, Field(strict=True)]


class GanConfig(Frozen):
    """The networks; the default is the ResNet pair of Gulrajani et al. (2017), as in Wang et al. (2018)."""

    family: Literal["resnet", "sngan", "dcgan"] = "resnet"
    """`resnet`: layer norm in the critic. `sngan`: spectral norm there (Miyato et al. 2018). `dcgan`: Radford et al. (2016)."""
    resolution: PositiveInt = 16
    """Height and width of the images, pixels: `base` times a power of two."""
    base: PositiveInt = 4
    """Height and width of the first feature map, pixels."""
    width: PositiveInt = 16
    """Channels at full resolution; doubled at each halving of the resolution, up to eight times."""
    depth: PositiveInt = 1
    """Residual blocks per scale; the paper has one."""
    latent: PositiveInt = 128
    """Dimensions of the latent z ~ N(0, I)."""
    conditioning: Literal["batch-norm", "concat"] = "batch-norm"
    """How a conditional generator hears of the class: scale and shift per class, or the class beside the latent."""
    batch_norm: Literal["batch", "running"] = "batch"
    """Statistics that the generator's batch norm uses when sampling: the batch's own, as the paper's authors did, or running
    averages from training."""

    @model_validator(mode="after")
    def _resolution_fits(self) -> "GanConfig":
        if self.resolution <= self.base or math.log2(self.resolution / self.base) % 1:
            examples = ", ".join(str(self.base * 2**k) for k in range(1, 5))
            raise ValueError(f"resolution {self.resolution} is not base {self.base} times a power of two ({examples}, ...)")
        return self

    @property
    def scales(self) -> int:
        """How many times the resolution doubles between `base` and `resolution`."""
        return round(math.log2(self.resolution / self.base))


class TrainingConfig(Frozen):
    """How a GAN is trained: by default WGAN-GP (Gulrajani et al. 2017), AC-GAN head when conditional (Odena et al. 2017)."""

    loss: Literal["wgan-gp", "hinge", "non-saturating"] = "wgan-gp"
    steps: PositiveInt = 200
    """Budget, in generator steps."""
    images: Annotated[PositiveInt | None, Field(exclude=True)] = None
    """Budget, in real images that the critic sees, instead of `steps`, which it is turned into (rounded up)."""
    batch: Annotated[int, Field(strict=True, ge=2)] = 32
    """Real images per critic step."""
    critic_steps: PositiveInt = 5
    """Critic steps per generator step, each on a fresh minibatch."""
    generator_lr: Annotated[float, Field(gt=0)] = 1e-4
    critic_lr: Annotated[float, Field(gt=0)] = 1e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.9)
    """Adam's exponential decay rates."""
    gradient_penalty: Annotated[float, Field(ge=0)] = 10.0
    """Weight of the gradient penalty: WGAN-GP's lambda, R1's gamma of the non-saturating loss; the hinge loss has none."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay, per generator step, of an exponential moving average of the generator, measured beside it; 0 for none."""
    flip: StrictBool = False
    """Whether real images are mirrored at random."""
    crop: Annotated[int, Field(strict=True, ge=0)] = 0
    """Real images are moved at random by up to so many pixels either way, their edges mirrored."""
    precision: Literal["float32", "bf16"] = "float32"
    """`bf16`: the convolutions of the gradients, not of the forward pass, take their operands in bfloat16."""

    @model_validator(mode="after")
    def _make_canonical(self) -> "TrainingConfig":
        """Say in one way only what would train the same, so that equal trials have equal keys."""
        if self.images is not None:
            if "steps" in self.model_fields_set:
                raise ValueError("steps and images are both budgets; give one of them")
            set_fields(self, steps=steps_of(self.images, self), images=None)
        if self.loss == "hinge" and self.gradient_penalty:
            if "gradient_penalty" in self.model_fields_set:
                raise ValueError("gradient_penalty does not go with the hinge loss, which has none; leave it out")
            set_fields(self, gradient_penalty=0.0)
        return self


def steps_of(images: int, training: TrainingConfig) -> int:
    """Return the generator steps in which the critic sees so many real images, rounded up."""
    return -(-images // (training.batch * training.critic_steps))


def check_together(gan: GanConfig, training: TrainingConfig) -> None:
    """Raise ValueError for settings of the networks and of their training that do not go together."""
    if gan.family == "dcgan" and training.gradient_penalty:
        raise ValueError(
            "gan.family dcgan has batch norm in its critic, which mixes the images that a gradient penalty is taken of one by "
            "one; set training.loss to hinge, or to non-saturating with training.gradient_penalty 0"
        )
    if training.crop >= gan.resolution:
        raise ValueError(f"training.crop {training.crop} must be less than gan.resolution {gan.resolution}")


class EvaluationConfig(Frozen):
    """What is measured, in which embedding, and when."""

    embedding: str = "builtin"
    samples: Annotated[int, Field(strict=True, ge=64)] = 1000
    """Generated images behind every metric."""
    first_rung: PositiveInt = 50
    """The first rung, in generator steps."""
    rung_factor: Annotated[float, Field(ge=1.1)] = 2.0
    """Each rung is this many times the one before, up to the budget."""
    iw_steps: Annotated[int, Field(strict=True, ge=0)] = 0
    """Steps of the independent critic that tells the Wasserstein distance at the trial's end; 0 for none."""

    @cached_property
    def identity(self) -> str:
        """What of it a trial's key covers, as canonical JSON: the embedding's content and not where its file lies."""
        return as_json({**self.model_dump(mode="json"), "embedding": embedding_identity(self.embedding)})

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Return the rungs of a trial of `steps` steps, ascending; the last one is `steps` itself.

        >>> EvaluationConfig(first_rung=50, rung_factor=2).rungs(300)
        (50, 100, 200, 300)
        """
        rungs = {steps}
        rung = float(self.first_rung)
        while rung < steps:
            rungs.add(round(rung))
            rung *= self.rung_factor
        return tuple(sorted(rungs))


class DomainRef(Frozen):
    """A domain as a trial refers to it: where to find it, and which content it must have."""

    name: str
    """Registry name, or ``folder:/absolute/path``; a source's is as in `trainers.sources`. Not part of a trial's key."""
    fingerprint: str
    """Identity of the content. Part of a trial's key."""
    classes: tuple[str, ...] = ()
    """Class names in label order. Not part of a trial's key: the fingerprint covers them."""


#: The settings of a training that are a strategy's own where strategies are tuned.
TUNED = ("steps", "generator_lr", "critic_lr")


class TrialConfig(Frozen):
    """One training run: a source to pre-train on, an adaptation of it to a target, or one that tries settings of these."""

    kind: Kind
    domain: DomainRef
    """The images trained on: the source of a pretrain trial, else the target."""
    size: PositiveInt
    """How many of the domain's training images the trial may see."""
    source: DomainRef | None = None
    """What it starts from; of a pretrain trial the links before it in a chain, or the import that it stands for."""
    strategy: str | None = None
    parent: str | None = None
    """Key of the pretrain trial that it starts from."""
    conditional: StrictBool = False
    augmentation: str = "none"
    """What real and generated images go through before the critic (see `trainers.augmentations`)."""
    seed: Seed = 0
    gan: GanConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    tuned: str | None = None
    """Identity of the search that its learning rates and its budget come from; None where they are the sweep's."""

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, value: str | None) -> str | None:
        from trainers.config.strategies import get_strategy

        if value is not None:
            get_strategy(value)
        return value

    @field_validator("augmentation")
    @classmethod
    def _known_augmentation(cls, value: str) -> str:
        return get_augmentation(value).name

    @model_validator(mode="after")
    def _fits_together(self) -> "TrialConfig":
        from trainers.config.strategies import get_strategy

        check_together(self.gan, self.training)
        if self.strategy is not None:
            get_strategy(self.strategy).check(self.gan)
        return self

    def _said(self) -> dict[str, Any]:
        """Return the trial as plain data, without what trials of before it was there do not say."""
        data = super()._said()
        if self.augmentation == "none":
            del data["augmentation"]
        if self.tuned is None:
            del data["tuned"]
        return data

    @cached_property
    def _identity(self) -> dict[str, str]:
        """What the key is a hash of, as canonical JSON by name. Of configurations that many trials share it is made once."""
        return {
            "kind": as_json(self.kind),
            "domain": as_json(self.domain.fingerprint),
            "size": as_json(self.size),
            "source": as_json(self.source and self.source.fingerprint),
            "strategy": as_json(self.strategy),
            "parent": as_json(self.parent),
            "conditional": as_json(self.conditional),
            "seed": as_json(self.seed),
            "gan": self.gan.canonical_json(),
            "training": self.training.canonical_json(),
            "evaluation": self.evaluation.identity,
            **({} if self.augmentation == "none" else {"augmentation": as_json(self.augmentation)}),
            **({} if self.tuned is None else {"tuned": as_json(self.tuned)}),
        }

    @cached_property
    def key(self) -> str:
        """Content hash of the trial: 16 hexadecimal digits."""
        return _digest(self._identity)

    @cached_property
    def cell(self) -> str | None:
        """Content hash of what this trial shares with those it may fairly be compared with; None for a pretrain trial.

        Where strategies are tuned, each has learning rates and a budget of its own; a trial that tries some is compared with
        those that try others for the same strategy.
        """
        if self.kind == "pretrain":
            return None
        own = {"seed"} if self.kind == "tune" else {"source", "strategy", "parent", "seed"}
        shared = {name: text for name, text in self._identity.items() if name not in own}
        if self.kind == "tune" or self.tuned is not None:
            training = self.training.model_dump(mode="json")
            shared["training"] = as_json({name: value for name, value in training.items() if name not in TUNED})
        return _digest(shared)

    @property
    def imported(self) -> bool:
        """Whether it stands for networks that were not trained here."""
        return self.kind == "pretrain" and self.source is not None and self.parent is None

    @property
    def as_source(self) -> DomainRef:
        """What a pretrain trial is to those that start from it: its domain, after the links before it in a chain; or itself."""
        if self.source is None or self.imported:
            return self.source or self.domain
        before, last = self.source, self.domain
        name, fingerprint = f"{before.name}{ARROW}{last.name}", f"{before.fingerprint}{ARROW}{last.fingerprint}"
        return DomainRef(name=name, fingerprint=fingerprint, classes=last.classes)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps at which the trial is evaluated, beside step 0."""
        return self.evaluation.rungs(self.training.steps)


def _digest(parts: Mapping[str, str]) -> str:
    text = "{" + ",".join(f'"{name}":{parts[name]}' for name in sorted(parts)) + "}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
