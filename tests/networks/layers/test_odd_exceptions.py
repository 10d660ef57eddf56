"""Whatever a network raises is one line about the network, and a strip it refuses is no verdict."""

from __future__ import annotations

import sys
from typing import Any

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


FULL = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), FULL], ids=repr)
def test_what_stops_a_program_stops_it(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        list_layers(Raises(error), torch.rand(1, 1, 12, 12))
    assert caught.value is error


class NoText(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Stubborn(nn.Conv2d):
    """A module whose own `train` fails."""

    def train(self, mode: bool = True) -> nn.Module:
        raise RuntimeError("not now")


def test_what_surrounds_a_pass_is_one_line_too() -> None:
    images = torch.rand(8, 1, 12, 12)
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3))
    tries: list[tuple[object, str]] = [
        (Raises(NoText()), "cannot take images .*: NoText"),
        (nn.Sequential(Stubborn(1, 2, 3)), "cannot be put into eval mode: not now"),
        (torch.jit.script(plain), "is a TorchScript program.* Python network"),
        (
            nn.Sequential(plain[0], torch.jit.script(plain[1])),
            "has a part '1' that is a TorchScript program.* its Python module",
        ),
        (torch.jit.freeze(torch.jit.script(plain.eval())), "is a TorchScript program"),
        (nn.Conv2d(1, 2, 3), "no layer 'after'; it has none inside: wrap it"),
        (nn.Conv2d(1, 2, 3, device="meta"), "no values .device meta."),
        (nn.Conv2d, "the class Conv2d; give an object"),
        (plain.forward, "is of type method, no torch.nn.Module"),
        (None, "is of type NoneType"),
    ]
    for network, message in tries:
        with pytest.raises(ProbeError, match=message):
            probe(network, ["after"], ["rotation:90"], images, resamples=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("network", [nn.Conv2d, len, {"weight": 1}, None])
def test_what_is_no_network_is_not_listed(network: Any) -> None:
    with pytest.raises(ProbeError, match=r"give an object|no torch.nn.Module"):
        list_layers(network, torch.rand(1, 1, 12, 12))


class Odd(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, maps: Tensor) -> Tensor:
        return maps.to("meta") if self.kind == "meta" else torch.nested.nested_tensor(list(maps))


@pytest.mark.parametrize("kind", ["meta", "nested"])
def test_an_output_that_cannot_be_read_is_one_line(kind: str) -> None:
    network, images = nn.Sequential(nn.Conv2d(1, 2, 3), Odd(kind)), torch.rand(8, 1, 12, 12)
    with pytest.raises(ProbeError, match="layer '1'"):
        probe(network, ["1"], ["rotation:90"], images, resamples=10)
    assert "0" in [layer.name for layer in list_layers(network, images[:1])]


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
