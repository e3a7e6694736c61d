"""The names that a sweep file gives to domains: ``domains: {faces: "folder:photos/faces"}``.

A name is only a label. Where the file uses it, it stands for its domain, so the trials, their keys and the store have the
domain, and the same folder has the same trials under every name.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trainers.common.errors import Problems, UserError, UserErrors, within
from trainers.config.options import split
from trainers.config.sources import ARROW, IMPORT, domains, parts, read, renamed
from trainers.domains import OWN, Domain, builtin_names, plugin_domains, torchvision_names

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


def check_names(names: Mapping[str, str]) -> None:
    """Raise UserError unless each name is free, can be written in a source, and stands for one domain that is no name itself.

    All wrong names are in the error. This is no part of the sweep's model: plug-ins take names, and the plans of existing
    stores must stay readable.
    """
    taken = {*builtin_names(), *plugin_domains(), *torchvision_names(), *OWN, IMPORT.removesuffix(":")}
    problems = Problems()
    for name, domain in names.items():
        with problems.collected():
            _check_name(name, domain, names, taken)
    problems.check()


def _check_name(name: str, domain: str, names: Mapping[str, str], taken: Collection[str]) -> None:
    if not _NAME.fullmatch(name):
        raise UserError(f"name {name!r} is not 1 to 32 letters, digits and . _ - after a letter or digit, e.g. my-faces")
    if name in taken:
        raise UserError(f"{name!r} is a name of transfergan's own; choose another one, e.g. my-{name}")
    plain = split(domain)[0]
    if plain in names:
        raise UserError(f"{name} is {domain!r}, which is a name too; write what that stands for, {names[plain]!r}")
    if ARROW in domain or len(parts(domain)) > 1 or domain.startswith(IMPORT):
        raise UserError(f"{name} is {domain!r}, and a name stands for one domain; mixtures, chains and imports go in sources")


@contextmanager
def called(names: Mapping[str, str], find: Callable[[str], Domain]) -> Iterator[None]:
    """Let a UserError of the block call the domains in `names` by these names: "domain 'hills' ('folder:hills') has ...".

    `find` returns a domain, whose name may differ from the text in `names`. A line on the names themselves stays.
    """
    try:
        yield
    except UserError as error:
        labels = {domain: name for name, domain in names.items()}
        for name, domain in names.items():
            kind, _, path = domain.partition(":")
            if kind in OWN:  # of a missing folder too
                labels[f"{kind}:{Path(path).expanduser().absolute()}"] = name
            with suppress(UserError):
                labels[find(domain).name] = name
        lines = [_called(line, labels) for line in getattr(error, "problems", [str(error)])]
        raise (UserErrors(lines) if len(lines) > 1 else UserError(lines[0])) from error


def _called(line: str, labels: Mapping[str, str]) -> str:
    if line.startswith("domains"):
        return line

    def name(match: re.Match[str]) -> str:
        with suppress(UserError):
            if (label := renamed(match[1], labels)) != match[1]:
                return f"'{label}' ({match[0]})"
        return match[0]

    return re.sub(r"'([^']+)'", name, line)


def unknown_domains(data: Mapping[str, Any], find: Callable[[str], object]) -> list[str]:
    """Return a line for each domain in the sources and targets of a sweep file's mapping that `find` refuses with UserError.

    What is no list, no source or no text is passed over: the sweep's model names it.
    """
    names = data.get("domains")
    names = {key: name for key, name in names.items() if isinstance(name, str)} if isinstance(names, dict) else {}
    problems = Problems()
    for key in ("sources", "targets"):
        entries = data.get(key)
        for entry in entries if isinstance(entries, list) else ():
            used: tuple[str, ...] = ()
            with suppress(UserError, TypeError):
                used = domains(renamed(read(entry), names))
            for name in used:
                with problems.collected(), within(key):
                    if not name.startswith(IMPORT):
                        find(name)
    return problems.found
