"""The assertions: each measures with `probe` and says what it saw when it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError
from ._measuring import frame_of, image_set, measure
from ._parts import explained

if TYPE_CHECKING:
    from ._measuring import AnyNetwork, Images, Transforms


def assert_alignable(
    network: AnyNetwork,
    layer: str,
    transform: Transforms,
    images: Images,
    tolerance: float = 1e-3,
    **options: Any,
) -> None:
    """Check that h⁻¹ aligns the maps of a layer: the residual of `inverse` is within `tolerance`.

    `layer` is a name or pattern, `transform` one transformation or several, or their text; all
    of them must pass. `images` are an `ImageSet` or an array (N, C, H, W) in [0, 1], 4 or more.
    `tolerance` is a share of the maps' variance. `options` are those of `probe`, such as `erode`,
    `mean` or `map_interpolation`.

    Convention: as probe: image coordinates, degrees counter-clockwise, maps in measured frames.

    Raises AssertionError with the residual's parts for the worst case, and ProbeError for input
    that cannot be measured.

    >>> from invariance_probe import rotation
    >>> from invariance_probe.networks import pointwise
    >>> import numpy
    >>> images = numpy.random.default_rng(0).random((4, 1, 12, 12))
    >>> assert_alignable(pointwise(), "conv2", rotation(90), images)
    """
    _assert_small("inverse", network, layer, transform, images, tolerance, options)


def assert_aligned_by_permutation(
    network: AnyNetwork,
    layer: str,
    transform: Transforms,
    images: Images,
    tolerance: float = 1e-3,
    **options: Any,
) -> None:
    """Check that h⁻¹ and one permutation of the channels align the maps of a layer.

    The permutation is fitted on one half of the images and judged on the other: the residual of
    `inverse_permuted` is within `tolerance`. Arguments, conventions and errors as
    `assert_alignable`; it also fails where there are too few images to determine a permutation.
    """
    options = {**options, "channels": True}
    _assert_small("inverse_permuted", network, layer, transform, images, tolerance, options)


def assert_not_alignable(
    network: AnyNetwork,
    layer: str,
    transform: Transforms,
    images: Images,
    margin: float = 0.1,
    **options: Any,
) -> None:
    """Check that h⁻¹ does not align the maps of a layer, beyond what measuring itself costs.

    Fails unless the residual of `inverse` is at least `margin` above both floors, the aligned
    input's and that of resampling the map, for every transformation other than the identity.
    Arguments, conventions and errors as `assert_alignable`.
    """
    cases = measure(network, layer, transform, images, options)
    cases = [case for case in cases if not case["identity"]] or cases
    _refuse_constant(cases)
    worst = min(cases, key=_above_floors)
    if not _above_floors(worst) >= margin:
        raise AssertionError(
            f"{_name(worst)} aligns, or cannot be told from it: {worst['inverse']:.3g} is left of "
            f"the maps moved back, {_above_floors(worst):.3g} above the floors, expected at least "
            f"{margin:g} (aligned input {worst['input_aligned']:.3g}, resampling the map "
            f"{worst['resampling_floor']:.3g}, another image {worst['other_image']:.3g})"
        )


def assert_translation_covariant(
    network: AnyNetwork,
    layer: str,
    images: Images,
    shift: tuple[float, float] | None = None,
    tolerance: float = 1e-6,
    **options: Any,
) -> None:
    """Check that shifting the image shifts the maps of a layer, and does nothing else.

    `shift` is (dx, dy) in pixels; by default one cell of the map along x, then along y, rounded
    up to whole pixels where cells are finer. Where the images have no content beyond the canvas,
    the canvas is cut by the shift on all sides, so that real content comes in. `layer` is one
    name. Other arguments, conventions and errors as `assert_alignable`. Zero padding breaks
    covariance near the border; `erode`, here 0 unless given, leaves these cells out.
    """
    from ..geometry import translation

    shown = image_set(images)
    jump = frame_of(network, layer, shown).jump
    steps = [(_whole(jump[0]), 0.0), (0.0, _whole(jump[1]))] if shift is None else [shift]
    # Rows and columns of real content that the shifts ask for beyond the canvas, on each side.
    wanted = [max(abs(step[axis]) for step in steps) for axis in (1, 0)]
    sides = zip(shown.source_size, shown.canvas, wanted, strict=True)
    canvas = [min(side, source - 2 * -int(-more // 1)) for source, side, more in sides]
    if min(canvas) < 1:
        raise ProbeError(f"images of {shown.source_size} pixels cannot be shifted by {steps}")
    cut = replace(shown, canvas=(canvas[0], canvas[1]))
    moves = [translation(*step) for step in steps]
    # Measured margins come from shifts of the content, which are what is in question here.
    _assert_small("inverse", network, layer, moves, cut, tolerance, {"erode": 0.0, **options})


def _assert_small(
    rung: str,
    network: AnyNetwork,
    layer: str,
    transform: Transforms,
    images: Images,
    tolerance: float,
    options: Mapping[str, Any],
) -> None:
    shown = image_set(images)
    cases = measure(network, layer, transform, shown, options)
    _refuse_constant(cases)
    if any(case[rung] != case[rung] for case in cases):
        raise AssertionError(
            f"layer {layer!r}: {len(shown)} images do not determine a permutation of its channels; "
            "give more or larger ones"
        )
    worst = max(cases, key=lambda case: float(case[rung]))
    if worst[rung] <= tolerance:
        return
    failing = sum(case[rung] > tolerance for case in cases)
    count = f" ({failing} of {len(cases)} cases fail; this is the worst)" if failing > 1 else ""
    how = "moved back" if rung == "inverse" else "moved back and permuted"
    head = (
        f"{_name(worst)} does not align: {worst[rung]:.3g} is left of the maps {how}, tolerance "
        f"{tolerance:g} (aligned input {worst['input_aligned']:.3g}, another image "
        f"{worst['other_image']:.3g}){count}"
    )
    raise AssertionError(f"{head}\n{explained(rung, network, worst, shown, options)}")


def _refuse_constant(cases: list[dict[str, Any]]) -> None:
    for case in cases:
        if case["inverse"] != case["inverse"]:
            raise AssertionError(
                f"{_name(case)} shows nothing: its maps do not vary over cells and images"
            )


def _above_floors(case: Mapping[str, Any]) -> float:
    return float(case["inverse"] - max(case["input_aligned"], case["resampling_floor"]))


def _name(case: Mapping[str, Any]) -> str:
    return f"layer {case['layer']!r} under {case['transform']}"


def _whole(jump: float) -> float:
    """The smallest multiple of a cell that is whole pixels; one cell where none is."""
    multiples = (abs(jump) * number for number in range(1, 65))
    return next((m for m in multiples if abs(m - round(m)) < 1e-6), abs(jump))
