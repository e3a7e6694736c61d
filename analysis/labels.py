"""Short labels of domains, mixtures and chains."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from trainers.config import sources
from trainers.config.options import split

_LABEL_LENGTH = 22  # characters that still fit beside a figure on a phone
_SEVERAL_LENGTH = 30  # of a mixture or a chain, which is hard to tell by less


def label_domains(names: Iterable[str]) -> dict[str, str]:
    """Return a short, unique label per name of a domain, a mixture or a chain.

    >>> label_domains(["digits", "folder:/data/a/flowers", "folder:/data/b/flowers"])
    {'digits': 'digits', 'folder:/data/a/flowers': 'a/flowers', 'folder:/data/b/flowers': 'b/flowers'}
    >>> label_domains(["letters+shapes -> digits"])
    {'letters+shapes -> digits': 'letters+shapes → digits'}
    """
    wanted = sorted(set(names))
    labels = _label_plain({domain for name in wanted for domain in sources.domains(name)})
    for name in wanted:
        if name not in labels:
            links = ["+".join(labels[part] for part in sources.parts(link)) for link in sources.links(name)]
            labels[name] = _shortened(" → ".join(links), _SEVERAL_LENGTH, labels)
    return {name: labels[name] for name in wanted}


def _label_plain(names: Iterable[str]) -> dict[str, str]:
    """Return a short, unique label per domain's name."""
    parts = {name: [part for part in name.removeprefix("folder:").split("/") if part] or [name] for name in sorted(names)}
    taken = dict.fromkeys(parts, 1)  # how many trailing path parts make up the label
    while True:
        groups = defaultdict(list)
        for name in parts:
            groups["/".join(parts[name][-taken[name] :])].append(name)
        growable = [n for group in groups.values() if len(group) > 1 for n in group if taken[n] < len(parts[n])]
        if not growable:
            break
        for name in growable:
            taken[name] += 1
    labels: dict[str, str] = {}
    for full, group in groups.items():
        label = _short_knobs(visible(full))
        for name in group:
            labels[name] = _shortened(label, _LABEL_LENGTH, labels)
    return labels


def _shortened(label: str, length: int, taken: Mapping[str, str]) -> str:
    """Return a label of at most so many characters that is not taken."""
    short = label if len(label) <= length else "…" + label[1 - length :]
    serial = 2
    while short in taken.values():
        short, serial = f"{label[: length - 4]}… {serial}", serial + 1
    return short


def _short_knobs(label: str) -> str:
    """Return a domain's label with its knobs written short.

    >>> _short_knobs("letters[classes=4,per_class=100,spread=0.3]")
    'letters 4×100 s0.3'
    """
    domain, options = split(label)
    knobs = dict(options)
    if {"classes", "per_class"} <= set(knobs):
        knobs = {f"{knobs.pop('classes')}×{knobs.pop('per_class')}": "", **knobs}
    short = {"spread": "s", "shift": "shift "}
    return " ".join([domain, *(f"{short.get(name, name)}{value}" for name, value in knobs.items())])


_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # controls, and marks of direction


def visible(text: str) -> str:
    r"""Return text on one line, with what cannot be seen, or turns the direction of what follows, written out.

    >>> visible("a\u202eb\nc")
    'a\\u202eb c'
    """
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", " ".join(text.split()))
