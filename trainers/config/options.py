"""Names with options in brackets, as a sweep file has them: ``freeze-d[blocks=2]``. Needs no torch.

What has options is a frozen dataclass; each of its fields is an option, made by `option`. `parse` makes one from text,
`written` says the text again, in one way only, so that equal choices have equal names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from trainers.common.errors import UserError, unknown_name

_TEXT = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<options>[^\[\]]*)\])?")


def option(
    default: Any, about: str, *, low: float | None = None, high: float | None = None, name: str | None = None,
    choices: Mapping[str, Any] | None = None,
) -> Any:  # fmt: skip
    """Return a dataclass field that is an option.

    Args:
        default: its value where the text does not name it; an int takes whole numbers alone, a float any.
        about: what it means, a few words.
        low: the least number that it may be.
        high: the greatest.
        name: what it is called in the text, where the field itself cannot be called so.
        choices: the words that it may be, with what they stand for; numbers then are not.
    """
    metadata = {"about": about, "low": low, "high": high, "name": name, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Optioned:
    """Base of what has a name and options."""

    key: ClassVar[str]
    """The name without its options."""

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Return the dataclass fields that are options of this class, by the names that they have in the text."""
        return {each.metadata["name"] or each.name: each for each in fields(cls)}

    @cached_property
    def name(self) -> str:
        """The name with every option that is not at its default."""
        said = [f"{name}={_say(each, getattr(self, each.name))}" for name, each in self._set().items()]
        return f"{self.key}[{','.join(said)}]" if said else self.key

    def _set(self) -> dict[str, Any]:
        return {name: each for name, each in self.options().items() if getattr(self, each.name) != each.default}


Made = TypeVar("Made", bound=Optioned)


def parse(kind: str, text: str, registry: Mapping[str, type[Made]], example: str) -> Made:
    """Make the one of that name, with the options that it bears.

    Args:
        kind: what is named, for the error: "strategy".
        text: the name, with options in brackets where it has any.
        registry: the classes by name.
        example: what a correct text looks like, for the error.

    Raises:
        UserError: there is none of that name (the nearest are named), or an option makes no sense.
    """
    found = _TEXT.fullmatch(text)
    name = found["name"] if found else text
    if found is None or name not in registry:
        raise unknown_name(kind, name, registry)
    made = registry[name]
    values: dict[str, Any] = {}
    known = made.options()
    for each in (found["options"] or "").split(",") if found["options"] is not None else ():
        option_name, separator, value = (part.strip() for part in each.partition("="))
        if not separator or not value:
            raise UserError(f"{kind} {text!r}: {each!r} is not of the form option=value; write e.g. {example}")
        if not known:
            raise UserError(f"{kind} {text!r}: {name} has no options; write {name}")
        if option_name not in known:
            raise UserError(f"{kind} {text!r}: {unknown_name('option', option_name, known)}")
        chosen = known[option_name]
        if chosen.name in values:
            raise UserError(f"{kind} {text!r}: option {option_name!r} stands there twice; give it once")
        values[chosen.name] = _read(f"{kind} {text!r}: {option_name}", value, chosen, example)
    return made(**values)


def _read(where: str, text: str, chosen: Any, example: str) -> Any:
    about = chosen.metadata
    if about["choices"] is not None:
        if text not in about["choices"]:
            raise UserError(f"{where} must be {' or '.join(about['choices'])}, got {text!r}; write e.g. {example}")
        return about["choices"][text]
    whole = isinstance(chosen.default, int)
    kind = "a whole number" if whole else "a number"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    low, high = about["low"], about["high"]
    if not (low is None or value >= low) or not (high is None or value <= high) or value != value or value == float("inf"):
        limits = " to ".join(f"{limit:g}" for limit in (low, high) if limit is not None)
        raise UserError(f"{where} must be {kind}, {limits}{'' if high is not None else ' or more'}, got {text!r}")
    return value


def _say(chosen: Any, value: Any) -> str:
    choices = chosen.metadata["choices"]
    if choices is not None:
        return next(str(word) for word, meant in choices.items() if meant == value)
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
