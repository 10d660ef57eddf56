"""Errors over fresh passes: by hand, whatever the batches, and normalised as trained."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from invariance_probe import ProbeError
from invariance_probe.data.examples.examples import Batch
from invariance_probe.training import Passes, evaluate_passes

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("made_up.py"))))


class Coins:
    """Examples whose first pixel is drawn; a network that shows it as class is right by chance."""

    description, sha256, channels, canvas = "coins", "0" * 64, 1, (1, 2)
    classes, mean, std, background, fresh = 2, (0.5,), (0.25,), (-2.0,), True

    def __init__(self, number: int = 40, positions: int = 1, fresh: bool = True) -> None:
        self.number, self.positions, self.fresh = number, positions, fresh
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.number

    def to(self, device: object) -> Coins:
        return self

    def draw(self, seed: int):  # type: ignore[no-untyped-def]
        self.asked.append(seed)
        maker = torch.Generator().manual_seed(seed)
        images = torch.rand(self.number, 1, 1, 2, generator=maker).round()
        targets = torch.zeros(self.number, self.positions, dtype=torch.int64)

        def batch(indices):  # type: ignore[no-untyped-def]
            chosen = torch.as_tensor(list(indices))
            wanted = targets[chosen] if self.positions > 1 else targets[chosen, 0]
            return Batch(images[chosen], wanted)

        return SimpleNamespace(batch=batch, images=images)


class Shows(nn.Module):
    """Logits (1 - x, x) of each asked pixel x."""

    def __init__(self, positions: int = 1) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.flatten(1)
        logits = torch.stack([1 - x, x], -1)
        return logits if self.positions > 1 else logits[:, 0]


@pytest.mark.parametrize("positions", [1, 2])
def test_errors_by_hand(positions: int) -> None:
    coins = Coins(positions=positions)
    result = evaluate_passes(Shows(positions), coins, 5, seed=3)
    seeds = coins.asked[-5:]
    assert len(set(seeds)) == 5
    pixels = [coins.draw(seed).images.flatten(1)[:, :positions] for seed in seeds]
    assert result.errors == tuple(float(p.any(1).double().mean()) for p in pixels)
    assert len(set(result.errors)) > 1
    assert result.mean == pytest.approx(np.mean(result.errors))
    assert result.sd == pytest.approx(np.std(result.errors, ddof=1))
    for loss, pixel in zip(result.losses, pixels, strict=True):
        each = functional.softplus(2 * pixel.double() - 1)  # cross-entropy of (1 - x, x)
        assert loss == pytest.approx(float(each.sum(1).mean()), rel=1e-6)
    table = result.table()
    assert list(table.columns) == ["pass", "error", "loss", "number"]
    assert table["pass"].tolist() == [1, 2, 3, 4, 5]


def test_whatever_the_batches() -> None:
    net, bars = made.Net(), made.Bars(37)
    net.train()
    results = [evaluate_passes(net, bars, 3, seed=1, batch_size=size) for size in (1, 5, 37, 500)]
    assert len({result.errors for result in results}) == 1
    for result in results:
        assert result.losses == pytest.approx(results[0].losses, rel=1e-6)
    assert evaluate_passes(net, bars, 3, seed=2).losses != results[0].losses
    assert net.training
    assert evaluate_passes(net, bars, 2, seed=1).errors == results[0].errors[:2]


def test_what_never_differs_is_passed_once() -> None:
    result = evaluate_passes(Shows(), Coins(fresh=False), 10)
    assert len(result.errors) == 1
    assert math.isnan(result.sd)


def test_normalised_as_the_network_was_trained() -> None:
    seen: list[torch.Tensor] = []

    class Spy(Shows):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return super().forward(images)

    coins = Coins()
    evaluate_passes(Spy(), coins, 1)
    evaluate_passes(Spy(), coins, 1, mean=(0.1,), std=(0.5,))
    plain, other = seen[1], seen[3]
    torch.testing.assert_close((plain * 0.25 + 0.5 - 0.1) / 0.5, other)
    evaluate_passes(Spy(), coins, 1, mean=(0.5,), std=(0.25,))
    assert torch.equal(seen[5], plain)
    with pytest.raises(ProbeError, match="of 3 channels for coins with 1; give one value"):
        evaluate_passes(Spy(), coins, 1, mean=(0.1,) * 3)


def test_input_is_checked() -> None:
    with pytest.raises(ProbeError, match="0 passes in batches of 100; give at least 1 of each"):
        evaluate_passes(Shows(), Coins(), 0)
    with pytest.raises(ProbeError, match="has 4 classes but coins has 2 classes"):
        evaluate_passes(nn.Sequential(nn.Flatten(), nn.Linear(2, 4)), Coins())
    assert Passes((0.1, 0.3), (1.0, 1.0), 5).mean == pytest.approx(0.2)
