"""The report's sections: described once, shown by the page and by the Markdown alike."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import escape as escape_html

from analysis.frames import Frames, load
from analysis.report import markdown
from analysis.report.blocks import Bar, Block, Column, Fold, Group, Heading, Report, Row, Table, marked, numbers
from analysis.report.content import sections
from analysis.report.page import render, write_report
from analysis.statistics import Analysis, analyse
from bench.store import Store
from tests.support.synthetic import build


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("store"), sizes=(50,), keep=1.0, faults=True, images=False)


@pytest.fixture(scope="module")
def frames(store: Store) -> Frames:
    return load(store)


def flat(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks, and those within them."""
    for block in blocks:
        yield block
        if isinstance(block, Fold | Group):
            yield from flat(block.blocks)


@pytest.mark.slow
def test_the_page_shows_the_training_images_nearest_to_samples_and_old_stores_lack_them(finished: Store) -> None:
    page = render(load(finished), finished)
    (section,) = re.findall(r'<section id="copies".*?</section>', page, re.DOTALL)
    paths = re.findall(r'src="data:image/png;base64,[^"]+" alt="[^"]+" data-path="([^"]+)"', section)
    assert len(paths) == 2
    assert paths[1] == paths[0].replace(".png", "-nearest.png")
    assert re.search(r"Nearest training images</b> at the same places", section)
    for name in finished.list_files("samples"):
        if name.endswith("-nearest.png"):
            finished.delete_file(name)
    page = render(load(finished), finished)
    assert 'id="copies"' not in page
    assert "Copies (needs nearest training images, which trials of this version store at each rung" in page


@pytest.mark.slow
def test_every_table_and_heading_of_the_markdown_is_in_the_page(store: Store, frames: Frames, tmp_path: Path) -> None:
    report = Report(frames, [analyse(frames, embedding) for embedding in frames.embeddings])
    page = write_report(store, tmp_path / "page.html").read_text(encoding="utf-8")
    text = markdown.render(frames)
    tables = 0
    for section, blocks in sections.walk(report, page=False):
        assert f"## {section.title}\n" in text
        assert f'<section id="{section.id}">' in page
        for block in flat(blocks):
            if isinstance(block, Heading):
                assert f"{'#' * block.level} {markdown.escape(block.text)}\n" in text
                assert f"<h{block.level}>{escape_html(block.text)}</h{block.level}>" in page
            if isinstance(block, Table):
                tables += 1
                assert all(len(row.cells) == len(block.columns) for row in block.rows)
                assert f'aria-label="{escape_html(block.title)}"' in page
                for cell in (cell for row in block.rows for cell in row.cells if not isinstance(cell, Bar | tuple)):
                    words = cell if isinstance(cell, str) else cell.text
                    assert markdown.escape(words) in text
                    assert str(escape_html(words)) in page
    assert tables >= 6


def test_a_section_has_an_address_and_a_title_of_its_own() -> None:
    for name in ("id", "title"):
        values = [getattr(section, name) for section in sections.SECTIONS]
        assert len(set(values)) == len(values)


@pytest.mark.slow
def test_a_new_section_is_a_function_and_a_line(
    store: Store, frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def content(report: Report, analysis: Analysis) -> Iterator[Block]:
        rows = [Row(["<a|b>", f"{len(analysis.curves):,}"])]
        yield Table("Rows of curves", [Column("of"), *numbers("rows")], rows, marked("Counted by `len`."))

    new = sections.Section("new", "Something new", "How many?", each=content)
    monkeypatch.setattr(sections, "SECTIONS", (*sections.SECTIONS, new))
    page = write_report(store, tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<a href="#new">Something new</a>' in page
    section = re.search(r'<section id="new">.*?</section>', page, re.DOTALL)
    assert section is not None
    assert '<th scope="row">&lt;a|b&gt;</th>' in section[0]
    assert "Counted by <code>len</code>." in section[0]
    text = markdown.render(frames).partition("## Something new")[2].partition("\n## ")[0]
    assert f"| \\<a\\|b\\> | {len(frames.curves):,} |" in text
    assert text.endswith("Counted by len.\n")
    empty = replace(new, id="other", title="Something else", each=lambda report, analysis: (), needs="a <miracle>")
    monkeypatch.setattr(sections, "SECTIONS", (*sections.SECTIONS, empty))
    page = write_report(store, tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'id="other"' not in page
    assert "Something else (needs a &lt;miracle&gt;)" in page
    assert re.search(r"\nToo little data for: .*; Something else \(needs a \\<miracle\\>\)\.\n$", markdown.render(frames))


def test_marked_text_is_split_into_spans() -> None:
    spans = marked("a *b* and `c_d` or _e_.")
    assert isinstance(spans, tuple)
    assert [part if isinstance(part, str) else (part.style, part.text) for part in spans] == [
        "a ", ("b", "b"), " and ", ("code", "c_d"), " or ", ("i", "e"), ".",
    ]  # fmt: skip
    assert marked("nothing") == ("nothing",)
