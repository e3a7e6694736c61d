"""Exceptions for a user's mistakes, which the command line distinguishes from our bugs, for damaged files, for early ends."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake that the user can correct. The message is one line: what is wrong, where, and what to do."""


class DamagedError(ValueError):
    """A file does not hold what was written to it. The message says why, without the file's name."""


class Left(Exception):
    """A trial has ended early, as its caller wished; it goes on from its last checkpoint."""


@contextmanager
def within(where: str) -> Iterator[None]:
    """Prefix the message of a UserError with its place: a file, a key or an option."""
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


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; of an error without a message, its type.

    Some errors of Ray append advice to their text; their attribute `message` is without it.
    """
    lines = str(getattr(error, "message", error)).splitlines()
    return lines[0] if lines else type(error).__name__
