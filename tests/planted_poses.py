"""Examples whose first pixels tell their transformation, and transformers that read it there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from invariance_probe.data.examples.examples import Batch

CANVAS = 20
Rule = Callable[[Tensor, Tensor], Tensor]  # (applied (n, 3, 3), labels (n)) -> poses (n, 3, 3)


def turns(degrees: Tensor) -> Tensor:
    """Rotations (N, 3, 3), counter-clockwise on the screen."""
    cos, sin = torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))
    return matrices(cos, sin, -sin, cos)


def matrices(
    a: Tensor, b: Tensor, c: Tensor, d: Tensor, x: Tensor | float = 0, y: Tensor | float = 0
) -> Tensor:
    out = torch.eye(3, dtype=torch.float64).repeat(len(a), 1, 1)
    for (row, column), value in zip(
        [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2)], (a, b, c, d, x, y), strict=True
    ):
        out[:, row, column] = value
    return out


def warped(images: Tensor, transforms: Tensor) -> Tensor:
    """Content moved by transforms in pixels about the centre, zero beyond the edge."""
    size = images.shape[-1]
    inverse = torch.linalg.inv(transforms).float()
    inverse[:, :2, 2] *= 2 / size
    grid = functional.affine_grid(inverse[:, :2], list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


class PlantedExamples:
    """Glyphs of `classes` shapes under a law of transformations; a fresh pass for every seed."""

    description = "planted glyphs"
    channels = positions = 1
    canvas = (CANVAS, CANVAS)
    mean, std, background = (0.0,), (1.0,), (0.0,)
    fresh, sha256 = True, "planted"

    def __init__(
        self, law: str = "rotation", number: int = 60, classes: int = 3, limit: float = 90.0
    ) -> None:
        self.law, self.number, self.classes, self.limit = law, number, classes, limit

    def __len__(self) -> int:
        return self.number

    def to(self, device: torch.device | str) -> PlantedExamples:
        return self

    def transforms(self, seed: int) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        u, v = torch.rand(2, self.number, generator=draw, dtype=torch.float64) * 2 - 1
        zero, one = torch.zeros_like(u), torch.ones_like(u)
        if self.law == "rotation":
            return turns(self.limit * u)
        if self.law == "scaling":
            return matrices(2**u, zero, zero, 2**u)
        if self.law == "translation":
            return matrices(one, zero, zero, one, 6 * u, 3 * v)
        if self.law == "all":
            return matrices(one, zero, zero, one, 4 * v, 4 * u) @ (
                matrices(2 ** (v / 2), zero, zero, 2 ** (v / 2)) @ turns(self.limit * u)
            )
        return torch.eye(3, dtype=torch.float64).repeat(self.number, 1, 1)

    def draw(self, seed: int) -> SimpleNamespace:
        transforms, labels = self.transforms(seed), torch.arange(self.number) % self.classes

        def batch(indices: Sequence[int] | Tensor) -> Batch:
            which = torch.as_tensor(indices)
            images = warped(glyphs(labels[which]), transforms[which])
            images[:, 0, 0, :9] = transforms[which].flatten(1).float()
            images[:, 0, 0, 9] = labels[which].float()
            return Batch(images, labels[which], transforms[which])

        return SimpleNamespace(batch=batch)


def glyphs(labels: Tensor) -> Tensor:
    """An L whose foot is longer in later classes."""
    images = torch.zeros(len(labels), 1, CANVAS, CANVAS)
    images[:, :, 6:14, 8:10] = 1.0
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, 12:14, 8 : 11 + label] = 1.0
    return images


class Planted(nn.Module):
    """A transformer that reads the transformation applied from the pixels and follows a rule."""

    has_transformer = True

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def align(self, images: Tensor) -> SimpleNamespace:
        told = images[:, 0, 0].double()
        poses = self.rule(told[:, :9].reshape(-1, 3, 3), told[:, 9].long())
        shown = images.clone()
        shown[:, :, 0] = 0  # what tells is not part of the picture
        back = torch.linalg.inv(poses)
        return SimpleNamespace(images=warped(shown, poses), poses=poses, steps=(back, poses))


def knows(applied: Tensor, labels: Tensor) -> Tensor:
    return torch.linalg.inv(applied)


def idle(applied: Tensor, labels: Tensor) -> Tensor:
    return torch.eye(3, dtype=torch.float64).repeat(len(applied), 1, 1)


def half(applied: Tensor, labels: Tensor) -> Tensor:
    """Undoes half of a rotation, scaling or shift."""
    angle = torch.rad2deg(torch.atan2(applied[:, 0, 1], applied[:, 0, 0]))
    size = torch.linalg.det(applied) ** -0.25
    zero = torch.zeros_like(size)
    scaled = matrices(size, zero, zero, size) @ turns(-angle / 2)
    scaled[:, :2, 2] = -applied[:, :2, 2] / 2
    return scaled


def by_class(applied: Tensor, labels: Tensor) -> Tensor:
    """Brings each class to a pose of its own: turned, enlarged and shifted."""
    k = labels.double()
    zero = torch.zeros_like(k)
    own = matrices(1.2**k, zero, zero, 1.2**k, 2 * k, -k) @ turns(40 * k - 30)
    return own @ torch.linalg.inv(applied)


def noisy(sigma: float, seed: int = 0) -> Rule:
    """Undoes a rotation up to an error of `sigma` degrees."""

    def rule(applied: Tensor, labels: Tensor) -> Tensor:
        draw = np.random.default_rng([seed, int(1e6 * abs(float(applied[0, 0, 0])))])
        error = torch.as_tensor(draw.normal(0, sigma, len(applied)))
        return turns(error) @ torch.linalg.inv(applied)

    return rule
