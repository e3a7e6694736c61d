"""A plan's remarks on the classes of a domain that have no training images."""

from collections.abc import Iterable, Iterator

import numpy as np

from trainers.common.counts import counted
from trainers.common.errors import UserError
from trainers.config.augmentations import get_augmentation
from trainers.domains import Domain, subset

#: Fewest reference images that FID and KID can be computed from.
FEWEST_REFERENCE = 4


def of_split(name: str, domain: Domain) -> Iterator[str]:
    """Yield a line on the classes of a domain without an image in the train split, which its conditional trials leave out."""
    labels = domain.labels("train")
    assert labels is not None
    if lacking := len(domain.classes) - len(np.unique(labels)):
        yield f"{name}: {_have_none(lacking)} in the train split; {_left_out(lacking)}"


def of_sizes(name: str, domain: Domain, sizes: Iterable[int], augmentations: Iterable[str], conditional: bool) -> Iterator[str]:
    """Yield a line on each size of a target that has fewer images than the domain has classes.

    Args:
        name, domain: the target, with classes and labels.
        sizes, augmentations: those of the sweep.
        conditional: whether it has conditional trials.

    Raises:
        UserError: the classes with training images have too few reference images for a conditional trial.
    """
    classes, count = len(domain.classes), domain.count("train")
    for size in sizes:
        available = min(size, count)
        by_used: dict[int, list[str]] = {}
        for augmentation in map(get_augmentation, augmentations):
            by_used.setdefault(available - augmentation.held_out(available), []).append(augmentation.key)
        for used, names in sorted(by_used.items(), reverse=True):
            if used < classes:
                by = " and ".join(dict.fromkeys(names))
                held_out = f", {available - used} of them held out by {by}" if used < available else ""
                lacking = _lacking(name, domain, used) if conditional else classes - used
                consequence = _left_out(lacking) if conditional else "the reference has all classes"
                none = _have_none(lacking, "" if conditional else " or more")
                yield f"{name}: size {size}{held_out}, of {counted(classes, 'class', 'classes')}: {none}; {consequence}"


def _lacking(name: str, domain: Domain, size: int) -> int:
    """Return how many classes have no image in the conditional trials of a size."""
    train, reference = domain.labels("train"), domain.labels("reference")
    assert train is not None
    assert reference is not None
    present = np.unique(train[subset(train, len(train), size, 0, balanced=True)])
    if (count := int(np.isin(reference, present).sum())) < FEWEST_REFERENCE:
        raise UserError(
            f"sizes: with {counted(size, 'image')} of domain {name!r} conditional trials train classes that have {count} "
            f"reference images and need {FEWEST_REFERENCE}; set a larger size, or conditional: [false]"
        )
    return len(domain.classes) - len(present)


def _have_none(lacking: int, more: str = "") -> str:
    return f"{lacking} class{'es'[: 2 * (lacking > 1)]}{more} {'have' if lacking > 1 or more else 'has'} no image"


def _left_out(lacking: int) -> str:
    return f"conditional trials leave {'them' if lacking > 1 else 'it'} out of their samples and of their reference"
