"""The names of sources: a domain, a mixture of domains (``letters+shapes``), or a chain (``letters -> numerals``).

A chain is pre-trained link by link; each link is a domain or a mixture. Only names are read here: no domain is loaded.
"""

import re
from collections.abc import Iterable, Mapping

from trainers.common.errors import UserError
from trainers.config.options import split

ARROW = " -> "

#: Prefix of the name of an imported source.
IMPORT = "import:"

#: A domain in a mixture. A name with a colon has a path, which may contain any character, so it is put in parentheses.
_PART = re.compile(r"(?:\((?P<path>.+?)\)|(?P<name>[^+()\[\]:]+(?:\[[^\[\]]*\])?))(?:\+(?!$)|$)")


def mixture(domains: Iterable[str]) -> str:
    """Return the name of the mixture of some domains, which does not depend on their order.

    >>> mixture(["shapes", "letters", "folder:photos"])
    '(folder:photos)+letters+shapes'

    Raises:
        UserError: a domain is named twice, or its path contains a sign that separates names.
    """
    names = sorted(name for domain in domains for name in parts(domain))
    for name, following in zip(names, names[1:], strict=False):
        if name == following:
            raise UserError(f"a mixture names domain {name!r} twice; name it once")
    if len(names) == 1:
        return names[0]
    for name in names:
        if ")+" in name or ARROW in name:
            raise UserError(
                f"domain {name!r} cannot be in a mixture, as its path contains ')+' or '{ARROW}'; rename the folder"
            )
    return "+".join(f"({name})" if ":" in name else name for name in names)


def parts(domain: str) -> tuple[str, ...]:
    """Return the domains of a mixture; for another name, that name.

    >>> parts("(folder:a+b)+letters[classes=5]")
    ('folder:a+b', 'letters[classes=5]')
    >>> parts("folder:a+b")
    ('folder:a+b',)
    """
    names, position = [], 0
    while position < len(domain):
        part = _PART.match(domain, position)
        if part is None:
            return (domain,)
        names.append(part["path"] or part["name"].strip())
        position = part.end()
    return tuple(names) if len(names) > 1 else (domain,)


def links(source: str) -> tuple[str, ...]:
    """Return the links of a chain, in the order of pre-training; for another source, that source."""
    return tuple(source.split(ARROW))


def domains(source: str) -> tuple[str, ...]:
    """Return the domains in a source's name, each once."""
    return tuple(dict.fromkeys(part for link in links(source) for part in parts(link)))


def renamed(source: str, names: Mapping[str, str]) -> str:
    """Return the name of a source with another name for some of its domains; their knobs stay.

    >>> renamed("(folder:photos[fit=pad])+letters -> numerals", {"folder:photos": "faces"})
    'faces[fit=pad]+letters -> numerals'

    Raises:
        UserError: a domain with knobs gets a name that has knobs already, or a mixture the same domain twice.
    """
    if not names:
        return source
    return ARROW.join(mixture(_renamed(domain, names) for domain in parts(link)) for link in links(source))


def _renamed(domain: str, names: Mapping[str, str]) -> str:
    if domain in names:
        return names[domain]
    plain, knobs = split(domain)
    if not knobs or plain not in names:
        return domain
    if split(names[plain])[1]:
        raise UserError(f"{domain!r}: {plain!r} is {names[plain]!r}, which has options already; name a domain with all of them")
    return names[plain] + domain[len(plain) :]


def read(entry: object) -> str:
    """Return the name of the source that an entry of `sources` in a sweep file stands for.

    >>> read(["shapes", "letters"]), read("letters+shapes -> numerals")
    ('letters+shapes', 'letters+shapes -> numerals')

    Raises:
        UserError: the entry is neither a name nor a list of names, or a chain or a mixture has an empty link or part.
    """
    if isinstance(entry, str):
        # A path may contain an arrow, so next to a path only an arrow between spaces separates links.
        names = re.split(r"\s+->\s+" if ":" in entry else r"\s*->\s*", entry.strip())
        if not all(names):
            raise UserError(f"source {entry!r} lacks a domain; a chain is e.g. letters -> numerals")
        return ARROW.join(mixture([name]) for name in names)
    if not isinstance(entry, list | tuple) or not entry or not all(isinstance(name, str) and name for name in entry):
        raise UserError(f"a source is a domain, a chain of them (letters -> numerals) or a list to mix, got {entry!r}")
    for name in entry:
        if len(links(read(name))) > 1:
            raise UserError(f"mixture {list(entry)!r} has the chain {name!r}; mix domains, e.g. letters+shapes -> numerals")
    return mixture(entry)
