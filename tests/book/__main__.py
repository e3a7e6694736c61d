"""Writes the source of the book: ``python -m tests.book build/book``; `make docs` makes a site of it with mkdocs."""

import argparse
import shutil
from pathlib import Path

import yaml

from tests.book import chapters, reference

#: Of the site. No page asks another server for anything: fonts and icons are the browser's and the theme's.
SETTINGS = {
    "site_name": "transfergan",
    "docs_dir": "pages",
    "site_dir": "site",
    "theme": {"name": "material", "font": False, "features": ["navigation.indexes", "navigation.top", "toc.follow"]},
    "markdown_extensions": ["admonition", "tables", "pymdownx.superfences", {"toc": {"permalink": True}}],
    "plugins": [
        "search",
        {"mkdocstrings": {"handlers": {"python": {"paths": [str(chapters.ROOT)], "options": {
            "docstring_style": "google", "show_root_heading": True, "show_source": False, "members_order": "source",
            "filters": ["!^_"], "heading_level": 2, "show_if_no_docstring": False,
            "docstring_options": {"warn_unknown_params": False, "warn_missing_types": False},
            "extensions": [str(Path(__file__).with_name("doctests.py"))],
        }}}}},
    ],
    "validation": {"links": {"anchors": "warn"}},
}  # fmt: skip


def write(out: Path) -> None:
    """Write the pages and the site's settings into a folder, which is emptied before."""
    shutil.rmtree(out, ignore_errors=True)
    pages = {**chapters.pages(), **reference.pages()}
    for name, text in pages.items():
        file = out / "pages" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name, data in chapters.pictures().items():
        (out / "pages" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "pages" / name).write_bytes(data)
    settings = {**SETTINGS, "nav": [*chapters.contents(), *reference.contents()]}
    (out / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False))


def main() -> None:
    """Write the book's source."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.book", description=__doc__, epilog="Example: python -m tests.book build/book"
    )
    parser.add_argument("out", type=Path, help="a folder for the source; its content is replaced")
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
