"""The YAML of a sweep file, without what YAML reads otherwise than it looks, and what would take minutes to read."""

import re
from typing import Any

import yaml

#: Characters of the longest text that is read; a sweep of a hundred thousand trials needs a hundredth.
LONGEST = 100_000

#: Entries of the largest text once its aliases are written out.
_MOST_ENTRIES = 100_000

#: What `parse` raises: PyYAML's errors, and those of values such as 2024-13-45 and of too deep a nesting.
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)

_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")


class RefusedError(yaml.MarkedYAMLError):
    """The text is YAML, and something in it is refused."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that is repeated in a mapping, where YAML silently uses the last one, and numbers that are not decimal."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is repeated", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node)
        if not _DECIMAL.fullmatch(node.value):
            raise _refused(node, f"{node.value} is the number {value} in YAML; write {value}, or '{node.value}' for a text")
        return value

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = super().construct_yaml_float(node)
        if ":" in node.value:
            raise _refused(node, f"{node.value} is the number {value} in YAML; write {value}, or '{node.value}' for a text")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def parse(text: str) -> Any:
    """Return the value of a YAML text. Raises one of `NOT_YAML`."""
    if len(text) > LONGEST:
        raise RefusedError(problem=f"more than {LONGEST:,} characters are not read; shorten its lists")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def why_not_yaml(error: Exception, *, line: bool = True) -> str:
    """Return in a few words, with its `line`, what an error of `parse` says."""
    mark = getattr(error, "problem_mark", None) if line else None
    where = f"line {mark.line + 1}" if mark else ""
    problem = " ".join(str(getattr(error, "problem", None) or "cannot be parsed").split())
    if isinstance(error, RefusedError):
        return f"{where}: {problem}" if where else f"is refused: {problem}"
    return f"{where} is not YAML: {problem}".strip()


def _count(node: yaml.Node, counts: dict[int, int | None]) -> int:
    """Return the number of entries in a node with its aliases written out; `counts` has those of nodes that were counted."""
    key = id(node)
    if key in counts:
        if (known := counts[key]) is None:
            raise _refused(node, "an alias contains itself")
        return known
    counts[key] = None
    children = node.value if isinstance(node, yaml.CollectionNode) else ()
    flat = (child for entry in children for child in (entry if isinstance(entry, tuple) else (entry,)))
    counts[key] = total = 1 + sum(_count(child, counts) for child in flat)
    if total > _MOST_ENTRIES:
        raise _refused(
            node, f"with its aliases written out it has more than {_MOST_ENTRIES:,} entries; write out what is meant"
        )
    return total


def _refused(node: yaml.Node, problem: str) -> RefusedError:
    return RefusedError(problem=problem, problem_mark=node.start_mark)
