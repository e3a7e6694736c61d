"""Checkpoints in safetensors: the whole state of a training run, and the transfer of one run's networks into another.

Tensors are named ``generator.*``, ``critic.*`` and, in a checkpoint that training can go on from,
``optimizer.<network>.<parameter>.<moment>`` and ``random``; ``average.*`` is the generator's moving average, where there is
one. A source's last checkpoint also has ``fisher.<network>.<parameter>``. Of an adaptation a miner is among the generator's
tensors; low-rank updates are added to the weights, and to go on from they stand apart in ``unmerged.<network>.*``, as do the
anchors (see `trainers.anchors`) and what an augmentation has learnt. A seal tells whether the file is as it was written.
Nothing is ever unpickled.
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
from trainers.adaptation import add_miner
from trainers.anchors import Anchors, relative
from trainers.config import TrialConfig
from trainers.core import Gan, to_device
from trainers.errors import DamagedError, UserError
from trainers.fisher import fisher
from trainers.networks import Generator, for_classes_only, make_critic, make_generator, per_class
from trainers.networks.updates import merged_state, unmerged_state
from trainers.strategy import ALL, Part, Penalty

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
    return seals.seal(save_tensors({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, metadata))


def _kept(gan: Gan) -> dict[str, nn.Module]:
    return gan.networks if gan.average is None else {**gan.networks, "average": gan.average}


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
    """Put a training run, which follows its strategy already, back into the state that a resumable checkpoint holds."""
    tensors = checkpoint.tensors
    for name, network in _kept(gan).items():
        saved, unmerged = (_with_prefix(tensors, f"{prefix}{name}.") for prefix in ("", "unmerged."))
        if unmerged:
            saved = {key: unmerged[key] if key in unmerged else saved[key] for key in network.state_dict()}
        network.load_state_dict(saved)
    for name, network in gan.networks.items():
        for parameter, value in network.named_parameters():
            moments = _with_prefix(tensors, f"optimizer.{name}.{parameter}.")
            if moments:
                gan.optimisers[name].state[value] = {key: _laid_out(moment, value) for key, moment in moments.items()}
    if gan.adaptation is not None and gan.adaptation.anchors is not None:
        gan.adaptation.anchors.load(tensors, gan.device)
    gan.augment.load(tensors)
    gan.random.set_state(tensors["random"])
    gan.step = checkpoint.step


def _laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    """Return a moment on its parameter's device and in its memory layout, which the fused optimiser goes by."""
    if moment.shape != parameter.shape:  # Adam's count of steps
        return moment.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(moment)


@torch.no_grad()
def transfer(
    source: Checkpoint, name: str, network: nn.Module, classes: tuple[str, ...], may_differ: tuple[str, ...] = (),
    part: Part = ALL,
) -> Match:  # fmt: skip
    """Copy a source's network into another, tensor by tensor.

    Between conditional networks, tensors with a row per class are mapped by the classes' names; a class that the source does
    not know starts from the mean of the source's rows. Of an unconditional source every class takes the one scale and shift
    ("Cond BNorm" of Wang et al. 2018); with class concatenation ("Cond Concat") the class's weights start at zero, where the
    paper draws them at random: so either draws at first what its source draws. The class head starts afresh. An
    unconditional network takes the mean over a conditional source's classes, and leaves its class head. A miner stays behind.

    Args:
        source: the pre-trained source.
        name: "generator" or "critic".
        network: the network that takes the tensors over.
        classes: names of the network's own classes; empty when unconditional.
        may_differ: patterns (as in fnmatch) of the tensors that need no partner.
        part: which tensors are copied; the others are left as they are.

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
        if not part.has(key):
            fresh.append(key)
            continue
        if key not in theirs:
            if for_classes_only(key) and not source.classes:
                fresh.append(key)
                if key.startswith("input."):
                    tensor.zero_()
            continue
        value = _by_our_classes(key, theirs[key], tensor, source.classes, classes)
        if value.shape != tensor.shape:
            mismatched.append(key)
            continue
        (matched if value is theirs[key] else remapped).append(key)
        tensor.copy_(value)
    left = {
        key for key in theirs if key.startswith("input.miner.") or (for_classes_only(key) and not classes) or not part.has(key)
    }
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


def anchors(
    source: Checkpoint, networks: Mapping[str, nn.Module], matches: Mapping[str, Match], classes: tuple[str, ...],
    penalty: Penalty,
) -> Anchors:  # fmt: skip
    """Return the anchors of networks that have just been taken over: the parameters that came over, as they are now.

    The source's Fisher information comes over as its parameters do. A checkpoint of before it was kept there has it computed
    now, from the same samples.
    """
    held = Anchors(penalty.weight)
    fishers = _fishers(source) if penalty.fisher else {}
    for name, match in matches.items():
        came, own = {*match.matched, *match.remapped}, {}
        for key, parameter in networks[name].named_parameters():
            if key in came:
                held.starts[f"{name}.{key}"] = parameter.detach().clone()
                if penalty.fisher:
                    value = _by_our_classes(
                        key, fishers[f"{name}.{key}"].to(parameter.device), parameter, source.classes, classes
                    )
                    own[f"{name}.{key}"] = value.detach().clone()
        held.importances |= relative(own)
    return held


def _fishers(source: Checkpoint) -> dict[str, Tensor]:
    known = _with_prefix(source.tensors, "fisher.")
    if known:
        return known
    trial, classes = source.trial, len(source.classes)
    drawing, scoring = make_generator(trial.gan, classes), make_critic(trial.gan, classes)
    drawing.load_state_dict(_with_prefix(source.tensors, "generator."))
    scoring.load_state_dict(_with_prefix(source.tensors, "critic."))
    return fisher(to_device(drawing, "cpu"), to_device(scoring, "cpu"), trial.training, trial.gan.latent, trial.seed)


def _by_our_classes(key: str, value: Tensor, ours: Tensor, known: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor:
    """Return a source's tensor for our classes, the very same one where there is nothing to map."""
    ours_by_class, theirs_by_class = (bool(names) and per_class(key, t) for names, t in ((wanted, ours), (known, value)))
    if ours_by_class and theirs_by_class and known != wanted:
        return _map_rows(value, known, wanted)
    if ours_by_class and not theirs_by_class:
        return value.expand_as(ours)
    return value.mean(0) if theirs_by_class and not ours_by_class else value


def _map_rows(rows: Tensor, known: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor:
    mean = rows.mean(0)
    return torch.stack([rows[known.index(name)] if name in known else mean for name in wanted])


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def generator(checkpoint: Checkpoint, device: str = "cpu") -> tuple[Generator, int]:
    """Return a checkpoint's generator, ready to sample from, and the dimensions of its latent."""
    network = make_generator(checkpoint.trial.gan, len(checkpoint.classes))
    tensors = _with_prefix(checkpoint.tensors, "generator.")
    if any(name.startswith("input.miner.") for name in tensors):
        add_miner(network)
    network = to_device(network, device)
    network.load_state_dict(tensors)
    return network, checkpoint.trial.gan.latent
