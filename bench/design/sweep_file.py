"""The text of a designed sweep file: every key with the reason for its value as a comment."""

import math
import re
import textwrap
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import yaml

from bench.design.fitting import Question
from bench.sweeps.domain_names import check_names
from trainers.common.errors import UserError
from trainers.config.options import split
from trainers.domains import OWN, builtin_names

#: Characters of a line of the file.
_WIDTH = 100

#: Characters of the longest name that is made from a path.
_LONGEST = 24


@dataclass(frozen=True)
class Decision:
    """What was decided of a key of the sweep file, in words: the value and the reason."""

    key: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.value}: {self.reason}"


def question(target: str, sources: Sequence[str]) -> Question:
    """Return the question which of some sources, by default the built-in domains, suits a target.

    Domains in files get names after their paths. The size is not known yet.
    """
    names: dict[str, str] = {}
    for text in (target, *sources):
        if text.partition(":")[0] in OWN and text not in names.values():
            names[label(text, names)] = text
    labels = {text: name for name, text in names.items()}
    name = labels.get(target) or slug(target)
    tried = sources or [domain for domain in builtin_names() if domain != target]
    return Question(name, names, labels.get(target, target), 0, tuple(dict.fromkeys(labels.get(text, text) for text in tried)))


def label(text: str, taken: Container[str]) -> str:
    """Return a name for a domain in files, after its path, that a sweep file may give and that is not `taken`.

    >>> label("folder:photos/My cats", ()), label("zip:digits.zip", ()), label("folder:2024/", ["images-2024"])
    ('My-cats', 'my-digits', 'images-2024-2')
    """
    path = Path(split(text)[0].partition(":")[2].partition("#")[0]).absolute()
    name = slug(path.name.partition(".")[0])
    try:
        check_names({name: text})
    except UserError:
        name = f"my-{name}"
    return next(free for free in chain((name,), (f"{name}-{number}" for number in count(2))) if free not in taken)


def slug(text: str) -> str:
    """Return a text as the name of a sweep or of a domain: letters, digits and . _ - with at least one letter.

    >>> slug("My cats!"), slug("2024"), slug("")
    ('My-cats', 'images-2024', 'images')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:_LONGEST].strip("-_.")
    return name if re.match("[0-9._-]*[A-Za-z]{2}|[A-Za-z]", name) else f"images-{name}".rstrip("-")


def new_file(path: Path) -> Path:
    """Return the path of a sweep file that can be written. Raises UserError if it exists, or is no name for one."""
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {str(path)!r} must end in .yaml")
    if path.exists():
        raise UserError(f"{str(path)!r} exists, and may have changes of yours; --out names another file")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--out {str(path)!r}: there is no folder {str(path.parent)!r}; make it first")
    return path


def sweep_file(settings: Mapping[str, Any], decisions: Sequence[Decision], header: Iterable[str]) -> str:
    """Return the YAML text of a sweep with these settings; above each key are the decisions on it, at the top is `header`."""
    lines = [comment for text in header for comment in _comment(text)]
    for key, value in settings.items():
        reasons = [f"{decision.value}: {decision.reason}" for decision in decisions if decision.key == key]
        lines += ["", *(comment for text in reasons for comment in _comment(text))] if reasons else []
        lines.append(f"{key}: {_yaml(value)}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )


def _yaml(value: Any) -> str:
    """Return a value in YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")  # the end of a document after a bare scalar
