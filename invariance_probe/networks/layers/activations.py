"""Feature maps of named layers, from one forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from ...errors import ProbeError
from .capture import run
from .layouts import Layout, layouts_of
from .parts import describe


class Activations:
    """Feature maps of several layers from one forward pass of an unchanged eager network.

    `layers` names modules as `network.named_modules()` does; the second call of a reused module
    is "relu#2", a part of a tuple, list, dictionary or dataclass "lstm:0", "head:out:0". Outputs
    with channels last and tokens are turned into maps, tokens without a place in the image (class
    and register tokens) left aside. Where rows and columns are is measured once per canvas, in
    one forward pass more, unless all layers are convolutions and the like.

    A call `acts(images)` takes images (N, C, H, W) and returns {layer: map (N, channels, rows,
    columns)} in the order of `layers`; the pass stops once all maps are in. With `outputs=True`
    it runs to the end and returns (maps, outputs of the network).

    Maps are copies without gradient: nothing the network does later in place changes them. The
    network is in eval mode during the pass; modes are restored and hooks removed when it ends,
    however it ends, so there is nothing to close and `with` is only a way to name the block.

    Raises ProbeError for an unknown layer, one the pass does not reach, one whose output is not
    a map, and images that the network cannot take.

    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten())
    >>> maps = Activations(network, ["0", "1"])(torch.zeros(2, 1, 8, 8))
    >>> {name: tuple(value.shape) for name, value in maps.items()}
    {'0': (2, 4, 6, 6), '1': (2, 4, 6, 6)}
    """

    def __init__(self, network: nn.Module, layers: Sequence[str], stop_early: bool = True) -> None:
        if isinstance(layers, str):
            layers = [layers]
        if not layers:
            raise ProbeError("no layer named: give at least one layer")
        self.network = network
        self.layers = tuple(dict.fromkeys(layers))
        self.stop_early = stop_early
        self._layouts: dict[tuple[int, ...], dict[str, Layout]] = {}

    def layouts(self, images: Tensor) -> dict[str, Layout]:
        """The layouts of the layers for images of this canvas; plain convolutions are left out."""
        shape = tuple(images.shape[1:])
        if len(shape) != 3:
            return {}
        if shape not in self._layouts:
            self._layouts[shape] = layouts_of(self.network, self.layers, shape[1:], shape[0])
        return self._layouts[shape]

    @overload
    def __call__(self, images: Tensor, *, outputs: Literal[False] = ...) -> dict[str, Tensor]: ...

    @overload
    def __call__(
        self, images: Tensor, *, outputs: Literal[True]
    ) -> tuple[dict[str, Tensor], Any]: ...

    def __call__(
        self, images: Tensor, *, outputs: bool = False
    ) -> dict[str, Tensor] | tuple[dict[str, Tensor], Any]:
        """Maps of all layers for images (N, C, H, W); with `outputs=True` (maps, outputs)."""
        maps: dict[str, Tensor] = {}
        layouts = self.layouts(images)

        def take(layer: str, output: object) -> None:
            # Always a copy: an in-place ReLU or addition after the layer would change the map,
            # and no version counter tells when it happens through a view of raw data.
            found = as_map(layer, output, self.network, layouts.get(layer), len(images)).detach()
            maps[layer] = found.clone() if found is output else found.contiguous().clone()

        stop = self.stop_early and not outputs
        result = run(self.network, images, self.layers, take, stop_early=stop)
        ordered = {layer: maps[layer] for layer in self.layers}
        return (ordered, result) if outputs else ordered

    def __enter__(self) -> Activations:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def __repr__(self) -> str:
        return f"Activations({type(self.network).__name__}, layers={list(self.layers)})"


def as_map(
    layer: str,
    output: object,
    network: nn.Module,
    layout: Layout | None = None,
    number: int | None = None,
) -> Tensor:
    """The output of a layer as a map (N, C, H, W) of more than one cell, else an error.

    Without a layout an output of four axes is taken as it is. `number` is that of the images.
    """
    if not isinstance(output, Tensor):
        what = describe(layer, output)
        if "; name one of" in what:
            raise ProbeError(f"layer {layer!r} gives {what}")
        gives = what
    elif output.is_meta:
        gives = "a tensor without values (device meta)"
    elif number is not None and output.ndim > 2 and output.shape[0] != number:
        gives = f"{tuple(output.shape)} for {number} image{'s' * (number != 1)}"
    elif layout is not None and layout.fits(output):
        return _of_many_cells(layer, layout.to_map(output), output, network)
    elif output.ndim == 4:
        return _of_many_cells(layer, output, output, network)
    elif output.ndim == 3:
        gives = f"{tuple(output.shape)} without places on a grid"
    else:
        gives = str(tuple(output.shape))
    raise ProbeError(
        f"layer {layer!r} gives {gives}, not a map (N, C, H, W); choose a convolutional layer"
        f"{_convolutions(network)}"
    )


def _of_many_cells(layer: str, maps: Tensor, output: Tensor, network: nn.Module) -> Tensor:
    if maps.shape[2] * maps.shape[3] == 1:
        raise ProbeError(
            f"layer {layer!r} gives a single cell {tuple(output.shape)}: there are no positions "
            f"to align; choose an earlier layer{_convolutions(network)}"
        )
    return maps


def check_finite(
    features: Mapping[str, Tensor], names: Sequence[str] | None = None, shown: str = ""
) -> None:
    """Raise ProbeError naming the first layer and image whose map holds NaN or Inf.

    `features` are {layer: (N, ...)} as Activations returns them, `names` the N images' names,
    `shown` says what was done with them ("fit: rotation:30").
    Costs one sum a layer as long as everything is finite.
    """
    for layer, values in features.items():
        # NaN and Inf survive a sum; a finite sum that overflowed is sorted out below.
        if not values.is_floating_point() or bool(torch.isfinite(values.sum())):
            continue
        bad = ~torch.isfinite(values).flatten(1).all(1)
        if not bool(bad.any()):
            continue
        index = int(bad.nonzero()[0])
        what = "NaN" if bool(torch.isnan(values[index]).any()) else "Inf"
        image = repr(names[index]) if names is not None else f"number {index} of the batch"
        when = f"{shown}; " if shown else ""
        raise ProbeError(
            f"layer {layer!r} gives {what} for image {image} ({when}{int(bad.sum())} of {len(bad)} "
            "images here): check the checkpoint, the normalisation and that image"
        )


def _convolutions(network: nn.Module) -> str:
    """': conv1, conv2, ...', the first and last convolutions, where there are any."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    if not names or names == [""]:
        return ""
    shown = names if len(names) <= 4 else [*names[:2], "...", *names[-2:]]
    return f": {', '.join(shown)}"
