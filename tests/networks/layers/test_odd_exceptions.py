"""Whatever a network raises is one line about the network, and a strip it refuses is no verdict."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from invariance_probe import array_images, probe
from invariance_probe.errors import ProbeError
from invariance_probe.networks import Activations, find_frames, list_layers
from invariance_probe.probing import oracle


class Own(Exception):
    """An exception that no library knows, with lines and no text of its own."""

    def __str__(self) -> str:
        return "first\nsecond"


ERRORS = [
    KeyError((16, 16)), ZeroDivisionError("division by zero"), AttributeError("no tensors"),
    NotImplementedError(), OSError(2, "No such file"), StopIteration(), RecursionError("deep"),
    ArithmeticError("x" * 9000), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), Own(),
    SystemExit(0), ImportError("no module"), EOFError(), LookupError("unseen"),
]  # fmt: skip


class Raises(nn.Module):
    """A convolution before and after an error."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.before, self.error = nn.Conv2d(1, 2, 3), error
        self.after = nn.Conv2d(2, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        self.before(images)
        raise self.error


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_any_error_of_the_network_is_one_line(error: BaseException) -> None:
    network, images = Raises(error), torch.rand(8, 1, 12, 12)
    tries = [
        lambda: Activations(network, ["after"])(images),
        lambda: list_layers(network, images[:1]),
        lambda: find_frames(network, ["after"], (12, 12), 1),
        lambda: probe(network, ["after"], ["rotation:90"], images, resamples=10),
        lambda: oracle(network, ["after"], ["rotation:90"], array_images(images), resamples=10),
    ]
    for attempt in tries:
        with pytest.raises(ProbeError, match="the network cannot take images") as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
        assert not network.before._forward_hooks


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_stops_a_program_stops_it(error: type[BaseException]) -> None:
    with pytest.raises(error):
        list_layers(Raises(error()), torch.rand(1, 1, 12, 12))


class OnlyItsSize(nn.Module):
    """Runs on 32x32 images and raises `error` on any other, a strip among them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.down, self.map, self.kind = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1), kind

    def forward(self, images: Tensor) -> Tensor:
        maps = self.down(images)
        rows, columns = maps.shape[2:]
        if self.kind == "table":
            maps = maps + {(16, 16): 1.0}[rows, columns]
        elif self.kind == "ratio":
            maps = maps * (16 // (rows // 8)) * (16 // (columns // 8))
        elif self.kind == "attribute":
            maps = maps + (self if (rows, columns) == (16, 16) else nn.Identity()).map.bias.sum()
        elif (rows, columns) != (16, 16):
            sys.exit(0)
        return self.map(maps)


@pytest.mark.parametrize("kind", ["table", "ratio", "attribute", "exit"])
def test_a_network_of_one_size_has_frames(kind: str) -> None:
    frames, reasons = find_frames(OnlyItsSize(kind), ["map"], (32, 32), 1)
    assert not reasons
    assert frames["map"].jump == (2.0, 2.0)
    assert frames["map"].start == (-15.5, -15.5)
