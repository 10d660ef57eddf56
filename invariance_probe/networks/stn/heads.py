"""Localisation networks of the spatial-transformer papers, up to the regression of the warp."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import ProbeError

Size = tuple[int, int]


class Halved(nn.Module):
    """Bilinear resampling to half the size, as the localisation networks of MNIST begin."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of half the size (rounded down)."""
        size = (maps.shape[-2] // 2, maps.shape[-1] // 2)
        return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


Layers = list[nn.Module]


def _dense(counts: list[int]) -> Layers:
    layers: Layers = [nn.Flatten()]
    for count in counts:
        layers += [nn.LazyLinear(count), nn.ReLU()]
    return layers


def _fcn(channels: int, side: int) -> Layers:
    return _dense([32, 32, 32])


def _fcnmp(channels: int, side: int) -> Layers:
    layers: Layers = [nn.MaxPool2d(2), nn.Flatten()]
    for _ in range(3):
        layers += [nn.LazyBatchNorm1d(), nn.LazyLinear(32), nn.ReLU()]
    return [*layers, nn.LazyBatchNorm1d()]


def _fcnmpnob(channels: int, side: int) -> Layers:
    return [nn.MaxPool2d(2), *_dense([32, 32, 32])]


def _two(channels: int, *, pool_last: bool) -> Layers:
    first: Layers = [nn.Conv2d(channels, 20, 5), nn.ReLU(), nn.MaxPool2d(2)]
    second: Layers = [nn.Conv2d(20, 20, 5), nn.ReLU()]
    return [*first, *second, *([nn.MaxPool2d(2)] if pool_last else []), *_dense([20])]


def _cnn(channels: int, side: int) -> Layers:
    return [Halved(), *_two(channels, pool_last=False)]


def _cnnt(channels: int, side: int) -> Layers:
    # The second pooling only where its input has more than 20 cells a side.
    return _two(channels, pool_last=(side - 4) // 2 - 4 > 20)


def _cnnmp(channels: int, side: int) -> Layers:
    halved: Layers = [Halved()] if side > 60 else []
    return [*halved, *_two(channels, pool_last=True)]


def _deepened(pool: int, rest: Callable[[int, int], Layers]) -> Callable[[int, int], Layers]:
    def layers(channels: int, side: int) -> Layers:
        first: Layers = [nn.Conv2d(channels, 64, 9), nn.MaxPool2d(pool), nn.ReLU()]
        return [*first, *rest(64, (side - 8) // pool)]

    return layers


def _svhn_long(channels: int, side: int) -> Layers:
    first: Layers = [nn.Conv2d(channels, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    return [*first, nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), *_dense([32, 32])]


def _svhn_short(channels: int, side: int) -> Layers:
    return _dense([32, 32])


def _three(*counts: int | None) -> Layers:
    """3x3 convolutions with the given numbers of filters; None is a pooling."""
    layers: Layers = []
    for count in counts:
        if count is None:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        else:
            layers += [nn.LazyConv2d(count, 3, padding=1), nn.LeakyReLU(1 / 3)]
    return layers


def _plankton_long(channels: int, side: int) -> Layers:
    return [*_three(32, None, 32, None), *_dense([32, 32])]


def _plankton_2(channels: int, side: int) -> Layers:
    return [*_three(32, 32, None), *_dense([64, 64])]


def _plankton_4(channels: int, side: int) -> Layers:
    return [*_three(32, 32, None, 64, 64, None), *_dense([64, 64])]


HEADS: dict[str, Callable[[int, int], Layers]] = {
    "FCN": _fcn,
    "FCNmp": _fcnmp,
    "FCNmpnob": _fcnmpnob,
    "CNN": _cnn,
    "CNNt": _cnnt,
    "CNNmp": _cnnmp,
    "CNNFCN": _deepened(2, _fcn),
    "CNNFCNmp": _deepened(4, _fcn),
    "CNNCNN": _deepened(2, _cnn),
    "CNNCNNmp": _deepened(2, _cnnmp),
    "SVHN-l": _svhn_long,
    "SVHN-s": _svhn_short,
    "plankton-l": _plankton_long,
    "plankton2": _plankton_2,
    "plankton4": _plankton_4,
}


def check_head(name: str) -> None:
    """Raise ProbeError for a localisation head that is not known."""
    if name == "auto" or name in HEADS:
        return
    near = difflib.get_close_matches(name, HEADS, n=1)
    hint = f"did you mean '{near[0]}'? There" if near else "there"
    raise ProbeError(f"no localisation head named '{name}'; {hint} are auto, {', '.join(HEADS)}")


def localisation_head(name: str, channels: int, size: Size) -> tuple[nn.Sequential, int]:
    """Return a localisation head for maps (N, channels, *size), and how many features it gives.

    FCN is three fully connected layers of 32; CNN, CNNt (translation) and CNNmp (scale) two
    5x5x20 convolutions and 20 units; CNNFCN and CNNCNN put the classifier's own first convolution
    before them (the control of equal depth); SVHN-l, SVHN-s, plankton-l, plankton2 and plankton4
    serve the larger networks. Raises ProbeError for an unknown name and for maps too small.

    Source: Finnveden, Jansson & Lindeberg 2021 (the released code's heads); Jaderberg et al. 2015.

    >>> head, features = localisation_head("FCN", 1, (28, 28))
    >>> sum(p.numel() for p in head.parameters()) + 6 * (features + 1)
    27430
    """
    check_head(name)
    head = nn.Sequential(*HEADS[name](channels, min(size)))
    head.eval()  # one example must pass normalisation layers
    try:
        with torch.no_grad():
            features = head(torch.zeros(1, channels, *size))
    except RuntimeError as error:
        raise ProbeError(
            f"localisation head '{name}' does not fit maps of {size[0]}x{size[1]} cells; "
            "take 'FCN' or a smaller depth"
        ) from error
    head.train()
    return head, features.shape[1]
