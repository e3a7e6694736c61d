"""The report in a real browser, offline: figures are drawn and do not overlap, scripts work, names are harmless."""

import re

import pytest
from playwright.sync_api import Page

from tests.support.pages import DESKTOP, FIGURES, HOSTILE, OVERLAPS, PHONE, REPLAYED, Reports, See, check, drawn, unfold


@pytest.mark.parametrize(("name", "size", "theme"), [
    ("quickstart", DESKTOP, "light"), ("quickstart", PHONE, "dark"), ("faulty", DESKTOP, "dark"), ("faulty", PHONE, "light"),
], ids=["quickstart-desktop-light", "quickstart-phone-dark", "faulty-desktop-dark", "faulty-phone-light"])  # fmt: skip
def test_every_figure_is_drawn_and_nothing_overlaps(
    see: See, reports: Reports, name: str, size: tuple[int, int], theme: str
) -> None:
    opened = see(name, size, theme)
    check(opened, reports[name])
    figures = opened.page.evaluate(FIGURES)
    assert len(figures) >= 12
    assert [figure["title"] for figure in figures if not figure["marks"]] == []
    assert all(figure["size"]["height"] > 100 and (figure["strip"] or figure["size"]["right"] <= size[0]) for figure in figures)
    assert opened.page.evaluate(OVERLAPS) == []
    assert opened.page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt)")
    wide = "strip => strip.checkVisibility() && strip.scrollWidth > strip.clientWidth + 2 && !strip.classList.contains('after')"
    strips = opened.page.locator(".scroll, .panels, .grids")
    assert strips.evaluate_all(f"strips => strips.filter({wide}).length") == 0, "what goes on beyond an edge fades out there"
    if size == PHONE:
        assert opened.page.evaluate("document.documentElement.scrollHeight") < 8000
    if name == "quickstart":
        check_the_first_screen(opened.page, size)


def check_the_first_screen(page: Page, size: tuple[int, int]) -> None:
    """Check that three square pictures of one size stand in a row above the fold, enlarged without blur, with the figure."""
    boxes = [image.bounding_box() for image in page.locator(".first img").all()]
    assert len(boxes) == 3
    assert len({(box["y"], round(box["width"]), round(box["height"])) for box in boxes if box}) == 1
    assert all(box and abs(box["width"] - box["height"]) < 1 and box["y"] + box["height"] < size[1] for box in boxes)
    assert (
        page.locator(".first img").evaluate_all("all => all.map(e => getComputedStyle(e).imageRendering)") == ["pixelated"] * 3
    )
    figure = page.locator(".first .plot svg.main-svg").first.bounding_box()
    assert figure is not None
    assert figure["y"] + figure["height"] < size[1]


def test_several_targets_embeddings_and_seeds(see: See, reports: Reports) -> None:
    opened = see("several", PHONE)
    check(opened, reports["several"])
    assert all(figure["marks"] for figure in opened.page.evaluate(FIGURES))
    assert opened.page.evaluate(OVERLAPS) == []
    assert "In the embedding inception:2" in opened.page.locator("#answer").inner_text()


def test_classes_and_averages_are_absent_if_not_measured(see: See) -> None:
    opened = see("quickstart", DESKTOP)
    assert opened.page.locator("#classes, a[href='#classes']").count() == 0
    assert "moving average" not in opened.page.locator("#curves").inner_text()


def test_other_metrics_and_the_best_distance_are_shown(see: See) -> None:
    opened = see("quickstart", DESKTOP)
    table = opened.page.locator("#quality table").first
    assert table.locator("thead th").all_inner_texts()[3:] == ["FID ↓", "KID ↓", "recall ↑", "diversity", "memorisation"]
    assert len(table.locator("tbody tr").all()) == 4, "scratch, and three strategies with their best source"
    assert "0.400 ± 0.020" in table.inner_text()
    assert opened.page.locator("#distance .predictors").count() == 0, "one target with four sources cannot test a predictor"
    assert "cannot be tested with 4 sources" in opened.page.locator("#answer").inner_text()


def test_savings_of_stopping_are_shown_if_replayed(see: See, reports: Reports) -> None:
    opened = see("quickstart", DESKTOP)
    section = opened.page.locator("#stopping")
    assert section.locator("figcaption").inner_text() == (
        "Keeping 0.5 of the methods at each rung would have saved 43% of the steps, with the same winner in 4 of 4 cells "
        "and a rank correlation of the sources' order of +0.80. Labels: the share kept."
    )
    assert section.locator("path.point").count() == len(REPLAYED)
    for name in ("several", "empty"):
        assert 'id="stopping"' not in reports[name].read_text(encoding="utf-8")


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
    assert "drawn from the same latents" in (opened.page.locator("#samples").text_content() or "")


def test_hostile_names_are_harmless(see: See, reports: Reports) -> None:
    opened = see("hostile", PHONE)
    unfold(opened.page)
    check(opened, reports["hostile"])
    text = opened.page.locator("body").inner_text()
    assert all(name in text for name in HOSTILE)
    assert opened.page.locator("img[src=x], .plot a, .plot b, dd b").count() == 0
    assert any("script><b>" in label for label in opened.page.locator(".plot .xtick text").all_text_contents())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "This store holds no trial yet."),
        ("failed", "All 2 trials failed or were blocked"),
        ("pending", "Nothing has been measured yet"),
    ],
)
def test_a_store_without_results_says_so(see: See, reports: Reports, name: str, words: str) -> None:
    opened = see(name, PHONE)
    check(opened, reports[name])
    text = opened.page.locator("body").inner_text()
    assert words in text
    assert opened.page.locator(".plot, svg").count() == 0
    if name == "failed":
        assert "1 failed: OSError: <b>disk</b> is full" in text


def test_the_key_filters_and_the_theme_follows(see: See) -> None:
    opened = see("quickstart", DESKTOP)
    page = opened.page
    visible = "() => document.querySelectorAll('#curves .plot .scatterlayer .trace').length"
    before = page.evaluate(visible)
    page.locator(".filters summary").click()
    entry = page.locator(".filters button[data-name=finetune-g]")
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
    page.wait_for_function(f"light => ({color})() !== light", arg=light)
    page.emulate_media(color_scheme="light")
    assert opened.complaints == []


def check_the_address(page: Page) -> None:
    """Check that the address has the trial and the filters, whichever came first, and that an unknown trial is reported."""
    page.locator(".filters summary").click()
    page.locator(".filters button[data-name=finetune-g]").click()
    assert re.search(r"#trial=\w+&hide-strategy=finetune-g$", page.url)
    before, pick = page.url, page.locator("#pick")
    pick.focus()
    pick.select_option(index=1)
    assert page.evaluate("document.activeElement.id") == "pick"
    page.go_back()
    assert page.url == before
    page.evaluate("location.hash = 'trial=x'")
    page.locator("#details", has_text="This page has no trial x.").wait_for()
    assert page.url.endswith("#trial=x&hide-strategy=finetune-g")
    page.go_back()
    page.locator("#details h3").wait_for()


def check_a_shortened_key(page: Page) -> None:
    """Check that the beginning of a key finds its trial if no other trial's key begins so, and else names those that do."""
    keys = page.evaluate("store.trials.map(trial => trial.key)")
    printed = page.locator("table.sortable tbody tr td code").first.inner_text()
    assert len(printed) == 10
    page.evaluate("key => { location.hash = `trial=${key}` }", printed)
    page.locator("#details dd code", has_text=printed).wait_for()
    begin = next(key[0] for key in keys if sum(other[0] == key[0] for other in keys) > 1)
    page.evaluate("key => { location.hash = `trial=${key}` }", begin)
    many = page.locator("#details .notice", has_text=f"have a key that begins with {begin}")
    many.wait_for()
    assert {link.get_attribute("href") for link in many.locator("a").all()} <= {
        f"#trial={key}" for key in keys if key[0] == begin
    }


def check_two_trials(page: Page) -> None:
    """Check that two trials are shown side by side, and their samples at the step of the slider."""
    done = page.evaluate("store.trials.filter(trial => trial.status === 'done' && trial.samples).map(trial => trial.key)")
    page.evaluate("keys => { location.hash = `trial=${keys[0]}&beside=${keys[1]}` }", done[:2])
    details = page.locator("#details")
    details.locator("table.two").first.wait_for()
    assert [page.locator(f"#{name}").input_value() for name in ("pick", "beside")] == done[:2]
    assert all(key in details.locator("table.two").first.inner_text() for key in done[:2])
    assert details.locator("table.two b").count() > 1, "what differs is bold"
    grids, slider = details.locator(".grids img"), details.locator("input[type=range]")
    assert grids.count() == 3, "both, and real images"
    last = [image.get_attribute("src") for image in grids.all()]
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert details.locator("output").inner_text() == "step 50"
    assert all("step 50, FID " in text for text in details.locator(".grids figcaption").all_inner_texts()[:2])
    first = [image.get_attribute("src") for image in grids.all()]
    assert (first[0] != last[0], first[2] == last[2]) == (True, True)
    page.locator("#beside").select_option(index=0)
    assert page.url.endswith(f"#trial={done[0]}&hide-strategy=finetune-g")
    assert details.locator("table.two").count() == 0
    start = page.evaluate("store.trials.find(trial => trial.status === 'done' && trial.name.startsWith('finetune')).key")
    page.locator("#pick").select_option(value=start)
    details.locator("a", has_text="Beside scratch").click()
    details.locator("table.two").first.wait_for()
    assert page.evaluate("store.trials.find(trial => trial.key === besides.value).name").startswith("scratch: ")


@pytest.mark.parametrize("name", ["faulty", "hostile"])
def test_a_trials_details_are_shown(see: See, reports: Reports, name: str) -> None:
    opened = see(name, PHONE)
    page = opened.page
    unfold(page)
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
        check_a_shortened_key(page)
        check_two_trials(page)
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


def test_the_table_sorts_by_number_with_missing_values_last(see: See, reports: Reports) -> None:
    opened = see("faulty", DESKTOP, "dark")
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
