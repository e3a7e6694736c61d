"""Seeds derived from what they are for, by hashlib: the same on every machine and in every process."""

import hashlib


def derive_seed(*parts: str | int) -> int:
    """Return a seed in [0, 2**63) for a purpose, e.g. ``derive_seed("batches", "digits", 0)``.

    Different purposes get independent streams; equal purposes get equal ones, whatever the process or platform
    (Python's own ``hash`` is salted per process and would not do).
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
