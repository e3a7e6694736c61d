"""What is wrong with a sweep file, in one line that names the key and the fix."""

from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trainers.common.errors import unknown_name

#: What pydantic says in Python's words, by the type of its error, in those of a sweep file.
_SAID = {
    "tuple_type": "must be a list, such as [1, 2] or [letters]",
    "float_parsing": "input should be a valid number",
    "model_type": "must be a section of keys, such as {steps: 200}",
}


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem in one line: key, what is wrong, value, fix.

    Args:
        error: what came of validating a sweep file.
        model: what it was validated as; the fix of an unknown key is one that it knows.
    """
    problems = error.errors(include_url=False)
    wrong = {problem["loc"] for problem in problems}
    # A list whose entries are all wrong also counts as empty.
    first, *others = [p for p in problems if p["type"] != "too_short" or not any(loc[:-1] == p["loc"] for loc in wrong if loc)]
    key = ".".join(str(part) for part in first["loc"]) or "sweep"
    more = f" (and {len(others)} more problem{'s' * (len(others) > 1)})" if others else ""
    if first["type"] == "extra_forbidden":
        return str(unknown_name("key", key, _keys(model, first["loc"][:-1]))) + more
    message = _SAID.get(first["type"]) or first["msg"].removeprefix("Value error, ").replace("Tuple", "List")
    message = message[:1].lower() + message[1:]
    return f"{key}: {message}{_got(first)}{more}"


def _got(problem: ErrorDetails) -> str:
    if problem["type"] in {"missing", "value_error"}:
        return ""
    text = repr(problem["input"])
    return f", got {text if len(text) <= 60 else text[:57] + '...'}"


def _keys(model: type[BaseModel], section: tuple[int | str, ...]) -> list[str]:
    """Return the keys, with their sections, that a section of a model knows."""
    for part in section:
        annotation = model.model_fields[str(part)].annotation
        found = annotation if isinstance(annotation, type) else next(iter(get_args(annotation)))
        assert issubclass(found, BaseModel)
        model = found
    prefix = "".join(f"{part}." for part in section)
    return [prefix + name for name in model.model_fields]
