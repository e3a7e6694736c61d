"""The report's scripts in a real browser: filters, the key, a trial's details, sorting of the table of trials."""

import re

import pytest
from playwright.sync_api import Browser, Page

from tests.support.pages import OVERLAPS, PHONE, Reports, check, drawn, visit


def test_the_key_filters_and_the_theme_follows(browser: Browser, reports: Reports) -> None:
    opened = visit(browser, reports["quickstart"])
    page = opened.page
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
    assert opened.complaints == []
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
    browser: Browser, reports: Reports
) -> None:
    opened = visit(browser, reports["savings"])
    page = opened.page
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
    assert opened.complaints == []
    page.context.close()


def check_the_address(page: Page) -> None:
    """Check that the address has the trial and the filters, whichever came first, and that an unknown trial is reported."""
    page.locator("#curves .key button[data-name=finetune-g]").click()
    assert re.search(r"#trial=\w+&hide-strategy=finetune-g$", page.url)
    before, pick = page.url, page.locator("#pick")
    pick.focus()
    pick.select_option(index=1)
    assert page.evaluate("document.activeElement.id") == "pick"
    page.go_back()
    assert page.url == before
    page.evaluate("location.hash = 'trial=0'")
    page.locator("#details", has_text="This page has no trial 0.").wait_for()
    assert page.url.endswith("#trial=0&hide-strategy=finetune-g")
    page.go_back()
    page.locator("#details h3").wait_for()


@pytest.mark.parametrize("name", ["faulty", "hostile"])
def test_a_trials_details_are_shown(browser: Browser, reports: Reports, name: str) -> None:
    opened = visit(browser, reports[name], PHONE)
    page = opened.page
    row = page.locator("table.sortable tbody tr", has_text="diverged" if name == "faulty" else "onerror=").last
    row.locator("a").focus()
    page.keyboard.press("Enter")
    details = page.locator("#details")
    details.locator("h3").wait_for()
    text = details.inner_text()
    assert row.locator("a").get_attribute("href") in page.url
    assert page.evaluate("document.activeElement.closest('section').id") == "trial"
    if name == "faulty":
        check_the_address(page)
        assert "the critic's loss is not finite at step 50" in text
        assert "0 of 200" in text or "50 of 200" in text
    else:
        assert "=x onerror=alert(1)>" in details.locator("h3").inner_text()
        assert details.locator("img[src=x], h3 img, dd img").count() == 0
        assert page.evaluate("[...document.querySelectorAll('#details img')].every(image => image.naturalWidth > 0)")
        assert details.locator("img").count() == 2
    details.locator(".js-line, path.point").first.wait_for(state="attached")
    assert "builtin:1a2b3c4d5e6f" in text
    assert {"python", "torch", "git commit"} <= set(details.locator("dt").all_inner_texts())
    assert re.search(r"training\s+steps 200", text)
    check(opened, reports[name])
    page.context.close()


def test_the_table_sorts_by_number_with_missing_values_last(browser: Browser, reports: Reports) -> None:
    opened = visit(browser, reports["faulty"])
    heading = opened.page.locator("table.sortable th", has_text="FID")
    cells = "() => [...document.querySelectorAll('.sortable tbody tr')].map(row => row.cells[8].textContent)"
    for direction in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == direction
        column = opened.page.evaluate(cells)
        numbers = [float(text) for text in column if text]
        assert numbers == sorted(numbers, reverse=direction == "descending")
        assert all(not text for text in column[len(numbers) :])
    check(opened, reports["faulty"])
    opened.page.context.close()
