"""The chapters of the book: the Markdown files of the repository, with links between them."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

#: Each chapter's file and title, in reading order.
CHAPTERS = {
    "README.md": "transfergan",
    "bench/README.md": "Sweeps, runs and the store",
    "trainers/README.md": "What one trial does",
    "analysis/README.md": "Results",
    "bench/deploy/README.md": "Clusters",
    "CONTRIBUTING.md": "Contributing",
    "SECURITY.md": "Security",
    "CHANGELOG.md": "Changes",
    "GLOSSARY.md": "Glossary",
}

_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_DIAGRAM = re.compile(r"^```mermaid\n.*?^```\n", re.DOTALL | re.MULTILINE)


def pages() -> dict[str, str]:
    """Return the text of each chapter by its path.

    Links to files that are no chapters become plain text. Diagrams are left out: a program of another server would draw them.
    """
    return {name: _linked(name) for name in CHAPTERS}


def pictures() -> dict[str, bytes]:
    """Return the pictures of the chapters by their paths."""
    return {
        _target(name, link): (ROOT / _target(name, link)).read_bytes()
        for name in CHAPTERS
        for mark, _, link in _LINK.findall((ROOT / name).read_text())
        if mark and "://" not in link
    }


def contents() -> list[dict[str, Any]]:
    """Return the table of contents of the chapters."""
    return [{title: name} for name, title in CHAPTERS.items()]


def _target(page: str, link: str) -> str:
    """Return the file that a link on a page leads to, by its path from the root."""
    path = (ROOT / page).parent / link.partition("#")[0]
    return path.resolve().relative_to(ROOT).as_posix()


def _linked(page: str) -> str:
    def kept(match: re.Match[str]) -> str:
        mark, text, link = match.groups()
        if mark or "://" in link or link.startswith(("#", "mailto:")) or _target(page, link) in CHAPTERS:
            return match.group()
        return text

    parts = _BLOCK.split(_DIAGRAM.sub("", (ROOT / page).read_text()))
    return "".join(part if i % 2 else _LINK.sub(kept, part) for i, part in enumerate(parts))
