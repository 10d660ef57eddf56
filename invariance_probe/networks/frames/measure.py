"""Where the cells of a network's maps sit in the image, measured on the network itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from ...errors import ProbeError
from ...geometry import Frame
from ..keeping import keeping_each
from ..layers.activations import as_map
from ..layers.capture import filled, run
from ..marking.support import like
from ..stn.transformer import still_transformers
from ._edges import Maps, Strip, thin_strip
from ._settled import settled_lines

_ALIGNED = 1e-6
_REACH = 64


@dataclass(frozen=True)
class LayerFrame(Frame):
    """The Frame of a layer's map, with how it was measured.

    `method` is "support" (edges of receptive fields, confirmed by moments), "moment" (centres of
    mass of a network made linear, for maps whose fields show no edges or no whole jumps; confirmed
    by gradients) or "gradient" (centroids of gradient energy, good to half a cell at best).
    `error` is by how many pixels two ways of measuring disagree, 0 where they agree.

    Convention: as Frame.
    """

    method: str = "support"
    error: float = 0.0

    @property
    def estimated(self) -> bool:
        """Whether the frame is known no better than to its `error`."""
        return self.error > 0


def measure_frames(
    network: nn.Module,
    layers: str | Sequence[str],
    canvas: tuple[int, int],
    channels: int = 3,
) -> dict[str, LayerFrame]:
    """The frame of each layer's map for images (N, channels, *canvas), by running the network.

    A cell's place is the middle of its receptive field. Fields are found by marking pixels with
    NaN and looking which cells see them, on a strip long enough for fields to end inside it, and
    count only if a longer canvas repeats them; weights and activations do not matter. Global
    operations (squeeze and excitation, group norm, attention among all cells) are passed over.
    Where cells still see everything, as in attention to fewer keys, centroids of gradients take
    over (`method` "gradient"). Spatial transformers are held at the identity: behind one, a frame
    says where a cell sits in the aligned image.

    Convention: as Frame: image coordinates from the image centre, unit one input pixel, x right,
    y down; jump and start are (x, y); canvas and size are (rows, columns).

    Raises ProbeError for an unknown layer, a layer that gives no map of more than one cell, cells
    without regular places, and images the network cannot take; see find_frames.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1))
    >>> measure_frames(network, ["0"], canvas=(8, 8), channels=1)["0"].centre_offset
    (-0.5, -0.5)
    """
    frames, reasons = find_frames(network, layers, canvas, channels)
    for reason in reasons.values():
        raise ProbeError(reason)
    return frames


def find_frames(
    network: nn.Module,
    layers: str | Sequence[str],
    canvas: tuple[int, int],
    channels: int = 3,
) -> tuple[dict[str, LayerFrame], dict[str, str]]:
    """The frames of the layers that have one, as measure_frames, and why the others have none.

    Raises ProbeError for an unknown layer, one that the pass does not reach, and images that the
    network cannot take.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1))
    >>> frames, reasons = find_frames(network, ["0", "1"], canvas=(8, 8), channels=1)
    >>> list(frames), list(reasons)
    (['0'], ['1'])
    """
    layers = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
    blank = torch.zeros(1, channels, *canvas).to(like(network))
    # Gradients are asked for even where the caller wants none.
    with (
        still_transformers(network),
        filled(network, blank),
        keeping_each(network),
        torch.enable_grad(),
    ):
        return _found(network, layers, canvas, channels)


def _found(
    network: nn.Module, layers: list[str], canvas: tuple[int, int], channels: int
) -> tuple[dict[str, LayerFrame], dict[str, str]]:
    maps = Maps(network, layers, canvas, channels)
    sizes: dict[str, tuple[int, int]] = {}
    reasons: dict[str, str] = {}

    def take(layer: str, output: object) -> None:
        try:
            rows, columns = as_map(layer, output, network, maps.layouts.get(layer), 1).shape[2:]
        except ProbeError as error:
            reasons[layer] = str(error)
        else:
            sizes[layer] = (int(rows), int(columns))

    run(network, torch.zeros(1, channels, *canvas).to(like(network)), layers, take)
    lines, without = settled_lines(maps, sizes, canvas)
    frames = {}
    for layer in (layer for layer in layers if layer in lines):
        x, y, method = lines[layer]
        frames[layer] = LayerFrame(
            jump=(x.jump, y.jump),
            start=(x.corner - (canvas[1] - 1) / 2, y.corner - (canvas[0] - 1) / 2),
            size=sizes[layer],
            method=method,
            error=max(x.error, y.error),
        )
    reasons |= without
    return frames, {layer: reasons[layer] for layer in layers if layer in reasons}


def nearest_aligned_size(
    network: nn.Module, layer: str, canvas: tuple[int, int], channels: int = 3
) -> tuple[int, int] | None:
    """The input size (rows, columns) nearest to `canvas` that centres the layer's map.

    See nearest_aligned_sizes, which does this for several layers at once.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1))
    >>> nearest_aligned_size(network, "0", canvas=(8, 8), channels=1)
    (9, 9)
    """
    return nearest_aligned_sizes(network, [layer], canvas, channels)[layer]


def nearest_aligned_sizes(
    network: nn.Module,
    layers: str | Sequence[str],
    canvas: tuple[int, int],
    channels: int = 3,
    frames: Mapping[str, Frame] | None = None,
) -> dict[str, tuple[int, int] | None]:
    """For each layer the input size nearest to `canvas` whose map centre is the image centre.

    Sizes are (rows, columns), at most 64 pixels from the canvas along each axis, of two equally
    near ones the larger; None when there is no such size. Map sizes come from running the
    network on every candidate, and the winner's frame is measured anew. Where padding depends on
    the size, only one pixel more or less is tried. `frames` saves measuring them on the canvas
    again.

    Raises ProbeError as measure_frames does.
    """
    layers = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
    if frames is None:
        frames = measure_frames(network, layers, canvas, channels)
    with still_transformers(network), keeping_each(network):
        return _aligned_sizes(network, layers, canvas, channels, frames)


def _aligned_sizes(
    network: nn.Module,
    layers: list[str],
    canvas: tuple[int, int],
    channels: int,
    frames: Mapping[str, Frame],
) -> dict[str, tuple[int, int] | None]:
    sizes = {layer: frames[layer].size for layer in layers}
    along: dict[str, dict[str, int]] = {}
    maps = Maps(network, layers, canvas, channels)
    for axis, side in (("x", 1), ("y", 0)):
        strip = thin_strip(maps, sizes, axis, canvas)
        along[axis] = _aligned_lengths(strip, {name: frames[name] for name in layers}, canvas[side])
    aligned: dict[str, tuple[int, int] | None] = {
        layer: (along["y"][layer], along["x"][layer])
        if layer in along["x"] and layer in along["y"]
        else None
        for layer in layers
    }
    for size in set(aligned.values()) - {None, canvas}:
        here = [layer for layer in layers if aligned[layer] == size]
        try:
            anew = measure_frames(network, here, size or canvas, channels)
        except ProbeError:
            anew = {}
        for layer in here:
            if layer not in anew or not _centred(anew[layer]):
                aligned[layer] = None
    # Padding that depends on the size ("same") moves the first cell, taken as fixed above.
    for more in (1, -1):
        left = [layer for layer in layers if aligned[layer] is None]
        size = (canvas[0] + more, canvas[1] + more)
        if left and min(size) > 0:
            with suppress(ProbeError):  # a network of one size
                moved = find_frames(network, left, size, channels)[0]
                aligned |= {layer: size for layer, frame in moved.items() if _centred(frame)}
    return aligned


def _centred(frame: Frame) -> bool:
    return max(map(abs, frame.centre_offset)) <= _ALIGNED


def _aligned_lengths(strip: Strip, frames: dict[str, Frame], length: int) -> dict[str, int]:
    """The length of canvas nearest to `length` that centres each layer along the strip."""
    axis, side = (0, 1) if strip.axis == "x" else (1, 0)
    found: dict[str, int] = {}
    for other in sorted(
        range(length - _REACH, length + _REACH + 1), key=lambda n: (abs(n - length), -n)
    ):
        pending = [layer for layer in frames if layer not in found]
        if other < 1 or not pending:
            continue
        try:
            sizes = strip.shapes(pending, other)
        except ProbeError:
            continue
        for layer in pending:
            # The distance from the first pixel to the first cell is the same in every canvas.
            corner = frames[layer].start[axis] + (length - 1) / 2
            middle = corner + frames[layer].jump[axis] * (sizes[layer][side] - 1) / 2
            if abs(middle - (other - 1) / 2) <= _ALIGNED:
                found[layer] = other
    return found
