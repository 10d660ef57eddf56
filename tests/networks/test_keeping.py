"""A network that was listed, probed or refused holds what it held, in whatever it keeps state."""

from __future__ import annotations

import array
import random
import types
import warnings
from argparse import Namespace
from collections import UserDict, UserList, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.ao.quantization as quantization
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from invariance_probe import ProbeError, array_images, probe
from invariance_probe.networks import (
    Activations,
    find_frames,
    framed_layers,
    list_layers,
    nearest_aligned_sizes,
    select_layers,
)
from invariance_probe.probing import baselines, oracle, take_pictures

IMAGES = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))


class ActNorm(nn.Module):
    """Initialises itself from its first batch, as in Glow."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("done", torch.tensor(False))
        self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        if not self.done:
            self.scale.data.copy_(1 / (maps.std((0, 2, 3), keepdim=True) + 1e-6))
            self.done.fill_(True)
        return self.scale * maps


class Plain(nn.Module):
    """Attributes of every kind that a forward pass may write to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.seen, self.cache = 0, [0.0], {"a": torch.zeros(2)}
        self.last: Any = None
        self.array, self.queue, self.shapes = np.zeros(3), deque([1], maxlen=4), {(1, 1)}
        self.box, self.slots, self.draws = Box(), Slots(), np.random.default_rng(0)
        self.hidden = [nn.Linear(1, 1)]
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, maps: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(float(maps.sum()))
        self.cache["a"].add_(maps.sum().detach())
        self.cache[str(maps.shape)] = maps
        self.last = maps
        self.array += 1
        self.queue.append(2)
        self.shapes.add(tuple(maps.shape))
        self.box.inner.value = maps.mean()
        self.slots.value = self.slots.value + 1
        self.draws.random()
        self.hidden[0].weight.data.fill_(7.0)
        self.new = 1
        random.random()
        np.random.random()
        return maps + 0 * torch.rand((), generator=self.generator)


class Box:
    def __init__(self, depth: int = 1) -> None:
        self.value: Any = 0
        self.inner = Box(depth - 1) if depth else self


class Slots:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Memory(nn.Module):
    """A leaky membrane that only takes maps of the size it began with."""

    def __init__(self) -> None:
        super().__init__()
        self.v: Tensor | None = None

    def forward(self, maps: Tensor) -> Tensor:
        self.v = maps if self.v is None else 0.5 * self.v + 0.5 * maps[: len(self.v)]
        return maps + 1e-9 * self.v.mean()


class Rewritten(nn.Module):
    """Writes to a buffer in place, replaces another by one of another shape, turns a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("table", torch.zeros(2))
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, maps: Tensor) -> Tensor:
        self.steps += 1
        self.table.data = torch.zeros(maps.shape[-1])
        self.weight.requires_grad_(False)
        return maps * self.weight


def counting() -> nn.Module:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    layer.calls = 0

    def count(module: nn.Module, inputs: object) -> None:
        module.calls += 1

    layer.register_forward_pre_hook(count)
    return layer


def observed() -> nn.Module:
    layer = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1)).train()
    layer.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantization.prepare_qat(layer)


MIDDLES: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: nn.BatchNorm2d(4),
    "own batch statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(4, 4, 3, padding=1)),
    "old spectral norm": lambda: spectral_norm(nn.Conv2d(4, 4, 3, padding=1)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1)),
    "dropout": lambda: nn.Dropout(0.5),
    "observers": observed,
    "ActNorm": ActNorm,
    "attributes": Plain,
    "memory": Memory,
    "buffers": Rewritten,
    "a hook that counts": counting,
    "lazy": lambda: nn.Sequential(nn.LazyConv2d(4, 3, padding=1), nn.LazyBatchNorm2d()),
    "LSTM over rows": lambda: Rows(),
}


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.state = nn.GRUCell(4, 4), torch.zeros(1, 4)

    def forward(self, maps: Tensor) -> Tensor:
        self.state = self.cell(maps.mean((0, 2, 3))[None], self.state)
        return maps + 0 * self.state.mean()


def network_with(middle: nn.Module) -> nn.Sequential:
    ends = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    return nn.Sequential(ends[0], middle, ends[1], nn.AdaptiveAvgPool2d(1), nn.Flatten())


def held(thing: Any, seen: set[int] | None = None) -> Any:
    """Everything that hangs on a module, as plain values that compare."""
    seen = set() if seen is None else seen
    if isinstance(thing, Tensor):
        if nn.parameter.is_lazy(thing):
            return type(thing).__name__
        values = thing.flatten().tolist()
        return type(thing).__name__, str(values), thing.requires_grad, str(thing.dtype)
    if isinstance(thing, torch.Generator):
        return thing.get_state().tolist()
    if isinstance(thing, np.random.Generator):
        return str(thing.bit_generator.state)
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    if isinstance(thing, dict):
        return {str(key): held(value, seen) for key, value in thing.items()}
    if isinstance(thing, (list, tuple, deque, set)):
        return [held(value, seen) for value in thing]
    if isinstance(thing, Slots):
        return thing.value
    if isinstance(thing, (nn.Module, Box)):
        if id(thing) in seen:
            return "again"
        seen.add(id(thing))
        return type(thing).__name__, {
            name: held(value, seen) for name, value in vars(thing).items()
        }
    return str(thing)


def streams() -> list[Any]:
    return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]


USES: dict[str, Callable[[nn.Module], object]] = {
    "list": lambda net: list_layers(net, IMAGES[:1]),
    "framed": lambda net: framed_layers(net, ["2"], IMAGES[:1]),
    "layouts": lambda net: Activations(net, ["1"]).layouts(IMAGES),
    "probe": lambda net: probe(net, ["0"], ["rotation:90"], IMAGES, resamples=10, channels=False),
    "refused": lambda net: probe(net, ["none"], ["rotation:90"], IMAGES, resamples=10),
}
MORE: dict[str, Callable[[nn.Module], object]] = {
    "select": lambda net: select_layers(net, ["2"], IMAGES[:2]),
    "frames": lambda net: find_frames(net, ["0", "2"], (16, 16), 1),
    "aligned sizes": lambda net: nearest_aligned_sizes(net, ["2"], (16, 16), 1),
    "oracle": lambda net: oracle(
        net, ["2"], ["rotation:90"], array_images(IMAGES), resamples=10, channels=False
    ),
    "baselines": lambda net: baselines(
        net, ["2"], ["rotation:90"], IMAGES, measures="distance", resamples=10
    ),
    "pictures": lambda net: take_pictures(net, ["2"], ["rotation:90"], IMAGES),
}


def uses_leave(kind: str, uses: dict[str, Callable[[nn.Module], object]]) -> None:
    torch.manual_seed(0)
    network = network_with(MIDDLES[kind]()).train()
    network[2].eval()
    for name, use in uses.items():
        before = held(network), streams()
        with suppress(ProbeError):
            use(network)
        assert (held(network), streams()) == before, name


@pytest.mark.parametrize("kind", sorted(set(MIDDLES) - {"observers"}))
def test_a_network_is_left_as_it_came(kind: str) -> None:
    uses_leave(kind, USES)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MIDDLES)
def test_whatever_is_done_with_it(kind: str) -> None:
    uses_leave(kind, {**USES, **MORE})


def test_observers_see_nothing_of_a_measurement_and_the_frame_is_exact() -> None:
    network = network_with(observed())
    before = held(network)
    frames, _ = find_frames(network, ["2"], (16, 16), 1)
    assert held(network) == before
    assert frames["2"].start == (-7.5, -7.5)
    assert frames["2"].method == "support"


def test_every_pass_of_a_measurement_sees_the_network_as_it_came() -> None:
    """Else this one, whose memory is of one size, has no frame: strips are of another."""

    class OneSize(Memory):
        def forward(self, maps: Tensor) -> Tensor:
            if self.v is not None and self.v.shape[2:] != maps.shape[2:]:
                raise RuntimeError("another size than the memory")
            self.v = maps
            return maps

    frames, reasons = find_frames(network_with(OneSize()), ["2"], (16, 16), 1)
    assert not reasons
    assert frames["2"].jump == (1.0, 1.0)


def test_without_weights_there_is_nothing_to_measure() -> None:
    network = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU())
    frames, _ = find_frames(network, ["1"], (16, 16), 1)
    assert frames["1"].start == (-6.5, -6.5)
    assert [layer.size for layer in list_layers(network, IMAGES[:1])] == [(14, 14), (14, 14)]
    with pytest.raises(ProbeError, match=r"'0.weight' .* no value yet .* run the network once"):
        probe(network, ["0"], ["rotation:90"], IMAGES, resamples=10)


def test_what_a_class_keeps_for_all_its_modules_is_left_as_it_came() -> None:
    class Counted(nn.Module):
        calls = 0
        sizes: ClassVar[list[int]] = []

        def forward(self, maps: Tensor) -> Tensor:
            Counted.calls += 1
            Counted.sizes.append(maps.shape[-1])
            Counted.last = maps.detach()
            return maps

    network = nn.Sequential(nn.Conv2d(1, 2, 3), Counted())
    for name, use in USES.items():
        with suppress(ProbeError):
            use(network)
        left = Counted.calls, Counted.sizes, hasattr(Counted, "last")
        assert left == (0, [], False), name


def fill(held: Any) -> None:
    held.calls = held.calls + 1


def count(held: Any) -> None:
    held["calls"] = held.get("calls", 0) + 1


def learn(_: Any, layer: nn.Conv2d) -> None:
    with torch.enable_grad():
        (layer.weight * 2).sum().backward()


def name(_: Any, layer: nn.Conv2d) -> None:
    layer.weight.calls = getattr(layer.weight, "calls", 0) + 1


HELD: dict[str, tuple[Callable[[], Any], Callable[..., None], Callable[..., Any]]] = {
    "bytearray": (lambda: bytearray(2), lambda a: a.append(1), lambda a: bytes(a)),
    "array": (lambda: array.array("d", [np.nan]), lambda a: a.append(1.0), lambda a: a.tobytes()),
    "SimpleNamespace": (lambda: types.SimpleNamespace(calls=0), fill, lambda a: dict(vars(a))),
    "Namespace": (lambda: Namespace(calls=torch.zeros(1)), fill, lambda a: float(a.calls)),
    "UserDict": (UserDict, count, dict),
    "UserList": (UserList, lambda a: a.append(1), list),
    "RandomState": (
        lambda: np.random.RandomState(0), lambda a: a.rand(), lambda a: str(a.get_state())
    ),
    "BitGenerator": (
        lambda: np.random.PCG64(0), lambda a: a.random_raw(), lambda a: str(a.state)
    ),
    "gradients": (
        lambda: None, learn, lambda _, layer: [
            None if p.grad is None else p.grad.tolist() for p in layer.parameters()
        ]
    ),
    "attributes of tensors": (lambda: None, name, lambda _, layer: dict(vars(layer.weight))),
}  # fmt: skip


@pytest.mark.parametrize("kind", HELD)
def test_state_that_hangs_on_a_module_is_put_back(kind: str) -> None:
    make, change, read = HELD[kind]

    class Holding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.held = nn.Conv2d(4, 4, 1), make()
            self.layer.bias.grad = torch.ones(4)

        def forward(self, maps: Tensor) -> Tensor:
            change(*self.given())
            return self.layer(maps)

        def given(self) -> tuple[Any, ...]:
            return (self.held,) if self.held is not None else (None, self.layer)

    middle = Holding()
    network, before = network_with(middle), read(*middle.given())
    network(IMAGES[:1])
    assert read(*middle.given()) != before  # or the test would hold of a network without state
    before = read(*middle.given())
    list_layers(network, IMAGES[:1])
    assert read(*middle.given()) == before
