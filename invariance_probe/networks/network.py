"""A network as a value: the module and what must be known to show it images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from .layers.capture import check_module
from .weights.match import Fit


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
    what is known of the images beyond size and normalisation; `guessed` which of "canvas",
    "channels" (of a network that takes several numbers of them), "mean" and "std" nobody stated;
    `drawn` how the weights were drawn ("random weights (seed 0)"), "" for weights of a file and
    closed forms.
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
    guessed: tuple[str, ...] = ()
    drawn: str = ""

    @property
    def fixed_channels(self) -> int | None:
        """The number of input planes, None for a network that takes several: images decide."""
        return None if "channels" in self.guessed else self.channels

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of numbers measured on this network must know of its weights."""
        loaded = [] if self.fit is None else [f"checkpoint: {text}" for text in self.fit.warnings]
        if not self.drawn:
            return tuple(loaded)
        return (f"weights: {self.drawn}; give trained ones as the checkpoint", *loaded)

    @property
    def preprocessing(self) -> str:
        """Input size, normalisation, and where they are from, in words.

        >>> Network(nn.Identity(), "mine", "", 1, (28, 28), (0.5,), (0.25,)).preprocessing
        '28x28 px, mean 0.5, std 0.25'
        """
        return self.preprocessing_with()

    def preprocessing_with(
        self,
        canvas: tuple[int, int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channels: int | None = None,
    ) -> str:
        """`preprocessing` with what was given in place of the network's own.

        >>> Network(nn.Identity(), "mine", "", 1, (28, 28), (0.5,), (0.25,)).preprocessing_with(
        ...     mean=(0.0,))
        '28x28 px, mean 0, std 0.25; mean as given'
        """
        asked = {"canvas": canvas, "channels": channels, "mean": mean, "std": std}
        given = [name for name, value in asked.items() if value is not None]
        guessed = [name for name in self.guessed if name not in given]
        rows, columns = self.canvas if canvas is None else canvas
        centre, spread = (
            " ".join(f"{value:g}" for value in values)
            for values in (self.mean if mean is None else mean, self.std if std is None else std)
        )
        planes = ""
        if channels is not None or self.fixed_channels is None:
            number = channels or self.channels
            planes = f"{number} channel{'s' * (number != 1)}, "
        text = f"{rows}x{columns} px, {planes}mean {centre}, std {spread}"
        preset = self.preset
        if preset is not None and preset.resize is not None and canvas is None:
            how = f" ({preset.interpolation})" if preset.interpolation else ""
            text += f", centre of images with short side {preset.resize} px{how}"
        if given:
            text += f"; {_joined(given)} as given"
        if preset is not None and not {"canvas", "mean", "std"} <= {*given}:
            # The recipe of published weights says nothing of the weights that are here.
            origin = f"the recipe of {preset.origin}, not its weights" * bool(self.drawn)
            text += f"; {'the rest ' if given else ''}from {origin or preset.origin}"
        return f"{text}; {_joined(guessed)} guessed" if guessed else text


def resolved(
    network: nn.Module | Network,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> tuple[nn.Module, Sequence[float] | None, Sequence[float] | None]:
    """The module, and the normalisation: what is None is the network's own, where it is known."""
    module = network.module if isinstance(network, Network) else network
    check_module(module)
    if not isinstance(network, Network):
        return module, mean, std
    return (
        module,
        network.mean if mean is None else mean,
        network.std if std is None else std,
    )


def _joined(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
