"""The report's sections in a real browser: each shows what the store has, and is absent if that is nothing."""

import re
from collections.abc import Callable
from functools import cache

import pytest
from playwright.sync_api import Browser

from tests.support.pages import CLASSES, DESKTOP, OVERLAPS, PHONE, REPLAYED, TABLET, Reports, Visit, check, visit

#: Opens the report of a kind of store in a window of a size.
See = Callable[[str, tuple[int, int]], Visit]


@pytest.fixture(scope="module")
def see(browser: Browser, reports: Reports) -> See:
    """Open each report once for each size: no test here changes the page."""
    return cache(lambda name, size: visit(browser, reports[name], size))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_each_class_is_shown_if_there_are_classes(see: See, reports: Reports, size: tuple[int, int]) -> None:
    opened = see("classes", size)
    check(opened, reports["classes"])
    section = opened.page.locator("#classes")
    assert section.locator(".plot").count() == 1
    shown = section.locator(".plot .xtick text").all_text_contents()
    assert shown[:2] == ["mean", "<img src…"]
    assert len(shown) == 1 + len(CLASSES)
    assert section.locator("img").count() == 0
    rows = section.locator(".plot .ytick text").all_text_contents()
    assert len(rows) == 3
    assert "means over up to 2 seeds" in section.inner_text()
    assert "from 100 generated images of a class" in section.inner_text()
    answer = opened.page.locator("#answer").inner_text()
    assert "fine-tuning both networks from numerals" in answer
    assert f"in {len(CLASSES)} of {len(CLASSES)} classes" in answer
    assert "FID of a class is computed from as few as 100 images" in answer
    titles = opened.page.locator("#curves h4").all_inner_texts()
    assert sum(title.endswith("(raw)") for title in titles) == 2


def test_classes_and_averages_are_absent_if_not_measured(see: See) -> None:
    opened = see("quickstart", DESKTOP)
    assert opened.page.locator("#classes, a[href='#classes']").count() == 0
    assert "(raw)" not in opened.page.locator("#curves").inner_text()


def test_other_metrics_and_the_best_distance_are_shown(see: See) -> None:
    opened = see("quickstart", DESKTOP)
    table = opened.page.locator("#quality table").first
    assert table.locator("thead th").all_inner_texts()[3:] == ["FID ↓", "KID ↓", "recall ↑", "diversity", "memorisation"]
    assert len(table.locator("tbody tr").all()) == 4, "scratch, and three strategies with their best source"
    assert "0.400 ± 0.020" in table.inner_text()
    assert opened.page.locator("#distance .predictors").count() == 0, "one target with four sources cannot test a predictor"
    assert "cannot be tested with 4 sources" in opened.page.locator("#answer").inner_text()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_effects_of_density_and_diversity_are_shown_if_sources_vary_them(
    see: See, reports: Reports, size: tuple[int, int]
) -> None:
    opened = see("knobs", size)
    check(opened, reports["knobs"])
    assert opened.page.evaluate(OVERLAPS) == []
    table = opened.page.locator("#knobs table")
    assert table.locator("tbody tr td:nth-child(3)").all_inner_texts() == ["diversity", "density", "amount", "exchange"]
    assert table.locator("tbody tr td:nth-child(8)").all_inner_texts() == ["not told apart"] * 4, "six sources, one seed"
    answer = opened.page.locator("#answer").inner_text()
    assert "no effect on the gain at step 200 is told apart for diversity (×" in answer
    assert "Nearer sources, by FID of the real images, have the higher gain at step 200: mean rank correlation +" in answer
    assert "letters 2×100" in opened.page.locator("#distance").inner_text()
    assert "letters[classes=2,per_class=100]" in opened.page.locator("#provenance").inner_text()
    assert see("quickstart", DESKTOP).page.locator("#knobs, a[href='#knobs']").count() == 0


@pytest.mark.parametrize("size", [TABLET, PHONE], ids=["tablet", "phone"])  # on the desktop, see test_page_scripts
def test_savings_are_drawn_and_tabulated(see: See, reports: Reports, size: tuple[int, int]) -> None:
    opened = see("savings", size)
    check(opened, reports["savings"])
    page = opened.page
    assert page.evaluate(OVERLAPS) == []
    assert page.locator("nav a[href='#savings']").count() == 1
    rows = page.locator("table.savings tbody tr")
    assert rows.count() == 18, "six cells, three strategies with their best source each"
    texts = rows.all_inner_texts()
    assert all("from" in text for text in texts)
    assert any(re.search(r"\t\d\.\d×\tat (least|most) \d", text) for text in texts), "a multiplier within the sizes"
    assert any("at least 40.0×" in text for text in texts)
    multipliers = (
        "() => [...document.querySelectorAll('#size .plot')].map(p => p.data.filter(t => t.line.dash === '2px,3px').length)"
    )
    assert [number > 5 for number in page.evaluate(multipliers)] == [True, True, False] * 2 + [False] * 2, "nearest and best"
    sources = page.locator("table.sources tbody tr").all_inner_texts()
    assert len(sources) == 12
    assert sum("\tfirst\t" in text for text in sources) == 3, "one of each strategy"
    headings = page.locator("table.sources th").all_inner_texts()
    assert {"95 % interval", "p, corrected", "outcome", "regret", "behind the first"} <= set(headings)
    with page.expect_download() as download:
        page.locator("a[download='data-multiplier.csv']").click()
    assert download.value.suggested_filename == "data-multiplier.csv"
    assert opened.complaints == []


def test_savings_of_stopping_are_shown_if_replayed(see: See, reports: Reports) -> None:
    opened = see("quickstart", DESKTOP)
    section = opened.page.locator("#stopping")
    assert section.locator("figcaption").inner_text() == (
        "Keeping 0.5 of the methods at each rung would have saved 43% of the steps, with the same winner in 4 of 4 cells "
        "and a rank correlation of the sources' order of +0.80. Labels: the share kept."
    )
    assert section.locator("path.point").count() == len(REPLAYED)
    for name in ("several", "empty"):
        assert "What stopping saves" not in reports[name].read_text(encoding="utf-8")


def test_samples_are_side_by_side_at_equal_steps(see: See) -> None:
    opened = see("quickstart", DESKTOP)
    wall = opened.page.locator(".wall").first
    assert wall.locator("p").all_inner_texts() == [
        "Step 50, the last that all strategies reached",
        "Step 200, reached by the longer trials",
    ]
    first, last = (row.locator("figcaption b").all_inner_texts() for row in wall.locator(".grids").all())
    assert first[:2] == ["Real images", "scratch"]
    assert {name.split()[0] for name in first[2:]} == {"finetune", "finetune-d", "finetune-g"}
    assert set(last) < set(first)
    assert "drawn from the same latents" in opened.page.locator("#samples").inner_text()
