"""Transfer of a source's networks into others: copying, mapping of classes, and anchors at the copied parameters."""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainers.adaptation.anchors import Anchors, relative
from trainers.adaptation.fisher import SAMPLES, fisher
from trainers.common.errors import UserError
from trainers.config.blocks import Network as NetworkName
from trainers.config.strategy import ALL, Part, Penalty
from trainers.core.gan import to_device
from trainers.networks import for_classes_only, make_critic, make_generator, per_class
from trainers.trial.checkpoints import Checkpoint, Match

#: How the names of tensors begin that a strategy adds to a network.
ADDED = ("input.miner.", "patch.")


@torch.no_grad()
def transfer(source: Checkpoint, name: NetworkName, network: nn.Module, classes: tuple[str, ...], part: Part = ALL) -> Match:
    """Copy a part of a source's network, the "generator" or the "critic", into a network; its other tensors stay unchanged.

    A generator with a moving average is copied as that average.

    `classes` are the names of the network's classes, empty when unconditional.

    - Conditional to conditional: tensors with a row per class are mapped by class name. A class that the source lacks starts
      from the mean of the source's rows.
    - Unconditional to conditional: every class starts from the source's one scale and shift ("Cond BNorm" of Wang et al.
      2018). With class concatenation ("Cond Concat") the weights of the classes start at zero, whereas the paper draws them at
      random. In both cases the first images are those of the source. The class head is not copied.
    - Conditional to unconditional: tensors with a row per class become their mean. The class head is not copied.

    A miner and a head for patches are never copied.

    Raises:
        UserError: a tensor of either network has no counterpart of the same shape.
    """
    theirs = source.network(name)
    ours = network.state_dict()
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for key, tensor in ours.items():
        if not part.has(key):
            groups["fresh"].add(key)
            continue
        if key not in theirs:
            if for_classes_only(key) and not source.classes:
                groups["fresh"].add(key)
                if key.startswith("input."):
                    tensor.zero_()
            continue
        value = _map_classes(key, theirs[key], tensor, source.classes, classes)
        if key == "input.latent.bias" and "input.classes.weight" in theirs.keys() - ours.keys():
            value = value + theirs["input.classes.weight"].mean(0)  # the mean contribution of a class
        if value.shape != tensor.shape:
            groups["mismatched"].add(key)
            continue
        groups["matched" if value is theirs[key] else "remapped"].add(key)
        tensor.copy_(value)
    not_copied = {
        key for key in theirs if key.startswith(ADDED) or (for_classes_only(key) and not classes) or not part.has(key)
    }
    groups["missing"] = set(ours) - set(theirs) - groups["fresh"]
    groups["unexpected"] = set(theirs) - set(ours) - not_copied
    match = Match(**{group: tuple(sorted(keys)) for group, keys in groups.items()})
    if unmatched := match.unmatched:
        raise UserError(
            f"the {name} of source {source.trial.domain.name!r} does not fit: {len(unmatched)} tensors without a counterpart "
            f"of the same shape, the first is {unmatched[0]!r}; source and target must agree in `gan`"
        )
    return match


def anchors_at(
    source: Checkpoint, networks: Mapping[str, nn.Module], matches: Mapping[str, Match], classes: tuple[str, ...],
    penalty: Penalty,
) -> Anchors:  # fmt: skip
    """Return anchors at the copied parameters of networks, right after the transfer with the outcome `matches`.

    If the penalty weights parameters by the source's Fisher information, it is mapped to `classes` as they are.
    """
    anchors = Anchors(penalty.weight)
    device = next(networks["generator"].parameters()).device
    fishers = _fishers(source, device) if penalty.fisher else {}
    for name, match in matches.items():
        if name not in penalty.networks:
            continue
        copied, importances = {*match.matched, *match.remapped}, {}
        for key, parameter in networks[name].named_parameters():
            if key in copied:
                anchors.starts[f"{name}.{key}"] = parameter.detach().clone()
                if penalty.fisher:
                    value = _map_classes(key, fishers[f"{name}.{key}"], parameter, source.classes, classes)
                    importances[f"{name}.{key}"] = value.detach().clone()
        anchors.importances |= relative(importances)
    return anchors


def _fishers(source: Checkpoint, device: torch.device) -> dict[str, Tensor]:
    """Compute a source's Fisher information, by ``NETWORK.PARAMETER``, on a device."""
    trial, classes = source.trial, len(source.classes)
    generator, critic = make_generator(trial.gan, classes), make_critic(trial.gan, classes)
    generator.load_state_dict(source.network("generator"))
    critic.load_state_dict(source.network("critic"))
    networks = to_device(generator, device), to_device(critic, device)
    return fisher(*networks, trial.training, trial.gan.latent, trial.base_seed, source.requested(SAMPLES))


def _map_classes(key: str, value: Tensor, ours: Tensor, theirs: tuple[str, ...], classes: tuple[str, ...]) -> Tensor:
    """Return a source's tensor `value`, with the classes `theirs`, for our `classes`; the same object if nothing changes."""
    ours_by_class, theirs_by_class = (bool(names) and per_class(key, t) for names, t in ((classes, ours), (theirs, value)))
    if ours_by_class and theirs_by_class and theirs != classes:
        mean = value.mean(0)
        return torch.stack([value[theirs.index(name)] if name in theirs else mean for name in classes])
    if ours_by_class and not theirs_by_class:
        return value.expand_as(ours)
    return value.mean(0) if theirs_by_class and not ours_by_class else value
