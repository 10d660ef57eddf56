"""What the measures of the tournament say of one network, ours and those of other papers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from _known import Bank, Known, Scenes, truth
from torch import Tensor, nn

if TYPE_CHECKING:
    import pandas as pd

    from invariance_probe.data import ImageSet

# Name, whether it grows with the error, and the value of a network that is equivariant.
MEASURES = {
    "excess, dense": True, "attribution, dense": False, "gain, dense": False,
    "space missed, dense": True, "inverse": True, "recovered": False, "gain": False,
    "inverse_permuted": True, "inverse_orthogonal": True, "inverse_linear": True,
    "relative error": True, "correlation": False, "lie_derivative_relative": True,
    "eq_psnr": False, "normalised_variance": True, "same_equivariance": True,
    "cka_inverse": False, "rbf_cka": False,
}  # fmt: skip
RUNGS = ("inverse", "inverse_permuted", "inverse_orthogonal", "inverse_linear")
ROUNDING = 1e-6  # residuals below it are 0
MOST = 800  # cells of which a kernel matrix is made


def measures_of(
    known: Known, scenes: Scenes, fineness: int, angles: Sequence[float], seed: int, device: str
) -> list[dict[str, Any]]:
    """One row per angle and measure: network, cells, angle, truth, exact, measure, value."""
    cells = 28 * fineness + 1
    network = known.make(fineness)
    size = cells + 2 * network.reach
    images = _image_set(scenes, size, fineness)
    rows = []
    for degrees in angles:
        about = {
            "network": known.name, "cells": cells, "angle": degrees, "exact": known.exact(degrees),
            "permutes": known.permutes(degrees),
            "truth": truth(network, scenes, fineness, degrees, cells),
        }  # fmt: skip
        values = _ours(network, images, degrees, seed, device)
        values |= _baselines(network, images, degrees, seed, device)
        values |= _direct(network, torch.from_numpy(scenes.images(size, fineness)), degrees)
        rows += [about | {"measure": name, "value": value} for name, value in values.items()]
    return rows


def _image_set(scenes: Scenes, size: int, fineness: int) -> ImageSet:
    """Scenes larger than the canvas, so that what turns into it is there."""
    from invariance_probe.data import array_images

    source = math.ceil(size * math.sqrt(2)) // 2 * 2 + size % 2
    return array_images(scenes.images(source, fineness), size, background="reflect")


def _ours(
    network: Bank, images: ImageSet, degrees: float, seed: int, device: str
) -> dict[str, float]:
    from invariance_probe import Options, probe, rotation

    said: dict[str, float] = {}
    for dense, options in (
        ("", Options(seed=seed)), (", dense", Options(seed=seed, dense="auto", channels=False)),
    ):  # fmt: skip
        result = probe(
            network, "maps", [rotation(degrees)], images, mean=[0.0], std=[1.0], options=options,
            device=device,
        )  # fmt: skip
        said |= {f"{name}{dense}": value for name, value in _numbers(result).items()}
    return {name: value for name, value in said.items() if name in (*MEASURES, "verdict, dense")}


def _numbers(result: Any) -> dict[str, Any]:
    from invariance_probe.reporting.reports.text.numbers import kind_numbers
    from invariance_probe.reporting.reports.text.story import state
    from invariance_probe.reporting.tables.ledger import ledger_table

    row = result.summary.iloc[0]
    residual = result.residuals.set_index("rung")["residual"]
    said = {rung: float(residual[rung]) for rung in RUNGS if rung in residual}
    said |= {name: float(row[name]) for name in ("gain", "recovered", "excess", "attribution")}
    if math.isnan(said["attribution"]) and said["excess"] < ROUNDING:
        said["attribution"] = 1.0  # nothing is left, so nothing of it is the network's
    shares = ledger_table(result).set_index(["source", "part"])["share"]
    space = [float(shares[source, "space"]) for source in ("maps moved", "input moved")]
    said["space missed"] = space[1] - space[0]
    said["verdict"] = state(kind_numbers(result)[0].layers[0])
    return said


def _baselines(
    network: Bank, images: ImageSet, degrees: float, seed: int, device: str
) -> dict[str, float]:
    from invariance_probe import rotation
    from invariance_probe.probing import baselines

    families = ("variance", "psnr", "cka", "lie")
    table: pd.DataFrame = baselines(
        network, "maps", [rotation(degrees)], images, measures=families, mean=[0.0], std=[1.0],
        seed=seed, device=device,
    )  # fmt: skip
    rows = table[(table["layer"] == "maps") & table["transform"].isin(("all", "rotation"))]
    values = rows.set_index("measure")["value"]
    return {name: float(values[name]) for name in values.index if name in MEASURES}


def _direct(network: Bank, images: Tensor, degrees: float) -> dict[str, float]:
    """What takes no more than the maps: relative error, correlation, and a kernel's CKA."""
    # A few at a time: wide kernels take much memory.
    upright = torch.cat([network(some) for some in images.split(4)])
    moved = torch.cat([network(some) for some in turned(images, degrees).split(4)])
    ahead = turned(upright, degrees)
    seen = _unpadded(network, images, degrees) * (turned(torch.ones_like(ahead), degrees) > 0.99)
    cells = seen[0, 0].bool()
    x, y = (maps.movedim(1, -1)[:, cells] for maps in (moved, ahead))
    return {
        "relative error": relative_error(moved, ahead, seen),
        "correlation": _correlation(x, y),
        "rbf_cka": rbf_cka(x.flatten(0, 1), y.flatten(0, 1)),
    }


def turned(maps: Tensor, degrees: float) -> Tensor:
    """Maps (N, C, S, S) turned as PyTorch's own functions do: bilinear, zeros, corners aligned.

    Convention: counter-clockwise on the screen.
    """
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    back = torch.tensor([[c, -s, 0.0], [s, c, 0.0]], dtype=maps.dtype)
    size = [len(maps), *maps.shape[1:]]
    grid = nn.functional.affine_grid(back.expand(len(maps), 2, 3), size, align_corners=True)
    return nn.functional.grid_sample(maps, grid, align_corners=True)


def _unpadded(network: Bank, images: Tensor, degrees: float) -> Tensor:
    """1 at cells (1, 1, rows, columns) whose view of the turned image holds no fill."""
    inside = (turned(torch.ones_like(images[:1]), degrees) > 0.99).float()
    width = 2 * network.reach + 1
    kept = -nn.functional.max_pool2d(-inside, width, 1)
    return kept[..., :: network.stride, :: network.stride]


def relative_error(moved: Tensor, ahead: Tensor, cells: Tensor) -> float:
    """‖f(Tx) − T f(x)‖ / ‖T f(x)‖ over the cells that are 1: the relative equivariance error."""
    return float(((moved - ahead) * cells).norm() / (ahead * cells).norm())


def _correlation(x: Tensor, y: Tensor) -> float:
    """Mean over channels of the correlation over cells and images, (N, cells, C) each."""
    a, b = (part.flatten(0, 1) - part.flatten(0, 1).mean(0) for part in (x, y))
    norms = a.norm(dim=0) * b.norm(dim=0)
    alive = norms > 1e-9 * norms.max()
    return float(((a * b).sum(0)[alive] / norms[alive]).mean())


def rbf_cka(x: Tensor, y: Tensor, seed: int = 0, *, width: float = 0.5) -> float:
    """CKA of (examples, C) with Gaussian kernels, `width` median distances wide.

    On at most 800 examples drawn at random. Source: Kornblith et al., arXiv 1905.00414, where
    the width is a fraction of the median distance.
    """
    chosen = np.random.default_rng(seed).permutation(len(x))[:MOST]
    centred = []
    for part in (x[chosen].double(), y[chosen].double()):
        distance = torch.cdist(part, part)
        scale = width * distance[distance > 0].median()
        kernel = torch.exp(-distance.square() / (2 * scale**2))
        centred.append(kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean())
    a, b = centred
    return float((a * b).sum() / (a.norm() * b.norm()))
