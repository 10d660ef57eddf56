"""Whether the search for the best alignment ends at the global minimum, against brute force.

    python benchmarks/minima.py --cache /tmp/minima --out benchmarks/results/minima.json

Methodology: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from invariance_probe.alignment import Alignment, SearchPlan, SpatialMoments, best_alignment
from invariance_probe.geometry import (
    Frame,
    Transform,
    coverage,
    identity,
    image_frame,
    reflection,
    rotation,
    scaling,
    translation,
    valid_cells,
)  # fmt: skip

Array = NDArray[np.float64]

SIDES = (7, 14, 28, 56)
PROBLEMS = 240
LEAST = 0.5  # of the compared cells are read on the map
LIMIT = 4.0  # of scale, either way
MISSED = 1e-3  # of the variance above brute force
_WAVES = 40
_STEPS = {7: 3, 14: 3, 28: 2, 56: 1}  # nodes a cell of brute force's table
_TABLED = 128  # cells of the table
_EXACT, _FIRST, _LAST = 4000, 50, 10  # candidates that are computed, polished, polished to the end


@dataclass(frozen=True)
class Problem:
    """Maps of one scene under an unknown pose, or of two scenes: what a search is given."""

    side: int
    related: bool
    noise: float
    moments: SpatialMoments
    pose: Transform


def problem(number: int) -> Problem:
    """Sums of plane waves, known at every point; scales 1/2 to 2, shifts to 15 % of the map."""
    random = np.random.default_rng(number)
    side, related = SIDES[number % 4], number % 5 != 4
    frame = image_frame(side, side)
    shift = random.uniform(-0.15, 0.15, 2) * side
    pose = translation(*shift) @ rotation(random.uniform(-180, 180))
    pose = pose @ scaling(2.0 ** random.uniform(-1, 1))
    if random.random() < 0.2:
        pose = pose @ reflection(0)
    noise = random.uniform(0, 0.5)
    waves = _Waves(random, side)
    original = waves.on(frame, identity())
    moved = (waves if related else _Waves(random, side)).on(frame, pose)
    maps = []
    for clean in (moved, original):
        spread = np.sqrt(noise / (1 - noise)) * clean.std()
        maps.append(torch.from_numpy(clean + spread * random.normal(size=clean.shape)).float())
    plan = SearchPlan(frame, valid_cells(frame, [pose], (side, side)))
    moments = plan.moments()
    assert isinstance(moments, SpatialMoments)
    moments.update(*maps)
    return Problem(side, related, noise, moments, pose)


class _Waves:
    """Eight images of eight channels, with details of one cell to a quarter of the map."""

    def __init__(self, random: np.random.Generator, side: int) -> None:
        length = np.exp(random.uniform(0, np.log(side / 4)))
        self.waves = random.normal(size=(64, _WAVES, 2)) / length
        self.phases = random.uniform(0, 2 * np.pi, (64, _WAVES))
        self.heights = random.normal(size=(64, _WAVES))

    def on(self, frame: Frame, pose: Transform) -> Array:
        back = pose.inverse().matrix
        points = frame.positions() @ back[:2, :2].T + back[:2, 2]
        phases = self.waves @ points.T + self.phases[..., None]
        values = np.einsum("mk,mkp->mp", self.heights, np.cos(phases))
        return values.reshape(8, 8, *frame.size)


class BruteForce:
    """The least error over similarities of either orientation, found without the package's search.

    Errors come from the moments by bilinear weights written out. A table of them at nodes of a
    grid serves a dense grid of angles, scales and places, rounded to nodes, on part of the cells;
    the best are computed exactly, and SciPy's Nelder-Mead polishes the best of those.
    """

    def __init__(self, moments: SpatialMoments) -> None:
        rows, columns = moments.frame.size
        self.side = rows
        cross, auto = moments.cross.numpy(), moments.auto.numpy()
        self.cross = cross.reshape(-1, rows, columns)
        self.auto = auto.reshape(3, 3, rows, columns)
        row, column = np.nonzero(moments.cells)
        self.centre = np.array([column.mean(), row.mean()])
        self.cells = np.stack([column, row], 1) - self.centre
        self.radius = float(np.sqrt(np.square(self.cells).sum(1).mean()).clip(1))
        self.target, self.energy = float(moments.target.sum()), moments.energy

    def sampled(self, x: Array, y: Array) -> tuple[Array, list[tuple[Array, Array, Array]]]:
        """Squares of the map at points (V), and rows, columns and weights of their taps."""
        last = self.side - 1
        x, y = x.clip(0, last), y.clip(0, last)
        left, top = (np.minimum(np.floor(v), last - 1).astype(int) for v in (x, y))
        fx, fy = x - left, y - top
        taps = [
            (top + i, left + j, (fy if i else 1 - fy) * (fx if j else 1 - fx))
            for i in (0, 1) for j in (0, 1)
        ]  # fmt: skip
        squares = np.zeros(x.shape)
        for (r, c, w), (other_r, other_c, other_w) in itertools.product(taps, taps):
            squares += w * other_w * self.auto[other_r - r + 1, other_c - c + 1, r, c]
        return squares, taps

    def error(self, p: Array) -> float:
        """Residual at (angle · radius, log scale · radius, column, row, orientation)."""
        x, y = self.places(p)
        inside = np.abs(np.stack([x, y]) - (self.side - 1) / 2).max(0) <= self.side / 2 + 1e-6
        if inside.mean() < LEAST - 1e-9:
            return np.inf
        squares, taps = self.sampled(x, y)
        which = np.arange(len(x))
        pull = sum(w * self.cross[which, r, c] for r, c, w in taps)
        return float((self.target + (squares - 2 * pull).sum()) / self.energy)

    def places(self, p: Array) -> tuple[Array, Array]:
        angle = p[0] / self.radius
        scale = np.exp(np.clip(p[1] / self.radius, -np.log(LIMIT), np.log(LIMIT)))
        u, v = scale * self.cells.T * [[p[4]], [1.0]]
        cos, sin = np.cos(angle), np.sin(angle)
        return cos * u - sin * v + p[2], sin * u + cos * v + p[3]

    def minimum(self) -> tuple[float, list[float]]:
        found = np.concatenate([np.c_[grid, values] for grid, values in self.grid()])
        found = found[np.argsort(found[:, 5], kind="stable")[:_EXACT], :5]
        exact = np.array([self.error(p) for p in found])
        order = np.argsort(exact, kind="stable")
        first = [self.polish(found[i], 150) for i in self.apart(found, order)]
        first.sort(key=lambda item: item[0])
        last = [self.polish(p, 500) for _, p in first[:_LAST]]
        value, place = min((self.polish(p, 500) for _, p in last), key=lambda item: item[0])
        return value, place.tolist()

    def apart(self, found: Array, order: NDArray[np.intp]) -> list[int]:
        kept: list[int] = []
        for index in order.tolist():
            near = np.abs(found[kept, :4] - found[index, :4]).max(1) if kept else np.full(1, np.inf)
            if (near[found[kept, 4] == found[index, 4]] > 1.0).all() if kept else True:
                kept.append(index)
            if len(kept) == _FIRST:
                break
        return kept

    def polish(self, start: Array, evaluations: int) -> tuple[float, Array]:
        own = start[4]
        simplex = np.tile(start[:4], (5, 1))
        simplex[1:] += 0.4 * np.eye(4)
        done = minimize(
            lambda p: self.error(np.append(p, own)), start[:4], method="Nelder-Mead",
            options={
                "initial_simplex": simplex, "maxfev": evaluations, "xatol": 1e-4, "fatol": 1e-8,
            },
        )  # fmt: skip
        return float(done.fun), np.append(done.x, own)

    def grid(self) -> Iterator[tuple[Array, Array]]:
        """The best candidates (K, 5) of each orientation, scale and angle, and their errors (K)."""
        steps = _STEPS[self.side]
        nodes = (self.side - 1) * steps + 1
        chosen = np.random.default_rng(0).permutation(len(self.cells))[:_TABLED]
        y, x = np.mgrid[:nodes, :nodes] / steps
        squares, taps = self.sampled(x.ravel(), y.ravel())
        table = sum(w * self.cross[chosen][:, r, c] for r, c, w in taps)
        table = (squares - 2 * table).astype(np.float32).reshape(len(chosen), nodes, nodes)
        step = max(1.0, self.side / 32)
        centres = np.arange(-0.5, self.side - 0.5 + 1e-9, step if self.side > 7 else 0.5)
        grid_y, grid_x = (v.ravel() for v in np.meshgrid(centres, centres, indexing="ij"))
        spacing = 0.7 * max(1.0, step)
        for mirror in (1.0, -1.0):
            octave = min(spacing / self.radius, np.log(LIMIT) / 8)
            for log in np.linspace(-np.log(LIMIT), np.log(LIMIT), int(2 * np.log(LIMIT) / octave)):
                angles = int(np.clip(2 * np.pi * np.exp(log) * self.radius / spacing, 24, 180))
                for angle in np.arange(angles) * 2 * np.pi / angles:
                    p = np.array([angle * self.radius, log * self.radius, 0, 0, mirror])
                    u, v = (w[chosen] for w in self.places(p))
                    values = self._tabled(table, u, v, centres, steps)
                    best = np.argpartition(values, min(3, len(values) - 1))[:4]
                    best = best[np.isfinite(values[best])]
                    rows = np.tile(p, (len(best), 1))
                    rows[:, 2], rows[:, 3] = grid_x[best], grid_y[best]
                    yield rows, values[best]

    def _tabled(self, table: Array, u: Array, v: Array, centres: Array, steps: int) -> Array:
        nodes = table.shape[-1]
        x, y = u[:, None] + centres, v[:, None] + centres  # (V, places)
        on_x, on_y = (np.abs(w - (self.side - 1) / 2) <= self.side / 2 + 1e-6 for w in (x, y))
        covered = on_y.T.astype(np.float32) @ on_x.astype(np.float32) / len(u)
        if (covered >= LEAST - 0.05).sum() == 0:
            return np.full(covered.size, np.inf)
        x, y = (np.rint(w * steps).clip(0, nodes - 1).astype(np.int32) for w in (x, y))
        index = (y * nodes + (np.arange(len(u), dtype=np.int32) * nodes**2)[:, None])[:, :, None]
        values = table.ravel().take(index + x[:, None, :]).sum(0)
        return np.where(covered < LEAST - 0.05, np.inf, values).ravel()


def solved(number: int, cache: Path) -> float:
    """Brute force's minimum, computed once."""
    path = cache / f"{number}.json"
    if not path.exists():
        start = time.process_time()
        value, place = BruteForce(problem(number).moments).minimum()
        cpu = time.process_time() - start
        path.write_text(json.dumps({"minimum": value, "place": place, "cpu_s": cpu}))
    return float(json.loads(path.read_text())["minimum"])


def searched(number: int, cache: Path) -> dict[str, Any]:
    """One search, told nothing of the pose, beside brute force."""
    given = problem(number)
    best_alignment(given.moments, identity())
    times = []
    for _ in range(3):
        start = time.process_time()
        found: Alignment = best_alignment(given.moments, identity())
        times.append(time.process_time() - start)
    covered = coverage(given.moments.frame, found.transform, given.moments.cells)
    above = found.residual - solved(number, cache)
    return {
        "problem": number, "side": given.side, "related": given.related, "noise": given.noise,
        "cells": int(given.moments.cells.sum()), "residual": found.residual, "above": above,
        "coverage": covered, "scale": found.transform.scale, "status": found.status,
        "missed": bool(above > MISSED or covered < LEAST - 1e-9), "cpu_s": min(times),
    }  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Share missed and median time, over all and by size and kind."""
    groups = {"all": rows, "unrelated": [r for r in rows if not r["related"]]}
    groups |= {str(side): [r for r in rows if r["side"] == side] for side in SIDES}
    return {
        name: {
            "problems": len(own),
            "missed": sum(r["missed"] for r in own),
            "median_cpu_ms": 1e3 * statistics.median(r["cpu_s"] for r in own),
            "lowest_beside_brute_force": min(r["above"] for r in own),
        }
        for name, own in groups.items()
        if own
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/minima.json"))
    parser.add_argument("--cache", type=Path, required=True, help="of brute force's minima")
    parser.add_argument("--problems", default=f"0:{PROBLEMS}:1", help="FIRST:END:STEP")
    parser.add_argument("--brute-force", action="store_true", help="only fill the cache")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    numbers = range(PROBLEMS)[slice(*map(int, arguments.problems.split(":")))]
    if arguments.brute_force:
        for number in numbers:
            print(number, solved(number, arguments.cache), flush=True)
        return
    rows = [searched(number, arguments.cache) for number in numbers]
    report = {"summary": summary(rows), "problems": rows}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["summary"], indent=2))


if __name__ == "__main__":
    main()
