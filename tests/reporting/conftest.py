"""Results whose numbers are known in closed form, and what every figure must obey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from invariance_probe.alignment import interval, ratio
from invariance_probe.alignment.search import ANGLES, SCALES
from invariance_probe.geometry import Transform, parse_transforms
from invariance_probe.probing import Result
from invariance_probe.probing.ladder.shares import read_off, readable

RUNGS = ("unaligned", "inverse", "best", "input_aligned", "resampling_floor", "other_image")
CHANNELS = ("spatial_bound", "inverse_permuted", "inverse_orthogonal", "inverse_linear")
FACTORS = dict(zip(RUNGS, (1.0, 0.8, 0.6, 0.05, 0.1), strict=False))
CEILING = 1.9
IMAGES = 12
TURN = "rotation:-180:180:15"
BOTH = f"{TURN} scaling:0.5:2:9"


def base(move: Transform) -> float:
    """How far a transformation moves things, in arbitrary units: 0 for the identity."""
    if move.is_identity:
        return 0.0
    if move.kind == "rotation":
        return 1 - float(np.cos(np.radians(move.parameter)))
    return abs(float(np.log2(move.scale))) + 0.3


def _over(errors: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return errors / variance


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Result]:
    """A result with residual(rung) = factor · base(h) · (1 + layer/10), floor to ceiling 1.9."""

    def make(
        transforms: str = BOTH,
        layers: Sequence[str] = ("conv1", "pool1", "conv2", "pool2"),
        dead: Sequence[str] = (),
        rungs: Sequence[str] = RUNGS,
    ) -> Result:
        moves = list(dict.fromkeys(parse_transforms(transforms)))
        random = np.random.default_rng(0)
        variance = random.uniform(1, 3, (len(layers), IMAGES))
        variance[[layer in dead for layer in layers]] = 0.0
        errors = np.zeros((len(layers), len(moves), len(rungs), IMAGES))
        tables: dict[str, list[Any]] = {n: [] for n in ("residuals", "summary", "found", "land")}
        for i, layer in enumerate(layers):
            share = random.uniform(0.5, 1.5, IMAGES) * variance[i]
            share *= variance[i].sum() / max(share.sum(), 1e-9)
            for j, move in enumerate(moves):
                size = base(move) * (1 + i / 10)
                errors[i, j] = np.outer([size * FACTORS.get(rung, 0.4) for rung in rungs], share)
                errors[i, j, rungs.index("other_image")] = CEILING * share
                value = ratio(errors[i, j], variance[i])
                head = {
                    "layer": layer, "transform": move.text, "kind": move.kind,
                    "parameter": move.parameter, "identity": move.is_identity,
                }  # fmt: skip
                with np.errstate(invalid="ignore"):
                    low, high = interval(_over, errors[i, j], variance[i])
                for r, rung in enumerate(rungs):
                    numbers = {"residual": value[r], "low": low[r], "high": high[r]}
                    tables["residuals"].append({**head, "rung": rung, **numbers, "images": IMAGES})
                read = {name: float(read_off(value, rungs, name)) for name in readable(rungs)}
                tables["summary"].append({**head, **dict(zip(rungs, value, strict=True)), **read})
                undone = move.inverse()
                tables["found"].append({**head, "angle": undone.angle, "scale": undone.scale})
                for by, grid in (("angle", ANGLES), ("scale", SCALES)):
                    at = getattr(undone, by)
                    off = np.abs(grid - at) / 180 if by == "angle" else np.abs(np.log2(grid / at))
                    rows = pd.DataFrame({"by": by, "value": grid, "residual": off})
                    tables["land"].append(rows.assign(**head))
        return Result(
            residuals=pd.DataFrame(tables["residuals"]),
            summary=pd.DataFrame(tables["summary"]),
            alignments=pd.DataFrame(tables["found"]),
            landscape=pd.concat(tables["land"], ignore_index=True),
            layers=pd.DataFrame({"layer": list(layers)}),
            errors=errors,
            variance=variance,
            axes={
                "layer": tuple(layers),
                "transform": tuple(move.text for move in moves),
                "rung": tuple(rungs),
                "image": tuple(f"image {n}" for n in range(IMAGES)),
            },
            provenance={"options": {"resamples": 100, "level": 0.95, "seed": 0}, "warnings": []},
        )

    return make


@pytest.fixture(scope="session")
def result(make_result: Callable[..., Result]) -> Result:
    """Rotations and scalings on four layers."""
    return make_result()


@pytest.fixture(scope="session")
def check_figure() -> Callable[[Figure], None]:
    """The rules of every figure: texts inside the page, readable, tick labels apart."""

    def check(figure: Figure) -> None:
        figure.draw_without_rendering()
        width, height = figure.bbox.size
        for text in figure.findobj(Text):
            if not text.get_visible() or not text.get_text().strip():
                continue
            assert text.get_fontsize() >= 7, text.get_text()
            box = text.get_window_extent()
            if isinstance(text, Text) and not _is_hidden_tick(text, figure):
                inside = box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1
                assert inside, f"{text.get_text()!r} leaves the page: {box}"
        legends = [legend.get_window_extent() for legend in figure.legends]
        for ax in figure.axes:
            for axis in (ax.xaxis, ax.yaxis):
                boxes = [label.get_window_extent() for label in _shown(axis)]
                apart = [not a.overlaps(b) for a, b in pairwise(boxes)]
                assert all(apart), [label.get_text() for label in _shown(axis)]
            assert not any(ax.bbox.overlaps(box) for box in legends), "legend over data"

    return check


def _shown(axis: Any) -> list[Text]:
    """Tick labels that are drawn: ticks inside the view, with text."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [
        tick.label1
        for tick in ticks
        if low - slack <= tick.get_loc() <= high + slack
        and tick.label1.get_visible()
        and tick.label1.get_text()
    ]


def _is_hidden_tick(text: Text, figure: Figure) -> bool:
    """Labels of ticks outside the view exist but are not drawn."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            labels = [
                label
                for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
                for label in (tick.label1, tick.label2)
            ]
            if any(text is label for label in labels):
                return not any(text is label for label in _shown(axis))
    return False
