"""`transfergan report`."""

from pathlib import Path

import pytest

from bench.cli.options import default_report
from bench.store import open_store
from tests.support.command_line import call
from tests.support.synthetic import build


def test_the_report_of_a_remote_store_goes_to_the_working_directory(s3: str, tmp_path: Path):
    assert default_report(open_store(s3, create=True)) == Path("report.html")
    assert default_report(open_store(str(tmp_path / "store"), create=True)) == tmp_path / "store" / "report.html"


@pytest.mark.slow
def test_report_writes_the_page_to_out_or_into_the_store(tmp_path: Path):
    store = build(tmp_path / "store")
    page = tmp_path / "new" / "folder" / "page.html"
    for arguments, expected in (
        (["--out", str(page), "--sweep", "quickstart"], page), ([], Path(store.root) / "report.html"),
    ):  # fmt: skip
        result = call("report", "--store", str(tmp_path / "store"), *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"report: {expected}\n", "")
        assert "With 50 images of digits" in expected.read_text()
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]
    assert call("report", "--store", store.root, "--format", "md").stdout == f"report: {Path(store.root) / 'report.md'}\n"
    assert "With 50 images of digits" in (Path(store.root) / "report.md").read_text()
