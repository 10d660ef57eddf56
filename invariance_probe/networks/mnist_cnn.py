"""Classifiers of the spatial-transformer papers, small enough to ship with the package."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ProbeError


class MnistCNN(nn.Module):
    """The MNIST CNN: two valid convolutions with pooling, then one fully connected layer.

    conv 9x9x64 - max pool 2 - ReLU - conv 7x7x64 - max pool 2 - ReLU - fully connected, as in
    Finnveden, Jansson & Lindeberg 2021 (arXiv:2004.11678), experiments on MNIST.

    `canvas` is the (square) input size in pixels, `channels` and `classes` count the planes of
    an input and the outputs. Maps images (N, channels, canvas, canvas) to logits (N, classes).
    Raises ProbeError when the canvas is too small for the two convolutions.

    >>> sum(parameter.numel() for parameter in MnistCNN().parameters())
    208586
    """

    def __init__(self, canvas: int = 28, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        side = ((canvas - 8) // 2 - 6) // 2
        if side < 1:
            raise ProbeError(f"MnistCNN cannot take {canvas} px: the canvas must be 24 px or more")
        self.conv1 = nn.Conv2d(channels, 64, 9)
        self.pool1 = nn.MaxPool2d(2)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(64, 64, 7)
        self.pool2 = nn.MaxPool2d(2)
        self.relu2 = nn.ReLU()
        self.fc = nn.Linear(64 * side * side, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, canvas, canvas)."""
        maps = self.relu1(self.pool1(self.conv1(images)))
        maps = self.relu2(self.pool2(self.conv2(maps)))
        return self.fc(torch.flatten(maps, 1))
