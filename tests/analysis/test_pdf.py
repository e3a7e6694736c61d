"""The report as PDF, printed by a real browser and read by an independent library; and the errors without a browser."""

import os
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdf
import pytest

from analysis.report import pdf
from analysis.report.page import write_report
from tests.support.synthetic import build
from trainers.common.errors import UserError

SOURCES = {"letters": 20.0, "a<b>": 40.0, "mid": 60.0, "far": 90.0, "farther": 120.0, "furthest": 160.0}


def program(folder: Path, does: str) -> Path:
    """Write a program with the name of a browser."""
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("BROWSER", raising=False)
    return folder


def need_a_browser() -> None:
    """Skip the test without a browser, except on the CI machine."""
    try:
        pdf.browser()
    except UserError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.slow
def test_every_figure_table_and_name_is_on_paper(tmp_path: Path) -> None:
    need_a_browser()
    store = build(
        tmp_path / "store", targets=("digits", "faces"), sources=SOURCES, strategies=("scratch", "finetune"),
        seeds=(0, 1), faults=True, images=False,
    )  # fmt: skip
    out = write_report(store, tmp_path / "new" / "report.pdf")
    assert [path.name for path in out.parent.iterdir()] == ["report.pdf"]
    pages = pypdf.PdfReader(BytesIO(out.read_bytes())).pages
    read, right = zip(*map(text_and_rightmost, pages), strict=True)
    text = " ".join(read)
    assert text.count("FID by generator step") == 4, "figures for each cell"
    assert sum(text.count(f"from {name}") >= 4 for name in SOURCES) == len(SOURCES), "one of each source"
    assert text.count("FID from scratch / FID of transfer;") == 2
    assert all(row["key"][:10] in text for row in store.read_sweeps()["quickstart"]["trials"])
    assert "a<b>" in text
    assert "ended before the final step" in " ".join(text.split()), "folded text is printed"
    assert "Press a heading" not in text
    trials = [page for page in read if " no 16 " in page]
    assert len(trials) > 1
    assert all(re.search(r"status\s+kind\s+strategy", page) for page in trials), "headings on each page of the table"
    assert max(right) < 595 - 34, "the margin is empty"


def text_and_rightmost(page: Any) -> tuple[str, float]:
    """Return a page's text, and the position, in points, at which its rightmost piece begins."""
    positions: list[float] = []

    def see(text: str, around: list[float], own: list[float], *_: object) -> None:
        if text.strip():
            positions.append(around[0] * own[4] + around[2] * own[5] + around[4])

    text = page.extract_text(visitor_text=see)
    return text.replace("ﬁ", "fi"), max(positions)


def test_a_missing_browser_is_reported_before_any_work(tmp_path: Path, no_browser: Path) -> None:
    store = build(tmp_path / "store", images=False, sizes=(50,))
    with pytest.raises(UserError, match=r"needs Chromium or Chrome: install one .*, or use --format html"):
        write_report(store, tmp_path / "report.pdf", "no such sweep")
    assert not (tmp_path / "report.pdf").exists()


def test_the_browser_is_the_one_named_if_it_can_print(no_browser: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = program(no_browser, "exit 0")
    assert pdf.browser() == str(browser)
    own = no_browser / "google-chrome-beta"
    browser.rename(own)
    monkeypatch.setenv("BROWSER", str(own))
    assert pdf.browser() == str(own)
    monkeypatch.setenv("BROWSER", "firefox")
    with pytest.raises(UserError, match="needs Chromium"):
        pdf.browser()


@pytest.mark.slow
@pytest.mark.parametrize(("does", "message"), [
    ("echo '[1:2:ERROR:a.cc(3)] bus' >&2; echo '[1:2:FATAL:a.cc(3)] No usable sandbox!' >&2; exit 133",
     r"printed no PDF \(No usable sandbox! exit status 133\): name another"),
    ("exit 0", r"printed no PDF \(exit status 0\)"),
    ('for last; do case $last in --print-to-pdf=*) echo "%PDF-1.4" > "${last#*=}";; esac; done', "printed no PDF"),
    ("exec tail -f /dev/null", "did not print the report within 0.2 seconds; use --format html"),
])  # fmt: skip
def test_a_browser_that_does_not_print_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, message: str
) -> None:
    if "tail" in does:
        monkeypatch.setattr(pdf, "LIMIT", 0.2)
    with pytest.raises(UserError, match=message):
        pdf.to_pdf("<p>page", str(program(tmp_path, does)))


@pytest.mark.slow
def test_a_program_that_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be started"):
        pdf.to_pdf("<p>page", str(tmp_path / "absent"))
