"""The exception for a user's mistakes, so that the command line can tell them from our own bugs; and that for damaged files."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """Something that the user can put right. The message is one line: what is wrong, where, and what to do."""


class DamagedError(ValueError):
    """A file is not as it was written. The message says how, without the file's name."""


@contextmanager
def within(where: str) -> Iterator[None]:
    """Put before a user's mistake where it is: a file, a key or an option."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not in a registry, with the nearest known names.

    >>> unknown_name("strategy", "finetun", ["scratch", "finetune"])
    UserError("unknown strategy 'finetun'; did you mean finetune? Known: finetune, scratch")
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    return UserError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}")
