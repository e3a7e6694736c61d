"""The report's sections in a real browser: each tells what its store holds, and is absent where there is nothing to tell."""

import re
from collections.abc import Callable
from functools import cache

import pytest
from playwright.sync_api import Browser

from tests.support.pages import CLASSES, DESKTOP, OVERLAPS, PHONE, REPLAYED, TABLET, Reports, Visit, check, visit

#: Looks at the report of a kind of store, at a size.
See = Callable[[str, tuple[int, int]], Visit]


@pytest.fixture(scope="module")
def see(browser: Browser, reports: Reports) -> See:
    """Open each report once for each size: no test here changes what it sees."""
    return cache(lambda name, size: visit(browser, reports[name], size))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_classes_are_told_one_by_one_where_there_are_any(see: See, reports: Reports, size: tuple[int, int]) -> None:
    found = see("classes", size)
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


def test_without_classes_and_averages_nothing_is_said_of_them(see: See) -> None:
    found = see("quickstart", DESKTOP)
    assert found.page.locator("#classes, a[href='#classes']").count() == 0
    assert "(EMA)" not in found.page.locator("#curves").inner_text()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_other_metrics_and_the_best_distance_are_told(see: See, size: tuple[int, int]) -> None:
    found = see("quickstart", size)
    table = found.page.locator("#quality table").first
    assert table.locator("thead th").all_inner_texts()[3:] == ["FID ↓", "KID ↓", "recall ↑", "diversity", "memorisation"]
    assert len(table.locator("tbody tr").all()) == 4, "scratch, and three strategies with their best source"
    assert "0.400 ± 0.020" in table.inner_text()
    rows = found.page.locator("#distance .predictors tbody tr")
    names = rows.locator("th").all_inner_texts()
    real = {f"{kind} of the real images" for kind in ("FID", "KID", "recall")}
    assert set(names) == {*real, "FID of generated images"}
    assert all("+" in text for text in rows.locator("td:nth-child(2)").all_inner_texts())
    assert "ways to measure the distance" in found.page.locator("#answer").inner_text()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_what_density_and_diversity_did_is_told_where_sources_vary_them(
    see: See, reports: Reports, size: tuple[int, int]
) -> None:
    found = see("knobs", size)
    check(found, reports["knobs"])
    assert found.page.evaluate(OVERLAPS) == []
    table = found.page.locator("#knobs table")
    assert table.locator("tbody tr td:nth-child(3)").all_inner_texts() == ["diversity", "density", "amount", "exchange"]
    assert table.locator("tbody b").count() >= 1, "more classes are farther in this store, and so help less"
    assert "density, diversity, amount and spread of the source change the gain" in found.page.locator("#answer").inner_text()
    assert "letters 2×100" in found.page.locator("#distance").inner_text()
    assert "letters[classes=2,per_class=100]" in found.page.locator("#provenance").inner_text()
    assert see("quickstart", size).page.locator("#knobs, a[href='#knobs']").count() == 0


@pytest.mark.parametrize("size", [DESKTOP, TABLET, PHONE], ids=["desktop", "tablet", "phone"])
def test_what_a_start_saves_is_drawn_and_told(see: See, reports: Reports, size: tuple[int, int]) -> None:
    found = see("savings", size)
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


def test_what_stopping_saves_is_told_where_it_was_replayed(see: See, reports: Reports) -> None:
    found = see("quickstart", DESKTOP)
    section = found.page.locator("#stopping")
    assert section.locator("figcaption").inner_text() == (
        "Keeping 0.5 of the methods at each rung would have saved 43% of the steps, with the same winner in 4 of 4 cells, "
        "sources' order +0.80 (rank correlation). Labels: the share kept."
    )
    assert section.locator("path.point").count() == len(REPLAYED)
    for name in ("several", "empty"):
        assert "What stopping saves" not in reports[name].read_text(encoding="utf-8")


def test_samples_stand_side_by_side_at_equal_steps(see: See) -> None:
    found = see("quickstart", DESKTOP)
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
