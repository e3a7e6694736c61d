"""The transfer of a source's networks into others: what is copied and how classes are mapped, and what is held near it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainers.adaptation.anchors import Anchors, relative
from trainers.adaptation.fisher import fisher
from trainers.common.errors import UserError
from trainers.config.strategy import ALL, Part, Penalty
from trainers.core.gan import to_device
from trainers.networks import for_classes_only, make_critic, make_generator, per_class
from trainers.trial.checkpoints import Checkpoint, Match, with_prefix


@torch.no_grad()
def transfer(source: Checkpoint, name: str, network: nn.Module, classes: tuple[str, ...], part: Part = ALL) -> Match:
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
        part: which tensors are copied; the others are left as they are.

    Raises:
        UserError: a tensor of either side has no partner, or one of another shape.
    """
    theirs = with_prefix(source.tensors, f"{name}.")
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
        if key == "input.latent.bias" and "input.classes.weight" in theirs.keys() - ours.keys():
            value = value + theirs["input.classes.weight"].mean(0)  # what a class adds, on average
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
    if wrong := match.unmatched:
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
    known = with_prefix(source.tensors, "fisher.")
    if known:
        return known
    trial, classes = source.trial, len(source.classes)
    drawing, scoring = make_generator(trial.gan, classes), make_critic(trial.gan, classes)
    drawing.load_state_dict(with_prefix(source.tensors, "generator."))
    scoring.load_state_dict(with_prefix(source.tensors, "critic."))
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
