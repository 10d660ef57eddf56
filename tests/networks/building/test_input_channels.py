"""How many channels the images of a network have: those that it runs on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
from invariance_probe.probing.baseline_measures import baselines


class Folded(nn.Module):
    """Every second pixel in channels of their own before the first convolution."""

    def __init__(self, planes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4 * planes, 6, 3, padding=1)
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


class Branches(nn.Module):
    """A branch of its own for each of four bands."""

    def __init__(self) -> None:
        super().__init__()
        self.join = nn.Conv2d(12, 5, 1)
        self.branches = nn.ModuleList([nn.Conv2d(1, 3, 3) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(self.branches, x.split(1, 1), strict=True)
        return self.join(torch.cat([branch(part) for branch, part in parts], 1))  # type: ignore[no-any-return]


class Bands(nn.Module):
    """Bands are a depth before they are channels."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.spectral, self.conv = nn.Conv3d(1, 2, (bands, 3, 3)), nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.spectral(x[:, None]).squeeze(2))  # type: ignore[no-any-return]


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
        (lambda: HeadFirst(103), 103), (lambda: Folded(4), 4), (Branches, 4),
        (lambda: Bands(12), 12),
        (lambda: nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(32, 5, 1)), 2), (lambda: Own(6), 6),
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


@pytest.mark.parametrize("planes", [2, 5, 13, 103])
def test_other_images_are_refused_with_the_number_that_is_found(planes: int) -> None:
    images = array_images(torch.rand(8, planes + 1, 16, 16))
    for measure in (probe, oracle, baselines):
        with pytest.raises(ProbeError, match=rf"takes {planes} channels, .* have {planes + 1}; "):
            measure(HeadFirst(planes).eval(), ["stem"], "rotation:90", images)


def test_where_a_network_takes_any_number_images_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("any_number.py").write_text(
        "from torch import nn\n"
        "class Grey(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(1, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return self.conv(x.mean(1, keepdim=True)).relu()\n"
    )
    built = build_network("any_number:Grey")
    assert (built.channels, built.fixed_channels, built.mean) == (3, None, (0.0,))
    assert "3 channels" in built.preprocessing and "channels, mean and std guessed" in (
        built.preprocessing
    )
    for planes in (1, 2, 5):
        np.save("x.npy", np.random.default_rng(0).random((8, planes, 16, 16), np.float32))
        found = probe(built, ["conv"], "rotation:90", "x.npy", resamples=10)
        assert f"{planes} channel" in found.provenance["network"]["preprocessing"]
    listed = CliRunner().invoke(
        cli.app, ["layers", "--network", "any_number:Grey", "--canvas", "9"]
    )
    said = " ".join(listed.stdout.split())
    assert "3 channels, mean 0" in said and "takes other numbers of channels too" in said
    line = "layers --network any_number:Grey --canvas 9 --image-channels 7"
    said = " ".join(CliRunner().invoke(cli.app, line.split()).stdout.split())
    assert "7 channels" in said and "canvas and channels as given" in said


def test_lazy_networks_have_the_channels_of_their_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("late.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.LazyConv2d(2, 3))\n"
    )
    assert build_network("late:build").fixed_channels is None
    whole = nn.Sequential(nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    torch.save(whole.state_dict(), "weights.pt")
    built = build_network("late:build", "weights.pt")
    assert (built.channels, built.fixed_channels) == (6, 6)
    images = torch.rand(8, 6, 16, 16)
    assert len(probe(built, ["2"], "rotation:90", array_images(images), resamples=10).summary) == 1


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
