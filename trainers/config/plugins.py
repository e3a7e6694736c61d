"""Plug-ins: the strategies, metrics, domains and embeddings that other installed packages define.

A package lists them as entry points in the groups below; an entry point is named as the object that it refers to. A process
imports a group when it first looks up a name of its kind, so a plug-in should import torch only where it computes.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Literal, get_args

from trainers.common.errors import UserError

Group = Literal["transfergan.strategies", "transfergan.metrics", "transfergan.domains", "transfergan.embeddings"]

#: Names that can stand in a sweep file, between the signs of options, paths and mixtures.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@cache
def _installed(group: Group) -> EntryPoints:
    return entry_points(group=group)


def load(group: Group, expected: str, name_of: Callable[[Any], str | None], taken: Iterable[str]) -> dict[str, Any]:
    """Return the plug-ins of a group by name, sorted.

    Args:
        group: where packages list them.
        expected: what an entry point must refer to, for the error: "a subclass of ...".
        name_of: returns the name of such an object, None for any other object.
        taken: names that plug-ins cannot have.

    Raises:
        UserError: a plug-in cannot be imported, is not what is expected, or its name is taken, by a built-in or by another
            plug-in. The message names the distribution and the entry point.
    """
    taken, plugins, places = set(taken), dict[str, Any](), dict[str, str]()
    for entry in sorted(_installed(group), key=lambda entry: (entry.name, _distribution(entry))):
        where = f"plug-in {entry.name!r} of {_distribution(entry)} (entry point {entry.value!r} in group {group})"
        try:
            plugin = entry.load()
        except Exception as error:  # it runs the code of another package
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise UserError(f"{where} cannot be imported: {reason}; repair or uninstall the package") from error
        name = name_of(plugin)
        if name is None:
            raise UserError(f"{where} must be {expected}, and is {plugin!r}")
        if name != entry.name or not _NAME.fullmatch(name):
            raise UserError(
                f"{where} has the name {name!r}; give both one name, of letters, digits, dots, hyphens and underscores"
            )
        if name in taken or name in plugins:
            owner = places.get(name, "transfergan itself")
            raise UserError(f"{where}: the name {name!r} is taken by {owner}; rename it, or uninstall one of the packages")
        plugins[name], places[name] = plugin, _distribution(entry)
    return plugins


def packages() -> dict[str, str]:
    """Return the versions of the installed distributions that have plug-ins, by name, without importing them."""
    entries = (entry for group in get_args(Group) for entry in _installed(group))
    return {entry.dist.name: entry.dist.version for entry in entries if entry.dist is not None}


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unnamed distribution"
