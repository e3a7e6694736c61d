"""Names with options in brackets, as written in a sweep file: ``freeze-d[blocks=2]``, ``letters[classes=5]``. Needs no torch.

A class with options is a frozen dataclass derived from `Optioned`; each of its fields is an option, declared by `option`.
`parse` and `read` make an instance from text. Its `name` is the canonical text, so equal settings have equal names.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from trainers.common.errors import UserError, unknown_name

_TEXT = re.compile(r"(?P<name>.+?)(\[(?P<options>[^\[\]]*)\])?")
_ASSIGNMENT = re.compile(r"\s*\w+\s*=")


def option(
    default: Any, about: str, *, low: float | None = None, high: float | None = None, above: float | None = None,
    name: str | None = None, choices: Mapping[str, Any] | None = None, search: tuple[float, float] | list[Any] | None = None,
) -> Any:  # fmt: skip
    """Return a dataclass field that is an option, described by `about`; `low` and `high` are the extreme values allowed.

    If the default is an int (if it is None: if `low` is an int), the option is a whole number; otherwise any number.

    Args:
        above: a limit that the value must exceed, in place of `low`.
        name: the option's name in the text, if it cannot be the field's name (a Python keyword).
        choices: the words allowed, each with its value; numbers are then not allowed.
        search: what a search of settings (`tuning` in a sweep file) draws from: bounds (low, high) above 0 for a log-uniform
            number, or a list of values of equal probability; None: the option is not searched.
    """
    metadata = {"about": about, "low": low, "high": high, "above": above, "name": name, "choices": choices, "search": search}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Optioned:
    """Base class of everything that has options."""

    key: ClassVar[str]
    """The name without its options."""

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Return the dataclass fields that are options of this class, by their names in the text."""
        return {option.metadata["name"] or option.name: option for option in fields(cls)}

    @cached_property
    def name(self) -> str:
        """The name with every option that is not at its default."""
        return f"{self.key}[{self}]" if str(self) else self.key

    def __str__(self) -> str:
        """Return every option that is not at its default, as in brackets, in the order of the fields."""
        values = {name: (option, getattr(self, option.name)) for name, option in self.options().items()}
        return ",".join(
            f"{name}={self._written(option, value)}" for name, (option, value) in values.items() if value != option.default
        )

    @classmethod
    def _written(cls, option: Any, value: Any) -> str:
        choices = option.metadata["choices"]
        if choices is not None:
            return next(str(word) for word, meaning in choices.items() if meaning == value)
        return cls.number(value) if isinstance(value, float) else str(value)

    @staticmethod
    def number(value: float) -> str:
        """Return a number as it is written in a name."""
        short = f"{value:g}"
        return short if float(short) == value else str(value)


OptionedType = TypeVar("OptionedType", bound=Optioned)


def parse(kind: str, text: str, registry: Mapping[str, type[OptionedType]], example: str) -> OptionedType:
    """Return an instance of the class in a registry that a text names, with the options that the text sets in brackets.

    `kind` ("strategy") and `example`, a correct text, are for messages.

    Raises:
        UserError: the registry does not have the name (the message lists the nearest), or an option is not valid.
    """
    parts = _TEXT.fullmatch(text)
    name = parts["name"] if parts else text
    if name not in registry:
        raise unknown_name(kind, name, registry)
    return read(f"{kind} {text!r}", _assignments(parts["options"] if parts else None), registry[name], example)


def split(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a domain's name without its options, and the options as pairs of name and value.

    Brackets that do not begin with ``option=`` are part of the name, as in the path of a folder.

    >>> split("folder:/photos[old][classes=5]")
    ('folder:/photos[old]', [('classes', '5')])
    """
    parts = _TEXT.fullmatch(text)
    if not parts or not _ASSIGNMENT.match(parts["options"] or ""):
        return text, []
    return parts["name"], _assignments(parts["options"])


def _assignments(options: str | None) -> list[tuple[str, str]]:
    """Return the name and the value of each option in brackets; the value is "" if it is missing."""
    parts = [] if options is None else [assignment.partition("=") for assignment in options.split(",")]
    return [(name.strip(), value.strip()) for name, _, value in parts]


def read(where: str, assignments: Iterable[tuple[str, str]], cls: type[OptionedType], example: str) -> OptionedType:
    """Return an instance of a class with options from `split`; `where` (e.g. "strategy 'x'") and `example` are for messages.

    Raises:
        UserError: an option is unknown, is given twice, or has a value that is not allowed.
    """
    options, values = cls.options(), {}
    for name, value in assignments:
        if not value:
            raise UserError(f"{where}: {name!r} is not of the form option=value; write e.g. {example}")
        if not options:
            raise UserError(f"{where}: {cls.key} has no options; write {cls.key}")
        if name not in options:
            raise UserError(f"{where}: {unknown_name('option', name, options)}")
        if options[name].name in values:
            raise UserError(f"{where}: option {name!r} is given twice; give it once")
        values[options[name].name] = _value(f"{where}: {name}", value, options[name], example)
    return cls(**values)


def _value(where: str, text: str, option: Any, example: str) -> Any:
    choices, low, high, above = (option.metadata[key] for key in ("choices", "low", "high", "above"))
    if choices is not None:
        if text not in choices:
            raise UserError(f"{where} must be {' or '.join(choices)}, got {text!r}; write e.g. {example}")
        return choices[text]
    whole = isinstance(low if option.default is None else option.default, int)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    inside = (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above)
    if not inside or value != value or value == float("inf"):
        kind = "a whole number" if whole else "a number"
        limits = " to ".join(f"{limit:g}" for limit in (low, high) if limit is not None)
        if above is not None:
            limits = f"above {above:g}" + ("" if high is None else f" and at most {high:g}")
        elif high is None:
            limits += " or more"
        raise UserError(f"{where} must be {kind}, {limits}, got {text!r}")
    return value
