"""What a network is shown: transformed images, cut to its canvas, normalised last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...data import ImageSet
from ...errors import ProbeError
from ...geometry import Transform, identity, warp
from ...geometry.resampling import Beyond, Interpolation


class Inputs:
    """Batches of one image set as network inputs, under transformations.

    Convention: transformations act about the common centre of source and canvas, before
    normalisation; beyond the source lies the background fill or its reflection.
    """

    def __init__(
        self,
        images: ImageSet,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        interpolation: Interpolation,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.images, self.interpolation, self.device, self.dtype = (
            images,
            interpolation,
            device,
            dtype,
        )
        background = images.background
        self.beyond: Beyond = "reflect" if isinstance(background, str) else "fill"
        self.fill = 0.0 if isinstance(background, str) else background
        self.mean = self._per_channel("mean", mean, 0.0)
        self.std = self._per_channel("std", std, 1.0)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Source images (N, C, Hs, Ws) on the device, not normalised."""
        return self.images.batch(indices).to(self.device, self.dtype)

    def transformed(
        self, source: Tensor, transform: Transform, size: tuple[int, int] | None = None
    ) -> Tensor:
        """T_h f on the canvas (N, C, H, W), not normalised; real content comes in from outside.

        `size` is another canvas about the same centre.
        """
        return self._warp(source, transform, size)

    def original(self, source: Tensor) -> Tensor:
        """f on the canvas (N, C, H, W), not normalised."""
        return self._warp(source, identity())

    def undone(self, canvas: Tensor, transform: Transform) -> Tensor:
        """T_{h⁻¹} of what the network was shown: what an input aligner could restore."""
        return self._warp(canvas, transform.inverse())

    def normalise(self, canvas: Tensor) -> Tensor:
        """(pixels − mean) / std per channel: the network's input."""
        return (canvas - self.mean) / self.std

    def _warp(
        self, images: Tensor, transform: Transform, size: tuple[int, int] | None = None
    ) -> Tensor:
        return warp(
            images, transform, size=size or self.images.canvas, interpolation=self.interpolation,
            beyond=self.beyond, fill=self.fill,
        )  # fmt: skip

    def _per_channel(self, name: str, values: Sequence[float] | None, default: float) -> Tensor:
        channels = self.images.channels
        try:
            given = [default] if values is None else [float(value) for value in values]
        except (TypeError, ValueError):
            raise ProbeError(f"{name}={values!r} must be numbers, one a channel") from None
        if len(given) not in (1, channels):
            raise ProbeError(
                f"{name} has {len(given)} values for images of {channels} channels; give one or all"
            )
        tensor = torch.tensor(given, dtype=self.dtype, device=self.device).reshape(1, -1, 1, 1)
        if not bool(tensor.isfinite().all()):
            raise ProbeError(f"{name}={given} must be finite numbers")
        if name == "std" and not bool((tensor > 0).all()):
            raise ProbeError(f"std={given} must be positive")
        return tensor
