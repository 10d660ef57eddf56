"""The parts of a residual: resampling, border, grid and network, each with its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError
from ._measuring import attempt, frame_of, module_of

if TYPE_CHECKING:
    from ..data import ImageSet
    from ..geometry import Frame, Transform
    from ._measuring import AnyNetwork

_MOST_IMAGES = 64  # looked at to explain a failure
_CORE = 0.25  # share of the compared cells that are far from the border


@dataclass(frozen=True)
class _Part:
    """A share of a residual, where it comes from, and what would remove it."""

    name: str
    value: float
    source: str
    remedy: str


def explained(
    rung: str,
    network: AnyNetwork,
    case: Mapping[str, Any],
    images: ImageSet,
    options: Mapping[str, Any],
) -> str:
    """The parts of the residual as lines of text, the remedies of the larger ones below."""
    parts = _split(rung, network, case, images, options)
    width = max(len(part.name) for part in parts)
    lines = [f"  {part.name:<{width}}  {part.value:<8.3g}  {part.source}" for part in parts]
    large = [part for part in parts if part.value >= 0.2 * case[rung]] or [
        max(parts, key=lambda part: part.value)
    ]
    large.sort(key=lambda part: -part.value)
    return "\n".join([*lines, *(f"  change: {part.remedy}" for part in large)])


def _split(
    rung: str,
    network: AnyNetwork,
    case: Mapping[str, Any],
    images: ImageSet,
    options: Mapping[str, Any],
) -> list[_Part]:
    """Take one cause after the other away and measure again; what is left is the network's."""
    from ..geometry import parse_transforms

    layer, (move,) = case["layer"], parse_transforms(case["transform"])
    whole = float(case[rung])
    grid_source, grid_remedy, better = _better_grid(network, layer, move, images)
    centred, last = whole, case
    if better is not None:
        shown, move = better
        again = attempt(network, layer, move, shown, options)
        if again is not None:
            images, last, centred = shown, again, min(whole, again[rung])
            grid_remedy += f" and leaves {again[rung]:.3g}"
    frame = frame_of(network, layer, images)
    rows, columns = frame.size
    erode = _core(frame, move, images, _least_margin(options))
    inside = centred
    border_source = "no cells lie further inside; the map is too small to tell"
    if erode is not None:
        eroded = {**options, "erode": erode}
        again = attempt(network, layer, move, images, {**eroded, "channels": True})
        if again is not None:
            last, inside = again, min(centred, again[rung])
            border_source = f"of all compared cells; those {erode:g} px inside have the rest"
            options = eroded
    resampling = min(inside, float(last["resampling_floor"]))
    return [
        _Part(
            "resampling",
            resampling,
            f"interpolation on the map of {rows}x{columns} cells",
            "the map or its interpolation: an earlier layer, map_interpolation='bicubic', or "
            f"transformations that need none (k·90°, flips); or a tolerance above {resampling:.2g}",
        ),
        _Part(
            "border",
            centred - inside,
            border_source,
            "the border: images with real content beyond the canvas (array_images(array, "
            f"canvas=...)), layers without padding, or erode={erode or 0:g} for inner cells only",
        ),
        _Part("grid offset", whole - centred, grid_source, grid_remedy),
        _Part(
            "network", inside - resampling, *_of_network(rung, network, move, last, images, options)
        ),
    ]


def _better_grid(
    network: AnyNetwork, layer: str, move: Transform, images: ImageSet
) -> tuple[str, str, tuple[ImageSet, Transform] | None]:
    """Where the grid lies, what to change, and images and transformation that suit it."""
    from ..data import array_images
    from ..geometry import translation
    from ..networks import nearest_aligned_size

    frame = frame_of(network, layer, images)
    if move.kind == "translation":
        steps = [
            round(d / jump) * jump for d, jump in zip(move.parameters, frame.jump, strict=True)
        ]
        text = "({:g}, {:g}) px".format(*frame.jump)
        if max(abs(a - b) for a, b in zip(steps, move.parameters, strict=True)) < 1e-6:
            return f"the shift is a multiple of the stride, {text}", "", None
        whole = translation(*steps) if any(steps) else translation(frame.jump[0], 0)
        remedy = (
            f"the shift: a multiple of the stride, {text}, such as {whole.text}, keeps to the grid"
        )
        return f"the shift is no multiple of the stride, {text}", remedy, (images, whole)
    offset = frame.centre_offset
    if max(map(abs, offset)) <= 1e-3:
        return "none: the map is centred on the image", "", None
    source = f"the map's centre lies ({offset[0]:g}, {offset[1]:g}) px off the image's"
    size = nearest_aligned_size(module_of(network), layer, images.canvas, images.channels)
    if size is None:
        return f"{source}; not told apart", "padding that is the same on both sides", None
    pixels = images.batch(range(min(len(images), _MOST_IMAGES)))
    remedy = f"the input size: {size[0]}x{size[1]} centres the map"
    return source, remedy, (array_images(pixels, size, background=images.background), move)


def _of_network(
    rung: str,
    network: AnyNetwork,
    move: Transform,
    last: Mapping[str, Any],
    images: ImageSet,
    options: Mapping[str, Any],
) -> tuple[str, str]:
    """What the network's own part comes from, and what would help."""
    from ..networks import symmetrised

    aligned = f"align the input instead (leaves {last['input_aligned']:.3g})"
    if move.kind == "translation":
        source = "the layers do not commute with shifts"
        return source, "layers that depend on position, and sub-sampling without smoothing"
    permuted = last.get("inverse_permuted", float("nan"))
    if rung == "inverse" and permuted < 0.5 * last["inverse"]:
        source = f"the response moves to other channels: a permutation leaves {permuted:.3g}"
        return source, "the assertion to assert_aligned_by_permutation, or " + aligned
    if move.kind not in ("rotation", "reflection"):
        source = f"receptive fields do not follow a {move.kind}"
        return source, f"the place of alignment: only 1x1 filters suit a {move.kind}; {aligned}"
    group: Any = "rotations" if move.kind == "rotation" else "rotations+reflections"
    try:
        twin: Any = symmetrised(network, group=group)
        again = attempt(twin, last["layer"], move, images, options)
    except ProbeError:
        again = None
    left = f"symmetrised ones leave {again['inverse']:.3g}" if again is not None else ""
    if again is not None and again["inverse"] >= 0.5 * last["inverse"]:
        source = f"strides and kernels on a square grid: {left} too"
        return (
            source,
            f"the filters to rounder ones, and smoothing before each stride; or {aligned}",
        )
    return (
        "what the filters prefer" + (f" ({left})" if left else ""),
        "the filters to ones without a preferred orientation (networks.symmetrised), or " + aligned,
    )


def _least_margin(options: Mapping[str, Any]) -> float:
    erode = options.get("erode", "auto")
    return 0.0 if erode == "auto" else float(erode)


def _core(frame: Frame, move: Transform, images: ImageSet, erode: float) -> float | None:
    """The margin in pixels that leaves about a quarter of the compared cells, or None."""
    from ..geometry import valid_cells

    step = max(map(abs, frame.jump))
    whole = valid_cells(frame, [move], images.canvas, erode=erode).sum()
    found = None
    for number in range(1, max(frame.size)):
        margin = erode + number * step
        try:
            left = valid_cells(frame, [move], images.canvas, erode=margin).sum()
        except ProbeError:
            break
        if left < max(4, _CORE * whole):
            break
        if left < whole:
            found = margin
    return found
