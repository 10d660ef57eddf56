"""The gallery: one image's strongest maps before, after, moved back, and what remains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from torch import nn

from ...data import ImageSet
from ...errors import ProbeError
from ...geometry import Transform, parse_transforms, valid_cells, warp
from ...geometry.resampling import Interpolation
from ...networks import Activations, Network, check_finite, measure_frames, select_layers
from ...networks.network import resolved
from ...probing.bench.inputs import Inputs
from ...probing.bench.plan import images_for
from ..drawing.fitting import LINE, wrapped
from ..drawing.style import MASKED, WIDE, checked_width, new_figure, styled
from ..select import spoken

_BESIDE = 120.0  # millimetres, the narrowest figure with the images beside the maps
_MAPS, _DIFFERENCES = "viridis", "RdBu_r"
_HEADS = ("original", "transformed", "moved back", "difference")


@styled
def plot_gallery(
    network: nn.Module | Network,
    images: ImageSet | torch.Tensor | np.ndarray[Any, Any],
    layer: str,
    transform: Transform | str,
    index: int = 0,
    channels: int = 4,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    margin: float = 0.0,
    image_interpolation: Interpolation = "bilinear",
    map_interpolation: Interpolation = "bilinear",
    width: float | None = None,
) -> Figure:
    """Draw the strongest channels of one image: its map, the transformed image's, moved back.

    At the left the image as the network sees it and its transform; then a row per channel, those
    of largest variance over the original's map: map of the original Γf, of the transformed image
    ΓT_h f, that moved back by h⁻¹, and the difference to the original. The three maps of a row
    share a colour scale; differences are centred at zero and left out where cells are not compared.
    `images`, `mean` and `std` are as for `probe`, `index` chooses the image. `margin` is by how
    many pixels compared cells keep from the canvas' edge, as `Result.margins` has it. `width` is
    millimetres, 170 by default; below 120 the two images stand above the maps.

    Convention: as `probe`; maps are moved in the frame measured on the network.

    Raises ProbeError for an unknown layer, a layer without maps and an image that is not there.
    """
    module, mean, std = resolved(network, mean, std)
    image_set = images_for(network, images)
    h = _one(transform)
    wide = checked_width(width) or WIDE
    if channels < 1:
        raise ProbeError(f"channels={channels}: show at least one")
    weights = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    inputs = Inputs(image_set, mean, std, image_interpolation, weights.device, weights.dtype)
    source = inputs.load([index])
    canvas = torch.cat([inputs.original(source), inputs.transformed(source, h)])
    given = inputs.normalise(canvas)
    names = select_layers(module, [layer], given[:1])
    if len(names) != 1:
        raise ProbeError(f"layer {layer!r} names {', '.join(names)}; the gallery shows one layer")
    frame = measure_frames(module, names, image_set.canvas, image_set.channels)[names[0]]
    with torch.inference_mode():
        maps = Activations(module, names)(given)
        check_finite(maps, [image_set.names[index], f"{image_set.names[index]} under {h}"])
        original, moved = maps[names[0]]
        back = warp(
            moved[None], h.inverse(), frame=frame, interpolation=map_interpolation,
            beyond="nearest", antialias=False,
        )[0]  # fmt: skip
    strongest = original.flatten(1).double().var(dim=1).argsort(descending=True, stable=True)
    chosen = strongest[:channels].tolist()
    stack = torch.stack([original, moved, back])[:, chosen].double().cpu().numpy()
    compared = valid_cells(frame, [h], image_set.canvas, erode=margin)
    return _draw(canvas.double().cpu().numpy(), stack, compared, chosen, names[0], h, wide)


def _one(transform: Transform | str) -> Transform:
    if isinstance(transform, Transform):
        return transform
    found = parse_transforms(transform)
    if len(found) != 1:
        raise ProbeError(f"{transform!r} names {len(found)} transformations; the gallery shows one")
    return found[0]


def _draw(
    images: np.ndarray,
    maps: np.ndarray,
    compared: np.ndarray,
    chosen: list[int],
    layer: str,
    h: Transform,
    width: float,
) -> Figure:
    rows = len(chosen)
    narrow = width < _BESIDE
    note = "" if compared.all() else "; grey: cells that are not compared"
    title = wrapped(f"maps of {layer} under {spoken(str(h))}{note}", width - 3)
    cell = (width - 26.0) / 4 if narrow else 26.0 * width / WIDE
    lines = title.count("\n") * LINE
    if narrow:
        figure = new_figure(width, 16.0 + lines + (cell + 2.0) * rows + cell + 8.0)
        grid: Any = figure.add_gridspec(rows + 1, 4)
        for column, (image, name) in enumerate(zip(images, ("image", spoken(str(h))), strict=True)):
            name = wrapped(name, width - 14.0 - cell, 7.0)  # nothing stands at the right of it
            _input(figure.add_subplot(grid[0, column]), image, name, 7.0)
    else:
        figure = new_figure(width, 12.0 + lines + max(cell * rows, 2 * cell))
        halves = figure.add_gridspec(1, 2, width_ratios=[1, 5])
        _inputs(figure, halves[0, 0], images, h)
        grid = halves[0, 1].subgridspec(rows, 4)
    for row, channel in enumerate(chosen):
        axes = [figure.add_subplot(grid[row + narrow, column]) for column in range(4)]
        scale = Normalize(float(maps[:, row].min()), float(maps[:, row].max()))
        for ax, values in zip(axes, maps[:, row], strict=False):
            shown = ax.imshow(values, cmap=_MAPS, norm=scale, interpolation="nearest")
            _bare(ax)
        _bar(figure, axes[2], shown)
        difference = np.where(compared, maps[2, row] - maps[0, row], np.nan)
        axes[3].set_facecolor(MASKED)
        span = float(np.nanmax(np.abs(difference))) or 1.0
        centred = Normalize(-span, span)
        shown = axes[3].imshow(difference, cmap=_DIFFERENCES, norm=centred, interpolation="nearest")
        _bare(axes[3])
        _bar(figure, axes[3], shown)
        axes[0].set_ylabel(f"channel {channel}", fontsize=7.0 if narrow else 8.0)
        if row == 0:
            for ax, head in zip(axes, _HEADS, strict=True):
                if narrow:
                    ax.set_title(head.replace(" ", "\n"), fontsize=7.0, pad=3.0, loc="center")
                else:
                    ax.set_title(head)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _inputs(figure: Figure, place: SubplotSpec, images: np.ndarray, h: Transform) -> None:
    grid = place.subgridspec(2, 1)
    for row, (image, title) in enumerate(zip(images, ("image", spoken(str(h))), strict=True)):
        _input(figure.add_subplot(grid[row, 0]), image, title, 8.0)


def _input(ax: Axes, image: np.ndarray, title: str, size: float) -> None:
    if len(image) == 3:
        ax.imshow(image.clip(0, 1).transpose(1, 2, 0), interpolation="nearest")
    else:
        ax.imshow(image.mean(0), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_title(title, fontsize=size, pad=3.0 if size < 8 else 6.0)
    _bare(ax)


def _bar(figure: Figure, ax: Axes, shown: AxesImage) -> None:
    """A colour bar as tall as the map, whatever the map's shape."""
    bar = figure.colorbar(shown, cax=ax.inset_axes((1.05, 0.0, 0.07, 1.0)))
    bar.locator = MaxNLocator(4)
    bar.ax.tick_params(labelsize=7, length=1.5)
    bar.outline.set_linewidth(0.5)


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
