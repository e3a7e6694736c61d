"""Validation errors of a sweep file as lines with the key and the fix."""

from collections.abc import Iterator
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


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return each problem in one line: key, what is wrong, value, fix (for an unknown key, the model's nearest keys)."""
    problems = error.errors(include_url=False)
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
    key = ".".join(str(part) for part in problem["loc"]) or "sweep"
    if problem["type"] == "extra_forbidden":
        yield str(unknown_name("key", key, _keys(model, problem["loc"][:-1])))
        return
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


def _keys(model: type[BaseModel], section: tuple[int | str, ...]) -> list[str]:
    """Return the keys of a section of a model, with the section's name."""
    for part in section:
        annotation = model.model_fields[str(part)].annotation
        submodel = annotation if isinstance(annotation, type) else next(iter(get_args(annotation)))
        assert issubclass(submodel, BaseModel)
        model = submodel
    prefix = "".join(f"{part}." for part in section)
    return [prefix + name for name in model.model_fields]
