"""Exceptions for a user's mistakes, which the command line distinguishes from our bugs, for damaged files, for early ends."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake that the user can correct. The message is one line: what is wrong, where, and what to do."""


class UserErrors(UserError):
    """Several mistakes that the user can correct at once; `problems` has the message of each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class DamagedError(ValueError):
    """A file does not hold what was written to it. The message says why, without the file's name."""


class Left(Exception):
    """A trial has ended early, as its caller wished; it goes on from its last checkpoint."""


@contextmanager
def within(where: str) -> Iterator[None]:
    """Prefix the message of a UserError with its place: a file, a key or an option."""
    try:
        yield
    except UserErrors as errors:
        raise UserErrors(f"{where}: {problem}" for problem in errors.problems) from errors
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


class Problems:
    """Mistakes that are collected, so that all of them are reported at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def collected(self, kind: type[ValueError] = UserError) -> Iterator[None]:
        """Collect an error of this kind instead of raising it."""
        try:
            yield
        except UserErrors as errors:
            self.lines += errors.problems
        except kind as error:
            self.lines.append(str(error))

    def check(self) -> None:
        """Raise UserError if any mistake was found; each is named once."""
        lines = list(dict.fromkeys(self.lines))
        if len(lines) > 1:
            raise UserErrors(lines)
        if lines:
            raise UserError(lines[0])


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
