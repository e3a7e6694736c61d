"""Domains by name: built-in ones that need no download, and the user's own folders. Needs no torch."""

from functools import cache
from pathlib import Path

from trainers.domains.domain import Domain, Images, Split
from trainers.domains.subsets import subset
from trainers.errors import UserError, unknown_name

__all__ = ["Domain", "Images", "Split", "builtin_names", "get", "subset"]

_FOLDER = "folder:"


def builtin_names() -> tuple[str, ...]:
    """Return the names of the built-in domains."""
    from trainers.domains.builtin import BUILTIN

    return tuple(BUILTIN)


def get(name: str) -> Domain:
    """Return the domain of that name: a built-in one, or ``folder:PATH``. The same object at every call of a process.

    Raises:
        UserError: there is no such domain, or the folder has no readable images.
    """
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
