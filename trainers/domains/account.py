"""The account of a domain's images: those that are skipped, by reason and by name."""

from collections.abc import Iterable

from trainers.domains.base import Skipped

#: The names that a line shows for each reason.
SHOWN = 3


def by_reason(skipped: Iterable[Skipped]) -> dict[str, list[str]]:
    """Return the names of what is skipped by reason, the most frequent reason first."""
    reasons: dict[str, list[str]] = {}
    for file in skipped:
        reasons.setdefault(file.reason, []).append(file.name)
    return dict(sorted(reasons.items(), key=lambda item: -len(item[1])))


def skipped_line(skipped: Iterable[Skipped]) -> str:
    """Return a phrase with the number, the reasons and the first names of what is skipped, or "" if nothing is.

    >>> skipped_line([Skipped("a.png", "empty"), Skipped("b.png", "empty"), Skipped("c.png", "truncated")])
    '3 skipped (2 empty: a.png, b.png; 1 truncated: c.png)'
    """
    reasons = by_reason(skipped)
    phrases = [
        f"{len(names):,} {reason}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        for reason, names in reasons.items()
    ]
    return f"{sum(map(len, reasons.values())):,} skipped ({'; '.join(phrases)})" if reasons else ""
