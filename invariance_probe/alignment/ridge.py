"""Ridge regression of maps on maps, its weight chosen on folds of the images that are left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RIDGES = (*(10 ** (power / 2) for power in range(-16, 3)), math.inf)
"""Weights that are tried, fractions of the mean variance of what predicts."""

FOLDS = 4
"""Parts of the fit half, each left out once to choose how strongly a fit is held back."""

_EQUAL = 1e-9  # of what is predicted: errors nearer than this differ by rounding


@dataclass(frozen=True)
class Centred:
    """Σ z zᵀ, Σ y zᵀ and Σ y² about mean maps."""

    auto: Tensor
    cross: Tensor
    target: Tensor


def about_means(
    product: Tensor, images: Tensor, left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]
) -> Tensor:
    """Σ a bᵀ over images and cells about mean maps, from that about 0; `left` are (mean, Σ a)."""
    return product - left[0] @ right[1].T - (left[1] - images * left[0]) @ right[0].T


def gains_about(
    whole: Centred, splits: Sequence[tuple[Centred, Centred]], channels: int
) -> tuple[Tensor, list[Tensor], float]:
    """One gain per channel, those without each fold, and the ridge chosen."""

    def gains(of: Centred, ridge: float) -> Tensor:
        own, between = of.auto.diagonal()[:channels], of.cross.diagonal()
        weight = ridge * own.mean() if math.isfinite(ridge) else math.inf
        system = own + weight
        return torch.where(system > 0, between / system.clamp(min=1e-300), 0.0)

    def error(of: Centred, gain: Tensor) -> float:
        own, between = of.auto.diagonal()[:channels], of.cross.diagonal()
        return float((gain.square() * own - 2 * gain * between + of.target).sum())

    held_out = [sum(error(out, gains(rest, r)) for rest, out in splits) for r in RIDGES]
    energy = sum(float(out.target.sum()) for _, out in splits)
    ridge = RIDGES[_least(held_out, energy)]  # without folds all are equal, and nothing is added
    return gains(whole, ridge), [gains(rest, ridge) for rest, _ in splits], ridge


def ridge_about(
    whole: Centred,
    splits: Sequence[tuple[Centred, Centred]],
    about: Tensor,
    abouts: Sequence[Tensor],
    ridges: Sequence[float] | None = None,
) -> tuple[Tensor, list[Tensor], float]:
    """The weights that predict y from z, those without each fold, and the ridge chosen.

    Ridges pull towards `about`, `abouts` without each fold; without `splits` the last is taken.
    """
    ridges = ridges or RIDGES
    held_out = torch.zeros(len(ridges), dtype=torch.float64)
    solved = []
    for (rest, out), start in zip(splits, abouts, strict=True):
        values, basis = torch.linalg.eigh(rest.auto)
        values, pull = values.clamp(min=0), (rest.cross - start @ rest.auto) @ basis
        solved.append((values, basis, pull, start))
        turned = Centred(basis.T @ out.auto @ basis, out.cross @ basis, out.target)
        shrinkages = torch.stack([_shrinkage(values, ridge) for ridge in ridges])
        held_out += _left_by(shrinkages, pull, start @ basis, turned).cpu()
    ridge = ridges[_least(held_out.tolist(), sum(float(out.target.sum()) for _, out in splits))]
    each = [s + (p * _shrinkage(v, ridge)) @ b.T for v, b, p, s in solved]
    if math.isinf(ridge):
        return about, each, ridge
    weight = ridge * float(whole.auto.diagonal().mean())
    system = whole.auto + max(weight, 1e-300) * torch.eye(len(whole.auto)).to(whole.auto)
    step = torch.linalg.solve(system, (whole.cross - about @ whole.auto).T).T
    return about + step, each, ridge


def _left_by(shrinkages: Tensor, pull: Tensor, start: Tensor, out: Centred) -> Tensor:
    """Error of the weights start + pull·shrinkage for each row of shrinkages, a quadratic form."""
    before = start @ out.auto
    slope = (pull * (before - out.cross)).sum(0)
    fixed = (start * (before - 2 * out.cross)).sum() + out.target.sum()
    square = (shrinkages @ ((pull.T @ pull) * out.auto) * shrinkages).sum(1)
    return square + 2 * shrinkages @ slope + fixed


def _shrinkage(values: Tensor, ridge: float) -> Tensor:
    """What a ridge leaves of the way from the start along each direction, over its energy."""
    if math.isinf(ridge):
        return torch.zeros_like(values)
    weight = ridge * float(values.mean())
    return 1 / (values + weight) if weight > 0 else torch.zeros_like(values)


def _least(errors: Sequence[float], energy: float) -> int:
    """Number of the least error; of those equal but for rounding the largest ridge."""
    least = min(errors) + _EQUAL * energy
    return [n for n, error in enumerate(errors) if error <= least][-1]
