"""Checkpoints: safetensors files with the whole state of a training run.

A checkpoint has ``generator.*`` and ``critic.*``, with updates of convolutions merged into the weights, and ``average.*`` if
training keeps a moving average of the generator; a rung's generator and its critic are also saved alone. A resumable one has
``optimizer.NETWORK.PARAMETER.MOMENT``, ``random`` and, if the trial has them, those updates (``unmerged.NETWORK.*``), anchors
(``anchor.*``, ``importance.*``), the running means of LeCam (``lecam.*``), the frozen source of CDC (``correspondence.*``),
the state of an augmentation (``augmentation.*``) and that of the regularised path lengths (``path_length``). One of a
conditional trial has ``class_counts`` (see `Checkpoint.requested`). A checksum detects damage
(`trainers.common.sealed_tensors`). Nothing is ever unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from trainers.adaptation.phases import add_miner
from trainers.adaptation.weight_updates import merged_state, unmerged_state
from trainers.common import sealed_tensors
from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config.blocks import Network as NetworkName
from trainers.config.trial import TrialConfig
from trainers.core.gan import Gan, to_device
from trainers.core.sampling import proportional
from trainers.networks import Generator, make_generator

FORMAT = "transfergan/1"

#: How the names of the tensors begin that a checkpoint of a generator alone has, of a critic alone, and of a finished trial.
GENERATOR = ("class_counts", "generator.", "average.")
CRITIC = ("critic.",)
NETWORKS = (*GENERATOR, *CRITIC)


@dataclass(frozen=True)
class Match:
    """The outcome of copying one network's tensors into another, as sorted names.

    Attributes:
        matched: copied as they are.
        remapped: copied with their rows per class rearranged: by class name, or the mean row for a class that the source lacks;
            from an unconditional source its one row for every class; into an unconditional network the mean row.
        fresh: not copied, because an unconditional source lacks them or the strategy excludes them.
        missing: in this network, without a counterpart in the source.
        unexpected: in the source, without a counterpart in this network.
        mismatched: in both, with different shapes.
    """

    matched: tuple[str, ...] = ()
    remapped: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The tensors of either network that have no counterpart of the same shape."""
        return tuple(sorted({*self.missing, *self.unexpected, *self.mismatched}))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: its tensors by name, the trial that wrote it, and the step and report at which it was written."""

    tensors: dict[str, Tensor]
    trial: TrialConfig
    step: int
    report: dict[str, Any]
    matches: dict[str, Match]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of its networks; empty for an unconditional GAN."""
        return self.trial.domain.classes if self.trial.conditional else ()

    def network(self, name: NetworkName, *, raw: bool = False) -> dict[str, Tensor]:
        """Return the tensors of a network by name; of the generator its moving average, if it has one and not `raw`."""
        average = with_prefix(self.tensors, "average.") if name == "generator" and not raw else {}
        return average or with_prefix(self.tensors, f"{name}.")

    def requested(self, n: int) -> np.ndarray | None:
        """Return the classes int64 (n,) of n images to generate: only those with training images, with the reference's shares.

        None leaves them to `trainers.core.sampling.sample`: for an unconditional GAN, or networks of unknown classes.
        """
        counts = self.tensors.get("class_counts")
        return None if counts is None else proportional(counts.numpy(), n)

    @property
    def resumable(self) -> bool:
        """Whether training can continue from it; at an end from which none does, a checkpoint has the networks only."""
        return "random" in self.tensors


def save(
    gan: Gan, trial: TrialConfig, matches: dict[str, Match], report: Mapping[str, Any], *, resumable: bool,
    class_counts: np.ndarray | None = None,
) -> bytes:  # fmt: skip
    """Return the bytes of a checkpoint.

    Args:
        matches: by network, the outcome of the transfer from the source; empty without one.
        report: what the trial reports at this step; it is reported again on resume.
        resumable: whether to include the state of the optimisers and of the random generator.
        class_counts: reference images int64 (K,) of each class, 0 for a class without training images; None if unconditional.
    """
    tensors = {} if class_counts is None else {"class_counts": torch.from_numpy(class_counts)}
    for name, network in _saved_networks(gan).items():
        tensors |= {f"{name}.{key}": value for key, value in merged_state(network).items()}
        if resumable:
            tensors |= {f"unmerged.{name}.{key}": value for key, value in unmerged_state(network).items()}
    for name, network in gan.networks.items():
        if resumable:
            state = gan.optimisers[name].state
            for parameter, value in network.named_parameters():
                tensors |= {f"optimizer.{name}.{parameter}.{moment}": v for moment, v in state.get(value, {}).items()}
    if resumable:
        tensors |= {"random": gan.random.get_state(), **gan.augment.state(), **gan.path_length.state()}
        tensors |= {} if gan.adaptation is None else gan.adaptation.state()
    return pack(tensors, trial, gan.step, matches, report)


def save_generator(
    gan: Gan, trial: TrialConfig, matches: dict[str, Match], report: Mapping[str, Any], class_counts: np.ndarray | None
) -> bytes:
    """Return the bytes of a checkpoint with only what images are drawn from: the generator and its moving average."""
    tensors = {} if class_counts is None else {"class_counts": torch.from_numpy(class_counts)}
    for name, network in _saved_networks(gan).items():
        if name != "critic":
            tensors |= {f"{name}.{key}": value for key, value in merged_state(network).items()}
    return pack(tensors, trial, gan.step, matches, report)


def save_critic(gan: Gan, trial: TrialConfig, matches: dict[str, Match], report: Mapping[str, Any]) -> bytes:
    """Return the bytes of a checkpoint with the critic alone."""
    tensors = {f"critic.{key}": value for key, value in merged_state(gan.critic).items()}
    return pack(tensors, trial, gan.step, matches, report)


def pack(
    tensors: Mapping[str, Tensor], trial: TrialConfig, step: int, matches: Mapping[str, Match], report: Mapping[str, Any]
) -> bytes:
    """Return a sealed safetensors file with a checkpoint's tensors and, as metadata, the other fields of `Checkpoint`."""
    metadata = {
        "format": FORMAT,
        "trial": trial.canonical_json(),
        "step": str(step),
        "report": json.dumps(report),
        "matches": json.dumps({name: asdict(match) for name, match in matches.items()}),
    }
    return sealed_tensors.seal(save_tensors({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, metadata))


def repack(checkpoint: Checkpoint, trial: TrialConfig, report: Mapping[str, Any], prefixes: tuple[str, ...]) -> bytes:
    """Return the bytes of a checkpoint with another report, and only with the tensors whose names start with a prefix."""
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if name.startswith(prefixes)}
    return pack(tensors, trial, checkpoint.step, checkpoint.matches, report)


def _saved_networks(gan: Gan) -> dict[str, nn.Module]:
    return gan.networks if gan.average is None else {**gan.networks, "average": gan.average}


def load(data: bytes, where: str) -> Checkpoint:
    """Return the checkpoint in bytes.

    Raises:
        UserError: the bytes are damaged or not a checkpoint of this version; the message names `where` they were read.
    """
    try:
        sealed_tensors.check(data)
        header = sealed_tensors.metadata(data)
        if header["format"] != FORMAT:
            raise UserError(f"checkpoint {where} has format {header['format']!r}; this transfergan reads {FORMAT}")
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
        raise UserError(f"checkpoint {where} is of a trial that this transfergan does not support; upgrade") from error
    except UserError:
        raise
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise UserError(f"checkpoint {where} is damaged or was not written by transfergan: {error}") from error


def resume(gan: Gan, checkpoint: Checkpoint) -> None:
    """Restore the state of a resumable checkpoint in a training run that already follows its strategy."""
    tensors = checkpoint.tensors
    for name, network in _saved_networks(gan).items():
        saved, unmerged = (with_prefix(tensors, f"{prefix}{name}.") for prefix in ("", "unmerged."))
        if unmerged:
            saved = {key: unmerged[key] if key in unmerged else saved[key] for key in network.state_dict()}
        network.load_state_dict(saved)
    for name, network in gan.networks.items():
        for parameter, value in network.named_parameters():
            moments = with_prefix(tensors, f"optimizer.{name}.{parameter}.")
            if moments:
                gan.optimisers[name].state[value] = {key: _like_parameter(moment, value) for key, moment in moments.items()}
    if gan.adaptation is not None:
        gan.adaptation.load(tensors, gan.device)
    gan.augment.load(tensors)
    gan.path_length.load(tensors)
    gan.step = checkpoint.step
    if tensors["random"].shape == gan.random.get_state().shape:
        gan.random.set_state(tensors["random"])
    else:  # the state of another kind of device's generator, which cannot continue here
        gan.random.manual_seed(derive_seed("training", gan.seed, gan.step))


def _like_parameter(moment: Tensor, parameter: Tensor) -> Tensor:
    """Return a moment on its parameter's device and in its memory layout, as the fused optimiser requires."""
    if moment.shape != parameter.shape:  # Adam's count of steps
        return moment.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(moment)


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix, by their names without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def generator(checkpoint: Checkpoint, device: str = "cpu", *, raw: bool = False) -> tuple[Generator, int]:
    """Return a checkpoint's generator on a device, without its moving average if `raw`, and the dimensions of its latent."""
    network = make_generator(checkpoint.trial.gan, len(checkpoint.classes))
    tensors = checkpoint.network("generator", raw=raw)
    if any(name.startswith("input.miner.") for name in tensors):
        add_miner(network)
    network = to_device(network, device)
    network.load_state_dict(tensors)
    return network, checkpoint.trial.gan.latent
