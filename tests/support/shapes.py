"""The shapes of the JSON that verbs print, as the chapter on sweeps documents them, and the check of an output."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "bench/README.md"

#: Objects that may be null.
NULLABLE = ("best", "job")


@cache
def documented() -> dict[str, Any]:
    """Return the documented shape of each verb's output."""
    (block,) = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    shapes: dict[str, Any] = json.loads(block)
    shapes["plan"]["detect?"]["estimates"] = shapes["plan"]["estimates"]
    return shapes


def check_output(arguments: Sequence[str], stdout: str) -> None:
    """Assert that what a verb printed with ``--json`` is JSON of its documented shape."""
    verb = max((verb for verb in documented() if verb.split() == list(arguments[: len(verb.split())])), key=len, default=None)
    assert verb is not None, f"{' '.join(arguments[:2])} --json is not documented in {PAGE.name}"

    def refused(constant: str) -> None:
        raise AssertionError(f"{verb} prints {constant}, which is no JSON")

    _check(documented()[verb], json.loads(stdout, parse_constant=refused), verb)


def _check(shape: Any, value: Any, where: str) -> None:
    if isinstance(shape, list):
        assert isinstance(value, list), where
        for i, each in enumerate(value):
            _check(shape[0], each, f"{where}[{i}]")
    elif isinstance(shape, dict):
        assert isinstance(value, dict), where
        if "*" in shape:
            for key, each in value.items():
                _check(shape["*"], each, f"{where}.{key}")
            return
        known = {key.removesuffix("?"): each for key, each in shape.items()}
        needed = {key for key in shape if not key.endswith("?")}
        assert needed <= value.keys() <= known.keys(), f"{where}: {sorted(value.keys() ^ known.keys())}"
        for key, each in value.items():
            if not (each is None and key in NULLABLE):
                _check(known[key], each, f"{where}.{key}")
    else:
        kind, _, null = shape.partition(" or ")
        assert (value is None and null == "null") or _is(kind, value), f"{where} is {value!r} and no {shape}"


def _is(kind: str, value: Any) -> bool:
    if kind == "time":
        return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() is not None
    if kind in ("integer", "number"):
        return isinstance(value, int if kind == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(value, {"text": str, "boolean": bool}[kind])
