"""Strategies that copy networks whole, or none: the baseline and fine-tuning."""

from dataclasses import dataclass

from trainers.config.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Scratch(Strategy):
    """Both networks are initialised at random: the baseline."""

    key = "scratch"
    formula = "G0 and D0 are random"
    copies = ()


@dataclass(frozen=True, kw_only=True)
class Finetune(Strategy):
    """Both networks start from the source's (TransferGAN, Wang et al. 2018)."""

    key = "finetune"
    formula = "G0 = Gs, D0 = Ds"


@dataclass(frozen=True, kw_only=True)
class FinetuneG(Strategy):
    """Only the generator is pre-trained (Wang et al. 2018, T1)."""

    key = "finetune-g"
    formula = "G0 = Gs, D0 is random"
    copies = ("generator",)


@dataclass(frozen=True, kw_only=True)
class FinetuneD(Strategy):
    """Only the critic is pre-trained (Wang et al. 2018, T1)."""

    key = "finetune-d"
    formula = "G0 is random, D0 = Ds"
    copies = ("critic",)
