"""The figure of learned residuals draws the numbers of its table."""

import numpy as np
import pandas as pd
import pytest

from invariance_probe.errors import ProbeError
from invariance_probe.reporting import plot_learned

RUNGS = {"unaligned": 1.2, "inverse": 1.0, "best": 0.9, "input_aligned": 0.1, "other_image": 1.6}


def table(networks=("STN-C0", "STN-C1"), kind="rotation", parameters=(-90.0, 0.0, 90.0)):
    rows = [
        {
            "network": network, "layer": "blocks.0", "kind": kind, "parameter": parameter,
            "transform": f"{kind}:{parameter:g}", "identity": parameter == 0, "rung": rung,
            "residual": value * abs(parameter) / 90 + place / 10,
            "low": value * abs(parameter) / 90 - 0.05, "high": value * abs(parameter) / 90 + 0.2,
        }
        for place, network in enumerate(networks)
        for parameter in parameters
        for rung, value in {**RUNGS, "learned": 0.5}.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_panel_per_network_with_its_curves():
    figure = plot_learned(table())
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "STN-C0, blocks.0",
        "STN-C1, blocks.0",
    ]
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    np.testing.assert_allclose(lines["learned alignment"].get_xdata(), [-90, 0, 90])
    np.testing.assert_allclose(lines["learned alignment"].get_ydata(), [0.6, 0.1, 0.6])
    assert {"unaligned", "inverse h⁻¹", "learned alignment"} <= set(lines)
    (legend,) = figure.legends
    assert "floor to ceiling" in [text.get_text() for text in legend.get_texts()]
    assert figure.axes[0].get_xlabel() == "angle (degrees)"
    assert figure.axes[0].get_ylim()[0] == 0


def test_scalings_have_a_logarithmic_axis():
    figure = plot_learned(table(("STN-C0",), "scaling", (0.5, 1.0, 2.0)), "scaling")
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_xlabel() == "scale factor"


def test_a_kind_that_is_not_there():
    with pytest.raises(ProbeError, match=r"no transformations of kind 'scaling' .* has rotation"):
        plot_learned(table(), "scaling")
