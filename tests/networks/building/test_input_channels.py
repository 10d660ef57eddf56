"""How many channels the images of a network have: those that it runs on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from invariance_probe import cli
from invariance_probe.data import array_images
from invariance_probe.errors import ProbeError
from invariance_probe.networks import build_network
from invariance_probe.networks.zoo import channels_of
from invariance_probe.probing import oracle, probe


class Folded(nn.Module):
    """Every second pixel in channels of their own before the first convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(12, 6, 3, padding=1)
        self.last = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        cut = torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
        return self.last(self.conv(cut).relu().mean((2, 3)))


class LastFirst(nn.Module):
    """What is called last is registered first."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.stem = nn.Conv2d(9, 4, 1), nn.Conv2d(3, 9, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).relu())


class Own(nn.Module):
    def __init__(self, planes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, planes, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight)


def digits_only() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 10))


class HeadFirst(nn.Module):
    """The head is registered first, and fits no images."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(20, 5, 1)
        self.stem = nn.Conv2d(planes, 20, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("make", "planes"),
    [
        (Folded, 3), (LastFirst, 3), (lambda: Own(1), 1), (lambda: Own(3), 3), (digits_only, 1),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU()), 3),
        (lambda: nn.Conv2d(4, 2, 3), 4), (lambda: HeadFirst(2), 2), (lambda: HeadFirst(13), 13),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 1),
        (lambda: nn.Sequential(nn.Conv3d(5, 2, 3)), 3),
        (lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3)).train(), 1),
    ],
)  # fmt: skip
def test_the_channels_a_network_runs_on(make: type[nn.Module], planes: int) -> None:
    module = make()
    before = {name: value.clone() for name, value in module.state_dict().items()
              if not isinstance(value, nn.parameter.UninitializedTensorMixin)}  # fmt: skip
    training, drawn = module.training, torch.get_rng_state()
    assert channels_of(module) == planes
    assert module.training == training and torch.equal(drawn, torch.get_rng_state())
    after = module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    lazy = [p for p in module.parameters() if isinstance(p, nn.UninitializedParameter)]
    assert bool(lazy) == any(isinstance(m, nn.LazyConv2d) for m in module.modules())


def test_images_that_suit_are_measured() -> None:
    torch.manual_seed(0)
    images = array_images(torch.rand(8, 3, 16, 16))
    network = Folded().eval()
    found = probe(network, ["conv"], "rotation:90", images, resamples=10)
    assert found.summary["inverse"].notna().all()
    served = oracle(network, ["conv"], "rotation:90", images, resamples=10)
    assert served.accuracy["agreement"].notna().any()


def test_images_that_do_not_suit_are_refused_with_what_does() -> None:
    grey = array_images(torch.rand(8, 1, 16, 16))
    with pytest.raises(ProbeError, match="takes 3 channels, the images have 1; load them"):
        probe(Folded().eval(), ["conv"], "rotation:90", grey, resamples=10)


def test_the_command_line_can_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def build():\n    return nn.Sequential(nn.Conv2d(5, 2, 3), nn.ReLU())\n"
    )
    monkeypatch.chdir(tmp_path)
    assert build_network("mine:build").channels == 5
    done = CliRunner().invoke(
        cli.app, ["layers", "--network", "mine:build", "--image-channels", "7"]
    )
    assert done.exit_code == 2 and "(1, 7, 224, 224)" in done.stderr
    done = CliRunner().invoke(
        cli.app, ["layers", "--network", "mine:build", "--canvas", "16", "--image-channels", "5"]
    )
    assert done.exit_code == 0, done.stderr
