"""The report's look in a real browser, offline: every figure drawn, no overlaps, no requests."""

import pytest
from playwright.sync_api import Browser

from tests.support.pages import DESKTOP, FIGURES, HOSTILE, OVERLAPS, PHONE, Reports, check, visit


@pytest.mark.parametrize(("name", "size", "theme"), [
    ("quickstart", DESKTOP, "light"), ("quickstart", PHONE, "dark"), ("faulty", DESKTOP, "dark"), ("faulty", PHONE, "light"),
], ids=["quickstart-desktop-light", "quickstart-phone-dark", "faulty-desktop-dark", "faulty-phone-light"])  # fmt: skip
def test_every_figure_is_drawn_and_nothing_overlaps(
    browser: Browser, reports: Reports, name: str, size: tuple[int, int], theme: str
) -> None:
    opened = visit(browser, reports[name], size, theme)
    check(opened, reports[name])
    drawn = opened.page.evaluate(FIGURES)
    assert len(drawn) >= 12
    assert [figure["title"] for figure in drawn if not figure["marks"]] == []
    assert all(figure["size"]["height"] > 100 and figure["size"]["right"] <= size[0] for figure in drawn)
    assert opened.page.evaluate(OVERLAPS) == []
    assert opened.page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt)")
    opened.page.context.close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_several_targets_embeddings_and_seeds(browser: Browser, reports: Reports, size: tuple[int, int]) -> None:
    opened = visit(browser, reports["several"], size)
    check(opened, reports["several"])
    assert all(figure["marks"] for figure in opened.page.evaluate(FIGURES))
    assert opened.page.evaluate(OVERLAPS) == []
    assert "In the embedding inception:2" in opened.page.locator("#answer").inner_text()
    opened.page.context.close()


def test_hostile_names_are_harmless(browser: Browser, reports: Reports) -> None:
    opened = visit(browser, reports["hostile"])
    check(opened, reports["hostile"])
    text = opened.page.locator("body").inner_text()
    assert all(name in text for name in HOSTILE)
    assert opened.page.locator("img[src=x], .plot a, .plot b, dd b").count() == 0
    assert any("script><b>" in label for label in opened.page.locator(".plot .xtick text").all_text_contents())
    opened.page.context.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "This store holds no trial yet."),
        ("failed", "All 2 trials failed or were blocked"),
        ("pending", "Nothing has been measured yet"),
    ],
)
def test_a_store_without_results_says_so(browser: Browser, reports: Reports, name: str, words: str) -> None:
    opened = visit(browser, reports[name], PHONE)
    check(opened, reports[name])
    text = opened.page.locator("body").inner_text()
    assert words in text
    assert opened.page.locator(".plot, svg").count() == 0
    if name == "failed":
        assert "1 failed: OSError: <b>disk</b> is full" in text
    opened.page.context.close()
