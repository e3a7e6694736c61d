"""Seeds derived from their purpose by a hash: the same on every machine and in every process."""

import hashlib


def derive_seed(*parts: str | int) -> int:
    """Return a seed in [0, 2**63) for a purpose, e.g. ``derive_seed("batches", "digits", 0)``.

    Different purposes get independent random streams. Equal purposes get the same stream in every process and on every
    platform; Python's ``hash`` would not do, because it is salted per process.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
