"""Reports of stores of all kinds, and a visit to one in a real browser, offline."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from playwright.sync_api import Browser, Page

from analysis.report.page import write_report
from bench.store import Store, open_store
from tests.support.synthetic import build

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
        conditional=(False, True),
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
        sizes=(50,),
        conditional=(False, True),
        strategies=("scratch", "finetune", "finetune[from=unconditional]"),
        seeds=(0, 1),
        classes=CLASSES,
        ema=True,
    ),
    "savings": partial(
        build, sources=FAR, targets=("digits", "faces"), sizes=(50, 200, 2000), seeds=(0, 1), keep=1.0, images=False
    ),
    "empty": lambda root: open_store(str(root), create=True),
    "failed": _failed,
    "pending": _pending,
}


class Reports(dict[str, Path]):
    """The report of a store of each kind, written when it is first asked for."""

    def __init__(self, root: Path) -> None:
        """`root` is an empty folder."""
        self._root = root

    def __missing__(self, name: str) -> Path:
        store = STORES[name](self._root / name)
        replayed = REPLAYED if name == "quickstart" else None
        self[name] = write_report(store, self._root / f"{name}.html", replayed=replayed)
        return self[name]


@dataclass
class Visit:
    """A page opened in the browser, with everything it complained about or asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


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
