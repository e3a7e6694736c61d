"""Checkpoints in safetensors: the whole state of a training run.

Tensors are named ``generator.*``, ``critic.*`` and, in a checkpoint that training can go on from,
``optimizer.<network>.<parameter>.<moment>`` and ``random``; ``average.*`` is the generator's moving average, where there is
one. A source's last checkpoint also has ``fisher.<network>.<parameter>``. Of an adaptation a miner is among the generator's
tensors; low-rank updates are added to the weights, and to go on from they stand apart in ``unmerged.<network>.*``, as do the
anchors (see `trainers.anchors`) and what an augmentation has learnt. A seal tells whether the file is as it was written.
Nothing is ever unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from trainers.adaptation.low_rank import merged_state, unmerged_state
from trainers.adaptation.phases import add_miner
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError, UserError
from trainers.common.seeds import derive_seed
from trainers.config.trial import TrialConfig
from trainers.core.gan import Gan, to_device
from trainers.networks import Generator, make_generator

FORMAT = "transfergan/1"


@dataclass(frozen=True)
class Match:
    """What became of the tensors when a network took over another's: names, sorted.

    `remapped` have a row per class on either side: classes take their rows by name, the mean row where the source lacks the
    class; of an unconditional source all take the one row; an unconditional network takes the mean. `fresh` belong to classes
    that an unconditional source has no trace of, or are not copied by the strategy.
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
    gan: Gan, trial: TrialConfig, matches: dict[str, Match], report: Mapping[str, float | None], *, resumable: bool,
    fishers: Mapping[str, Tensor] | None = None,
) -> bytes:  # fmt: skip
    """Return a checkpoint's bytes; with `resumable` also the optimisers' and the random generator's state.

    `report` is what the trial reports at this step, so that it can be told again by who finds the checkpoint; `matches` tells
    how the networks were taken over, if they were; `fishers` is the networks' Fisher information, of a source.
    """
    tensors = {f"fisher.{key}": value for key, value in (fishers or {}).items()}
    for name, network in _kept(gan).items():
        tensors |= {f"{name}.{key}": value for key, value in merged_state(network).items()}
        if resumable:
            tensors |= {f"unmerged.{name}.{key}": value for key, value in unmerged_state(network).items()}
    for name, network in gan.networks.items():
        if resumable:
            state = gan.optimisers[name].state
            for parameter, value in network.named_parameters():
                tensors |= {f"optimizer.{name}.{parameter}.{moment}": v for moment, v in state.get(value, {}).items()}
    if resumable:
        tensors |= {"random": gan.random.get_state(), **gan.augment.state()}
        if gan.adaptation is not None and gan.adaptation.anchors is not None:
            tensors |= gan.adaptation.anchors.state()
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
    return sealed_tensors.seal(save_tensors({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, metadata))


def _kept(gan: Gan) -> dict[str, nn.Module]:
    return gan.networks if gan.average is None else {**gan.networks, "average": gan.average}


def load(data: bytes, where: str) -> Checkpoint:
    """Read a checkpoint. Raises UserError, naming `where` it lay, when the bytes are not one of ours."""
    try:
        sealed_tensors.check(data)
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
    except ValidationError as error:
        raise UserError(f"checkpoint {where} is of a trial that this transfergan does not know; upgrade") from error
    except (DamagedError, SafetensorError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"checkpoint {where} is damaged or not one of transfergan's: {error}") from error


def resume(gan: Gan, checkpoint: Checkpoint) -> None:
    """Put a training run, which follows its strategy already, back into the state that a resumable checkpoint holds."""
    tensors = checkpoint.tensors
    for name, network in _kept(gan).items():
        saved, unmerged = (with_prefix(tensors, f"{prefix}{name}.") for prefix in ("", "unmerged."))
        if unmerged:
            saved = {key: unmerged[key] if key in unmerged else saved[key] for key in network.state_dict()}
        network.load_state_dict(saved)
    for name, network in gan.networks.items():
        for parameter, value in network.named_parameters():
            moments = with_prefix(tensors, f"optimizer.{name}.{parameter}.")
            if moments:
                gan.optimisers[name].state[value] = {key: _laid_out(moment, value) for key, moment in moments.items()}
    if gan.adaptation is not None and gan.adaptation.anchors is not None:
        gan.adaptation.anchors.load(tensors, gan.device)
    gan.augment.load(tensors)
    gan.step = checkpoint.step
    if tensors["random"].shape == gan.random.get_state().shape:
        gan.random.set_state(tensors["random"])
    else:  # of another kind of device, whose random numbers cannot go on here
        gan.random.manual_seed(derive_seed("training", gan.seed, gan.step))


def _laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    """Return a moment on its parameter's device and in its memory layout, which the fused optimiser goes by."""
    if moment.shape != parameter.shape:  # Adam's count of steps
        return moment.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(moment)


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def generator(checkpoint: Checkpoint, device: str = "cpu") -> tuple[Generator, int]:
    """Return a checkpoint's generator, ready to sample from, and the dimensions of its latent."""
    network = make_generator(checkpoint.trial.gan, len(checkpoint.classes))
    tensors = with_prefix(checkpoint.tensors, "generator.")
    if any(name.startswith("input.miner.") for name in tensors):
        add_miner(network)
    network = to_device(network, device)
    network.load_state_dict(tensors)
    return network, checkpoint.trial.gan.latent
