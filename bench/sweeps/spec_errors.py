"""Validation errors of a sweep file as lines with the key and the fix."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trainers.common.errors import unknown_name

#: Replacements for pydantic's messages that use Python's terms, by error type.
_MESSAGES = {
    "tuple_type": "must be a list, such as [1, 2] or [letters]",
    "dict_type": "must be a mapping, such as {faces: 'folder:photos'}",
    "float_parsing": "input should be a valid number",
    "model_type": "must be a section of keys, such as {steps: 200}",
}


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
    key = ".".join(part if isinstance(part, str) and part.isprintable() else repr(part) for part in problem["loc"]) or "sweep"
    messages = _MESSAGES.get(problem["type"]) or problem["msg"].removeprefix("Value error, ").replace("Tuple", "List")
    for message in messages.splitlines():
        yield f"{key}: {message[:1].lower() + message[1:]}{_got(problem)}"


def _got(problem: ErrorDetails) -> str:
    if problem["type"] in {"missing", "value_error"}:
        return ""
    return f", got {cut(repr(problem['input']))}"


def cut(text: str) -> str:
    """Return a value from a file, cut short if it is long."""
    return text if len(text) <= 60 else text[:57] + "..."


def without(data: Mapping[str, Any], places: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    """Return a copy of a sweep file's mapping without some of its entries, as pydantic names their places.

    A list that loses all of its entries goes too, and so does a section or a list of which a part is no such place.
    """
    copy = deepcopy(dict(data))
    for place in sorted(set(places), key=lambda place: [(isinstance(part, str), part) for part in place], reverse=True):
        _delete(copy, place)
    return copy


def _delete(holder: Any, place: tuple[int | str, ...]) -> bool:
    """Delete what is at a place; return whether the holder is of no use without it."""
    first, *rest = place
    try:
        if rest and not _delete(holder[first], tuple(rest)):
            return False
        del holder[first]
    except (KeyError, IndexError, TypeError):
        return not isinstance(holder, dict)
    return not holder


def _keys(model: type[BaseModel], section: tuple[int | str, ...]) -> list[str]:
    """Return the keys of a section of a model, with the section's name."""
    for part in section:
        annotation = model.model_fields[str(part)].annotation
        submodel = annotation if isinstance(annotation, type) else next(iter(get_args(annotation)))
        assert issubclass(submodel, BaseModel)
        model = submodel
    prefix = "".join(f"{part}." for part in section)
    return [prefix + name for name in model.model_fields]
