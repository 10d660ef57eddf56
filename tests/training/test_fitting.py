"""The training loop: learns, repeats to the bit, resumes to the bit, and refuses what is wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from invariance_probe import ProbeError
from invariance_probe.data import ImageSet, array_images
from invariance_probe.training import Epoch, Recipe, evaluate, fit


def stripes(number: int = 48, classes: int = 2) -> ImageSet:
    """Noisy images with horizontal or vertical stripes."""
    rng = np.random.default_rng(0)
    labels = np.arange(number) % classes
    rows, columns = np.indices((8, 8)) % 2
    pictures = np.stack([(rows, columns)[label % 2] for label in labels])
    return array_images(0.6 * pictures + 0.4 * rng.random((number, 8, 8)), labels=labels)


def network(dropout: float = 0.2, classes: int = 2) -> nn.Sequential:
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(4 * 36, classes),
        )


RECIPE = Recipe(epochs=3, batch_size=20, learning_rate=0.02, seed=4)


def equal(a: nn.Module, b: nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_learns(optimizer: str) -> None:
    images, net = stripes(), network()
    before = evaluate(net, images)
    history = fit(net, images, replace(RECIPE, optimizer=optimizer, epochs=6))
    after = evaluate(net, images)
    assert after.accuracy == 1
    assert after.loss < before.loss
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1].loss < history[0].loss
    assert not net.training


def test_same_seed_same_bits_and_the_global_state_is_left_alone() -> None:
    images = stripes()
    first, second, other = network(), network(), network()
    torch.manual_seed(1)
    history = fit(first, images, RECIPE)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    again = fit(second, images, RECIPE)
    fit(other, images, replace(RECIPE, seed=5))
    assert equal(first, second)
    assert not equal(first, other)
    assert [epoch.loss for epoch in history] == [epoch.loss for epoch in again]
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_resumes_to_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    recipe = replace(RECIPE, optimizer=optimizer)
    images, whole, broken, resumed = stripes(), network(), network(), network()
    history = fit(whole, images, recipe)
    file = tmp_path / "run.progress"

    class Stop(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Stop

    with pytest.raises(Stop):
        fit(broken, images, recipe, on_epoch=stop, progress_file=file)
    seen: list[int] = []
    again = fit(
        resumed, images, recipe, on_epoch=lambda e: seen.append(e.number), progress_file=file
    )
    assert seen == [3]
    assert equal(whole, resumed)
    assert [epoch.loss for epoch in again] == [epoch.loss for epoch in history]
    assert [path.name for path in tmp_path.iterdir()] == ["run.progress"]


def test_progress_of_another_run_is_refused(tmp_path: Path) -> None:
    images, file = stripes(), tmp_path / "run.progress"
    recipe = replace(RECIPE, epochs=1)
    fit(network(), images, recipe, progress_file=file)
    with pytest.raises(ProbeError, match=r"run \(epochs: 1 -> 2, seed: 4 -> 9\); remove it"):
        fit(network(), images, replace(recipe, seed=9, epochs=2), progress_file=file)
    with pytest.raises(ProbeError, match=r"run \(images: \w{8}\.\.\. -> \w{8}\.\.\.\)"):
        fit(network(), images.take(40), recipe, progress_file=file)
    with pytest.raises(ProbeError, match="another network"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), images, recipe, progress_file=file)
    file.write_bytes(b"something else")
    with pytest.raises(ProbeError, match="is no progress of a training run"):
        fit(network(), images, recipe, progress_file=file)


def test_the_whole_schedule() -> None:
    rates = [Recipe(learning_rate=2, schedule="onecycle").rate(s, 100) for s in range(100)]
    assert max(rates) == pytest.approx(2, rel=0.03)
    assert rates.index(max(rates)) in (24, 25)
    assert rates[:25] == sorted(rates[:25])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] < 0.001
    assert {Recipe(schedule="constant").rate(s, 7) for s in range(7)} == {0.05}


def test_plain_sgd_step_by_hand() -> None:
    images = stripes(4)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.zero_()
    recipe = Recipe(1, 4, learning_rate=0.5, momentum=0, weight_decay=0, schedule="constant")
    fit(net, images, recipe, mean=0.25, std=0.5)
    x = (images.batch(range(4)).reshape(4, 64) - 0.25) / 0.5
    assert images.labels is not None
    # The gradient of the cross-entropy of equal logits: 1/2 - [label = class].
    error = 0.5 - torch.nn.functional.one_hot(torch.as_tensor(images.labels), 2)
    torch.testing.assert_close(net[1].weight.detach(), -0.5 * error.T @ x / 4)
    torch.testing.assert_close(net[1].bias.detach(), -0.5 * error.mean(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs=0 is out of range; give a whole number of at least 1"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'; give 'sgd' or 'adam'"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'"),
        ({"learning_rate": math.nan}, "learning rate nan"),
        ({"momentum": 1.0}, "momentum 1.0"),
    ],
)
def test_recipes_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        Recipe(**change)  # type: ignore[arg-type]


def test_input_is_checked() -> None:
    images = stripes()
    with pytest.raises(ProbeError, match="no labels; give images with labels"):
        fit(network(), array_images(np.zeros((2, 8, 8), np.uint8)))
    with pytest.raises(ProbeError, match="labels run from 0 to 1 but the network has 1 classes"):
        fit(network(classes=1), images, RECIPE)
    with pytest.raises(ProbeError, match=r"returns \(48, 4, 6, 6\), not logits"):
        fit(nn.Sequential(nn.Conv2d(1, 4, 3)), images, RECIPE)
    with pytest.raises(ProbeError, match="no parameters to train"):
        fit(nn.Flatten(), images, RECIPE)
    with pytest.raises(ProbeError, match="2 values of mean for 1 channels"):
        fit(network(), images, RECIPE, mean=(0.1, 0.2))
    with pytest.raises(ProbeError, match="std 0; give positive"):
        fit(network(), images, RECIPE, std=0)


def test_a_loss_that_explodes_is_named() -> None:
    net = network()
    with torch.no_grad():
        net[5].weight.fill_(math.inf)
    with pytest.raises(ProbeError, match=r"the loss became (nan|inf) in epoch 1, step 1 of 9; low"):
        fit(net, stripes(), RECIPE)


def test_evaluation_sees_the_canvas_whatever_the_batches() -> None:
    pixels = np.zeros((7, 10, 10), np.uint8)
    pixels[:, 0, 0] = 255  # outside the canvas of 8
    pixels[::2, 5, 5] = 255
    images = array_images(pixels, canvas=8, labels=np.arange(7) % 2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([torch.ones(64), torch.full((64,), 0.5)]))
    net.train()
    results = {evaluate(net, images, batch_size=size) for size in (1, 3, 7, 100)}
    assert {(r.correct, r.number) for r in results} == {(4, 7)}
    expected = (4 * math.log(1 + math.exp(-0.5)) + 3 * math.log(2)) / 7
    assert all(r.loss == pytest.approx(expected, rel=1e-6) for r in results)
    assert net.training
