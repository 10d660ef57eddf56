"""What a network is fed: the canvas of an image set, normalised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..data import ImageSet
from ..errors import ProbeError


def labels_of(images: ImageSet) -> Tensor:
    """Return the labels as int64; ProbeError for a set without them."""
    if images.labels is None:
        raise ProbeError(
            f"{images.description}: no labels; give images with labels (class sub-folders, labels=)"
        )
    return torch.as_tensor(images.labels)


def per_channel(values: float | Sequence[float], channels: int, what: str) -> Tensor:
    """Return one number per channel as (C, 1, 1); a single one serves all."""
    given = torch.as_tensor(values, dtype=torch.float32).reshape(-1)
    if len(given) not in (1, channels):
        raise ProbeError(f"{len(given)} values of {what} for {channels} channels; give one each")
    return given.expand(channels).reshape(channels, 1, 1)


class Batches:
    """Reads normalised canvases (n, C, H, W) of an image set onto a device."""

    def __init__(
        self,
        images: ImageSet,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        device: torch.device | str = "cpu",
    ) -> None:
        self._images = images
        self._mean = per_channel(mean, images.channels, "mean").to(device)
        self._std = per_channel(std, images.channels, "std").to(device)
        if not bool((self._std > 0).all()):
            raise ProbeError(f"std {std!r}; give positive numbers")
        self._top = (images.source_size[0] - images.canvas[0]) // 2
        self._left = (images.source_size[1] - images.canvas[1]) // 2

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation, one value per channel."""
        return tuple(self._mean.flatten().tolist()), tuple(self._std.flatten().tolist())

    def read(self, indices: Sequence[int]) -> Tensor:
        """Return the canvases of the asked images, normalised."""
        height, width = self._images.canvas
        rows = slice(self._top, self._top + height)
        columns = slice(self._left, self._left + width)
        pixels = self._images.batch(indices)[:, :, rows, columns].to(self._mean.device)
        return (pixels - self._mean) / self._std


def device_of(network: torch.nn.Module) -> torch.device:
    """Return where the parameters of a network are; the CPU for a network without any."""
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
