"""The oracle's figure and table: the numbers of the result, told apart and labelled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from invariance_probe.data import array_images
from invariance_probe.errors import ProbeError
from invariance_probe.probing import OracleResult, oracle
from invariance_probe.reporting import oracle_markdown, plot_oracle


def small(labels: bool) -> OracleResult:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )
    pixels = np.random.default_rng(0).random((20, 1, 12, 12), dtype=np.float32)
    known = np.arange(20) % 3 if labels else None
    images = array_images(pixels, 12, labels=known)
    return oracle(network, ["0", "2"], "rotation:90 rotation:0", images, resamples=50)


@pytest.fixture(scope="module")
def labelled() -> OracleResult:
    return small(labels=True)


def test_the_points_are_the_tables_numbers(labelled: OracleResult) -> None:
    figure = plot_oracle(labelled)
    assert isinstance(figure, Figure)
    (ax,) = figure.axes  # the identity moves nothing and is not drawn
    table = labelled.table("rotation:90")
    drawn = {c.get_label(): c[0].get_ydata() for c in ax.containers}
    assert drawn["maps aligned by h⁻¹"] == pytest.approx(table["inverse"].to_numpy())
    assert drawn["… and channels mapped"] == pytest.approx(table["inverse_linear"].to_numpy())
    assert ax.get_title(loc="left") == "rotation:90"
    assert ax.get_ylabel() == "accuracy"


def test_without_labels_there_is_agreement() -> None:
    result = small(labels=False)
    with pytest.raises(ProbeError, match="no labels; draw 'agreement'"):
        plot_oracle(result)
    assert "agreement" in plot_oracle(result, "agreement").axes[0].get_ylabel()
    assert "fraction of variance" in plot_oracle(result, "logit_residual").axes[0].get_ylabel()


def test_the_markdown_holds_values_and_intervals(labelled: OracleResult) -> None:
    text = oracle_markdown(labelled, "rotation:90")
    head, _, first, second = text.strip().split("\n")
    assert head.startswith("| layer | nothing done | input aligned |")
    assert first.startswith("| 0 |") and second.startswith("| 2 |")
    value = labelled.table("rotation:90")["inverse"]["2"]
    assert second.split("|")[4].strip().startswith(f"{value:.3f} [")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("acuracy",), "no measure 'acuracy'"),
        (("accuracy", "rotation:91"), "no transform 'rotation:91'"),
    ],
)
def test_unknown_names_are_refused(
    labelled: OracleResult, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ProbeError, match=message):
        plot_oracle(labelled, *arguments)
