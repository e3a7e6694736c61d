"""Checkpoints in safetensors: the whole state of a training run, and the transfer of one run's networks into another.

Tensors are named ``generator.*``, ``critic.*`` and, in a checkpoint that training can go on from,
``optimizer.<network>.<parameter>.<moment>`` and ``random``. Nothing is ever unpickled.
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

from trainers.config import TrialConfig
from trainers.core import Gan, to_device
from trainers.errors import UserError
from trainers.networks import Generator, per_class

FORMAT = "transfergan/1"


@dataclass(frozen=True)
class Match:
    """What became of the tensors when a network took over another's: names, sorted.

    `remapped` were given the rows of the source's classes by name, the mean row where the source lacks the class.
    """

    matched: tuple[str, ...] = ()
    remapped: tuple[str, ...] = ()
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
    if resumable:
        tensors["random"] = gan.random.get_state()
    metadata = {
        "format": FORMAT,
        "trial": trial.canonical_json(),
        "step": str(gan.step),
        "report": json.dumps(report),
        "matches": json.dumps({name: asdict(match) for name, match in matches.items()}),
    }
    return save_tensors({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, metadata)


def load(data: bytes, where: str) -> Checkpoint:
    """Read a checkpoint. Raises UserError, naming `where` it lay, when the bytes are not one of ours."""
    try:
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
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
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

    Tensors with one row per class (of conditional networks) are mapped by the classes' names; a class that the source does
    not know starts from the mean of the source's rows.

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
    matched, remapped, mismatched = [], [], []
    for key, tensor in ours.items():
        if key not in theirs:
            continue
        value = theirs[key]
        if source.classes != classes and source.classes and per_class(key, tensor, len(classes)):
            value = _map_rows(value, source.classes, classes)
            remapped.append(key)
        elif value.shape == tensor.shape:
            matched.append(key)
        else:
            mismatched.append(key)
            continue
        tensor.copy_(value)
    match = Match(
        tuple(sorted(matched)),
        tuple(sorted(remapped)),
        tuple(sorted(set(ours) - set(theirs))),
        tuple(sorted(set(theirs) - set(ours))),
        tuple(sorted(mismatched)),
    )
    wrong = [key for key in match.unmatched if not any(fnmatch.fnmatch(key, pattern) for pattern in may_differ)]
    if wrong:
        raise UserError(
            f"the {name} of source {source.trial.domain.name!r} does not fit: {len(wrong)} tensors without a partner of the "
            f"same shape, the first is {wrong[0]!r}; source and target must agree in `gan` and `conditional`"
        )
    return match


def _map_rows(rows: Tensor, known: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor:
    mean = rows.mean(0)
    return torch.stack([rows[known.index(name)] if name in known else mean for name in wanted])


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def generator(checkpoint: Checkpoint, device: str = "cpu") -> tuple[Generator, int]:
    """Return a checkpoint's generator, ready to sample from, and the dimensions of its latent."""
    network = to_device(Generator(checkpoint.trial.gan, len(checkpoint.classes)), device)
    network.load_state_dict(_with_prefix(checkpoint.tensors, "generator."))
    return network, checkpoint.trial.gan.latent
