"""What is said of canvas, mean and std is what was used, or is called guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from invariance_probe import ProbeError, embedded_digits, probe
from invariance_probe.cli import app
from invariance_probe.networks import Network, Preset
from invariance_probe.networks.network import resolved
from invariance_probe.probing import Options, ProbeConfig, oracle, run_config
from invariance_probe.reporting import plot_gallery

FACTORY = """
from torch import nn
def grey():
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
def halved():
    return nn.Sequential(nn.Conv2d(1, 2, 3, 2, padding=1))

def colour():
    return nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU())
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / f"own_{tmp_path.name}.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    return f"own_{tmp_path.name}"


def stated(network: str, layers: str = "*", **changes: Any) -> tuple[str, list[str]]:
    """Preprocessing in the provenance of a run, and what its warnings say of it."""
    config = ProbeConfig(
        network, (layers,), "rotation:90", number=8, options=Options(resamples=10, channels=False),
        **changes,
    )  # fmt: skip
    told = run_config(config).provenance
    said = [text for text in told["warnings"] if text.startswith("preprocessing: ")]
    return told["network"]["preprocessing"], said


def test_a_run_states_what_it_used(own: str) -> None:
    network = f"{own}:grey"
    text, said = stated(network)
    assert text == "28x28 px, mean 0, std 1; canvas, mean and std guessed"
    assert said == [
        "preprocessing: canvas 28x28, mean 0, std 1 guessed, because the factory states none; "
        "give the network's own (--canvas, --mean, --std), or return a Network from the factory"
    ]
    text, said = stated(network, canvas=(20, 20), std=(0.5,))
    assert text == "20x20 px, mean 0, std 0.5; canvas and std as given; mean guessed"
    assert said[0].startswith("preprocessing: mean 0 guessed, because")
    # Given is given, also where it is what would have been guessed.
    text, said = stated(network, canvas=(28, 28), mean=(0.0,), std=(1.0,))
    assert text == "28x28 px, mean 0, std 1; canvas, mean and std as given"
    assert said == []
    text, said = stated("mnist_cnn", "conv1")
    assert (text.partition(";")[0], said) == ("28x28 px, mean 0.1307, std 0.3081", [])


@pytest.mark.parametrize(("canvas", "advised"), [(None, False), ((28, 28), True)])
def test_no_canvas_is_advised_in_place_of_a_guessed_one(
    own: str, canvas: tuple[int, int] | None, advised: bool
) -> None:
    config = ProbeConfig(
        f"{own}:halved", ("*",), "rotation:90", number=8, canvas=canvas,
        options=Options(resamples=10, channels=False),
    )  # fmt: skip
    (grid,) = [one for one in run_config(config).warnings if one.startswith("grid of")]
    assert ("removes it" in grid) is advised


def test_the_list_of_layers_states_the_canvas_it_shows(own: str) -> None:
    done = CliRunner().invoke(app, ["layers", "--network", f"{own}:colour", "--canvas", "32x40"])
    assert done.exit_code == 0
    said = " ".join(done.output.split())
    assert "input: 32x40 px, mean 0.485 0.456 0.406, std 0.229 0.224 0.225; canvas as given" in said
    assert "mean and std guessed" in said


def test_what_a_preset_says_is_for_its_own_values_only() -> None:
    preset = Preset("a recipe", 256, "bicubic")
    network = Network(nn.Identity(), "n", "", 3, (224, 224), (0.5,), (0.25,), preset=preset)
    own = "224x224 px, mean 0.5, std 0.25, centre of images with short side 256 px (bicubic)"
    assert network.preprocessing == f"{own}; from a recipe"
    assert network.preprocessing_with((64, 64)) == (
        "64x64 px, mean 0.5, std 0.25; canvas as given; the rest from a recipe"
    )
    assert network.preprocessing_with((64, 64), (0,), (1,)) == (
        "64x64 px, mean 0, std 1; canvas, mean and std as given"
    )


@pytest.mark.parametrize("mean", [[0.0], np.zeros(3), (0.1, 0.2, 0.3), np.array([0.5])])
def test_a_mean_of_zero_or_an_array_is_a_mean(mean: Any) -> None:
    network = Network(nn.Identity(), "n", "", 3, (8, 8), (0.5,), (0.25,))
    module, centre, spread = resolved(network, mean, None)
    assert module is network.module
    assert centre is mean
    assert spread == (0.25,)
    assert resolved(network.module, None, mean) == (network.module, None, mean)


@pytest.mark.parametrize("mean", [[0.0], np.zeros(1), torch.zeros(1)])
def test_oracle_and_gallery_take_the_mean_that_is_given(mean: Any) -> None:
    """Black is 0 then, and not -2, what the network's own mean would make of it."""
    seen: list[torch.Tensor] = []

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 2, 1)
            self.last = nn.Linear(2, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return self.last(self.first(x).mean((2, 3)))

    def darkest() -> set[float]:
        return {round(float(x.min()), 4) for x in seen}

    digits = embedded_digits(8)
    network = Network(Classifier().eval(), "n", "", 1, (28, 28), (0.5,), (0.25,))
    seen.clear()
    oracle(network, ["first"], "rotation:90", digits, mean=mean, resamples=10)
    assert 0.0 in darkest()
    assert -2.0 not in darkest(), "the network's own mean"
    seen.clear()
    plot_gallery(network, digits, "first", "rotation:90", mean=mean)
    assert 0.0 in darkest()
    assert -2.0 not in darkest(), "the network's own mean"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mean": [float("nan")]}, r"mean=\[nan\] must be finite numbers"),
        ({"std": [0.0]}, r"std=\[0.0\] must be positive"),
        ({"std": [float("inf")]}, r"std=\[inf\] must be finite"),
        ({"mean": "grey"}, "mean='grey' must be numbers, one a channel"),
        ({"mean": 0.5}, "mean=0.5 must be numbers, one a channel"),
        ({"mean": np.zeros((1, 3))}, "must be numbers, one a channel"),
    ],
)
def test_other_normalisation_ends_in_one_line(given: dict[str, Any], said: str) -> None:
    network = Network(nn.Conv2d(1, 2, 1), "n", "", 1, (28, 28), (0.5,), (0.25,))
    with pytest.raises(ProbeError, match=said):
        probe(network, "*", "rotation:90", embedded_digits(8), **given)
