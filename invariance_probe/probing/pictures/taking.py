"""Taking pictures: what layers make of transformed images, moved back, beside the original."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...data import ImageSet
from ...errors import ProbeError
from ...geometry import Frame, Transform
from ...networks import Activations, Network, framed_layers
from ...networks.network import resolved
from ...running.devices import find_device, home_of
from ..bench.borders import with_margins
from ..bench.inputs import Inputs
from ..bench.look import Looker, Meter, Progress
from ..bench.notebooks import listener
from ..bench.plan import as_transforms, batches, images_for, measuring, split
from ..bench.purity import check_purity
from ..config import ProbeConfig, load_images, load_network
from ..options import AUTO, Options
from ..provenance import state_sha256
from ..result import Result
from ..verification.trust import Trust, stored_config
from .layers import LayerMaker
from .values import Pictures

T = TypeVar("T")

_LARGEST = 64_000_000  # bytes of frames: some 20 times what fits a page well
_LAYERS, _STEPS = 4, 36  # that a run is shown with unless asked otherwise


def take_pictures(
    network: nn.Module | Network,
    layers: str | Sequence[str],
    transforms: str | Transform | Iterable[str | Transform],
    images: ImageSet | Tensor | NDArray[Any],
    *,
    channels: int | Sequence[int] = 6,
    number: int | Sequence[int | str] = 3,
    cells: int = 56,
    pixels: int = 128,
    compared_under: str | Transform | Iterable[str | Transform] | None = None,
    scale_images: ImageSet | None = None,
    margins: Mapping[str, float] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    options: Options | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Pictures:
    """Take small pictures of transformed images, their maps, and the maps moved back by h⁻¹.

    Shown are the first `number` of the images, or those of a list of indices or names, and
    `channels` of every layer: so many, by default 6, or those of a list. A number takes the channel
    of largest variance on the shown images first, then those with most variance that the ones
    taken do not explain. Maps of more than `cells` a side are averaged in blocks, inputs come to
    `pixels`.

    The residuals are those of `probe` for each image by itself, Σ_V ‖MΓT_h f − Γf‖² over
    Σ_V ‖Γf − μ‖², on whole maps, not on the pictures; μ are the channel means over all `images`,
    V the cells that stay inside the image under all of `compared_under`, by default the
    `transforms`, and keep `margins` from its edge (pixels, by layer; by default as `options.erode`
    asks). `mean`, `std`, `options` and `progress` are as for `probe`; margins, and with
    weighting="channel" deviations, are measured on `scale_images`, by default on all `images`.

    Convention: as `probe`; maps are moved in the frame measured on the network.

    Raises ProbeError as `probe` does, for channels and images that are not there, and where the
    pictures would take more than 64 MB.
    """
    chosen = options or Options()
    module, mean, std = resolved(network, mean, std)
    image_set = images_for(network, images)
    indices, moves = _asked(number, image_set), as_transforms(transforms)
    shown = image_set.take(indices)  # refuses what is not there
    place = find_device(device)
    module = module.to(place)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    size = 32 if chosen.batch_size == AUTO else int(chosen.batch_size)

    def inputs_of(some: ImageSet) -> Inputs:
        return Inputs(some, mean, std, chosen.image_interpolation, home_of(place), dtype)

    inputs = inputs_of(image_set)
    scales = inputs_of(scale_images or image_set) if chosen.weighting == "channel" else None
    with measuring(module):
        example = inputs.normalise(inputs.original(inputs.load(indices[:1]))).to(place)
        frames = framed_layers(module, layers, example)[0]
        names = list(frames)
        under = moves if compared_under is None else as_transforms(compared_under)
        moving = sum(not move.is_identity for move in moves)
        total = len(image_set) + len(indices) * (2 + len(moves) + moving)
        total += len(scales.images) if scales is not None else 0
        meter = Meter(listener(progress), total)
        meter.plan("pictures", total)
        meter.begin("pictures")

        def originals(of: Inputs, which: list[int], text: str) -> Iterator[dict[str, Tensor]]:
            look = Looker(activations, of, place, chosen, meter)
            for batch in batches(which, size):
                yield look(of.original(of.load(batch)), batch, text)

        with Activations(module, names) as activations, torch.inference_mode():
            of_all = list(range(len(image_set)))
            look = Looker(activations, inputs, place, chosen, meter)
            sized = replace(chosen, batch_size=size)
            impure = check_purity(look.maps, module, inputs, of_all, sized)
            unmetered = Looker(
                activations, inputs_of(scale_images or image_set), place, chosen, Meter(None, 0)
            )
            framed = _with_margins(frames, margins or {}, unmetered, under, chosen)
            makers = [
                LayerMaker(name, framed[name], under, image_set.canvas, cells, chosen)
                for name in names
            ]
            if scales is not None:
                for maps in originals(scales, list(range(len(scales.images))), "deviations"):
                    for maker in makers:
                        maker.weigh(maps[maker.name])
            for maps in originals(inputs, of_all, "means"):
                for maker in makers:
                    maker.average(maps[maker.name])
            for maps in originals(inputs, indices, "channels"):
                for maker in makers:
                    maker.correlate(maps[maker.name])
            for maker in makers:
                maker.choose(channels, indices)
            _check_size(makers, len(indices), len(moves))
            firsts, thumbs = [], []
            for batch in batches(indices, size):
                source = inputs.load(batch)
                canvas = inputs.original(source)
                firsts.append(_thumbnails(canvas, pixels))
                before = look(canvas, batch, "original")
                for maker in makers:
                    maker.begin(before[maker.name])
                strip = []
                for move in moves:
                    canvas = inputs.transformed(source, move)
                    strip.append(_thumbnails(canvas, pixels))
                    after = realigned = look(canvas, batch, move.text)
                    if not move.is_identity:
                        realigned = look(inputs.undone(canvas, move), batch, f"{move} undone")
                    for maker in makers:
                        n = maker.name
                        maker.add(move, before[n], after[n], realigned[n])
                thumbs.append(np.stack(strip, axis=1))
    weighted = "; channels divided by their deviation" * (chosen.weighting == "channel")
    return Pictures(
        images=shown.names,
        transforms=tuple(move.text for move in moves),
        originals=np.concatenate(firsts),
        inputs=np.concatenate(thumbs),
        layers=tuple(maker.finish(len(moves)) for maker in makers),
        network=_title(network),
        data=f"{image_set.description}; channel means over {len(image_set)} images{weighted}",
        notes=(*impure, *(note for maker in makers for note in maker.notes)),
    )


def pictures_of(
    source: Result | ProbeConfig,
    *,
    layers: str | Sequence[str] | None = None,
    transforms: str | None = None,
    trust: Trust = False,
    **given: Any,
) -> Pictures:
    """Take pictures of what a run measured, from its stored configuration.

    Network and images are built again; shown are the first images of the evaluation half. Residuals
    are those of the run: same μ, same cells. By default 4 of its layers, evenly spaced, and 36 of
    its transformations at most. What a result names beyond the package's own is called and read
    with `trust` only, as for `stored_config`; a ProbeConfig is the caller's own. `given` goes to
    `take_pictures`.

    Raises Untrusted for what `trust` does not allow, and ProbeError for results of networks or
    images that were passed as Python objects, and where what the configuration names is no longer
    what was measured.
    """
    config, result = source, None
    if isinstance(source, Result):
        stored, result = source.provenance.get("config"), source
        if not stored:
            raise ProbeError(
                "this result was measured on Python objects, which it does not hold; take pictures "
                "with take_pictures(network, layers, transforms, images)"
            )
        config = stored_config(stored, trust)
    if not isinstance(config, ProbeConfig):
        raise ProbeError(f"pictures of {source!r}: give a Result or a ProbeConfig")
    network = load_network(config)
    images = load_images(config, network)
    if result is not None:
        _check_same(result, network, images)
    fit, evaluation = split(len(images), config.options.seed)
    names: Sequence[str] | str | None = layers
    if names is None:
        names = result.axes["layer"] if result is not None else _names(network, config, images)
        names = _spaced(list(names), _LAYERS)
    every = as_transforms(config.transforms)
    return take_pictures(
        network,
        names,
        _spaced(list(every), _STEPS) if transforms is None else transforms,
        images.take(evaluation),
        compared_under=(*every, *as_transforms(transforms)) if transforms else every,
        scale_images=images.take(fit),
        margins=result.margins if result is not None else None,
        mean=config.mean,
        std=config.std,
        options=config.options,
        **{"device": config.device, **given},
    )


def _with_margins(
    frames: Mapping[str, Frame],
    margins: Mapping[str, float],
    look: Looker,
    under: Sequence[Transform],
    options: Options,
) -> dict[str, Frame]:
    """Frames with the margins given, and measured ones where none is."""
    known = {n: replace(f, margin=margins[n]) for n, f in frames.items() if n in margins}
    rest = {n: f for n, f in frames.items() if n not in margins}
    found = with_margins(rest, look, range(len(look.inputs.images)), under, options).frames
    return {n: (known | found)[n] for n in frames}


def _asked(number: int | Sequence[int | str], images: ImageSet) -> list[int]:
    """Indices of the images to show."""
    if isinstance(number, int | np.integer):
        if number < 1:
            raise ProbeError(f"number={number}: show at least one image")
        return list(range(min(int(number), len(images))))
    found = []
    for entry in number:
        if isinstance(entry, str) and entry not in images.names:
            near = difflib.get_close_matches(entry, images.names, n=3) or images.names[:3]
            raise ProbeError(f"no image {entry!r} among those shown; there are {', '.join(near)}")
        found.append(images.names.index(entry) if isinstance(entry, str) else int(entry))
    if not found:
        raise ProbeError("number=[]: show at least one image")
    return found


def _thumbnails(canvas: Tensor, pixels: int) -> NDArray[np.uint8]:
    """(N, rows, columns, 1 or 3) bytes of images in [0, 1], shrunk to `pixels` a side at most."""
    values = canvas.float() if canvas.shape[1] in (1, 3) else canvas.float().mean(1, keepdim=True)
    rows, columns = values.shape[-2:]
    if max(rows, columns) > pixels:
        size = [max(1, round(side * pixels / max(rows, columns))) for side in (rows, columns)]
        values = F.interpolate(values, size, mode="bilinear", antialias=True)
    shown = (values.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(shown.permute(0, 2, 3, 1).cpu().numpy())


def _check_size(makers: Sequence[LayerMaker], images: int, moves: int) -> None:
    size = sum(2 * images * moves * maker.bytes_per_frame for maker in makers)
    if size > _LARGEST:
        raise ProbeError(
            f"pictures of {images} images, {moves} transformations and {len(makers)} layers take "
            f"{size / 1e6:.0f} MB; ask for fewer of them, fewer channels or fewer cells"
        )


def _title(network: nn.Module | Network) -> str:
    if isinstance(network, Network):
        return f"{network.name}: {network.description}" if network.description else network.name
    return type(network).__name__


def _names(network: Network, config: ProbeConfig, images: ImageSet) -> list[str]:
    example = torch.zeros(1, images.channels, *images.canvas)
    return list(framed_layers(network.module, list(config.layers), example)[0])


def _spaced(entries: list[T], most: int) -> list[T]:
    """At most so many of the entries, evenly spaced, the first and the last among them."""
    if len(entries) <= most:
        return entries
    return [entries[round(k * (len(entries) - 1) / (most - 1))] for k in range(most)]


def _check_same(result: Result, network: Network, images: ImageSet) -> None:
    """ProbeError unless network and images are those that were measured."""
    now = {"network": state_sha256(network.module), "images": images.sha256}
    keys = {"network": "state_sha256", "images": "sha256"}
    for what, digest in now.items():
        then = result.provenance.get(what, {}).get(keys[what])
        if then is not None and then != digest:
            raise ProbeError(
                f"the {what} of this result's configuration changed since (another hash): pictures "
                "would show something else; probe again, or use take_pictures(network, layers, "
                "transforms, images)"
            )
