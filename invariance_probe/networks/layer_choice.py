"""Which layers to probe: a few spread through a network, and those of a choice with a frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from torch import Tensor, nn

from .._limits import is_formula
from ..errors import ProbeError
from .frames.measure import LayerFrame, find_frames
from .layers.listing import LayerInfo, select_layers

_SKIPPED = (
    "BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "LocalResponseNorm", "RMSNorm",
    "Dropout", "DropPath", "StochasticDepth", "Identity", "Permute", "Flatten", "AdaptiveAvgPool",
)  # fmt: skip
_LEAST = 4
_SAME = 2**0.5

T = TypeVar("T")


def default_layers(layers: Sequence[LayerInfo], most: int = 8) -> list[str]:
    """Names of 4 to `most` maps, spread through a network, for want of a choice.

    A stage is a run of maps of about the same size, within a factor of √2. Of every stage the
    last of its outermost maps is taken ("layer2" rather than "layer2.1"), or, with fewer than
    four stages, several evenly spaced ones. Normalisations, dropout and containers of several
    stages are passed over.

    >>> layers = [LayerInfo(f"conv{i}", "Conv2d", (1, 8, 6, 6)) for i in range(20)]
    >>> default_layers(layers, most=4)
    ['conv0', 'conv6', 'conv13', 'conv19']
    """
    # What is inside a normalisation (timm's hold the activation that follows) is passed over too.
    passed = {one.name for one in layers if one.kind.startswith(_SKIPPED)}
    kept = [
        one for one in layers if one.name not in passed and passed.isdisjoint(_around(one.name))
    ]
    maps = _blocks([one for one in kept if one.spatial])
    names = {one.name for one in maps}
    outer = [one for one in maps if not any(parent in names for parent in _around(one.name))]
    stages = _stages(outer)
    if len(stages) >= _LEAST:
        return [stage[-1].name for stage in _spread(stages, most)]
    stages = _stages(maps)
    if len(stages) >= _LEAST:
        return [_outermost(stage)[-1] for stage in _spread(stages, most)]
    chosen: list[str] = []
    for stage in stages:
        found = _outermost(stage, _LEAST if len(stages) == 1 else 2)
        chosen += _spread(found, most // len(stages))
    return chosen


def framed_layers(
    network: nn.Module, patterns: str | Sequence[str], example: Tensor
) -> tuple[dict[str, LayerFrame], list[str]]:
    """The frames of the layers that the patterns choose, and a line for each that is left out.

    Patterns are those of select_layers. A layer that a glob matches and that has no frame is left
    out; one that is named must have one. `example` is a batch of images (N, C, H, W).

    Raises ProbeError as select_layers and measure_frames do, when no layer is left, and for a name
    that a spreadsheet would compute.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    names = select_layers(network, patterns, example)
    if formula := next(filter(is_formula, names), None):
        raise ProbeError(
            f"layer {formula[:80]!r} would be a formula where a spreadsheet opens the tables; name "
            "it otherwise in the network"
        )
    canvas = (int(example.shape[-2]), int(example.shape[-1]))
    frames, reasons = find_frames(network, names, canvas, int(example.shape[1]))
    for name, reason in reasons.items():
        if name in patterns or not frames:
            raise ProbeError(reason)
    return {name: frames[name] for name in names if name in frames}, list(reasons.values())


def _blocks(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """The layers without containers of several stages.

    A block may begin with the step down to its own size, or end with the one to the next.
    """
    inner: dict[str, list[int]] = {}
    for one in layers:
        for name in (one.name, *_around(one.name)):
            inner.setdefault(name, []).append(_side(one))
    kept = []
    for one in layers:
        sides = sorted(inner[one.name])
        if sum(_differ(small, large) for small, large in pairwise(sides)) <= 1:
            kept.append(one)
    return kept


def _stages(layers: Sequence[LayerInfo]) -> list[list[LayerInfo]]:
    """Runs of layers whose maps have about the same size."""
    stages: list[list[LayerInfo]] = []
    for one in layers:
        if stages and not _differ(_side(stages[-1][-1]), _side(one)):
            stages[-1].append(one)
        else:
            stages.append([one])
    return stages


def _side(layer: LayerInfo) -> int:
    return max(layer.size or (1, 1))


def _around(name: str) -> list[str]:
    """The names of the modules around a layer, the inner ones first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


def _differ(side: int, other: int) -> bool:
    return max(side, other) > _SAME * min(side, other)


def _outermost(stage: Sequence[LayerInfo], least: int = 1) -> list[str]:
    """The names with the fewest levels at which there are `least`, in order.

    With `least` > 1 containers are left out where some of their parts are among them.
    """
    names = [one.name for one in stage]
    levels = sorted({name.count(".") for name in names})
    chosen: list[str] = []
    for level in levels:
        chosen = [name for name in names if name.count(".") <= level]
        if least > 1:
            inner = {re.sub(r"\.[^.]*$", "", name) for name in chosen if "." in name}
            chosen = [name for name in chosen if name not in inner]
        if len(chosen) >= least:
            break
    return chosen


def _spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly spaced, the first and the last among them."""
    last = len(items) - 1
    if last < most:
        return list(items)
    even = [number for number in range(_LEAST, most + 1) if last % (number - 1) == 0]
    number = max(even, default=most)
    return [items[(2 * k * last + number - 1) // (2 * (number - 1))] for k in range(number)]
