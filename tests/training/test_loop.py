"""The loop: one step by hand, several positions, options, and how it ends."""

from __future__ import annotations

import math
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from invariance_probe import ProbeError
from invariance_probe.networks import MnistCNN
from invariance_probe.training import Progress, Recipe, Row, evaluate_passes, train
from invariance_probe.training.checks import check_batches

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("made_up.py"))))

RECIPE = Recipe(iterations=30, batch_size=20, learning_rate=0.05, seed=4, report_every=10)
PLAIN = Recipe(
    iterations=1, batch_size=64, learning_rate=0.5, momentum=0, weight_decay=0, schedule="constant"
)


def test_learns_and_tells() -> None:
    bars, net = made.Bars(), made.Net()
    before = evaluate_passes(net, bars, 2).mean
    rows: list[Row] = []
    history = train(net, bars, replace(RECIPE, iterations=150), test=bars, on_row=rows.append)
    assert evaluate_passes(net, bars, 2).mean < 0.1 < before
    assert rows == list(history)
    assert [row.step for row in history] == list(range(10, 151, 10))
    assert history[-1].loss < history[0].loss
    assert history[-1].accuracy > history[0].accuracy
    assert history[-1].test_error is not None
    assert {row.test_error for row in history[:-1]} == {None}
    assert [row.epoch for row in history[:3]] == [3, 5, 8]  # 64 images make 4 batches of 20
    assert not net.training


def test_same_recipe_same_bits_and_the_global_state_is_left_alone() -> None:
    first, second, other = made.Net(), made.Net(), made.Net()
    torch.manual_seed(1)
    history = train(first, made.Bars(), RECIPE)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    again = train(second, made.Bars(), RECIPE)
    train(other, made.Bars(), replace(RECIPE, seed=5))
    assert made.same(first, second)
    assert not made.same(first, other)
    assert [row.loss for row in history] == [row.loss for row in again]
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))


def test_reports_and_tests_change_no_bit() -> None:
    plain, watched = made.Net(), made.Net()
    train(plain, made.Bars(), RECIPE)
    recipe = replace(RECIPE, report_every=7, validate_every=5)
    steps: list[Progress] = []
    history = train(watched, made.Bars(), recipe, test=made.Bars(16), on_step=steps.append)
    assert made.same(plain, watched)
    assert [r.step for r in history] == [5, 7, 10, 14, 15, 20, 21, 25, 28, 30]
    assert [r.step for r in history if r.test_error is not None] == [5, 10, 15, 20, 25, 30]
    assert steps[-1].step == steps[-1].steps == 30
    assert steps[-1].images_per_second > 0
    assert steps[-1].seconds_left == 0
    assert all(0 <= s.accuracy <= 1 and s.loss > 0 for s in steps)


@pytest.mark.parametrize("positions", [1, 3])
def test_a_plain_step_by_hand(positions: int) -> None:
    bars, net = (
        made.Bars(positions=positions, fresh=False),
        made.Net(positions=positions, dropout=0),
    )
    twin = made.Net(positions=positions, dropout=0)
    history = train(net, bars, replace(PLAIN, localisation_factor=0.1, seed=3))
    batch = bars.draw(0).batch(range(64))
    logits = twin(batch.images)
    if positions == 1:
        loss = functional.cross_entropy(logits, batch.targets)
        right = logits.argmax(1) == batch.targets
    else:
        loss = sum(
            functional.cross_entropy(logits[:, p], batch.targets[:, p]) for p in range(positions)
        )
        right = (logits.argmax(2) == batch.targets).all(1)
    loss.backward()
    for (name, moved), parameter in zip(net.named_parameters(), twin.parameters(), strict=True):
        factor = 0.1 if name.startswith("second") else 1
        wanted = parameter.detach() - 0.5 * factor * parameter.grad
        torch.testing.assert_close(moved.detach(), wanted, msg=name)
    assert history[0].loss == pytest.approx(float(loss.detach()), rel=1e-5)
    assert history[0].accuracy == pytest.approx(float(right.float().mean()))


def test_clipping_bounds_the_step() -> None:
    net, start = made.Net(dropout=0), made.Net(dropout=0)
    train(net, made.Bars(), replace(PLAIN, clip=0.01))
    moved = [a - b for a, b in zip(net.parameters(), start.parameters(), strict=True)]
    length = math.sqrt(sum(float(m.detach().square().sum()) for m in moved))
    assert length == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_a_localisation_that_stands_still() -> None:
    net, start = made.Net(), made.Net()
    train(net, made.Bars(), replace(RECIPE, localisation_factor=0))
    assert made.same(net.second, start.second)
    assert not made.same(net.first, start.first)


def test_fast_changes_rounding_only() -> None:
    usual, other = made.Net(), made.Net()
    train(usual, made.Bars(), RECIPE)
    train(other, made.Bars(), replace(RECIPE, fast=True))
    for a, b in zip(usual.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert all(p.is_contiguous() for p in other.parameters())


def test_mixed_precision_keeps_float32_weights() -> None:
    net = made.Net()
    history = train(net, made.Bars(), replace(RECIPE, iterations=150, precision="bfloat16"))
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert history[-1].loss < history[0].loss / 2


def test_compiled_networks_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Compiled(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self._orig_mod = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(len(images))
            return self._orig_mod(images)

    usual, net = made.Net(), made.Net()
    names = list(net.state_dict())
    monkeypatch.setattr(torch, "compile", Compiled)
    train(net, made.Bars(), replace(RECIPE, compile=True))
    train(usual, made.Bars(), RECIPE)
    assert len(seen) == 30
    assert list(net.state_dict()) == names
    assert made.same(net, usual)


def test_examples_of_another_kind_are_refused() -> None:
    with pytest.raises(ProbeError, match="has 4 classes but 64 bars has 5 classes; build it with"):
        train(made.Net(), made.Bars(classes=5))
    with pytest.raises(ProbeError, match=r"not the \(1, 2, 4\) that 64 bars needs; give a class"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(128, 4)), made.Bars(positions=2))
    with pytest.raises(
        ProbeError, match="has 2 positions of 4 classes but 64 bars has 2 positions"
    ):
        train(made.Net(positions=2), made.Bars(positions=2, classes=3))
    with pytest.raises(
        ProbeError, match=r"not take the images of 64 bars, 1 channel\(s\) of 60x60"
    ):
        train(MnistCNN(), made.Bars(size=60, classes=10))
    with pytest.raises(ProbeError, match="has 4 classes but 9 bars has 3 classes"):
        train(made.Net(), made.Bars(), test=made.Bars(9, classes=3))
    with pytest.raises(ProbeError, match="no parameters to train"):
        train(nn.Flatten(), made.Bars(classes=64))


def test_batches_that_cannot_be_normalised_are_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 4))
    message = "41 examples in batches of 20 leave a batch of 1 and batch normalisation needs 2"
    with pytest.raises(ProbeError, match=message):
        train(net, made.Bars(41), RECIPE)
    train(net, made.Bars(42), RECIPE)
    train(made.Net(), made.Bars(41), RECIPE)
    with pytest.raises(ProbeError, match="a batch of 3, shared by 2 processes, and batch"):
        check_batches(net, RECIPE, 43, world=2)


def test_an_exploding_loss_names_step_and_state(tmp_path: Path) -> None:
    recipe = replace(PLAIN, iterations=40, learning_rate=1e9)
    with pytest.raises(ProbeError, match=r"loss became \w+ in epoch \d, step \d of 40; lower") as e:
        train(made.Net(), made.Bars(), recipe)
    assert "state" not in str(e.value)

    class Broken(made.Bars):
        def draw(self, seed):  # type: ignore[no-untyped-def]
            drawn = super().draw(seed)
            drawn.pixels[0, 0, 0, 0] = math.nan if Broken.after < 0 else 0
            Broken.after -= 1
            return drawn

        def to(self, device):  # type: ignore[no-untyped-def]
            return self

    Broken.after = 6  # the check of the examples draws once
    file = tmp_path / "run.progress"
    with pytest.raises(ProbeError) as e:
        train(
            made.Net(), Broken(), replace(PLAIN, iterations=40, learning_rate=0.01),
            progress_file=file, save_every_steps=3,
        )  # fmt: skip
    message = str(e.value)
    assert "the loss became nan in epoch 7, step 7 of 40; lower the learning rate (0.01)" in message
    assert message.endswith(f"the last good state is '{file}' of step 6")
    assert "\n" not in message


def test_tensorboard_gets_the_history(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = train(made.Net(), made.Bars(), RECIPE, test=made.Bars(9), tensorboard=tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    loss = events.Scalars("loss")
    assert [e.step for e in loss] == [10, 20, 30]
    assert [e.value for e in loss] == pytest.approx([row.loss for row in history])
    assert len(events.Scalars("test_error")) == 1


def test_missing_tensorboard_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ProbeError, match=r"pip install 'invariance-probe\[tensorboard\]'"):
        train(made.Net(), made.Bars(), RECIPE, tensorboard=tmp_path)
