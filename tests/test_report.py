"""The report: what it says, and how it looks in a real browser, offline."""

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from analysis.answers import answers
from analysis.frames import load
from analysis.report import write_report
from analysis.statistics import analyse
from analysis.summary import caveats, overall
from bench.store import Store, open_store
from tests.synthetic import build, uniform
from trainers.errors import UserError

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
DESKTOP, TABLET, PHONE = (1440, 900), (768, 1024), (375, 812)
FAR = {"near": 120.0, "mid": 170.0, "far": 260.0, "furthest": 420.0}
HOSTILE = {"folder:/x/</script><b>": 18.0, "<img src=x onerror=alert(1)>": 60.0, "a&b {{ 7 * 7 }} %{x}": 90.0}

REPLAYED = pd.DataFrame(
    {
        "keep": [0.25, 0.33, 0.5, 0.67, 0.75],
        "cells": 4,
        "saved": [0.58, 0.54, 0.43, 0.31, 0.25],
        "same_winner": [1, 3, 4, 4, 4],
        "source_order": [0.6, 0.8, 0.8, 1.0, 1.0],
    }
)


# -- what it says -------------------------------------------------------------------------------------------------------


def say(store: Store) -> str:
    frames = load(store)
    analysis = analyse(frames, frames.embeddings[0])
    found = answers(analysis, frames.trials)
    parts = [line for answer in found for line in (answer.headline, *answer.details)]
    return "\n".join([*parts, *overall(analysis), *caveats(analysis, frames.trials)])


def test_the_answer_names_winner_step_and_scratch_at_the_same_step(tmp_path: Path) -> None:
    store = build(tmp_path, keep=1.0)
    text = say(store)
    curves = load(store).curves
    last = curves[(curves["metric"] == "fid") & (curves["step"] == 200) & (curves["size"] == 50)]
    best, scratch = last["value"].min(), last.loc[last["strategy"] == "scratch", "value"].item()
    expected = f"With 50 images of digits, fine-tuning both networks from numerals reaches FID {best:.1f} at step 200; "
    assert f"{expected}from scratch {scratch:.1f} ({scratch / best:.1f} times as high)." in text
    assert "At the first rung, step 50:" in text
    assert "The nearest source, numerals (distance 20.0), was also the best." in text
    assert "12 of 12 transfers were ahead of scratch" in text
    assert "KID names the same winner." in text
    assert "Best of 2 cells: fine-tuning both networks from numerals in 2." in text
    assert "The nearest source by distance was also the best one in 2 of 2 cells." in text
    assert "median rank correlation of −1.00 (nearer sources help more) over 6 groups of 4 sources each" in text
    assert "One seed per method" in text
    assert "embedding builtin:1a2b3c4d5e6f from 1,000 generated images" in text


def test_savings_are_told_with_their_intervals_and_bounds(tmp_path: Path) -> None:
    text = say(build(tmp_path, sources=FAR, sizes=(50, 200, 2000), seeds=(0, 1, 2), keep=1.0, images=False))
    assert "a data multiplier of at least 40.0×, at step 200." in text
    assert "As good as scratch with 2,000 images or more" in text
    assert re.search(r"Scratch's best FID, at step 200, was reached by step \d+: a speed-up of \d\.\d× \(95 % interval: ", text)
    assert "is as good as scratch with at least 10.0× the images in the median of 3 cells" in text
    assert re.search(r"Of 36 transfers, \d+ are ahead of scratch and 0 behind by more than the spread between seeds", text)
    assert "As strong an order may well be chance." in text, "four sources and one target"
    assert "to start from it costs ×1.00 the best source's FID, from one at random ×1." in text


def test_strategies_are_ranked_and_noise_is_called_noise(tmp_path: Path) -> None:
    store = build(tmp_path / "store", seeds=(0, 1, 2), sizes=(50,), keep=1.0, images=False)
    frames = load(store)
    found = analyse(frames, frames.embeddings[0])
    ranked = found.strategies
    assert ranked["source_label"].unique().tolist() == ["numerals", "letters", "shapes", "textures"], "nearest first"
    assert set(ranked.loc[ranked["rank"] == 1, "strategy"]) == {"finetune"}
    page = write_report(store, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Of 12 comparisons of a strategy with the best one from the same source, " in page
    assert "finetune is the best or cannot be told from it in 4 of 4 pairs of cell and source." in page
    assert page.count('<table class="strategies">') == 1
    assert "strategies.csv" in page


def test_without_an_effect_the_answer_says_so(tmp_path: Path) -> None:
    """Strategies without a head start, from sources whose distance means nothing."""
    sources = {name: 1e6 + uniform(name) for name in "abcde"}
    text = say(
        build(tmp_path, sources=sources, targets=("digits", "faces"), seeds=(0, 1, 2), sizes=(50,), keep=1.0, images=False)
    )
    assert "No transfer can be told from training from scratch by more than the spread between seeds" in text
    assert "the gain changes with" not in text
    assert "ways to measure the distance foretold which source helps more" in text or "may well be chance" in text


def test_files_in_the_page_are_the_numbers_and_no_formulas(tmp_path: Path) -> None:
    store = build(tmp_path / "store", sources={"=cmd|'/c calc'!A1": 20.0, "near": 30.0, "far": 90.0}, images=False)
    page = write_report(store, tmp_path / "r.html").read_text(encoding="utf-8")
    links = re.findall(r'<a download="([\w-]+\.csv)" href="data:text/csv;base64,([^"]+)"', page)
    files = {name: base64.b64decode(data).decode() for name, data in links}
    assert {"trials.csv", "gains.csv", "ranking.csv", "data-multiplier.csv", "speed-up.csv", "predictors.csv"} <= set(files)
    frames = load(store)
    trials = pd.read_csv(io.StringIO(files["trials.csv"]))
    assert len(trials) == len(frames.trials)
    assert set(trials["source"].dropna()) == {"'=cmd|'/c calc'!A1", "near", "far"}
    gains = pd.read_csv(io.StringIO(files["gains.csv"]))
    expected = analyse(frames, frames.embeddings[0]).gains["gain"].tolist()
    assert gains["gain"].tolist() == pytest.approx(expected, rel=1e-4)


def test_the_answer_is_honest_about_what_is_missing(tmp_path: Path) -> None:
    text = say(build(tmp_path, faults=True, seeds=(0, 1), keep=0.3))
    assert "still to finish." in text
    assert "failed, diverged or were blocked." in text
    assert "stopped early by the stopping rule" in text
    assert "means over 2 seeds" in text


def test_the_answer_without_scratch_and_without_transfer(tmp_path: Path) -> None:
    assert "training from scratch does not have a result yet." in say(build(tmp_path / "a", strategies=("finetune",)))
    only_scratch = say(build(tmp_path / "b", strategies=("scratch",)))
    assert "With 50 images of digits, training from scratch reaches FID" in only_scratch
    assert "no transfer has a result yet." in only_scratch


def test_the_answer_when_transfer_does_not_help(tmp_path: Path) -> None:
    text = say(build(tmp_path, sources={"noise": 900.0}, strategies=("scratch", "finetune-g"), sizes=(500,), seeds=(1,)))
    assert re.search(r"no transfer beats training from scratch, which reaches FID \d+\.\d at step 200; the best, ", text)


def test_a_new_strategy_needs_no_change_here(tmp_path: Path) -> None:
    text = say(build(tmp_path, strategies=("scratch", "freeze-d", "mine"), keep=1.0))
    assert "from numerals reaches FID" in text


def test_the_page_is_written_whole_and_small(tmp_path: Path) -> None:
    store = build(tmp_path / "store", targets=("digits", "faces"), sizes=(50, 500, 5000), resolution=64)
    out = write_report(store, tmp_path / "deep" / "report.html", "quickstart")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    assert out.stat().st_size < 10e6
    assert "data:image/" in out.read_text(encoding="utf-8")
    with pytest.raises(UserError, match="unknown sweep 'quick'; did you mean quickstart"):
        write_report(store, out, "quick")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as error:
        write_report(store, tmp_path / "file" / "report.html")
    assert "\n" not in str(error.value)


def test_of_very_many_trials_the_table_shows_those_that_have_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build(tmp_path / "store", images=False)
    planned = store.read_sweeps()["quickstart"]
    later = [{**row, "key": f"{number:016x}"} for number, row in enumerate(planned["trials"])]
    store.write_sweep("quickstart", {**planned, "trials": later + planned["trials"]})
    begun = len(planned["trials"])
    monkeypatch.setattr("analysis.tables.MOST_ROWS", begun)
    page = write_report(store, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"These are {begun} of {2 * begun} trials: all are in the HTML page's file trials.csv." in page
    shown = re.findall(r'<td><a href="#trial=\w+"><code>(\w+)</code></a></td>', page)
    assert sorted(shown) == sorted(row["key"][:10] for row in planned["trials"])


def test_a_grid_that_is_missing_or_broken_is_left_out(tmp_path: Path) -> None:
    store = build(tmp_path / "store")
    for number, name in enumerate(store.list_files("samples")):
        store.delete_file(name) if number % 2 else store.write_file(name, b"not an image")
    page = write_report(store, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "No sample grid has been stored yet." in page
    assert "grids are not in this page" in page


def test_import_is_light() -> None:
    code = "import sys, analysis.report; print(sorted({'torch', 'ray', 'playwright', 'matplotlib'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_page_that_cannot_take_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"), create=True)
    (tmp_path / "page.html").mkdir()
    with pytest.raises(UserError, match=r"page\.html.*cannot be written"):
        write_report(store, tmp_path / "page.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "store"]


# -- how it looks -------------------------------------------------------------------------------------------------------


@dataclass
class Visit:
    """A page opened in the browser, with everything it complained about or asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


CLASSES = ("<img src=x onerror=alert(1)>", "b", "a very long name of a class", *"cdefghijklmnopqrstuvw")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is absent, and CI must not go without a browser")
        pytest.skip(f"{CHROMIUM} is absent: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*FLAGS.split(), "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write one page per kind of store, by name."""
    root = tmp_path_factory.mktemp("reports")
    failed = open_store(str(root / "failed"), create=True)
    row = {"conditional": False, "seed": 0, "steps": 0, "budget": 100, "resolution": 16, "size": 10, "source": "letters"}
    broken = {"key": "a", "kind": "pretrain", "status": "failed", "error": "OSError: <b>disk</b> is full", **row}
    child = {"key": "b", "kind": "adapt", "target": "digits", "strategy": "finetune", "cell": "c", "status": "blocked", **row}
    failed.append("trials", "bad", [broken, {**child, "error": "its parent failed"}])
    pending = open_store(str(root / "pending"), create=True)
    pending.write_sweep("later", {"spec": {}, "trials": [{**row, "key": "p", "kind": "pretrain"}]})
    stores = {
        "quickstart": build(root / "quickstart"),
        "faulty": build(root / "faulty", faults=True),
        "hostile": build(root / "hostile", sources=HOSTILE, targets=("folder:/y/<a href='javascript:alert(1)'>t",)),
        "several": build(
            root / "several",
            targets=("digits", "faces"),
            embeddings=("builtin:1", "inception:2"),
            seeds=(0, 1),
            sizes=(50,),
            conditional=(False, True),
        ),
        "knobs": build(
            root / "knobs",
            sources={f"letters[classes={c},per_class={m}]": 10.0 * c + m / 40 for c in (2, 4, 8) for m in (100, 200)},
            strategies=("scratch", "finetune"),
            sizes=(50,),
            keep=1.0,
            images=False,
        ),
        "classes": build(
            root / "classes",
            sizes=(50,),
            conditional=(False, True),
            strategies=("scratch", "finetune", "finetune[from=unconditional]"),
            seeds=(0, 1),
            classes=CLASSES,
            ema=True,
        ),
        "savings": build(
            root / "savings",
            sources=FAR,
            targets=("digits", "faces"),
            sizes=(50, 200, 2000),
            seeds=(0, 1),
            keep=1.0,
            images=False,
        ),
        "empty": open_store(str(root / "empty"), create=True),
        "failed": failed,
        "pending": pending,
    }
    return {
        name: write_report(store, root / f"{name}.html", replayed=REPLAYED if name == "quickstart" else None)
        for name, store in stores.items()
    }


def visit(browser: Browser, path: Path, size: tuple[int, int] = DESKTOP, theme: Any = "light") -> Visit:
    phone = size == PHONE
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=theme, is_mobile=phone, has_touch=phone
    )
    context.set_offline(True)
    found = Visit(context.new_page())
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("dialog", lambda dialog: (found.complaints.append(dialog.message), dialog.dismiss()))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(path.as_uri())
    if found.page.locator(".plot").count():
        drawn(found.page)
    return found


def drawn(page: Page) -> None:
    """Wait until the figures are drawn as the filters want them."""
    page.wait_for_selector("html[data-drawn=yes]", state="attached", timeout=60_000)


def check(found: Visit, path: Path) -> None:
    """Assert what holds for every page: quiet, self-contained, no wider than the screen."""
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith("data:")] == [path.as_uri()]
    width, inner = found.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner


FIGURES = """() => [...document.querySelectorAll('.plot')].map(plot => ({
  title: plot.closest('figure').querySelector('h4').textContent,
  marks: plot.querySelectorAll('.scatterlayer path.point, .scatterlayer path.js-line, .heatmaplayer image').length,
  size: plot.querySelector('svg.main-svg').getBoundingClientRect().toJSON(),
}))"""

# Texts of a figure that lie on each other, on its plotting area (only labels of points may), or outside the figure.
OVERLAPS = """() => [...document.querySelectorAll('.plot')].flatMap(plot => {
  const texts = selector => [...plot.querySelectorAll(selector)]
    .map(e => ({ name: e.textContent, box: e.getBoundingClientRect() }));
  const over = ({ box: a }, { box: b }) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const around = texts('.xtick text, .ytick text, .xtitle, .ytitle, .gtitle, .legend text');
  const all = [...around, ...texts('.annotation-text')];
  const area = { name: 'the plot', box: plot.querySelector('.nsewdrag').getBoundingClientRect() };
  const frame = plot.getBoundingClientRect();
  const outside = ({ box }) => box.left < frame.left - 1 || box.right > frame.right + 1
    || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  const pairs = [...all.flatMap((a, i) => all.slice(i + 1).map(b => [a, b])), ...around.map(a => [a, area])];
  return [...pairs.filter(([a, b]) => over(a, b)).map(([a, b]) => [a.name, b.name]),
    ...all.filter(outside).map(text => [text.name, 'outside'])];
})"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["quickstart", "faulty"])
def test_every_figure_is_drawn_and_nothing_overlaps(
    browser: Browser, reports: dict[str, Path], name: str, size: tuple[int, int], theme: str
) -> None:
    found = visit(browser, reports[name], size, theme)
    check(found, reports[name])
    drawn = found.page.evaluate(FIGURES)
    assert len(drawn) >= 12
    assert [figure["title"] for figure in drawn if not figure["marks"]] == []
    assert all(figure["size"]["height"] > 100 and figure["size"]["right"] <= size[0] for figure in drawn)
    assert found.page.evaluate(OVERLAPS) == []
    assert found.page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt)")
    found.page.context.close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_several_targets_embeddings_and_seeds(browser: Browser, reports: dict[str, Path], size: tuple[int, int]) -> None:
    found = visit(browser, reports["several"], size)
    check(found, reports["several"])
    assert all(figure["marks"] for figure in found.page.evaluate(FIGURES))
    assert found.page.evaluate(OVERLAPS) == []
    assert "In the embedding inception:2" in found.page.locator("#answer").inner_text()
    found.page.context.close()


def test_hostile_names_are_harmless(browser: Browser, reports: dict[str, Path]) -> None:
    found = visit(browser, reports["hostile"])
    check(found, reports["hostile"])
    text = found.page.locator("body").inner_text()
    assert all(name in text for name in HOSTILE)
    assert found.page.locator("img[src=x], .plot a, .plot b, dd b").count() == 0
    assert any("script><b>" in label for label in found.page.locator(".plot .xtick text").all_text_contents())
    found.page.context.close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_classes_are_told_one_by_one_where_there_are_any(
    browser: Browser, reports: dict[str, Path], size: tuple[int, int]
) -> None:
    found = visit(browser, reports["classes"], size)
    check(found, reports["classes"])
    section = found.page.locator("#classes")
    assert section.locator(".plot").count() == 1
    shown = section.locator(".plot .xtick text").all_text_contents()
    assert shown[:2] == ["mean", "<img src…"]
    assert len(shown) == 1 + len(CLASSES)
    assert section.locator("img").count() == 0
    rows = section.locator(".plot .ytick text").all_text_contents()
    assert len(rows) == 3
    assert "means over up to 2 seeds" in section.inner_text()
    assert "from 100 generated images of a class" in section.inner_text()
    answer = found.page.locator("#answer").inner_text()
    assert "fine-tuning both networks from numerals" in answer
    assert f"in {len(CLASSES)} of {len(CLASSES)} classes" in answer
    assert "FID of a single class stands on as few as 100 images" in answer
    titles = found.page.locator("#curves h4").all_inner_texts()
    assert sum(title.endswith("(EMA)") for title in titles) == 2
    found.page.context.close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_other_metrics_and_the_best_distance_are_told(
    browser: Browser, reports: dict[str, Path], size: tuple[int, int]
) -> None:
    found = visit(browser, reports["quickstart"], size)
    table = found.page.locator("#quality table").first
    assert table.locator("thead th").all_inner_texts()[3:] == ["FID", "KID", "recall", "diversity", "memorisation"]
    assert len(table.locator("tbody tr").all()) == 4, "scratch, and three strategies with their best source"
    assert "0.400 ± 0.020" in table.inner_text()
    rows = found.page.locator("#distance .predictors tbody tr")
    names = rows.locator("th").all_inner_texts()
    real = {f"{kind} of the real images" for kind in ("FID", "KID", "recall")}
    assert set(names) == {*real, "FID of generated images"}
    assert all("+" in text for text in rows.locator("td:nth-child(2)").all_inner_texts())
    assert "ways to measure the distance" in found.page.locator("#answer").inner_text()
    found.page.context.close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_what_density_and_diversity_did_is_told_where_sources_vary_them(
    browser: Browser, reports: dict[str, Path], size: tuple[int, int]
) -> None:
    found = visit(browser, reports["knobs"], size)
    check(found, reports["knobs"])
    assert found.page.evaluate(OVERLAPS) == []
    table = found.page.locator("#knobs table")
    assert table.locator("tbody tr td:nth-child(3)").all_inner_texts() == ["diversity", "density", "amount", "exchange"]
    assert table.locator("tbody b").count() >= 1, "more classes are farther in this store, and so help less"
    assert "density, diversity, amount and spread of the source change the gain" in found.page.locator("#answer").inner_text()
    assert "letters 2×100" in found.page.locator("#distance").inner_text()
    assert "letters[classes=2,per_class=100]" in found.page.locator("#provenance").inner_text()
    found.page.context.close()
    assert visit(browser, reports["quickstart"], size).page.locator("#knobs, a[href='#knobs']").count() == 0


@pytest.mark.parametrize("size", [DESKTOP, TABLET, PHONE], ids=["desktop", "tablet", "phone"])
def test_what_a_start_saves_is_drawn_and_told(browser: Browser, reports: dict[str, Path], size: tuple[int, int]) -> None:
    found = visit(browser, reports["savings"], size)
    check(found, reports["savings"])
    page = found.page
    assert page.evaluate(OVERLAPS) == []
    assert page.locator("nav a[href='#savings']").count() == 1
    rows = page.locator("table.savings tbody tr")
    assert rows.count() == 18, "six cells, three strategies with their best source each"
    texts = rows.all_inner_texts()
    assert all("from" in text for text in texts)
    assert any(re.search(r"\t\d\.\d×\t\d\.\d× to ", text) for text in texts), "a multiplier within the sizes"
    assert any("at least 40.0×" in text for text in texts)
    multipliers = (
        "() => [...document.querySelectorAll('#size .plot')].map(p => p.data.filter(t => t.line.dash === '2px,3px').length)"
    )
    assert [number > 5 for number in page.evaluate(multipliers)] == [True, True, False] * 2 + [False] * 2, "nearest and best"
    sources = page.locator("table.sources tbody tr").all_inner_texts()
    assert len(sources) == 12
    assert sum("×1.00" in text for text in sources) >= 3, "the best source is regretted nowhere"
    headings = page.locator("table.predictors th").all_inner_texts()
    assert {"95 % interval", "p, corrected", "pooled", "regret of nearest"} <= set(headings)
    with page.expect_download() as download:
        page.locator("a[download='data-multiplier.csv']").click()
    assert download.value.suggested_filename == "data-multiplier.csv"
    assert found.complaints == []
    page.context.close()


def test_what_stopping_saves_is_told_where_it_was_replayed(browser: Browser, reports: dict[str, Path]) -> None:
    found = visit(browser, reports["quickstart"])
    section = found.page.locator("#stopping")
    assert section.locator("figcaption").inner_text() == (
        "Keeping 0.5 of the methods at each rung would have saved 43% of the steps, with the same winner in 4 of 4 cells, "
        "sources' order +0.80 (rank correlation). Labels: the share kept."
    )
    assert section.locator("path.point").count() == len(REPLAYED)
    for name in ("several", "empty"):
        assert "What stopping saves" not in reports[name].read_text(encoding="utf-8")
    found.page.context.close()


def test_without_classes_and_averages_nothing_is_said_of_them(browser: Browser, reports: dict[str, Path]) -> None:
    found = visit(browser, reports["quickstart"])
    assert found.page.locator("#classes, a[href='#classes']").count() == 0
    assert "(EMA)" not in found.page.locator("#curves").inner_text()
    found.page.context.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "This store holds no trial yet."),
        ("failed", "All 2 trials failed or were blocked"),
        ("pending", "Nothing has been measured yet"),
    ],
)
def test_a_store_without_results_says_so(browser: Browser, reports: dict[str, Path], name: str, words: str) -> None:
    found = visit(browser, reports[name], PHONE)
    check(found, reports[name])
    text = found.page.locator("body").inner_text()
    assert words in text
    assert found.page.locator(".plot, svg").count() == 0
    if name == "failed":
        assert "1 failed: OSError: <b>disk</b> is full" in text
    found.page.context.close()


def test_the_key_filters_and_the_theme_follows(browser: Browser, reports: dict[str, Path]) -> None:
    found = visit(browser, reports["quickstart"])
    page = found.page
    visible = "() => document.querySelectorAll('#curves .plot .scatterlayer .trace').length"
    before = page.evaluate(visible)
    entry = page.locator("#curves .key button", has_text="finetune-g")
    entry.focus()
    page.keyboard.press("Enter")
    assert entry.get_attribute("aria-pressed") == "false"
    drawn(page)
    assert page.evaluate(visible) < before
    entry.click()
    drawn(page)
    assert page.evaluate(visible) == before

    color = "() => getComputedStyle(document.querySelector('.plot .ytick text')).fill"
    light = page.evaluate(color)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(300)
    assert page.evaluate(color) != light
    assert found.complaints == []
    page.context.close()


SHOWN = """() => ({
  panels: [...document.querySelectorAll('.panel')].filter(panel => !panel.hidden)
    .map(panel => panel.querySelector('h4').textContent),
  points: [...document.querySelectorAll('#distance .panel:not([hidden]) .plot')].map(plot =>
    plot.data.flatMap(trace => (trace.mode === 'markers' ? trace.x : [])).length),
  sizes: [...document.querySelectorAll('#size .panel:not([hidden]) .plot')].map(plot => plot.data.at(-1).x),
  cells: [...document.querySelectorAll('#heat .plot')].map(plot => plot.data[0].z.length),
  rows: [...document.querySelectorAll('table.savings tbody tr')].filter(row => !row.hidden).length,
  trials: [...document.querySelectorAll('table.sortable tbody tr')].filter(row => !row.hidden).length,
})"""


def test_targets_and_sizes_are_filtered_by_keyboard_everywhere_and_the_address_keeps_it(
    browser: Browser, reports: dict[str, Path]
) -> None:
    found = visit(browser, reports["savings"])
    page = found.page
    whole = page.evaluate(SHOWN)
    page.locator(".filters summary").focus()
    page.keyboard.press("Enter")
    for kind, name in (("target", "faces"), ("size", "200")):
        choice = page.locator(f".filters button[data-kind={kind}][data-name='{name}']")
        choice.focus()
        page.keyboard.press("Space")
        drawn(page)
        assert choice.get_attribute("aria-pressed") == "false"
    assert page.locator(".filters [role=status]").inner_text() == "only target digits, 2 of 3 sizes"
    shown = page.evaluate(SHOWN)
    assert not [title for title in shown["panels"] if "faces" in title or "200 images" in title]
    assert {"digits, 50 images", "digits, 2,000 images", "All targets pooled"} <= set(shown["panels"])
    assert max(whole["points"]) == 72, "six cells, three strategies, four sources"
    assert max(shown["points"]) == 24, "two cells of them"
    assert [50, 200, 2000] in whole["sizes"]
    assert [50, 2000] in shown["sizes"]
    assert [50, 200, 2000] not in shown["sizes"]
    assert set(whole["cells"]) == {6}
    assert set(shown["cells"]) == {2}
    assert (whole["rows"], shown["rows"]) == (18, 6)
    assert whole["trials"] - shown["trials"] == 4 * 26, "pre-training stays"
    assert page.evaluate(OVERLAPS) == []

    page.goto("about:blank")
    page.goto(f"{reports['savings'].as_uri()}#hide-target=faces&hide-size=200")
    drawn(page)
    assert page.evaluate(SHOWN) == shown
    page.locator(".filters [role=status]").click()
    assert page.locator(".choices").is_visible(), "all of the bar opens it"
    page.locator(".filters .reset").click()
    drawn(page)
    assert page.evaluate(SHOWN) == whole
    assert "hide" not in page.url
    assert found.complaints == []
    page.context.close()


@pytest.mark.parametrize("name", ["faulty", "hostile"])
def test_a_trial_shows_all_that_is_known_of_it(browser: Browser, reports: dict[str, Path], name: str) -> None:
    found = visit(browser, reports[name], PHONE)
    page = found.page
    row = page.locator("table.sortable tbody tr", has_text="diverged" if name == "faulty" else "onerror=").last
    row.locator("a").focus()
    page.keyboard.press("Enter")
    told = page.locator("#dossier")
    told.locator("h3").wait_for()
    text = told.inner_text()
    assert row.locator("a").get_attribute("href") in page.url
    assert page.evaluate("document.activeElement.closest('section').id") == "trial"
    if name == "faulty":
        assert "the critic's loss is not finite at step 50" in text
        assert "0 of 200" in text or "50 of 200" in text
    else:
        assert "=x onerror=alert(1)>" in told.locator("h3").inner_text()
        assert told.locator("img[src=x], h3 img, dd img").count() == 0
        assert page.evaluate("[...document.querySelectorAll('#dossier img')].every(image => image.naturalWidth > 0)")
        assert told.locator("img").count() == 2
    told.locator(".js-line, path.point").first.wait_for(state="attached")
    assert "builtin:1a2b3c4d5e6f" in text
    assert {"python", "torch", "git commit"} <= set(told.locator("dt").all_inner_texts())
    assert re.search(r"training\s+steps 200", text)
    check(found, reports[name])
    page.context.close()


def test_samples_stand_side_by_side_at_equal_steps(browser: Browser, reports: dict[str, Path]) -> None:
    found = visit(browser, reports["quickstart"])
    wall = found.page.locator(".wall").first
    assert wall.locator("p").all_inner_texts() == [
        "Step 50, the last that all strategies reached",
        "Step 200, those that went on",
    ]
    first, last = (row.locator("figcaption b").all_inner_texts() for row in wall.locator(".grids").all())
    assert first[:2] == ["Real images", "scratch"]
    assert {name.split()[0] for name in first[2:]} == {"finetune", "finetune-d", "finetune-g"}
    assert set(last) < set(first)
    assert "drawn from the same latents" in found.page.locator("#samples").inner_text()
    found.page.context.close()


def test_the_table_sorts_by_number_and_keeps_the_missing_last(browser: Browser, reports: dict[str, Path]) -> None:
    found = visit(browser, reports["faulty"])
    heading = found.page.locator("table.sortable th", has_text="FID")
    cells = "() => [...document.querySelectorAll('.sortable tbody tr')].map(row => row.cells[8].textContent)"
    for direction in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == direction
        column = found.page.evaluate(cells)
        numbers = [float(text) for text in column if text]
        assert numbers == sorted(numbers, reverse=direction == "descending")
        assert all(not text for text in column[len(numbers) :])
    check(found, reports["faulty"])
    found.page.context.close()
