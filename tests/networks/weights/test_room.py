"""Networks that would take more memory than there is, or than their file's, are never made."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import build_network
from invariance_probe.networks.building import build
from invariance_probe.networks.weights.room import Room

OWN = """
import functools
import torch
from torch import nn
calls = []

@functools.cache
def kept(width=2):
    calls.append(width)
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.Linear(7, 7).cpu())

def looks_at_numbers(width=2):
    layer = nn.Conv2d(1, width, 3)
    assert float(layer.weight.detach().abs().max()) > 0  # on the meta device there are none
    return nn.Sequential(layer)

def by_other_ways(width=2):
    module = nn.Sequential(nn.Conv2d(1, 2, 3))
    module.register_buffer("table", torch.ones(3).new_zeros(width, width))
    return module
"""


def bytes_taken(make: object) -> int:
    """The least bytes in which something can be made, by trying."""
    said: list[str] = []
    with Room(1 << 40, lambda text: said.append(text) or text) as room:
        make()  # type: ignore[operator]
    return (1 << 40) - room._left


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (lambda: nn.Conv2d(3, 5, 7), 3 * 5 * 49 + 5),
        (lambda: nn.Linear(1000, 10, dtype=torch.float16), 10_010 / 2),
        (lambda: nn.Parameter(torch.randn(2, 3, 4) * 0.02), 24),
        (lambda: torch.ones(2).new_full((4, 4), 1.0), 2 + 16),
        (lambda: nn.Linear(10**6, 10**6, device="meta"), 0),
        (lambda: torch.empty((3, 2), pin_memory=False), 6),
    ],
)
def test_what_is_made_is_counted(make: object, values: float) -> None:
    assert bytes_taken(make) == 4 * values


def test_at_the_bound_it_is_made_and_above_refused() -> None:
    with Room(400, "{}".format):
        assert torch.zeros(10, 10).sum() == 0
    with Room(399, "takes {}".format), pytest.raises(ProbeError, match="takes 400 bytes"):
        torch.zeros(10, 10)


@pytest.mark.parametrize("factory", ["kept", "looks_at_numbers", "by_other_ways"])
def test_factories_are_called_once_and_refused_before_memory_is_taken(
    factory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wide_factories.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "wide_factories", raising=False)
    network = build_network(f"wide_factories:{factory}")
    assert next(network.module.parameters()).device.type == "cpu"
    assert sys.modules["wide_factories"].calls in ([], [2])
    with pytest.raises(ProbeError, match=r"takes [0-9.e+]+ GB or more, and .* of memory are free"):
        build_network(
            f"wide_factories:{factory}", width=10**12 if factory != "by_other_ways" else 10**6
        )


def test_arguments_that_no_checkpoint_fits_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(ProbeError, match=r"takes 10.2 GB or more .* no network of .*mnist_cnn"):
        build_network("mnist_cnn", classes=10**7)


def test_what_fits_into_half_of_the_free_memory_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 4 * sum(p.numel() for p in build_network("squeezenet1_1").module.parameters())
    monkeypatch.setattr(build, "free_bytes", lambda: 2 * needed)
    assert build_network("squeezenet1_1").module
    monkeypatch.setattr(build, "free_bytes", lambda: 2 * needed - 2)
    with pytest.raises(ProbeError, match=r"squeezenet1_1 takes 4\.94 MB or more, and 9\.88 MB"):
        build_network("squeezenet1_1")
