"""Sections of the report in a real browser that only some stores have, and the filters of targets and sizes."""

import re

from playwright.sync_api import Page

from tests.support.pages import CLASSES, DESKTOP, OVERLAPS, PHONE, TABLET, Reports, See, check, drawn, files, unfold


def test_each_class_is_shown_if_there_are_classes(see: See, reports: Reports) -> None:
    opened = see("classes", PHONE)
    unfold(opened.page)
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
    assert sum("of the generator without its moving average" in title for title in titles) == 2


def test_effects_of_density_and_diversity_are_shown_if_sources_vary_them(see: See, reports: Reports) -> None:
    opened = see("knobs", TABLET)
    check(opened, reports["knobs"])
    assert opened.page.evaluate(OVERLAPS) == []
    table = opened.page.locator("#knobs table")
    assert table.locator("tbody tr td:nth-child(3)").all_inner_texts() == ["diversity", "density", "amount", "exchange"]
    assert table.locator("tbody tr td:nth-child(8)").all_inner_texts() == ["not told apart"] * 4, "six sources, one seed"
    answer = opened.page.locator("#answer").inner_text()
    assert "no effect on the gain at step 200 is told apart for diversity (×" in answer
    assert "Nearer sources, by FID of the real images, have the higher gain at step 200: mean rank correlation +" in answer
    assert "letters[classes=2,per_class=100]" in opened.page.locator("#distance").inner_text()
    assert 'href="#knobs"' not in reports["quickstart"].read_text(encoding="utf-8")


def test_savings_are_drawn_and_tabulated(see: See, reports: Reports) -> None:
    opened = see("savings", PHONE)
    check(opened, reports["savings"])
    page = opened.page
    assert page.locator("nav a[href='#savings']").count() == 1
    cells = page.locator("#curves .cell")
    assert [cells.nth(place).locator("details").count() for place in range(6)] == [0] + [1] * 5, "of many cells one is shown"
    folded = page.locator("#curves .cell details .plot")
    assert not folded.evaluate_all("plots => plots.some(plot => plot.data)"), "folded figures are not drawn yet"
    later = page.locator("#ranking table[data-rows]").evaluate_all(
        "tables => tables.map(table => table.tBodies[0].rows.length)"
    )
    assert later == [0, 0], "the tables of the last cells are drawn when they are unfolded"
    unfold(page)
    assert page.evaluate(OVERLAPS) == []
    ranking = page.locator("#ranking table")
    assert [table.locator("tbody tr").count() for table in ranking.all()] == [13] * 6
    looks = "tables => tables.map(table => [...table.rows[1].cells].map(cell => [cell.tagName, cell.className, cell.scope]))"
    assert len({str(look) for look in ranking.evaluate_all(looks)}) == 1, "drawn as they are written"
    assert page.locator("#curves .panel").count() == 6 * 4
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
    assert download.value.path().read_text() == files(reports["savings"].read_text(encoding="utf-8"))["data-multiplier.csv"]
    assert opened.complaints == []


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


def check_the_table_of_trials(page: Page) -> None:
    """Check that words and keys are found in it, and that its rows are drawn as far as it is scrolled."""
    rows, find, status = page.locator("table.sortable tbody tr"), page.locator("#find"), page.locator(".find [role=status]")
    find.fill("Faces finetune-d 2,000")
    assert status.inner_text() == "8 of 160 rows"
    assert all({"faces", "finetune-d", "2,000"} <= set(row.split("\t")) for row in rows.all_inner_texts())
    find.fill(page.evaluate("store.trials[70].key"))
    assert rows.count() == 1, "also by a whole key"
    find.fill("")
    assert (rows.count(), status.inner_text()) == (160, "160 rows")
    page.evaluate("table.tBodies[0].replaceChildren(); drawMore(60)")  # as if there were thousands
    assert status.inner_text() == "160 rows, of which the first 60 are drawn"
    page.evaluate("table.closest('.scroll').scrollTo(0, 1e6)")
    rows.nth(159).wait_for(state="attached")


def test_targets_and_sizes_are_filtered_by_keyboard_everywhere_and_the_address_keeps_it(see: See, reports: Reports) -> None:
    opened = see("savings", DESKTOP, address="#hide-target=faces&hide-size=200")
    page = opened.page
    status = page.locator(".filters [role=status]")
    assert status.inner_text() == "only target digits, 2 of 3 sizes"
    shown = page.evaluate(SHOWN)
    assert not [title for title in shown["panels"] if "faces" in title or "200 images" in title]
    assert {"digits, 50 images", "digits, 2,000 images", "All targets pooled"} <= set(shown["panels"])
    assert max(shown["points"]) == 24, "two of six cells, three strategies, four sources"
    assert [50, 2000] in shown["sizes"]
    assert [50, 200, 2000] not in shown["sizes"]
    assert set(shown["cells"]) == {2}
    assert shown["rows"] == 6

    status.click()
    assert page.locator(".choices").is_visible(), "all of the bar opens it"
    page.locator(".filters .reset").click()
    drawn(page)
    whole = page.evaluate(SHOWN)
    assert max(whole["points"]) == 72
    assert [50, 200, 2000] in whole["sizes"]
    assert set(whole["cells"]) == {6}
    assert whole["rows"] == 18
    assert whole["trials"] - shown["trials"] == 4 * 26, "pre-training stays"
    assert "hide" not in page.url
    assert page.evaluate(OVERLAPS) == []
    check_the_table_of_trials(page)

    page.locator(".filters summary").focus()
    page.keyboard.press("Enter")
    assert not page.locator(".choices").is_visible()
    page.keyboard.press("Enter")
    for kind, name in (("target", "faces"), ("size", "200")):
        choice = page.locator(f".filters button[data-kind={kind}][data-name='{name}']")
        choice.focus()
        page.keyboard.press("Space")
        drawn(page)
        assert choice.get_attribute("aria-pressed") == "false"
    assert page.evaluate(SHOWN) == shown
    assert page.url.endswith("#hide-target=faces&hide-size=200")
    assert opened.complaints == []
