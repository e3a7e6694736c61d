"""Reads a sweep file or a preset, with overrides; a mistake is one line with the file, the key and the fix."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.sweeps.domain_names import check_names, misnamed_domains
from bench.sweeps.presets import preset_names, preset_text
from bench.sweeps.spec import PLAN_ONLY, SweepSpec
from bench.sweeps.spec_errors import cut, explain, without
from bench.sweeps.spec_yaml import LONGEST, NOT_YAML, parse, why_not_yaml
from trainers.common.errors import Problems, UserError, within
from trainers.domains import get
from trainers.domains.absent import get_or_announced


def load_spec(name: str, overrides: Iterable[str] = (), *, plan_only: bool = False) -> SweepSpec:
    """Load a sweep from a YAML file or a preset's name.

    Raises UserError, which names the file, the key and the fix; UserErrors if there are several mistakes. If something is
    wrong, the domains of the file are looked up too, so that all mistakes are in the error.

    Args:
        name: a preset, a path ending in .yaml or .yml, or any existing file.
        overrides: "key=value" or "section.key=value" with values in YAML; they replace values of the file.
        plan_only: whether the sweep is not run on this machine, so the embedding's weights may be absent.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        where, text = name, _read(path)
    else:
        try:
            where, text = f"preset {name}", preset_text(name)
        except UserError as error:
            near = _near(path.with_name(f"{path.name}.yaml"))
            raise UserError(f"{error}; the name of a sweep file ends in .yaml{near}") from error
    try:
        data = parse(text)
    except NOT_YAML as error:
        raise UserError(f"{where}: {why_not_yaml(error)}") from error
    if not isinstance(data, dict):
        raise UserError(
            f"{where}: a sweep file is a mapping with keys such as name, sources, targets, sizes, strategies; "
            "`transfergan show quickstart` prints one"
        )
    for override in overrides:
        apply_override(data, override)
    problems, spec = Problems(), None
    with within(where):
        context = PLAN_ONLY if plan_only else {}
        try:
            spec = SweepSpec.model_validate(data, context=context)
        except ValidationError as error:
            problems.lines += [*explain(error.errors(), SweepSpec), *_further(data, error, context)]
        names = data.get("domains") or {}
        if isinstance(names, dict) and all(isinstance(text, str) for entry in names.items() for text in entry):
            with problems.collected(), within("domains"):
                check_names(names)
        called = data.get("name")
        if isinstance(called, str) and _NUMERIC.fullmatch(called):  # not in the model, so that old stores' plans can be read
            problems.lines.append(
                f"name: {called!r} looks like a number or a date, and programs that read the store's folders take it for one; "
                f"add a letter, e.g. sweep-{called}"
            )
        if problems.lines:
            problems.lines += misnamed_domains(data, get_or_announced if plan_only else get)
        problems.check()
    assert spec is not None
    return spec


#: Values in place of required keys, or of entries of their lists, that are wrong or missing.
_REQUIRED = {"name": "sweep", "targets": ["digits"], "sizes": [1], "strategies": ["scratch"]}


def _further(data: dict[str, Any], error: ValidationError, context: Mapping[str, Any]) -> list[str]:
    """Return what does not fit together among the settings that are right; the model only says it if all single keys are."""
    wrong, lines = {problem["loc"] for problem in error.errors()}, list[str]()
    while () not in wrong:
        keys = [".".join(part for part in place if isinstance(part, str)) for place in wrong]
        try:
            SweepSpec.model_validate({**_REQUIRED, **without(data, wrong, _REQUIRED)}, context={**context, "wrong": keys})
        except ValidationError as again:
            problems = again.errors()
            together = [problem for problem in problems if problem["type"] == "value_error" and len(problem["loc"]) < 2]
            lines += explain(together, SweepSpec)
            # A section that lacks something now is left out as a whole. With a broken plug-in the required keys stay wrong.
            if wrong >= (sections := {problem["loc"][:1] for problem in problems}):
                break
            wrong |= sections
        else:
            break
    return lines


#: Names that programs such as DuckDB read as numbers or dates: digits alone, 1e5, 2024-01-31, 0x1f.
_NUMERIC = re.compile(r"[0-9][0-9eE._-]*|0[xX][0-9a-fA-F]+")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4 * LONGEST + 1).decode()  # a character has at most four bytes
    except FileNotFoundError as error:
        raise UserError(f"there is no sweep file {str(path)!r}{_near(path)} (presets: {', '.join(preset_names())})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"sweep file {str(path)!r} is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"sweep file {str(path)!r} cannot be read: {error}") from error


def _near(path: Path) -> str:
    """Return a question after the sweep files with the most similar names in the folder of a path, or ""."""
    try:
        files = {file.stem: file.name for file in path.parent.iterdir() if file.suffix in {".yaml", ".yml"} and file.is_file()}
    except OSError:
        return ""
    near = [str(path.with_name(files[stem])) for stem in get_close_matches(path.stem, files, n=3, cutoff=0.7)]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set "key=value" or "section.key=value", with a value in YAML, in the mapping of a sweep file."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override!r} does not have the form key=value, e.g. --set training.steps=100")
    try:
        value = parse(text)
    except NOT_YAML as error:
        raise UserError(f"--set {key}: the value {cut(text)!r} {why_not_yaml(error, line=False)}") from error
    *sections, last = key.split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise UserError(f"--set {key}: {section!r} is not a section of keys; set it whole: --set '{section}=[...]'")
    data[last] = value
