"""The names that a sweep file gives to domains: ``domains: {faces: "folder:photos/faces"}``.

A name is only a label. Where the file uses it, it stands for its domain, so the trials, their keys and the store have the
domain, and the same folder has the same trials under every name.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from trainers.common.errors import Problems, UserError, UserErrors, within
from trainers.common.files import absolute
from trainers.config.options import split
from trainers.config.sources import ARROW, IMPORT, domains, parts, read, renamed
from trainers.domains import OWN, Domain, builtin_names, plugin_domains, torchvision_names

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


def check_names(names: Mapping[str, str]) -> None:
    """Raise UserError unless each name is free, can be written in a source, and stands for one domain that is no name itself.

    All wrong names are in the error. This is no part of the sweep's model: plug-ins take names, and the plans of existing
    stores must stay readable.
    """
    problems = Problems()
    for name in names:
        with problems.collected():
            _check_name(name, names)
    problems.check()


def _check_name(name: str, names: Mapping[str, str]) -> None:
    domain, taken = names[name], {*builtin_names(), *plugin_domains(), *torchvision_names(), *OWN, IMPORT.removesuffix(":")}
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
                labels[f"{kind}:{absolute(path)}"] = name
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


def misnamed_domains(data: Mapping[str, Any], find: Callable[[str], Domain]) -> list[str]:
    """Return a line for each domain of a sweep file's mapping that `find` refuses, and for each name of no use.

    What is no list, no source or no text is passed over: the sweep's model names it.
    """
    names = data.get("domains")
    names = {key: name for key, name in names.items() if isinstance(name, str)} if isinstance(names, dict) else {}
    problems, used, complete = Problems(), list[str](), True
    tuning = data.get("tuning") or {}
    held_out = {f"tuning.{key}": tuning.get(key) for key in ("target", "source")} if isinstance(tuning, dict) else {"tuning": 0}
    places = {key: entry for key, entry in held_out.items() if entry is not None}
    for key in ("sources", "targets"):
        entries = data.get(key)
        complete &= isinstance(entries, list | None)
        places |= {f"{key}.{i}": entry for i, entry in enumerate(entries if isinstance(entries, list) else ())}
    for place, entry in places.items():
        try:
            ends = domains(renamed(read(entry), names))
        except (UserError, TypeError):
            complete = False
            continue
        used += ends
        for name in ends:
            with problems.collected(), within(place):
                if not name.startswith(IMPORT):
                    find(name)
    return [*problems.lines, *useless_names(names, used if complete else None, find)]


def useless_names(names: Mapping[str, str], used: Collection[str] | None, find: Callable[[str], Domain]) -> list[str]:
    """Return a line for each name that nothing uses, or whose domain is refused, and for each second name of one domain.

    Args:
        names: domains by name; those that `check_names` refuses are passed over.
        used: the domains in sources and targets, without names, of which it is not said that they are refused; None if they
            are not all known.
        find: returns a domain, whose name may differ from the text.
    """
    ends = set(used or ())
    for end in used or ():
        with suppress(UserError):
            ends.add(find(end).name)
    ends |= {split(end)[0] for end in ends}
    named = {split(text)[0] for text in names.values()}  # names by mistake
    lines, first = list[str](), dict[str, str]()
    for name, text in names.items():
        with suppress(UserError):
            _check_name(name, names)
            try:
                domain = find(text).name
            except UserError as error:
                if text not in ends:
                    lines.append(f"domains.{name}: {error}")
                continue
            if (other := first.setdefault(domain, name)) != name:
                lines.append(f"domains: {other} and {name} are both {text!r}; leave one of them out")
            elif used is not None and not {text, domain} & ends and name not in named:
                fix = "write it in sources or targets, or remove it"
                lines.append(f"domains.{name}: nothing uses this name of {text!r}; {fix}")
    return lines
