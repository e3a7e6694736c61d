"""The configuration of a trial, and the content hash that is its key.

Three identities are kept apart. The *key* covers what decides the course of a training and nothing else: not the cluster, the
path of the store or of a folder of images, how far the training goes, or how it is measured. How far it went is a fact of the
store. A measurement has an identity of its own (`EvaluationConfig.view` and `EvaluationConfig.version`). So a trial that was
trained for one budget goes on to a larger one, and is measured anew in another way without any training.

The key of a pretrain trial covers where it ends too, because other trials start from there, and so does that of a trial whose
strategy has phases, which are shares of the budget.
"""

import hashlib
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator, model_validator

from trainers.common.seeds import derive_seed
from trainers.config.augmentations import get_augmentation
from trainers.config.base import Frozen, PositiveInt, Seed, StrictBool, as_json
from trainers.config.settings import (
    EvaluationConfig,
    GanConfig,
    TrainingConfig,
    Until,
    check_crop,
    check_evaluations,
    check_penalty,
)
from trainers.config.sources import ARROW

if TYPE_CHECKING:
    from trainers.config.strategy import Strategy

Kind = Literal["pretrain", "adapt", "tune"]


class DomainRef(Frozen):
    """A reference to a domain: its name and the identity of its content."""

    name: str
    """As `trainers.domains.get` takes it; a source's is as in `trainers.config.sources`. Not part of a trial's key."""
    fingerprint: str
    """Identity of the content. Part of a trial's key."""
    classes: tuple[str, ...] = ()
    """Class names in label order. Not part of a trial's key: the fingerprint covers them."""


#: Part of every key. It is raised when a trial trains otherwise than before with the same configuration, so that results of
#: both are never mixed.
VERSION = 4

#: The settings of a training that differ between strategies if strategies are tuned.
TUNED = ("steps", "generator_lr", "critic_lr")


class TrialConfig(Frozen):
    """One training run: pre-training on a source, adaptation to a target, or an adaptation that tries settings."""

    kind: Kind
    domain: DomainRef
    """The images to train on: the source of a pretrain trial, else the target."""
    size: PositiveInt
    """Number of the domain's training images that the trial uses."""
    source: DomainRef | None = None
    """The source that it starts from; for a pretrain trial the links before it in a chain, or the import that it represents."""
    strategy: str | None = None
    """As the sweep names it."""
    with_options: str | None = None
    """The strategy with the options that a search tries or has chosen, e.g. ``ewc[weight=30]``; None: as `strategy`."""
    parent: str | None = None
    """Key of the pretrain trial whose networks it starts from."""
    conditional: StrictBool = False
    augmentation: str = "none"
    """Random transforms of real and generated images before the critic (see `trainers.config.augmentations`)."""
    seed: Seed = 0
    gan: GanConfig
    training: TrainingConfig
    until: Until | None = None
    """What ends the training of a source before its budget; None: nothing."""
    evaluation: EvaluationConfig
    tuned: str | None = None
    """Identity of the search that chose its learning rates, its budget and its strategy's options; None without a search."""

    @field_validator("strategy", "with_options")
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
        check_penalty(self.gan, self.training)
        check_crop(self.gan, self.training)
        check_evaluations(self.until, self.training.steps)
        if (follows := self.follows) is not None:
            follows.check(self.gan)
            follows.check_loss(self.training)
        return self

    @property
    def follows(self) -> "Strategy | None":
        """The strategy that it trains by, with its options."""
        from trainers.config.strategies import get_strategy

        name = self.with_options or self.strategy
        return None if name is None else get_strategy(name)

    def _data(self) -> dict[str, Any]:
        """Return the trial as plain data, omitting defaulted fields that older trials lack, so keys stay."""
        data = super()._data()
        if self.augmentation == "none":
            del data["augmentation"]
        del data["evaluation"]["where"]  # it is about a run, not about the trial
        for name in ("tuned", "with_options", "until"):
            if data[name] is None:
                del data[name]
        return data

    def canonical_json(self) -> str:
        """Return the configuration as canonical JSON; not kept, unlike that of the parts, which many trials share."""
        return as_json(self._data())

    def _identity(self) -> dict[str, str]:
        """The parts that the key is a hash of, as canonical JSON by name; configurations that trials share cache theirs."""
        return {
            "version": _scalar_json(VERSION),
            "kind": _scalar_json(self.kind),
            "domain": _scalar_json(self.domain.fingerprint),
            "size": _scalar_json(self.size),
            "source": _scalar_json(self.source and self.source.fingerprint),
            "strategy": _scalar_json(self.strategy),
            "parent": _scalar_json(self.parent),
            "conditional": _scalar_json(self.conditional),
            "seed": _scalar_json(self.seed),
            "gan": self.gan.canonical_json(),
            "training": self.training.canonical_json() if self.has_fixed_budget else self.training.course,
            **({} if self.augmentation == "none" else {"augmentation": _scalar_json(self.augmentation)}),
            **({} if self.tuned is None else {"tuned": _scalar_json(self.tuned)}),
            **({} if self.until is None else {"until": self.until.identity}),
            **({} if self.with_options is None else {"with_options": _scalar_json(self.with_options)}),
        }

    @property
    def has_fixed_budget(self) -> bool:
        """Whether its budget is part of its key, so that another budget is another trial."""
        follows = self.follows
        return self.kind != "adapt" or (follows is not None and len(follows.phases(self.gan)) > 1)

    @cached_property
    def key(self) -> str:
        """Content hash of the trial: 16 hexadecimal digits."""
        identity = self._identity()
        vars(self).setdefault(
            "cell", self._cell(identity)
        )  # of a hundred thousand trials the parts are made once, and not kept
        return _digest(identity)

    @cached_property
    def cell(self) -> str | None:
        """Content hash of what comparable trials have in common; None for a pretrain trial.

        The budget is left out. So are the learning rates and options of a tuned strategy, as they differ between strategies. A
        trial of the search is compared with those that try other settings for the same strategy.
        """
        return self._cell(self._identity())

    def _cell(self, identity: Mapping[str, str]) -> str | None:
        if self.kind == "pretrain":
            return None
        varied = {"seed", "with_options"} | (set() if self.kind == "tune" else {"source", "strategy", "parent"})
        shared = {name: text for name, text in identity.items() if name not in varied}
        shared["training"] = self.training.course
        if self.kind == "tune" or self.tuned is not None:
            training = self.training.model_dump(mode="json")
            shared["training"] = as_json({name: value for name, value in training.items() if name not in TUNED})
        return _digest(shared)

    @property
    def base_seed(self) -> int:
        """Seed from which all random streams of the trial are derived: its subset, initialisation and training.

        It depends on the kind and on the domain too. So a trial from scratch neither starts from the initialisation of its
        source nor draws the same numbers. The trials of a cell with the same seed have the same training images.
        """
        return derive_seed(self.kind, self.domain.fingerprint, self.seed)

    @property
    def imported(self) -> bool:
        """Whether it represents networks that were trained elsewhere."""
        return self.kind == "pretrain" and self.source is not None and self.parent is None

    @property
    def as_source(self) -> DomainRef:
        """The source that a pretrain trial is: its domain, preceded by the links before it in a chain; or the import."""
        if self.source is None or self.imported:
            return self.source or self.domain
        before, last = self.source, self.domain
        name, fingerprint = f"{before.name}{ARROW}{last.name}", f"{before.fingerprint}{ARROW}{last.fingerprint}"
        return DomainRef(name=name, fingerprint=fingerprint, classes=last.classes)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps at which the trial is evaluated, in addition to step 0; with `until` it may end before the last of them."""
        return (self.until or self.evaluation).rungs(self.training.steps)


#: Canonical JSON of a part that many trials share. True is no 1 here, unlike among the keys of a dictionary.
_scalar_json = lru_cache(maxsize=4096, typed=True)(as_json)


def _digest(parts: Mapping[str, str]) -> str:
    text = "{" + ",".join(f'"{name}":{parts[name]}' for name in sorted(parts)) + "}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
