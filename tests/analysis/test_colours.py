"""The page's colours: their contrast on both pages by WCAG 2, and their distance as people with red-green blindness see them.

Dichromacy is simulated by the matrices of Machado, Oliveira and Fernandes (2009) at full severity, and distances are those of
CIE 1976 in L*a*b*. About 10 are easily told apart where colours touch; thin lines need more.
"""

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest

from analysis.figures.style import BETTER, NEUTRAL, PALETTE, WORSE

SEEN_BY = {
    "most": np.eye(3),
    "protanopes": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopes": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
_WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(color: str) -> np.ndarray:
    """Return the linear RGB of a colour such as #4274C7."""
    values = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2, from 1 to 21."""
    low, high = sorted(float(linear(color) @ _XYZ[1]) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(color: str, seen_by: str) -> np.ndarray:
    xyz = _XYZ @ np.clip(SEEN_BY[seen_by] @ linear(color), 0, 1) / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def pages() -> list[dict[str, str]]:
    """Return the variables of the light and of the dark page."""
    css = files("analysis.report").joinpath("templates/report.css").read_text()
    return [dict(re.findall(r"--(\w+): (#\w{6})", css[start : css.index("}", start)])) for start in (0, css.index("@media"))]


def test_the_formulas_give_published_values() -> None:
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01), "the darkest grey that is no AA text on white"
    assert lab("#FF0000", "most") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)


@pytest.mark.parametrize("page", pages(), ids=["light", "dark"])
def test_text_and_lines_stand_out_from_both_pages(page: dict[str, str]) -> None:
    for ground in (page["paper"], page["panel"]):
        for name in ("ink", "soft", "link", "done", "stopped", "bad", "waiting", "second"):
            assert contrast(page[name], ground) >= 4.5, (name, ground)
    for color in (*PALETTE, NEUTRAL):
        assert contrast(color, page["paper"]) >= 3, color


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_colours_used_together_are_told_apart_with_any_red_green_vision(seen_by: str) -> None:
    for one, other in combinations((*PALETTE, NEUTRAL), 2):
        assert np.linalg.norm(lab(one, seen_by) - lab(other, seen_by)) >= 25, (one, other)
    assert np.linalg.norm(lab(BETTER, seen_by) - lab(WORSE, seen_by)) >= 50
