"""Validation errors of a sweep file as lines with the key and the fix."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trainers.common.errors import unknown_name

#: Replacements for pydantic's messages that use Python's terms, by error type.
_MESSAGES = {
    "missing": "is required; add it",
    "tuple_type": "must be a list, such as [1, 2] or [letters]",
    "too_short": "must have at least one entry",
    "dict_type": "must be a mapping, such as {faces: 'folder:photos'}",
    "model_type": "must be a section of keys, such as {steps: 200}",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "string_type": "must be a text",
    "string_pattern_mismatch": "must be 1 to 64 letters, digits and . _ - after a letter or digit, such as my-sweep",
}

#: In the place of an entry of a list that was taken out.
_GONE = object()


def explain(problems: Collection[ErrorDetails], model: type[BaseModel]) -> list[str]:
    """Return each of pydantic's problems in one line: key, what is wrong, value, fix (for an unknown key, the nearest keys)."""
    wrong = {problem["loc"] for problem in problems}
    # Pydantic reports a list with wrong entries as too short as well.
    own = [p for p in problems if p["type"] != "too_short" or not any(loc[:-1] == p["loc"] for loc in wrong if loc)]
    lines: dict[tuple[object, str], str] = {}
    for problem in own:
        *above, last = problem["loc"] or ("",)
        for line in _lines(problem, model):
            # What is wrong with several entries of a list, such as a plug-in that all of them need, is one problem.
            lines.setdefault((tuple(above) if isinstance(last, int) else problem["loc"], line.partition(": ")[2]), line)
    return list(lines.values())


def _lines(problem: ErrorDetails, model: type[BaseModel]) -> Iterator[str]:
    """Yield the lines of one of pydantic's errors; a check of the whole model may have found several problems."""
    if problem["type"] == "extra_forbidden":
        yield str(unknown_name("key", ".".join(map(str, problem["loc"])), _keys(model, problem["loc"][:-1])))
        return
    # The names of domains are keys of the user's, and may have line breaks.
    place = [part if isinstance(part, str) and part.isprintable() else repr(part) for part in problem["loc"]]
    messages = _MESSAGES.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "tuple_type" and isinstance(problem["input"], str | int | float):
        messages = f"must be a list, such as [{cut(_written(problem['input']))}]"
    for message in messages.replace("Input should be", "must be").splitlines():
        if _names_a_key(message, model, problem["loc"]):  # the check of a whole section says which
            yield ".".join([*place, message])
        else:
            yield f"{'.'.join(place) or 'sweep'}: {message[:1].lower() + message[1:]}{_got(problem)}"


def _names_a_key(message: str, model: type[BaseModel], section: tuple[int | str, ...]) -> bool:
    """Return whether a message begins with a key of a section: "width: ..." or "gan.width: ..."."""
    key, colon, _ = message.partition(": ")
    at = _section(model, section)
    return bool(colon) and at is not None and key.partition(".")[0] in at.model_fields


def _got(problem: ErrorDetails) -> str:
    value = problem["input"]
    if problem["type"] in {"missing", "value_error"}:
        return ""
    return f", got {cut(_written(value))}"


def _written(value: Any) -> str:
    """Return a value as a sweep file has it."""
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def cut(text: str) -> str:
    """Return a value from a file, cut short if it is long."""
    return text if len(text) <= 60 else text[:57] + "..."


def without(
    data: Mapping[str, Any], places: Iterable[tuple[int | str, ...]], right: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return a copy of a sweep file's mapping without some of its entries, as pydantic names their places.

    In a list, another entry takes the place of one that goes, so that the others keep their numbers: one of `right`, which has
    right entries of lists by their key, else one that is left. A list that loses all of its entries goes too, and so does a
    section or a list of which a part is no such place.
    """
    copy = deepcopy(dict(data))
    for place in sorted(set(places), key=lambda place: [(isinstance(part, str), part) for part in place], reverse=True):
        _delete(copy, place)
    for key, part in copy.items():
        _fill(part, right.get(key, []))
    return copy


def _delete(holder: Any, place: tuple[int | str, ...]) -> bool:
    """Delete what is at a place; return whether the holder is of no use without it."""
    first, *rest = place
    try:
        if rest and not _delete(holder[first], tuple(rest)):
            return False
        if isinstance(holder, list) and isinstance(first, int):
            holder[first] = _GONE
            return all(entry is _GONE for entry in holder)
        del holder[first]
    except (KeyError, IndexError, TypeError):
        return not isinstance(holder, dict)
    return not holder


def _fill(holder: Any, right: list[Any]) -> None:
    """Put right entries, or those that are left, in the places of those that are gone, in all lists."""
    if isinstance(holder, list):
        entry = next((entry for entry in (*right, *holder) if entry is not _GONE), None)
        holder[:] = [entry if each is _GONE else each for each in holder]
    for part in holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ():
        _fill(part, [])


def _keys(model: type[BaseModel], section: tuple[int | str, ...]) -> list[str]:
    """Return the keys of a section of a model, with the section's name."""
    at = _section(model, section)
    assert at is not None
    prefix = "".join(f"{part}." for part in section)
    return [prefix + name for name in at.model_fields]


def _section(model: type[BaseModel], section: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the model of a section of a model, None if the place is no section."""
    for part in section:
        field = model.model_fields.get(str(part))
        if field is None:
            return None
        candidates = (field.annotation, *get_args(field.annotation))
        submodel = next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)
        if submodel is None:
            return None
        model = submodel
    return model
