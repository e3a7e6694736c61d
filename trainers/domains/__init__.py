"""Domains by name: built-in ones, torchvision's data sets, the user's own folders. Needs no torch until a data set is read."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trainers.common.errors import UserError, unknown_name
from trainers.config import plugins
from trainers.config.sources import mixture, parts
from trainers.domains.base import Domain, Images, Split
from trainers.domains.knobs import Knobs, split_name, with_knobs
from trainers.domains.subsets import subset

__all__ = ["OWN", "Domain", "Images", "Split", "builtin_names", "get", "plugin_domains", "subset", "torchvision_names"]

#: Kinds of domains of the user's own, with an example of each.
OWN = {
    "folder": "folder:photos/cats",
    "zip": "zip:photos/cats.zip",
    "tar": "tar:shards/*.tar",
    "parquet": "parquet:data/train-*.parquet",
}


def builtin_names() -> tuple[str, ...]:
    """Return the names of the built-in domains."""
    from trainers.domains.builtin import BUILTIN

    return tuple(BUILTIN)


@cache
def plugin_domains() -> Mapping[str, Domain]:
    """Return the domains of plug-ins by name.

    Raises:
        UserError: a plug-in is not what it should be.
    """
    taken = (*builtin_names(), *torchvision_names(), *OWN)
    return plugins.load("transfergan.domains", "a trainers.domains.Domain", _plugin_name, taken)


def _plugin_name(plugin: Any) -> str | None:
    return plugin.name if isinstance(plugin, Domain) else None


def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's data sets, whether or not they are on this machine."""
    from trainers.domains.torchvision.catalogue import CATALOGUE

    return tuple(CATALOGUE)


def get(name: str) -> Domain:
    """Return the domain of that name: built-in, a plug-in's, torchvision's, or one of `OWN`, with knobs in brackets if any.

    Or the mixture of several, see `trainers.sources` for its name. The same object at every call of a process. See
    `trainers.domains.knobs` for the knobs.

    Raises:
        UserError: there is no such domain or knob, its files are damaged, or knobs are asked of an absent data set.
    """
    if len(mixed := parts(name)) > 1:
        return _mixed(tuple(get(part) for part in mixed))
    name, knobs = split_name(name)
    return _turned(_get(name), knobs)


def _mixed(members: tuple[Domain, ...]) -> Domain:
    return _mixture(mixture(member.name for member in members), frozenset(members))


@cache
def _mixture(name: str, members: frozenset[Domain]) -> Domain:
    from trainers.domains.mixtures import Mixture

    return Mixture(name, sorted(members, key=lambda member: member.name))


@cache
def _turned(domain: Domain, knobs: Knobs) -> Domain:
    return with_knobs(domain, knobs)


def _get(name: str) -> Domain:
    kind, colon, path = name.partition(":")
    if colon and kind in OWN:
        if not path:
            raise UserError(f"domain {name!r} lacks its path; write {kind}:PATH, e.g. {OWN[kind]}")
        path, _, columns = path.partition("#") if kind == "parquet" else (path, "", "")
        return _own(kind, Path(path).expanduser().absolute(), columns)
    from trainers.domains.builtin import BUILTIN
    from trainers.domains.torchvision.catalogue import CATALOGUE
    from trainers.domains.torchvision.domain import data_root, torchvision_domain

    if name in CATALOGUE:
        return torchvision_domain(name, data_root())
    domains = {**BUILTIN, **plugin_domains()}
    if name not in domains:
        raise unknown_name("domain", name, (*domains, *CATALOGUE, *(f"{kind}:PATH" for kind in OWN)))
    return domains[name]


@cache
def _own(kind: str, path: Path, columns: str) -> Domain:
    if kind == "folder":
        from trainers.domains.files.folder import Folder

        return Folder(path)
    if kind in ("zip", "tar"):
        from trainers.domains.files.archive import Archive

        return Archive(kind, path)
    from trainers.domains.files.parquet import Parquet

    name = f"parquet:{path}#{columns}" if columns else f"parquet:{path}"
    asked = dict(part.partition("=")[::2] for part in columns.split(",") if part)
    if unknown := sorted(set(asked) - {"image", "label"}):
        raise UserError(f"domain {name!r}: unknown column {unknown[0]!r}; write parquet:PATH#image=COLUMN,label=COLUMN")
    return Parquet(name, path, asked)
