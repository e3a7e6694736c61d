"""How many of something there are, in words."""


def counted(n: float, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun, e.g. ``2 seeds`` or ``0.5 minutes``; the plural is formed with -s unless given."""
    return f"{f'{n:g}' if isinstance(n, float) else f'{n:,}'} {singular if n == 1 else plural or singular + 's'}"


def are(n: int) -> str:
    """Return a count with its verb, e.g. ``2 are`` or ``1 is``."""
    return f"{n:,} {'is' if n == 1 else 'are'}"
