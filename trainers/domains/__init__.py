"""Domains by name: built-in ones that need no download, and the user's own folders. Needs no torch."""

from functools import cache
from pathlib import Path

from trainers.domains.domain import Domain, Images, Split
from trainers.domains.knobs import Knobs, split_name, with_knobs
from trainers.domains.subsets import subset
from trainers.errors import UserError, unknown_name

__all__ = ["Domain", "Images", "Split", "builtin_names", "get", "subset"]

_FOLDER = "folder:"


def builtin_names() -> tuple[str, ...]:
    """Return the names of the built-in domains."""
    from trainers.domains.builtin import BUILTIN

    return tuple(BUILTIN)


def get(name: str) -> Domain:
    """Return the domain of that name: a built-in one, or ``folder:PATH``, with knobs in brackets behind it if any.

    The same object at every call of a process. See `trainers.domains.knobs` for the knobs.

    Raises:
        UserError: there is no such domain or knob, or the folder has no readable images.
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

    if name not in BUILTIN:
        raise unknown_name("domain", name, (*BUILTIN, "folder:PATH"))
    return BUILTIN[name]


@cache
def _folder(path: Path) -> Domain:
    from trainers.domains.folder import Folder

    return Folder(path)
