"""Errors of single images measured anew, straight from the definitions, beside stored ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import Variance, channel_weights, squared_errors
from ...errors import ProbeError
from ...geometry import Frame, Transform, identity, parse_transforms, valid_cells, warp
from ...networks import Activations, measure_frames
from ...networks.network import resolved
from ..bench.dense import Stitching
from ..bench.inputs import Inputs
from ..config import ProbeConfig, load_images, load_network, run_config
from ..options import Options
from ..provenance import state_sha256
from ..result import Result
from ..run import Progress, as_transforms, measuring, split
from .trust import Trust, stored_config

Array = NDArray[np.float64]

_BATCH = 32


def replay(result: Result, progress: Progress | None = None, *, trust: Trust = False) -> Result:
    """Run again what a result's configuration names.

    `trust` is needed where that is not all the package's own, as for `stored_config`.

    Raises ProbeError for results of networks or images that were passed as Python objects, and
    Untrusted for what `trust` does not allow.
    """
    config = result.provenance.get("config")
    if not config:
        raise ProbeError(
            "this result was measured on Python objects and has no configuration to replay; "
            "probe with run_config(ProbeConfig(...)) or the command line"
        )
    return run_config(stored_config(config, trust), progress)


def replayed_errors(
    result: Result, config: ProbeConfig, images: int
) -> dict[tuple[str, str, str], Array] | str:
    """Squared errors of the first evaluation images by (layer, transform, rung), or what differs.

    Only what one image tells is measured: the best alignment and the permutation are the stored
    ones, fitted maps and the ceiling over all pairs are left out. All transformations of the run
    decide which cells are compared, so all are taken.
    """
    network = load_network(config)
    known = str(result.provenance.get("network", {}).get("state_sha256"))
    if state_sha256(network.module) != known:
        return f"the configuration now gives other weights than those with SHA-256 {known}"
    image_set = load_images(config, network)
    if image_set.sha256 != result.provenance.get("images", {}).get("sha256"):
        return "the configuration now gives other images than those that were measured"
    options = config.options
    moves = as_transforms(config.transforms)
    if tuple(move.text for move in moves) != result.axes["transform"]:
        return "the configuration now gives other transformations than those that were measured"
    fit, evaluation = split(len(image_set), options.seed)
    if tuple(image_set.names[i] for i in evaluation) != result.axes["image"]:
        return "the split into halves is another one now"
    module, mean, std = resolved(network, config.mean, config.std)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    inputs = Inputs(image_set, mean, std, options.image_interpolation, torch.device("cpu"), dtype)
    names = list(result.axes["layer"])
    shown = evaluation[:images]
    with measuring(module), torch.inference_mode():
        frames = measure_frames(module, names, canvas=image_set.canvas, channels=image_set.channels)
        with Activations(module, names) as activations:

            def features(canvas: Tensor) -> dict[str, Tensor]:
                return activations(inputs.normalise(canvas))

            margins = result.margins
            framed = {n: replace(f, margin=margins[n]) for n, f in frames.items()}
            one = _Sample(result, options, framed, moves, image_set.canvas)
            stitching = Stitching(framed, result.dense)
            if options.weighting == "channel":
                for first in range(0, len(fit), _BATCH):
                    batch = inputs.load(fit[first : first + _BATCH])
                    one.scale(features(inputs.original(batch)))
            source = inputs.load(shown)
            originals = features(inputs.original(source))

            def stitched(own: dict[str, Tensor], move: Transform) -> dict[str, Tensor]:
                def show(shift: Transform, layers: list[str]) -> dict[str, Tensor]:
                    canvas = inputs.transformed(source, shift @ move)
                    return Activations(module, layers)(inputs.normalise(canvas))

                return stitching(own, show)

            finer = stitched(originals, identity())
            out: dict[tuple[str, str, str], Array] = {}
            for move in moves:
                canvas = inputs.transformed(source, move)
                moved, undone = features(canvas), features(inputs.undone(canvas, move))
                moved_finer = stitched(moved, move)
                for name in names:
                    maps = (originals, moved, undone, finer, moved_finer)
                    out |= one.errors(name, move, *(each[name] for each in maps))
    return out


class _Sample:
    """What the ladder's unfitted rungs make of a few maps."""

    def __init__(
        self,
        result: Result,
        options: Options,
        frames: Mapping[str, Frame],
        moves: tuple[Transform, ...],
        canvas: tuple[int, int],
    ) -> None:
        self.result, self.options, self.frames = result, options, frames
        self.sources = {name: frame.finer(result.dense[name]) for name, frame in frames.items()}
        self.variances: dict[str, Variance] = {}
        self.cells = {
            name: torch.from_numpy(valid_cells(frame, moves, canvas))
            for name, frame in frames.items()
        }
        found = result.alignments.set_index(["layer", "transform"])["best"]
        self.best = {key: str(found[key]) for key in found.index}

    def scale(self, originals: dict[str, Tensor]) -> None:
        """Add maps of the fit half, by whose deviations channels are divided."""
        for name, maps in originals.items():
            if name not in self.variances:
                self.variances[name] = Variance(maps[0].mean(dim=(1, 2)))
            self.variances[name].update(maps, self.cells[name].to(maps))

    def weights(self, layer: str) -> Tensor | None:
        """1/σ per channel, 0 for channels that never vary; None for raw sums."""
        if layer not in self.variances:
            return None
        variance = torch.from_numpy(self.variances[layer].compute()[1])
        return channel_weights(variance)

    def errors(
        self,
        layer: str,
        move: Transform,
        original: Tensor,
        moved: Tensor,
        undone: Tensor,
        finer: Tensor,
        moved_finer: Tensor,
    ) -> dict[tuple[str, str, str], Array]:
        """Squared errors by (layer, transform, rung).

        The last two are original and moved maps on the grid that is moved back.
        """
        inverse = self._on_map(layer, moved_finer, move.inverse())
        there = self._on_source(layer, finer, move)
        (best,) = parse_transforms(self.best[layer, move.text])
        weights = self.weights(layer)
        maps = {
            "unaligned": moved,
            "inverse": inverse,
            "best": self._on_map(layer, moved_finer, best),
            "input_aligned": undone,
            "resampling_floor": self._on_map(layer, there, move.inverse()),
        }
        weighted = original
        if weights is not None:
            scale = weights.to(original)[:, None, None]
            maps, weighted = {rung: own * scale for rung, own in maps.items()}, original * scale
        permuted = self.result.extra.get(f"permutation/{layer}")
        if permuted is not None:
            order = permuted[self.result.axes["transform"].index(move.text)]
            if sorted(order.tolist()) == list(range(original.shape[1])):
                maps["inverse_permuted"] = maps["inverse"][
                    :, torch.from_numpy(np.asarray(order)).long()
                ]
        # Channels are divided by their deviations before any is put in another's place.
        return {
            (layer, move.text, rung): squared_errors(
                own, weighted, self.cells[layer].to(original)
            ).numpy()
            for rung, own in maps.items()
            if rung in self.result.axes["rung"]
        }

    def _on_map(self, layer: str, maps: Tensor, g: Transform) -> Tensor:
        """Maps of the source grid moved and sampled at the layer's own cells."""
        return warp(
            maps, g, frame=self.sources[layer], onto=self.frames[layer],
            interpolation=self.options.map_interpolation, beyond="nearest", antialias=False,
        )  # fmt: skip

    def _on_source(self, layer: str, maps: Tensor, g: Transform) -> Tensor:
        """Maps of the source grid moved on it, anti-aliased as an image is."""
        return warp(
            maps, g, frame=self.sources[layer], interpolation=self.options.map_interpolation,
            beyond="nearest",
        )  # fmt: skip
