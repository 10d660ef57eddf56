"""The classifiers of the spatial-transformer papers as blocks, between which a transformer fits."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ProbeError

Size = tuple[int, int]


class Heads(nn.Module):
    """One linear classifier for each position of a sequence."""

    def __init__(self, inputs: int, positions: int, classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(inputs, classes) for _ in range(positions))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (N, positions, classes) of features (N, inputs)."""
        return torch.stack([head(features) for head in self.heads], 1)


@dataclass(frozen=True)
class Backbone:
    """How a classifier is built: its convolutional blocks, then what ends in logits.

    `blocks(channels, width)` gives the blocks in order, the unit in which depth is counted;
    `top(inputs, positions, classes, width)` the layers from flattened maps to logits.
    """

    name: str
    blocks: Callable[[int, float], list[nn.Sequential]]
    top: Callable[[int, int, int, float], nn.Sequential]


def set_dropout(parts: Iterable[nn.Module], share: float) -> None:
    """Set the share that the dropout layers of parts of a classifier drop."""
    for module in (module for part in parts for module in part.modules()):
        if isinstance(module, nn.Dropout):
            module.p = share


def _count(filters: int, width: float) -> int:
    return max(1, round(filters * width))


def _last(inputs: int, positions: int, classes: int) -> nn.Module:
    return nn.Linear(inputs, classes) if positions == 1 else Heads(inputs, positions, classes)


def _mnist_blocks(channels: int, width: float) -> list[nn.Sequential]:
    count = _count(64, width)
    blocks = []
    for inputs, kernel in ((channels, 9), (count, 7)):
        parts: list[tuple[str, nn.Module]] = [
            ("conv", nn.Conv2d(inputs, count, kernel)),
            ("pool", nn.MaxPool2d(2)),
            ("relu", nn.ReLU()),
        ]
        blocks.append(nn.Sequential(OrderedDict(parts)))
    return blocks


def _mnist_top(inputs: int, positions: int, classes: int, width: float) -> nn.Sequential:
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc=_last(inputs, positions, classes)))


def _fcn_top(inputs: int, positions: int, classes: int, width: float) -> nn.Sequential:
    one, two = _count(256, width), _count(200, width)
    parts: list[tuple[str, nn.Module]] = [
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(inputs, one)),
        ("relu1", nn.ReLU()),
        ("fc2", nn.Linear(one, two)),
        ("relu2", nn.ReLU()),
        ("fc3", _last(two, positions, classes)),
    ]
    return nn.Sequential(OrderedDict(parts))


def _svhn_blocks(channels: int, width: float) -> list[nn.Sequential]:
    blocks, inputs = [], channels
    for number, filters in enumerate((48, 64, 128, 160, 192, 192, 192, 192), 1):
        count = _count(filters, width)
        parts: list[tuple[str, nn.Module]] = [
            ("conv", nn.Conv2d(inputs, count, 5, padding=2)),
            ("relu", nn.ReLU()),
        ]
        if number % 2:
            parts.append(("pool", nn.MaxPool2d(2)))
        if number > 1:
            parts.append(("dropout", nn.Dropout(0.5)))
        blocks.append(nn.Sequential(OrderedDict(parts)))
        inputs = count
    return blocks


def _svhn_top(inputs: int, positions: int, classes: int, width: float) -> nn.Sequential:
    parts: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    for number in (1, 2, 3):
        count = _count(3072, width)
        parts += [
            (f"fc{number}", nn.Linear(inputs, count)),
            (f"relu{number}", nn.ReLU()),
            (f"dropout{number}", nn.Dropout(0.5)),
        ]
        inputs = count
    parts.append(("fc4", _last(inputs, positions, classes)))
    return nn.Sequential(OrderedDict(parts))


def _plankton_blocks(channels: int, width: float) -> list[nn.Sequential]:
    blocks, inputs = [], channels
    for number, filters in enumerate((32, 32, 64, 64, 128, 128, 128, 256, 256, 256), 1):
        count = _count(filters, width)
        parts: list[tuple[str, nn.Module]] = [
            ("conv", nn.Conv2d(inputs, count, 3, padding=1)),
            ("relu", nn.LeakyReLU(1 / 3)),
        ]
        if number in (2, 4, 7, 10):
            parts.append(("pool", nn.MaxPool2d(3, 2)))
        blocks.append(nn.Sequential(OrderedDict(parts)))
        inputs = count
    return blocks


def _plankton_top(inputs: int, positions: int, classes: int, width: float) -> nn.Sequential:
    count = _count(512, width)
    parts: list[tuple[str, nn.Module]] = [
        ("flatten", nn.Flatten()),
        ("dropout1", nn.Dropout(0.5)),
        ("fc1", nn.Linear(inputs, count)),
        ("relu1", nn.LeakyReLU(1 / 3)),
        ("dropout2", nn.Dropout(0.5)),
        ("fc2", nn.Linear(count, count)),
        ("relu2", nn.LeakyReLU(1 / 3)),
        ("dropout3", nn.Dropout(0.5)),
        ("fc3", _last(count, positions, classes)),
    ]
    return nn.Sequential(OrderedDict(parts))


def _deep_blocks(channels: int, width: float) -> list[nn.Sequential]:
    blocks, inputs = [], channels
    for number, filters in enumerate((32, 32, 64, 64, 64, 64), 1):
        count = _count(filters, width)
        parts: list[tuple[str, nn.Module]] = [("conv", nn.Conv2d(inputs, count, 3, padding=1))]
        if number % 2 == 0:
            parts.append(("pool", nn.MaxPool2d(2)))
        parts.append(("relu", nn.ReLU()))
        blocks.append(nn.Sequential(OrderedDict(parts)))
        inputs = count
    return blocks


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("mnist", _mnist_blocks, _mnist_top),
        Backbone("fcn", lambda channels, width: [], _fcn_top),
        Backbone("svhn", _svhn_blocks, _svhn_top),
        Backbone("plankton", _plankton_blocks, _plankton_top),
        Backbone("deep", _deep_blocks, _mnist_top),
    )
}


def backbone(name: str) -> Backbone:
    """Return a backbone by name.

    mnist: two valid convolutions, 9x9 and 7x7, of 64 filters with pooling; fcn: fully connected,
    256 and 200 units; svhn: eight 5x5 convolutions and three layers of 3072; plankton: ten 3x3
    convolutions and two layers of 512; deep: six 3x3 convolutions of 32 and 64 filters with pooling
    after every second one, of no paper, for small images and localisation at many depths. Raises
    ProbeError for an unknown name.

    Source of the others: Finnveden, Jansson & Lindeberg 2021 (arXiv:2004.11678); the svhn network
    is that of Jaderberg et al. 2015, appendix A.5.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    near = difflib.get_close_matches(name, BACKBONES, n=1)
    hint = f"did you mean '{near[0]}'? There" if near else "there"
    raise ProbeError(f"no backbone named '{name}'; {hint} are {', '.join(BACKBONES)}")
