"""A network as a value: the module and what must be known to show it images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .fit import Fit


@dataclass(frozen=True)
class Preset:
    """How the images that published weights were made for come to the network's canvas.

    `resize` is the length of the short side (px) from which the centre is cropped,
    `interpolation` how it is reached, `origin` says where all this and the normalisation are from.
    """

    origin: str
    resize: int | None = None
    interpolation: str = ""


@dataclass(frozen=True)
class Network:
    """A network with what must be known to show it images.

    `canvas` (rows, columns) is the input size in pixels, `channels` the number of input planes,
    `mean` and `std` (one value a channel, or one for all) normalise pixels in [0, 1].
    `description` says in words what the weights are; `checkpoint_sha256` is the hash of the file
    they come from, None for random ones; `fit` how they were matched with the network; `preset`
    what is known of the images beyond size and normalisation.
    """

    module: nn.Module
    name: str
    description: str
    channels: int
    canvas: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checkpoint_sha256: str | None = None
    fit: Fit | None = None
    preset: Preset | None = None

    @property
    def preprocessing(self) -> str:
        """Input size, normalisation, and where they are from, in words.

        >>> Network(nn.Identity(), "mine", "", 1, (28, 28), (0.5,), (0.25,)).preprocessing
        '28x28 px, mean 0.5, std 0.25'
        """
        rows, columns = self.canvas
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        text = f"{rows}x{columns} px, mean {mean}, std {std}"
        if self.preset is None:
            return text
        if self.preset.resize is not None:
            how = f" ({self.preset.interpolation})" if self.preset.interpolation else ""
            text += f", centre of images with short side {self.preset.resize} px{how}"
        return f"{text}; from {self.preset.origin}"
