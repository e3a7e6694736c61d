"""How many of something there are, in words."""


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun, e.g. ``2 seeds``; the plural is formed with -s unless given."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"
