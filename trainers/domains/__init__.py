"""Domains by name: built-in, torchvision's data sets, the user's own files. Torch is imported only to read a data set."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from trainers.common.errors import UserError, unknown_name
from trainers.common.files import absolute
from trainers.config import plugins
from trainers.config.sources import mixture, parts
from trainers.domains.base import Domain, Images, Split
from trainers.domains.knobs import split_name, with_knobs
from trainers.domains.subsets import subset

__all__ = ["OWN", "Domain", "Images", "Split", "builtin_names", "get", "plugin_domains", "subset", "torchvision_names"]

#: Kinds of domains made from the user's files, with an example of each.
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
    return plugins.load(
        "transfergan.domains", "a trainers.domains.Domain", lambda p: p.name if isinstance(p, Domain) else None, taken
    )


def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's data sets, including those that are not on this machine."""
    from trainers.domains.torchvision.catalogue import CATALOGUE

    return tuple(CATALOGUE)


def get(name: str) -> Domain:
    """Return the domain of a name: built-in, a plug-in's, torchvision's, or one of `OWN`, optionally with knobs in brackets.

    The name of several domains (`trainers.config.sources`) returns their mixture. Equal names return the same object within a
    process. The knobs are described in `trainers.domains.knobs`.

    Raises:
        UserError: the domain or a knob is unknown, its files are damaged, or it has knobs and is not on this machine.
    """
    if len(names := parts(name)) > 1:
        members = [get(part) for part in names]
        return _mixture(mixture(member.name for member in members), frozenset(members))
    name, knobs = split_name(name)
    return with_knobs(_get(name), knobs)


@cache
def _mixture(name: str, members: frozenset[Domain]) -> Domain:
    from trainers.domains.mixtures import Mixture

    return Mixture(name, sorted(members, key=lambda member: member.name))


def _get(name: str) -> Domain:
    kind, colon, path = name.partition(":")
    if colon and kind in OWN:
        if not path:
            raise UserError(f"domain {name!r} has no path; write {kind}:PATH, e.g. {OWN[kind]}")
        columns = ""
        if kind == "parquet" and (named := re.fullmatch(r"(.*?)#(\w+=[^/]*)", path)):  # a folder's name may contain a #
            path, columns = named.groups()
        return _in_files(kind, absolute(path), columns)
    from trainers.domains.builtin import BUILTIN
    from trainers.domains.torchvision.catalogue import CATALOGUE
    from trainers.domains.torchvision.domain import data_root, torchvision_domain

    if name in CATALOGUE:
        return torchvision_domain(name, data_root())
    domains = {**BUILTIN, **plugin_domains()}
    if name not in domains:
        kind = "folder" if Path(name).is_dir() else Path(name).suffix.removeprefix(".")
        if kind in OWN and Path(name).exists():
            raise UserError(f"unknown domain {name!r}; if it has your images, write {kind}:{name}")
        raise unknown_name("domain", name, (*domains, *CATALOGUE, *(f"{kind}:PATH" for kind in OWN)))
    return domains[name]


@cache
def _in_files(kind: str, path: Path, columns: str) -> Domain:
    if kind == "folder":
        from trainers.domains.files.folder import Folder

        return Folder(path)
    if kind in ("zip", "tar"):
        from trainers.domains.files.archive import Archive

        return Archive(kind, path)
    from trainers.domains.files.parquet import Parquet

    name = f"parquet:{path}#{columns}" if columns else f"parquet:{path}"
    chosen = dict(part.partition("=")[::2] for part in columns.split(",") if part)
    if unknown := sorted(set(chosen) - {"image", "label"}):
        raise UserError(f"domain {name!r}: unknown column {unknown[0]!r}; write parquet:PATH#image=COLUMN,label=COLUMN")
    return Parquet(name, path, chosen)
