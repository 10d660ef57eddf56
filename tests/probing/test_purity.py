"""Networks that are no function of the one image, and the identity as the control that shows it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from invariance_probe import embedded_digits, probe
from invariance_probe.probing import oracle, take_pictures

DIGITS = embedded_digits(12)
QUICK = {"resamples": 10, "channels": False, "batch_size": 4}
RUNGS = ["unaligned", "inverse", "best", "input_aligned"]


class Dropping(nn.Module):
    """Dropout that no mode switches off."""

    def forward(self, x):
        return F.dropout(x, 0.5)


class Trembling(nn.Module):
    """Noise below what any check of purity can tell from rounding."""

    def forward(self, x):
        return x * (1 + 1e-6 * torch.randn_like(x))


def network(*inside: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    first, last = nn.Conv2d(1, 8, 5, padding=2), nn.Conv2d(8, 4, 3, padding=1)
    return nn.Sequential(first, *inside, nn.ReLU(), last)


def classifier(*inside: nn.Module) -> nn.Module:
    return nn.Sequential(
        *network(*inside), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)
    )


def test_the_identity_is_measured_and_exactly_0_for_a_function_of_the_image():
    result = probe(network(), "2", ["rotation:0", "rotation:90"], DIGITS, **QUICK)
    rows = result.summary.set_index("transform")
    assert (rows.loc["rotation:0", RUNGS] == 0).all()
    assert (rows.loc["rotation:90", RUNGS[:2]] > 0.1).all()


def test_the_identity_is_not_0_where_the_network_is_random():
    """Two draws of inverted dropout at ½ differ by as much as the features vary, and more."""
    result = probe(network(Dropping()), "1", ["rotation:0", "rotation:90"], DIGITS, **QUICK)
    rows = result.summary.set_index("transform")
    assert (rows.loc["rotation:0", RUNGS] > 0.5).all()


def test_an_oracle_measures_the_identity():
    options = {"resamples": 10, "batch_size": 4}
    pure = oracle(classifier(), "2", "rotation:0", DIGITS, **options)
    assert (pure.errors == 0).all() and (pure.predictions == pure.originals).all()
    random = oracle(classifier(Trembling()), "3", "rotation:0", DIGITS, **options)
    assert (random.errors > 0).all()


@pytest.mark.parametrize("inside", [(), (Dropping(),)])
def test_pictures_show_what_the_identity_leaves(inside):
    (layer,) = take_pictures(network(*inside), "1", "identity", DIGITS, number=2).layers
    assert bool(np.nan_to_num(layer.residuals).any()) == bool(inside)
