"""Short, unique labels of domains, mixtures and chains, and text made safe to display."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from trainers.config import sources
from trainers.config.options import split

_LABEL_LENGTH = 22  # characters that fit next to a figure on a phone
_COMPOUND_LENGTH = 32  # mixtures, chains and options need more characters to be distinct


def label_domains(names: Iterable[str], given: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return a short, unique label for each name of a domain, a mixture or a chain; `given` are sweep files' names by domain.

    >>> label_domains(["digits", "folder:/data/a/flowers", "folder:/data/b/flowers"])
    {'digits': 'digits', 'folder:/data/a/flowers': 'a/flowers', 'folder:/data/b/flowers': 'b/flowers'}
    >>> label_domains(["letters+shapes -> digits"])
    {'letters+shapes -> digits': 'letters+shapes → digits'}
    """
    names = sorted(set(names))
    labels = _label_plain({domain for name in names for domain in sources.domains(name)}, given)
    for name in names:
        if name not in labels:
            links = ["+".join(labels[part] for part in sources.parts(link)) for link in sources.links(name)]
            label = " → ".join(links)
            if len(label) > _COMPOUND_LENGTH:
                label = " → ".join("+".join(map(_short_knobs, link.split("+"))) for link in links)
            labels[name] = _shortened(label, _COMPOUND_LENGTH, labels)
    return {name: labels[name] for name in names}


def _label_plain(names: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return a short, unique label for each domain: the name that it was given, or its last path component.

    There is more of the path in front of it where labels would collide.
    """
    parts = {name: [part for part in name.removeprefix("folder:").split("/") if part] or [name] for name in sorted(names)}
    parts |= {name: [*parts[name], label] for name in parts if (label := sources.renamed(name, given)) != name}
    lengths = dict.fromkeys(parts, 1)  # the number of trailing path parts in each label
    while True:
        groups = defaultdict(list)
        for name in parts:
            groups["/".join(parts[name][-lengths[name] :])].append(name)
        ambiguous = [n for group in groups.values() if len(group) > 1 for n in group if lengths[n] < len(parts[n])]
        if not ambiguous:
            break
        for name in ambiguous:
            lengths[name] += 1
    labels: dict[str, str] = {}
    for full, group in groups.items():
        label = visible(full)
        length = _COMPOUND_LENGTH if split(label)[1] else _LABEL_LENGTH
        if len(label) > length:
            label, length = _short_knobs(label), _LABEL_LENGTH
        for name in group:
            labels[name] = _shortened(label, length, labels)
    return labels


def _shortened(label: str, length: int, taken: Mapping[str, str]) -> str:
    """Return the label shortened to `length` characters, with a serial number if it is among the values of `taken`."""
    short = label if len(label) <= length else "…" + label[1 - length :]
    serial = 2
    while short in taken.values():
        short, serial = f"{label[: length - 4]}… {serial}", serial + 1
    return short


def _short_knobs(label: str) -> str:
    """Return a domain's label with its knobs written short, where they are too long as the user writes them.

    >>> _short_knobs("letters[classes=4,per_class=100,spread=0.3]")
    'letters 4×100 s0.3'
    """
    domain, options = split(label)
    knobs = dict(options)
    if {"classes", "per_class"} <= set(knobs):
        knobs = {f"{knobs.pop('classes')}×{knobs.pop('per_class')}": "", **knobs}
    short = {"spread": "s", "shift": "shift "}
    return " ".join([domain, *(f"{short.get(name, f'{name}=' if value else name)}{value}" for name, value in knobs.items())])


#: Control characters and the marks of writing direction.
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""Return text on one line, with invisible characters and marks of writing direction escaped.

    >>> visible("a\u202eb\nc")
    'a\\u202eb c'
    """
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", " ".join(text.split()))
