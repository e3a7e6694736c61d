"""Checkpoints in safetensors: the whole state of a training run, and the transfer of one run's networks into another.

Tensors are named ``generator.*``, ``critic.*`` and, in a checkpoint that training can go on from,
``optimizer.<network>.<parameter>.<moment>`` and ``random``; ``average.*`` is the generator's moving average, where there is
one. A seal tells whether the file is as it was written. Nothing is ever unpickled.
"""

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from trainers import seals
from trainers.config import TrialConfig
from trainers.core import Gan, to_device
from trainers.errors import DamagedError, UserError
from trainers.networks import Generator, for_classes_only, make_generator, per_class

FORMAT = "transfergan/1"


@dataclass(frozen=True)
class Match:
    """What became of the tensors when a network took over another's: names, sorted.

    `remapped` have a row per class on either side: classes take their rows by name, the mean row where the source lacks the
    class; of an unconditional source all take the one row; an unconditional network takes the mean. `fresh` belong to classes
    that an unconditional source has no trace of.
    """

    matched: tuple[str, ...] = ()
    remapped: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The tensors that did not come over, from either side."""
        return tuple(sorted({*self.missing, *self.unexpected, *self.mismatched}))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: tensors by name, the trial that wrote it, the step, and what the trial reported there."""

    tensors: dict[str, Tensor]
    trial: TrialConfig
    step: int
    report: dict[str, float | None]
    matches: dict[str, Match]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that its networks know; empty for an unconditional GAN."""
        return self.trial.domain.classes if self.trial.conditional else ()

    @property
    def resumable(self) -> bool:
        """Whether training can go on from it; the last checkpoint of a finished trial holds the networks alone."""
        return "random" in self.tensors


def save(
    gan: Gan, trial: TrialConfig, matches: dict[str, Match], report: Mapping[str, float | None], *, resumable: bool
) -> bytes:
    """Return a checkpoint's bytes; with `resumable` also the optimisers' and the random generator's state.

    `report` is what the trial reports at this step, so that it can be told again by who finds the checkpoint; `matches` tells
    how the networks were taken over, if they were.
    """
    tensors: dict[str, Tensor] = {}
    for name, network in gan.networks.items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        if resumable:
            state = gan.optimisers[name].state
            for parameter, value in network.named_parameters():
                tensors |= {f"optimizer.{name}.{parameter}.{moment}": v for moment, v in state[value].items()}
    if gan.average is not None:
        tensors |= {f"average.{key}": value for key, value in gan.average.state_dict().items()}
    if resumable:
        tensors["random"] = gan.random.get_state()
    return pack(tensors, trial, gan.step, matches, report)


def pack(
    tensors: Mapping[str, Tensor], trial: TrialConfig, step: int, matches: dict[str, Match], report: Mapping[str, float | None]
) -> bytes:
    """Return the bytes of a sealed safetensors file with a checkpoint's tensors, and in its metadata what else `load` reads."""
    metadata = {
        "format": FORMAT,
        "trial": trial.canonical_json(),
        "step": str(step),
        "report": json.dumps(report),
        "matches": json.dumps({name: asdict(match) for name, match in matches.items()}),
    }
    return seals.seal(save_tensors({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, metadata))


def load(data: bytes, where: str) -> Checkpoint:
    """Read a checkpoint. Raises UserError, naming `where` it lay, when the bytes are not one of ours."""
    try:
        seals.check(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        if header["format"] != FORMAT:
            raise UserError(f"checkpoint {where} has format {header['format']}, this transfergan reads {FORMAT}")
        return Checkpoint(
            tensors=load_tensors(data),
            trial=TrialConfig.model_validate_json(header["trial"]),
            step=int(header["step"]),
            report=json.loads(header["report"]),
            matches={
                name: Match(**{part: tuple(names) for part, names in match.items()})
                for name, match in json.loads(header["matches"]).items()
            },
        )
    except (DamagedError, SafetensorError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"checkpoint {where} is damaged or not one of transfergan's: {error}") from error


def resume(gan: Gan, checkpoint: Checkpoint) -> None:
    """Put a training run back into the state that a resumable checkpoint holds."""
    tensors = checkpoint.tensors
    for name, network in gan.networks.items():
        network.load_state_dict(_with_prefix(tensors, f"{name}."))
        for parameter, value in network.named_parameters():
            moments = _with_prefix(tensors, f"optimizer.{name}.{parameter}.")
            if moments:
                gan.optimisers[name].state[value] = {key: _laid_out(moment, value) for key, moment in moments.items()}
    if gan.average is not None:
        gan.average.load_state_dict(_with_prefix(tensors, "average."))
    gan.random.set_state(tensors["random"])
    gan.step = checkpoint.step


def _laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    """Return a moment on its parameter's device and in its memory layout, which the fused optimiser goes by."""
    if moment.shape != parameter.shape:  # Adam's count of steps
        return moment.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(moment)


@torch.no_grad()
def transfer(
    source: Checkpoint, name: str, network: nn.Module, classes: tuple[str, ...], may_differ: tuple[str, ...] = ()
) -> Match:
    """Copy a source's network into another, tensor by tensor.

    Between conditional networks, tensors with a row per class are mapped by the classes' names; a class that the source does
    not know starts from the mean of the source's rows. Of an unconditional source every class takes the one scale and shift
    ("Cond BNorm" of Wang et al. 2018); with class concatenation ("Cond Concat") the class's weights start at zero, where the
    paper draws them at random: so either draws at first what its source draws. The class head starts afresh. An
    unconditional network takes the mean over a conditional source's classes, and leaves its class head.

    Args:
        source: the pre-trained source.
        name: "generator" or "critic".
        network: the network that takes the tensors over.
        classes: names of the network's own classes; empty when unconditional.
        may_differ: patterns (as in fnmatch) of the tensors that a strategy lets start afresh.

    Raises:
        UserError: a tensor of either side has no partner, or one of another shape, and `may_differ` does not name it.
    """
    theirs = _with_prefix(source.tensors, f"{name}.")
    ours = network.state_dict()
    matched: list[str] = []
    remapped: list[str] = []
    fresh: list[str] = []
    mismatched: list[str] = []
    for key, tensor in ours.items():
        if key not in theirs:
            if for_classes_only(key) and not source.classes:
                fresh.append(key)
                if key.startswith("input."):
                    tensor.zero_()
            continue
        value = theirs[key]
        ours_by_class, theirs_by_class = (
            bool(names) and per_class(key, t) for names, t in ((classes, tensor), (source.classes, value))
        )
        if ours_by_class and theirs_by_class and source.classes != classes:
            value = _map_rows(value, source.classes, classes)
        elif ours_by_class and not theirs_by_class:
            value = value.expand_as(tensor)
        elif theirs_by_class and not ours_by_class:
            value = value.mean(0)
        if value.shape != tensor.shape:
            mismatched.append(key)
            continue
        (matched if value is theirs[key] else remapped).append(key)
        tensor.copy_(value)
    left = {key for key in theirs if for_classes_only(key) and not classes}
    match = Match(
        matched=tuple(sorted(matched)),
        remapped=tuple(sorted(remapped)),
        fresh=tuple(sorted(fresh)),
        missing=tuple(sorted(set(ours) - set(theirs) - set(fresh))),
        unexpected=tuple(sorted(set(theirs) - set(ours) - left)),
        mismatched=tuple(sorted(mismatched)),
    )
    wrong = [key for key in match.unmatched if not any(fnmatch.fnmatch(key, pattern) for pattern in may_differ)]
    if wrong:
        raise UserError(
            f"the {name} of source {source.trial.domain.name!r} does not fit: {len(wrong)} tensors without a partner of the "
            f"same shape, the first is {wrong[0]!r}; source and target must agree in `gan`"
        )
    return match


def _map_rows(rows: Tensor, known: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor:
    mean = rows.mean(0)
    return torch.stack([rows[known.index(name)] if name in known else mean for name in wanted])


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def generator(checkpoint: Checkpoint, device: str = "cpu") -> tuple[Generator, int]:
    """Return a checkpoint's generator, ready to sample from, and the dimensions of its latent."""
    network = to_device(make_generator(checkpoint.trial.gan, len(checkpoint.classes)), device)
    network.load_state_dict(_with_prefix(checkpoint.tensors, "generator."))
    return network, checkpoint.trial.gan.latent
