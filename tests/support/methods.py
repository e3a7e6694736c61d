"""The published methods written plainly from their papers: float64, image by image, sums over pairs; the tests' references."""

import math


def lecam(steps: list[tuple[list[float], list[float]]], decay: float = 0.99) -> list[float]:
    """Return R_LC at each step from the scores of its real and generated images (Tseng et al. 2021, equation 7).

    The anchors are exponential moving averages of the steps' mean scores, corrected for their start at zero.
    """
    found = []
    for now in range(len(steps)):
        weights = [decay ** (now - then) for then in range(now + 1)]
        anchors = []
        for kind in (0, 1):
            means = [math.fsum(step[kind]) / len(step[kind]) for step in steps[: now + 1]]
            anchors.append(math.fsum(w * m for w, m in zip(weights, means, strict=True)) / math.fsum(weights))
        real, generated = steps[now]
        first = math.fsum((score - anchors[1]) ** 2 for score in real) / len(real)
        second = math.fsum((score - anchors[0]) ** 2 for score in generated) / len(generated)
        found.append(first + second)
    return found
