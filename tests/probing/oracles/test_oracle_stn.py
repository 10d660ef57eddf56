"""A spatial transformer whose head is set to the inverse gives the oracle's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from invariance_probe.data import embedded_digits
from invariance_probe.geometry import rotation, warp
from invariance_probe.networks import (
    Architecture,
    Classifier,
    Network,
    build_classifier,
    build_network,
)
from invariance_probe.probing import split
from invariance_probe.probing.oracles.result import OracleResult
from invariance_probe.probing.oracles.run import oracle

ANGLE = 90.0
LAYER = {"STN-C0": ("input", "input_aligned"), "STN-C1": ("relu1", "inverse")}


@pytest.fixture(scope="module")
def known() -> Network:
    return build_network("mnist_cnn")


@pytest.fixture(scope="module")
def digits():
    return embedded_digits(500)


@pytest.fixture(scope="module")
def result(known: Network, digits) -> OracleResult:
    return oracle(known, "relu1", rotation(ANGLE), digits, resamples=20)


def planted(name: str, known: Network, angle: float = -ANGLE) -> Classifier:
    """The embedded network with a transformer that always undoes the rotation."""
    made = build_classifier(Architecture(name)).eval()
    made.blocks[0].conv.load_state_dict(known.module.conv1.state_dict())
    made.blocks[1].conv.load_state_dict(known.module.conv2.state_dict())
    made.top.fc.load_state_dict(known.module.fc.state_dict())
    # The output is read turned the other way than the content moves.
    source = torch.tensor(rotation(angle).inverse().matrix[:2])
    made.transformers[0].regression.bias.data = (source - torch.eye(2, 3)).flatten().float()
    return made


def normalised(known: Network, images: Tensor) -> Tensor:
    return (images - known.mean[0]) / known.std[0]


def evaluated(known: Network, digits) -> tuple[Tensor, Tensor, np.ndarray]:
    """Upright and turned images of the evaluation half, normalised, with their labels."""
    _, indices = split(len(digits), 0)
    upright = digits.batch(indices)
    turned = warp(upright, rotation(ANGLE))
    return normalised(known, upright), normalised(known, turned), digits.labels[indices]


@pytest.mark.parametrize("name", LAYER)
def test_accuracy_and_logits_are_the_oracles(name, known, digits, result):
    upright, turned, labels = evaluated(known, digits)
    layer, treatment = LAYER[name]
    rows = result.accuracy
    row = rows[(rows["layer"] == layer) & (rows["treatment"] == treatment)].iloc[0]
    with torch.no_grad():
        original = known.module(upright)
        logits = planted(name, known)(turned)
    predicted = logits.argmax(1).numpy()
    assert float(np.mean(predicted == labels)) == pytest.approx(row["accuracy"], abs=1e-12)
    agree = (predicted == original.argmax(1).numpy()).mean()
    assert float(agree) == pytest.approx(row["agreement"], abs=1e-12)
    error = (logits - original).double().square().sum()
    spread = (original - original.mean(0)).double().square().sum()
    residual = float(error / spread)
    assert residual == pytest.approx(row["logit_residual"], rel=1e-3, abs=1e-8)


def test_on_the_input_it_helps_and_on_the_maps_it_does_not(known, digits):
    _, turned, labels = evaluated(known, digits)
    with torch.no_grad():
        accuracy = {
            name: float((planted(name, known)(turned).argmax(1).numpy() == labels).mean())
            for name in LAYER
        }
        nothing = float((known.module(turned).argmax(1).numpy() == labels).mean())
    assert accuracy["STN-C0"] > 0.95
    assert accuracy["STN-C1"] < nothing < 0.5


@pytest.mark.parametrize("name", [*LAYER, "STN-SL1", "STN-DL1"])
def test_all_of_them_say_that_they_undo_the_rotation(name, known, digits):
    _, turned, _ = evaluated(known, digits)
    found = planted(name, known).align(turned[:20])
    final = found.poses @ torch.tensor(rotation(ANGLE).matrix)
    eye = torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    torch.testing.assert_close(final, eye, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["STN-SL1", "STN-DL1"])
def test_what_warps_the_input_is_as_good_as_aligning_it(name, known, digits, result):
    _, turned, labels = evaluated(known, digits)
    rows = result.accuracy
    expected = rows[rows["treatment"] == "input_aligned"].iloc[0]["accuracy"]
    with torch.no_grad():
        predicted = planted(name, known)(turned).argmax(1).numpy()
    assert float(np.mean(predicted == labels)) == pytest.approx(expected, abs=1e-12)
