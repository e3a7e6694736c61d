"""The published methods written plainly from their papers: float64, image by image, sums over pairs; the tests' references."""

import math

import torch
from torch import Tensor, nn


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


def projected(critic: nn.Module, image: Tensor, label: int) -> Tensor:
    """Return y^T V phi(x) + psi(phi(x)) of one image (3, H, W), a scalar (Miyato & Koyama 2018, equation 8).

    phi(x) is taken at the input of the critic's linear layer psi, and V is the class head's weight.
    """
    features: list[Tensor] = []
    hook = critic.get_submodule("score").register_forward_pre_hook(lambda _, inputs: features.append(inputs[0][0]))
    critic(image[None])
    hook.remove()
    psi, vectors = critic.get_submodule("score"), critic.get_submodule("classify")
    one_hot = torch.zeros(len(vectors.weight), dtype=image.dtype)
    one_hot[label] = 1
    return one_hot @ vectors.weight @ features[0] + (psi.weight[0] * features[0]).sum() + psi.bias[0]


def filter_modulated(weight: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Return the kernels (O, I, K, K) scaled by gamma (O, I) and shifted by beta (O, I), one by one (Zhao et al. 2020)."""
    rows = [[gamma[o, i] * weight[o, i] + beta[o, i] for i in range(weight.shape[1])] for o in range(weight.shape[0])]
    return torch.stack([torch.stack(row) for row in rows])


def inconsistency(ours: list[Tensor], theirs: list[Tensor], group: int = 4) -> Tensor:
    """Return CDC's divergence of the target's similarities from the source's, pair by pair (Ojha et al. 2021, equation 2).

    `ours` and `theirs` are the features (N, ...) of the target's and the source's generator by layer. As in the authors' code,
    it is the mean over images and their partners, of the terms of KL(source || target).
    """
    terms = []
    for target, source in zip(ours, theirs, strict=True):
        for start in range(0, len(target) - group + 1, group):
            for i in range(start, start + group):
                others = [j for j in range(start, start + group) if j != i]
                logits = [
                    torch.stack([_cosine(features[i], features[j]) for j in others]).exp() for features in (target, source)
                ]
                q, p = (each / each.sum() for each in logits)
                terms += [p[k] * (p[k].log() - q[k].log()) for k in range(len(others))]
    return torch.stack(terms).mean()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt())


def kernel_modulated(kernels: Tensor, rows: Tensor, columns: Tensor, kept: list[bool]) -> Tensor:
    """Return the kernels (O, I, K, K), those kept as constants times 1 + rows[o] * columns[j] (Zhao et al. 2022)."""
    changed = []
    for o, kernel in enumerate(kernels):
        entries = kernel.detach().flatten() if kept[o] else kernel.flatten()
        factors = [1 + rows[o] * column if kept[o] else 1 for column in columns]
        changed.append(torch.stack([entry * factor for entry, factor in zip(entries, factors, strict=True)]))
    return torch.stack(changed).view(kernels.shape)
