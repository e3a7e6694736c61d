"""What sources are called: a domain, a mixture of domains (``letters+shapes``), or a chain (``letters -> numerals``).

A chain is pre-trained link by link; each link is a domain or a mixture. Names alone: no domain is looked at.
"""

import re
from collections.abc import Iterable

from trainers.common.errors import UserError

ARROW = " -> "

#: What the name of an imported source begins with.
IMPORT = "import:"

#: A domain in a mixture. One with a colon has a path, which may have anything in it, so it stands in parentheses.
_PART = re.compile(r"(?:\((?P<own>.+?)\)|(?P<name>[^+()\[\]:]+(?:\[[^\[\]]*\])?))(?:\+(?!$)|$)")


def mixture(domains: Iterable[str]) -> str:
    """Return what the mixture of some domains is called, in whatever order they are named.

    >>> mixture(["shapes", "letters", "folder:photos"])
    '(folder:photos)+letters+shapes'

    Raises:
        UserError: a domain is named twice, or its path would not be told from the rest of the name.
    """
    names = sorted(name for domain in domains for name in parts(domain))
    for name, following in zip(names, names[1:], strict=False):
        if name == following:
            raise UserError(f"a mixture names domain {name!r} twice; name it once")
    if len(names) == 1:
        return names[0]
    for name in names:
        if ")+" in name or ARROW in name:
            raise UserError(f"domain {name!r} cannot be in a mixture, for its path holds ')+' or '{ARROW}'; rename the folder")
    return "+".join(f"({name})" if ":" in name else name for name in names)


def parts(domain: str) -> tuple[str, ...]:
    """Return the domains of a mixture; of what is none, itself.

    >>> parts("(folder:a+b)+letters[classes=5]")
    ('folder:a+b', 'letters[classes=5]')
    >>> parts("folder:a+b")
    ('folder:a+b',)
    """
    found, at = [], 0
    while at < len(domain):
        part = _PART.match(domain, at)
        if part is None:
            return (domain,)
        found.append(part["own"] or part["name"].strip())
        at = part.end()
    return tuple(found) if len(found) > 1 else (domain,)


def links(source: str) -> tuple[str, ...]:
    """Return the domains that a source is pre-trained on, one after the other; of what is no chain, itself."""
    return tuple(source.split(ARROW))


def domains(source: str) -> tuple[str, ...]:
    """Return every domain in a source's name, each once."""
    return tuple(dict.fromkeys(part for link in links(source) for part in parts(link)))


def read(entry: object) -> str:
    """Return the name of the source that an entry of a sweep file's `sources` stands for.

    >>> read(["shapes", "letters"]), read("letters+shapes -> numerals")
    ('letters+shapes', 'letters+shapes -> numerals')

    Raises:
        UserError: it is neither a name nor a list of them, or a chain or a mixture has an empty place.
    """
    if isinstance(entry, str):
        # A path may have an arrow in it: there only one between spaces counts.
        names = re.split(r"\s+->\s+" if ":" in entry else r"\s*->\s*", entry.strip())
        if not all(names):
            raise UserError(f"source {entry!r} lacks a domain; a chain is e.g. letters -> numerals")
        return ARROW.join(mixture([name]) for name in names)
    if not isinstance(entry, list | tuple) or not entry or not all(isinstance(name, str) and name for name in entry):
        raise UserError(f"a source is a domain, a chain of them (letters -> numerals) or a list to mix, got {entry!r}")
    for name in entry:
        if len(links(read(name))) > 1:
            raise UserError(f"mixture {list(entry)!r} holds the chain {name!r}; mix domains, e.g. letters+shapes -> numerals")
    return mixture(entry)
