"""The book as a site, and the package as others install it."""

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.book.__main__ import write
from tests.book.chapters import CHAPTERS
from tests.book.reference import MODULES
from trainers.config.metrics import metrics
from trainers.config.strategies import STRATEGIES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning."""
    folder = tmp_path_factory.mktemp("book")
    write(folder)
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", folder / "mkdocs.yml"]
    done = subprocess.run(build, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "site"


def test_every_chapter_strategy_metric_and_module_has_a_page(site: Path):
    for chapter in CHAPTERS:
        folder = chapter.removesuffix("README.md").removesuffix(".md")
        assert (site / folder / "index.html").exists(), chapter
    for name, strategy in STRATEGIES.items():
        page = (site / "strategies" / name / "index.html").read_text()
        assert strategy.formula
        assert strategy.about().partition("(")[0].strip() in page
        assert all(f"<code>{option}</code>" in page for option in strategy.options())
    for metric in metrics().values():
        page = html.unescape((site / "metrics" / metric.name / "index.html").read_text())
        assert metric.formula
        assert metric.paper in page
    assert "transfergan domains preview" in (site / "commands" / "index.html").read_text()
    interface = "".join(page.read_text() for page in (site / "python").rglob("*.html"))
    assert all(f'id="{module}"' in interface for modules in MODULES.values() for module in modules)


def test_no_page_loads_anything_from_another_server(site: Path):
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]*\shref="([^"]+)"', text)
        assert [name for name in loaded if "//" in name] == [], page


def test_the_wheel_has_what_it_needs_and_none_of_the_tests(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "site"
    for package in ("analysis", "bench", "trainers"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)
    packages = sorted(folder.name for folder in target.iterdir() if (folder / "__init__.py").exists())
    assert packages == ["analysis", "bench", "trainers"]
    script = (
        "import sys; from bench.cli import main; from analysis.report import page; print(page.__file__);"
        "from trainers.evaluation.embeddings.loading import load_embedding; load_embedding('builtin');"
        "sys.argv[1:] = ['show', 'quickstart']; main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert shown.startswith(str(target))
    assert yaml.safe_load(shown.partition("\n")[2])["name"] == "quickstart"


def test_the_citation_names_the_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert citation["references"][0]["title"].startswith("Transferring GANs")
