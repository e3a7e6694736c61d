"""Reports of all kinds of stores, and a visit to one in a real browser, offline."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from playwright.sync_api import Browser, Page

from analysis.report.packed import unpacked
from analysis.report.page import write_report
from bench.store import Store, open_store
from tests.support.synthetic import build

#: Milliseconds that a page may take on a busy machine.
PATIENCE = 120_000

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

CLASSES = ("<img src=x onerror=alert(1)>", "b", "a very long name of a class", *"cdefghijklmnopqrstuvw")


def _failed(root: Path) -> Store:
    store = open_store(str(root), create=True)
    broken = {"key": "a", "kind": "pretrain", "status": "failed", "error": "OSError: <b>disk</b> is full", **_ROW}
    child = {"key": "b", "kind": "adapt", "target": "digits", "strategy": "finetune", "cell": "c", "status": "blocked", **_ROW}
    store.append("trials", "bad", [broken, {**child, "error": "its parent failed"}])
    return store


def _pending(root: Path) -> Store:
    store = open_store(str(root), create=True)
    store.write_sweep("later", {"spec": {}, "trials": [{**_ROW, "key": "p", "kind": "pretrain"}]})
    return store


_ROW = {"conditional": False, "seed": 0, "steps": 0, "budget": 100, "resolution": 16, "size": 10, "source": "letters"}

#: Writes a store of each kind into a folder.
STORES: dict[str, Callable[[Path], Store]] = {
    "quickstart": build,
    "faulty": partial(build, faults=True),
    "hostile": partial(build, sources=HOSTILE, targets=("folder:/y/<a href='javascript:alert(1)'>t",)),
    "several": partial(
        build,
        targets=("digits", "faces"),
        embeddings=("builtin:1", "inception:2"),
        seeds=(0, 1),
        sizes=(50,),
        strategies=("scratch", "finetune", "finetune-d"),
    ),
    "knobs": partial(
        build,
        sources={f"letters[classes={c},per_class={m}]": 10.0 * c + m / 40 for c in (2, 4, 8) for m in (100, 200)},
        strategies=("scratch", "finetune"),
        sizes=(50,),
        keep=1.0,
        images=False,
    ),
    "classes": partial(
        build,
        sources={"letters": 42.0, "numerals": 18.0},
        sizes=(50,),
        conditional=(False, True),
        strategies=("scratch", "finetune", "finetune[from=unconditional]"),
        seeds=(0, 1),
        classes=CLASSES,
        raw=True,
    ),
    "savings": partial(
        build, sources=FAR, targets=("digits", "faces"), sizes=(50, 200, 2000), seeds=(0, 1), keep=1.0, images=False
    ),
    "empty": lambda root: open_store(str(root), create=True),
    "failed": _failed,
    "pending": _pending,
}


class Reports(dict[str, Path]):
    """The report of each kind of store, written on first use by the first of several processes."""

    def __init__(self, root: Path) -> None:
        """`root` is a folder that contains nothing but these stores and reports."""
        self._root = root

    def __missing__(self, name: str) -> Path:
        self[name] = self._root / f"{name}.html"
        with FileLock(self._root / f"{name}.lock"):
            if not self[name].exists():
                shutil.rmtree(self._root / name, ignore_errors=True)  # of a process that failed
                write_report(STORES[name](self._root / name), self[name], replayed=REPLAYED if name == "quickstart" else None)
        return self[name]


@dataclass
class Visit:
    """A page opened in the browser, with its errors, console messages and dialogs, and its requests."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


#: Opens the report of a kind of store in a window of a size, once for all tests of a module.
See = Callable[..., Visit]


def visit(browser: Browser, path: Path, size: tuple[int, int] = DESKTOP, theme: Any = "light", address: str = "") -> Visit:
    phone = size == PHONE
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=theme, is_mobile=phone, has_touch=phone
    )
    context.set_offline(True)
    context.set_default_timeout(PATIENCE)
    opened = Visit(context.new_page())
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("dialog", lambda dialog: (opened.complaints.append(dialog.message), dialog.dismiss()))
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.goto(path.as_uri() + address)
    if opened.page.locator(".plot").count():
        drawn(opened.page)
    return opened


def drawn(page: Page) -> None:
    """Wait until the figures are drawn for the current filters."""
    page.wait_for_selector("html[data-drawn=yes]", state="attached", timeout=PATIENCE)


def unfold(page: Page) -> None:
    """Open everything that is folded, and wait until the figures in it are drawn."""
    page.evaluate("for (const details of document.querySelectorAll('main details')) details.open = true")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")  # their events are behind
    drawn(page)


def check(opened: Visit, path: Path) -> None:
    """Assert that a page has no complaints, makes no requests and is no wider than the screen."""
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [path.as_uri()]
    width, inner = opened.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner


def files(page: str) -> dict[str, str]:
    """Return the files that links of a page save, by name."""
    links = re.findall(r'<a download="([\w-]+\.csv)\.gz" href="data:application/gzip;base64,([^"]+)"', page)
    return {name: unpacked(data) for name, data in links}


def trials_of(page: str) -> dict[str, Any]:
    """Return the trials of a page, as columns; see `analysis.report.content.trials.view`."""
    match = re.search(r'id="trials-packed">([^<]+)<', page)
    assert match
    columns: dict[str, Any] = json.loads(unpacked(match[1]))
    return columns


FIGURES = """() => [...document.querySelectorAll('.plot')].map(plot => ({
  title: plot.closest('figure').querySelector('h4').textContent,
  marks: plot.querySelectorAll('.scatterlayer path.point, .scatterlayer path.js-line, .heatmaplayer image').length,
  strip: plot.closest('.panel').previousElementSibling !== null && getComputedStyle(plot.closest('.panels')).display === 'flex',
  size: plot.querySelector('svg.main-svg').getBoundingClientRect().toJSON(),
}))"""

# Texts of a drawn figure that overlap each other or its plotting area (only labels of points may), or are outside the figure.
OVERLAPS = """() => [...document.querySelectorAll('.plot')].filter(plot => plot.data).flatMap(plot => {
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
