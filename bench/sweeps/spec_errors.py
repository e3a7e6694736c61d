"""Validation errors of a sweep file as one line with the key and the fix."""

from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trainers.common.errors import unknown_name

#: Replacements for pydantic's messages that use Python's terms, by error type.
_MESSAGES = {
    "tuple_type": "must be a list, such as [1, 2] or [letters]",
    "dict_type": "must be a mapping, such as {faces: 'folder:photos'}",
    "float_parsing": "input should be a valid number",
    "model_type": "must be a section of keys, such as {steps: 200}",
}


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem in one line: key, what is wrong, value, fix (for an unknown key, the model's nearest keys)."""
    problems = error.errors(include_url=False)
    wrong = {problem["loc"] for problem in problems}
    # Pydantic reports a list with wrong entries as too short as well.
    first, *others = [p for p in problems if p["type"] != "too_short" or not any(loc[:-1] == p["loc"] for loc in wrong if loc)]
    key = ".".join(str(part) for part in first["loc"]) or "sweep"
    more = f" (and {len(others)} more problem{'s' * (len(others) > 1)})" if others else ""
    if first["type"] == "extra_forbidden":
        return str(unknown_name("key", key, _keys(model, first["loc"][:-1]))) + more
    message = _MESSAGES.get(first["type"]) or first["msg"].removeprefix("Value error, ").replace("Tuple", "List")
    message = message[:1].lower() + message[1:]
    return f"{key}: {message}{_got(first)}{more}"


def _got(problem: ErrorDetails) -> str:
    if problem["type"] in {"missing", "value_error"}:
        return ""
    return f", got {cut(repr(problem['input']))}"


def cut(text: str) -> str:
    """Return a value from a file, cut short if it is long."""
    return text if len(text) <= 60 else text[:57] + "..."


def _keys(model: type[BaseModel], section: tuple[int | str, ...]) -> list[str]:
    """Return the keys of a section of a model, with the section's name."""
    for part in section:
        annotation = model.model_fields[str(part)].annotation
        submodel = annotation if isinstance(annotation, type) else next(iter(get_args(annotation)))
        assert issubclass(submodel, BaseModel)
        model = submodel
    prefix = "".join(f"{part}." for part in section)
    return [prefix + name for name in model.model_fields]
