"""Domains by name: built-in ones, torchvision's data sets, the user's own folders. Needs no torch until a data set is read."""

from functools import cache
from pathlib import Path

from trainers.domains.domain import Domain, Images, Split
from trainers.domains.knobs import Knobs, split_name, with_knobs
from trainers.domains.subsets import subset
from trainers.errors import UserError, unknown_name

__all__ = ["Domain", "Images", "Split", "builtin_names", "get", "subset", "torchvision_names"]

_FOLDER = "folder:"


def builtin_names() -> tuple[str, ...]:
    """Return the names of the built-in domains."""
    from trainers.domains.builtin import BUILTIN

    return tuple(BUILTIN)


def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's data sets, whether or not they are on this machine."""
    from trainers.domains.catalogue import CATALOGUE

    return tuple(CATALOGUE)


def get(name: str) -> Domain:
    """Return the domain of that name: built-in, torchvision's, or ``folder:PATH``, with knobs in brackets behind it if any.

    The same object at every call of a process. See `trainers.domains.knobs` for the knobs.

    Raises:
        UserError: there is no such domain or knob, the folder has no readable images, or knobs are asked of an absent data set.
    """
    name, knobs = split_name(name)
    return _turned(_get(name), knobs)


@cache
def _turned(domain: Domain, knobs: Knobs) -> Domain:
    return with_knobs(domain, knobs)


def _get(name: str) -> Domain:
    if name.startswith(_FOLDER):
        path = name.removeprefix(_FOLDER)
        if not path:
            raise UserError("domain 'folder:' lacks its path; write folder:PATH, e.g. folder:photos/cats")
        return _folder(Path(path).expanduser().absolute())
    from trainers.domains.builtin import BUILTIN
    from trainers.domains.catalogue import CATALOGUE
    from trainers.domains.torchvision import data_root, torchvision_domain

    if name in CATALOGUE:
        return torchvision_domain(name, data_root())
    if name not in BUILTIN:
        raise unknown_name("domain", name, (*BUILTIN, *CATALOGUE, "folder:PATH"))
    return BUILTIN[name]


@cache
def _folder(path: Path) -> Domain:
    from trainers.domains.folder import Folder

    return Folder(path)
