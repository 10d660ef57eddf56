"""Presets are what the papers state."""

from __future__ import annotations

import pytest

from invariance_probe import ProbeError
from invariance_probe.training import PRESETS, preset


@pytest.mark.parametrize("data", ["mnist-r", "mnist-tc", "fashion-s", "some/folder", "plankton"])
def test_paper_on_mnist(data: str) -> None:
    recipe = preset("paper", data)
    assert (recipe.iterations, recipe.batch_size, recipe.optimizer) == (150_000, 256, "sgd")
    assert (recipe.momentum, recipe.weight_decay, recipe.localisation_factor) == (0, 0, 1)
    rates = [recipe.rate(s, 150_000) for s in (0, 50_000, 100_000)]
    assert rates == pytest.approx([0.01, 0.001, 0.0001])


@pytest.mark.parametrize("data", ["svhn", "street"])
def test_paper_on_svhn(data: str) -> None:
    recipe = preset("paper", data)
    assert (recipe.iterations, recipe.batch_size, recipe.switch_after) == (400_000, 128, 80_000)
    assert (recipe.weight_decay, recipe.localisation_factor) == (0.0005, 0.1)
    assert (recipe.learning_rate, recipe.momentum, recipe.precision) == (0.01, 0, "float32")


def test_quick_is_short() -> None:
    for data in ("mnist-r", "svhn", "plankton"):
        assert (preset("quick", data).iterations or 0) <= 5_000


@pytest.mark.parametrize(("data", "factor"), [("mnist-r", 5), ("fashion-s", 5), ("mnist-t", 1),
                                              ("mnist-tc", 1), ("mnist-rts", 1)])  # fmt: skip
def test_quick_is_careful_where_digits_are_shifted(data: str, factor: float) -> None:
    quick, paper = preset("quick", data), preset("paper", data)
    assert (quick.localisation_factor, quick.clip) == (factor, 1.0 if factor == 1 else None)
    assert (paper.localisation_factor, paper.clip) == (1, None)


def test_unknown_names() -> None:
    assert PRESETS == ("paper", "quick")
    with pytest.raises(ProbeError, match="unknown preset 'papers'; did you mean 'paper'"):
        preset("papers")
    with pytest.raises(ProbeError, match="unknown preset 'x'; give paper or quick"):
        preset("x")
