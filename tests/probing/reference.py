"""The ladder from its definitions, image by image: slow, and shares only `warp` with the probe."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from invariance_probe.data import ImageSet
from invariance_probe.geometry import Frame, Transform, identity, translation, warp
from invariance_probe.probing import Options


def halves(number: int, seed: int) -> tuple[list[int], list[int]]:
    """Fit half and evaluation half, in the order in which they were drawn."""
    order = [int(i) for i in np.random.default_rng(seed).permutation(number)]
    return order[: number // 2], order[number // 2 :]


def frame_of(convolutions: Sequence[tuple[int, int]], canvas: tuple[int, int]) -> Frame:
    """The grid after convolutions or pools (kernel, stride) without padding, by arithmetic."""
    jumps, starts, sizes = [], [], []
    for length in canvas[::-1]:
        jump, start, size = 1.0, -(length - 1) / 2, length
        for kernel, stride in convolutions:
            start += jump * (kernel - 1) / 2
            jump *= stride
            size = (size - kernel) // stride + 1
        jumps.append(jump)
        starts.append(start)
        sizes.append(size)
    return Frame((jumps[0], jumps[1]), (starts[0], starts[1]), (sizes[1], sizes[0]))


def cells_of(
    frame: Frame, moves: Sequence[Transform], canvas: tuple[int, int], erode: float
) -> np.ndarray:
    """V: cells whose h(x) and h⁻¹(x) stay inside the canvas and half a cell around the map."""

    def inside(x: float, y: float) -> bool:
        slack = 1e-6
        if abs(x) > canvas[1] / 2 - erode + slack or abs(y) > canvas[0] / 2 - erode + slack:
            return False
        u = (x - frame.start[0]) / frame.jump[0]
        v = (y - frame.start[1]) / frame.jump[1]
        rows, columns = frame.size
        return (
            -0.5 - slack <= u <= columns - 0.5 + slack and -0.5 - slack <= v <= rows - 0.5 + slack
        )

    cells = np.zeros(frame.size, dtype=bool)
    for v in range(frame.size[0]):
        for u in range(frame.size[1]):
            x, y = frame.jump[0] * u + frame.start[0], frame.jump[1] * v + frame.start[1]
            places = [np.array([x, y, 1.0])]
            for move in moves:
                places += [move.matrix @ places[0], np.linalg.inv(move.matrix) @ places[0]]
            cells[v, u] = all(inside(place[0], place[1]) for place in places)
    return cells


@dataclass
class Reference:
    """One layer's numbers; `features` is the network up to the layer, in float64."""

    features: Callable[[Tensor], Tensor]
    frame: Frame
    images: ImageSet
    moves: Sequence[Transform]
    options: Options
    mean: float = 0.0
    std: float = 1.0
    cells: np.ndarray = field(init=False)
    weights: np.ndarray = field(init=False)
    _seen: dict[tuple, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fit, self.evaluation = halves(len(self.images), self.options.seed)
        self.cells = cells_of(self.frame, self.moves, self.images.canvas, self.frame.margin)
        originals = [self.original(n) for n in self.fit]
        self.weights = np.ones(originals[0].shape[1])
        if self.options.weighting == "channel":
            values = np.stack([self.chosen(maps) for maps in originals])  # (N, C, V)
            deviation = values.std(axis=(0, 2))
            alive = deviation > 1e-6 * deviation.max()
            self.weights = np.array(
                [1 / s if good else 0.0 for s, good in zip(deviation, alive, strict=True)]
            )

    def shown(self, number: int, move: Transform | None) -> Tensor:
        """The canvas of image n under a transformation, before normalisation."""
        source = self.images.batch([number]).double()
        if move is None:
            top = (source.shape[2] - self.images.canvas[0]) // 2
            left = (source.shape[3] - self.images.canvas[1]) // 2
            rows, columns = self.images.canvas
            return source[:, :, top : top + rows, left : left + columns]
        return self.moved(source, move)

    def moved(self, images: Tensor, move: Transform) -> Tensor:
        edge = self.images.background
        beyond = {"beyond": "reflect"} if edge == "reflect" else {"beyond": "fill", "fill": edge}
        return warp(
            images, move, size=self.images.canvas,
            interpolation=self.options.image_interpolation, **beyond,
        )  # fmt: skip

    def maps(self, canvas: Tensor) -> Tensor:
        with torch.no_grad():
            return self.features((canvas - self.mean) / self.std)

    def original(self, number: int) -> Tensor:
        return self.maps(self.shown(number, None))

    def shifted(self, number: int, h: Transform | None, x: float, y: float) -> Tensor:
        """The map of the image of which content is moved by (x, y) px more."""
        return self.maps(self.moved(self.images.batch([number]).double(), translation(x, y) @ h))

    def finer(self, number: int, h: Transform) -> Tensor:
        """The map at points k to a cell: that of the image moved so that they lie on cells."""
        k, (jx, jy) = self.options.dense, self.frame.jump
        found = None
        for row in range(k):
            for column in range(k):
                x, y = ((k // 2 - column) * jx / k, (k // 2 - row) * jy / k)
                own = self.shifted(number, h, x, y)
                if found is None:
                    rows, columns = own.shape[2:]
                    found = own.new_zeros(1, own.shape[1], rows, k, columns, k)
                found[:, :, :, row, :, column] = own
        return found.reshape(1, -1, rows * k, columns * k)

    @property
    def source(self) -> Frame:
        """The grid of `finer`."""
        k, frame = self.options.dense, self.frame
        start = [s - k // 2 * j / k for s, j in zip(frame.start, frame.jump, strict=True)]
        jump = (frame.jump[0] / k, frame.jump[1] / k)
        return Frame(jump, (start[0], start[1]), (frame.size[0] * k, frame.size[1] * k))

    def on_map(
        self, maps: Tensor, g: Transform, antialias: bool = False, onto: Frame | None = None
    ) -> Tensor:
        own = tuple(maps.shape[-2:]) == self.frame.size
        return warp(
            maps, g, frame=self.frame if own else self.source, onto=onto,
            interpolation=self.options.map_interpolation, antialias=antialias, beyond="nearest",
        )  # fmt: skip

    def chosen(self, maps: Tensor) -> np.ndarray:
        """(C, V)"""
        return maps[0].numpy()[:, self.cells]

    def weighted(self, maps: Tensor) -> np.ndarray:
        return self.chosen(maps) * self.weights[:, None]

    def variance(self) -> np.ndarray:
        """Σ over V and channels of (Γ f_n − μ)², for each evaluation image."""
        values = np.stack([self.weighted(self.original(n)) for n in self.evaluation])
        mu = values.mean(axis=(0, 2))
        return np.array([sum(((v[c] - mu[c]) ** 2).sum() for c in range(len(mu))) for v in values])

    def aligned(self, rung: str, number: int, move: Transform, best: Transform) -> Tensor:
        """M Γ T_h f_n of the rungs that fit nothing but `best`."""
        inverse = move.inverse()
        if rung == "input_aligned":
            return self.maps(self.moved(self.shown(number, move), inverse))
        if rung == "resampling_floor":
            there = self.on_map(self.finer(number, identity()), move, antialias=True)
            return self.on_map(there, inverse, onto=self.frame)
        maps = self.maps(self.shown(number, move))
        if rung == "unaligned":
            return maps
        g = inverse if rung == "inverse" else best
        return self.on_map(self.finer(number, move), g, onto=self.frame)

    def errors(self, rung: str, move: Transform, best: Transform) -> np.ndarray:
        """Σ over V and channels of squared differences, for each evaluation image."""
        if rung == "other_image":
            return self.pairs()
        found = []
        for number in self.evaluation:
            moved = self.weighted(self.aligned(rung, number, move, best))
            own = self.weighted(self.original(number))
            found.append(sum(float(((a - b) ** 2).sum()) for a, b in zip(moved, own, strict=True)))
        return np.array(found)

    def pairs(self) -> np.ndarray:
        """Mean over all pairs of images, dealt out by the distance from the fit half's mean map."""
        maps = [self.weighted(self.original(n)) for n in self.evaluation]
        apart = [((a - b) ** 2).sum() for a, b in itertools.permutations(maps, 2)]
        mean = np.mean([self.weighted(self.original(n)) for n in self.fit], axis=0)
        own = np.array([((a - mean) ** 2).sum() for a in maps])
        return len(maps) * np.mean(apart) * own / own.sum()

    def in_sample(self, move: Transform, g: Transform) -> float:
        """Residual of T_g on the fit half, against the fit half's own variance."""
        pairs = [
            (self.weighted(self.on_map(self.maps(self.shown(n, move)), g)),
             self.weighted(self.original(n)))
            for n in self.fit
        ]  # fmt: skip
        own = np.stack([b for _, b in pairs])
        centred = own - own.mean(axis=(0, 2), keepdims=True)
        return sum(((a - b) ** 2).sum() for a, b in pairs) / (centred**2).sum()

    def channel_errors(self, move: Transform) -> dict[str, np.ndarray]:
        """Held-out errors of the channel rungs, from plain least squares on the fit half.

        All but the permutation have an intercept per channel.
        """
        x, y = self._samples(self.fit, move)
        channels = len(x)
        permutation = min(
            itertools.permutations(range(channels)), key=lambda p: ((x[list(p)] - y) ** 2).sum()
        )
        operators = {
            "inverse_permuted": (np.eye(channels)[list(permutation)], np.zeros((channels, 1))),
            "inverse_orthogonal": self._linear(self.fit, move, np.inf),
            "inverse_linear": self._linear(self.fit, move, self.ridge(move)),
        }
        found: dict[str, list[float]] = {name: [] for name in operators}
        for number in self.evaluation:
            x, y = self._samples([number], move)
            for name, (operator, added) in operators.items():
                found[name].append(float(((operator @ x + added - y) ** 2).sum()))
        return {name: np.array(values) for name, values in found.items()}

    def ridge(self, move: Transform) -> float:
        """The ridge with the least error on every fourth fit image, fitted to the others."""
        errors = {}
        for ridge in (np.inf, *(10 ** (power / 2) for power in range(2, -17, -1))):
            errors[ridge] = 0.0
            for fold in range(4):
                rest = [n for place, n in enumerate(self.fit) if place % 4 != fold]
                operator, added = self._linear(rest, move, ridge)
                x, y = self._samples(self.fit[fold::4], move)
                errors[ridge] += ((operator @ x + added - y) ** 2).sum()
        return min(errors, key=lambda ridge: errors[ridge])

    def _linear(
        self, numbers: Sequence[int], move: Transform, ridge: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Channel map about the orthogonal one, and what is added, by least squares."""
        x, y = self._samples(numbers, move)
        mean_x, mean_y = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
        x, y = x - mean_x, y - mean_y
        left, _, right = np.linalg.svd(y @ x.T)
        operator = left @ right
        if np.isfinite(ridge):
            damping = np.sqrt(ridge * (x**2).sum(axis=1).mean())
            # Ridge about the orthogonal map: more rows for the least squares.
            rows = np.hstack([x, damping * np.eye(len(x))])
            goals = np.hstack([y, damping * operator])
            operator = np.linalg.lstsq(rows.T, goals.T, rcond=None)[0].T
        return operator, mean_y - operator @ mean_x

    def by_chance(self, move: Transform) -> tuple[float, np.ndarray]:
        """Share that moves by the best permutation over all pairs of different fit images.

        And every channel's greatest correlation with another one over those pairs.
        """
        x, y = zip(*(self._samples([n], move) for n in self.fit), strict=True)
        pairs = list(itertools.permutations(range(len(x)), 2))
        others, own = (np.hstack([of[p[k]] for p in pairs]) for k, of in enumerate((x, y)))
        channels = len(own)
        order = min(
            itertools.permutations(range(channels)),
            key=lambda p: ((others[list(p)] - own) ** 2).sum(),
        )
        variance = np.hstack(y).var(axis=1)
        moved = sum(variance[c] for c in range(channels) if order[c] != c) / variance.sum()
        scales = [np.maximum(of.std(axis=1), 1e-300) for of in (own, others)]
        centred = [of - of.mean(axis=1, keepdims=True) for of in (own, others)]
        with np.errstate(invalid="ignore"):
            correlation = centred[0] @ centred[1].T / own.shape[1] / np.outer(*scales)
        correlation[np.outer(*scales) < 1e-9] = 0.0  # a channel that never varies
        np.fill_diagonal(correlation, -np.inf)
        return moved, correlation.max(axis=1)

    def rho(self, rung: str, move: Transform) -> tuple[float, float, float]:
        """Correlation about mean maps, and the ends of its interval from leaving out each image."""
        halves = [
            [np.stack([self.seen(one, n, move) for n in h]) for h in (self.evaluation, self.fit)]
            for one in (rung, "original")
        ]
        (x, x_fit), (y, y_fit) = halves
        value = np.corrcoef((x - x.mean(0)).ravel(), (y - y.mean(0)).ravel())[0, 1]
        about = [of - fit.mean(0) for of, fit in ((x, x_fit), (y, y_fit))]
        xx, xy, yy = (
            (a * b).sum((1, 2)) - (a.mean(0) * b.mean(0)).sum()
            for a, b in itertools.combinations_with_replacement(about, 2)
        )
        rest = [
            np.delete(xy, n).sum() / np.sqrt(np.delete(xx, n).sum() * np.delete(yy, n).sum())
            for n in range(len(xy))
        ]
        number = len(xy)
        pseudo = number * value - (number - 1) * np.array(rest)
        half = stats.t.ppf(0.975, number - 1) * pseudo.std(ddof=1) / np.sqrt(number)
        return value, max(value - half, -1.0), min(value + half, 1.0)

    def bound_errors(self, move: Transform) -> np.ndarray:
        """Held-out errors of the best operator on positions, by least squares about T_h⁻¹."""
        a, b = self._positions(self.fit, move)
        if a.shape[1] <= a.shape[0]:  # no more samples than positions: undetermined
            return np.full(len(self.evaluation), np.nan)
        damping = np.sqrt((a**2).mean(axis=1).sum())  # the energy of one sample
        single = torch.eye(len(a), dtype=torch.float64).reshape(len(a), 1, *self.frame.size)
        inverse = self.on_map(single, move.inverse())[:, 0].numpy()[:, self.cells].T
        rows = np.hstack([a, damping * np.eye(len(a))])
        goals = np.hstack([b, damping * inverse])
        operator = np.linalg.lstsq(rows.T, goals.T, rcond=None)[0].T
        found = []
        for number in self.evaluation:
            a, b = self._positions([number], move)
            found.append(float(((operator @ a - b) ** 2).sum()))
        return np.array(found)

    def _samples(self, numbers: Sequence[int], move: Transform) -> tuple[np.ndarray, np.ndarray]:
        """(C, images · V) of the aligned maps and of the originals."""
        x = [self.seen("inverse", n, move) for n in numbers]
        y = [self.seen("original", n, move) for n in numbers]
        return np.hstack(x), np.hstack(y)

    def seen(self, rung: str, number: int, move: Transform) -> np.ndarray:
        """(C, V) of a map that is asked for again and again."""
        key = (rung, number, None if rung == "original" else move.text)
        if key not in self._seen:
            maps = (
                self.original(number)
                if rung == "original"
                else self.aligned(rung, number, move, move)
            )
            self._seen[key] = self.weighted(maps)
        return self._seen[key]

    def _positions(self, numbers: Sequence[int], move: Transform) -> tuple[np.ndarray, np.ndarray]:
        """(positions, images · C) of the transformed images' maps, (V, images · C) of originals.

        Both about the channel means of the fit half's originals.
        """
        fitted = np.stack([self.weighted(self.original(n)) for n in self.fit])
        centre = fitted.mean(axis=(0, 2))[:, None]
        a = [
            (self.maps(self.shown(n, move))[0].numpy() * self.weights[:, None, None]).reshape(
                len(self.weights), -1
            )
            - centre
            for n in numbers
        ]
        b = [self.weighted(self.original(n)) - centre for n in numbers]
        return np.vstack(a).T, np.vstack(b).T


def prefix(network: nn.Sequential, layer: str) -> nn.Sequential:
    """The part of a sequential network up to a layer, in float64."""
    return deepcopy(network[: int(layer) + 1]).double().eval()
