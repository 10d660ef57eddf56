"""What the assertions measure, with PyTorch imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..data import ImageSet
    from ..geometry import Frame, Transform
    from ..networks import Network

    AnyNetwork = nn.Module | Network
    Transforms = str | Transform | Iterable[Transform]
    Images = ImageSet | Tensor | np.ndarray[Any, Any]


_QUICK = {"resamples": 10, "channels": False, "impure": "refuse"}


def measure(
    network: AnyNetwork,
    layer: str,
    transform: Transforms,
    images: Images,
    options: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The ladder, one dictionary for each layer and transformation."""
    from ..probing import probe

    result = probe(network, layer, transform, images, **{**_QUICK, **options})
    return result.summary.to_dict("records")


def attempt(
    network: AnyNetwork, layer: str, move: Transform, images: ImageSet, options: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The ladder in other circumstances; None where they do not allow a measurement."""
    try:
        (case,) = measure(network, layer, move, images, options)
    except ProbeError:
        return None
    return case if case["inverse"] == case["inverse"] else None


def frame_of(network: AnyNetwork, layer: str, images: ImageSet) -> Frame:
    from ..networks import measure_frames

    return measure_frames(module_of(network), layer, images.canvas, images.channels)[layer]


def module_of(network: AnyNetwork) -> nn.Module:
    from ..networks import Network

    return network.module if isinstance(network, Network) else network


def image_set(images: Images) -> ImageSet:
    from ..data import as_images

    return as_images(images)
