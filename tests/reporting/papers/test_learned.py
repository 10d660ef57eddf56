"""The figure of learned residuals draws the numbers of its table."""

import numpy as np
import pandas as pd
import pytest
from papers.learned import plot_learned

from invariance_probe.errors import ProbeError

RUNGS = {"unaligned": 1.2, "inverse": 1.0, "best": 0.9, "inverse_linear": 0.3,
         "input_aligned": 0.1, "other_image": 1.6}  # fmt: skip


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


def test_seeds_are_averaged_within_the_band_of_all():
    second = table(("STN-C0",))
    second[["residual", "low", "high"]] += 0.4
    figure = plot_learned(pd.concat([table(("STN-C0",)).assign(seed=0), second.assign(seed=1)]))
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["learned alignment"].get_ydata(), [0.7, 0.2, 0.7])
    tops = [part.get_datalim(figure.axes[0].transData).ymax for part in figure.axes[0].collections]
    assert max(tops) == pytest.approx(1.2 + 0.2 + 0.4)


def test_shifts_along_both_axes_share_their_length():
    shifts = {"translation:5,0": 1.0, "translation:0,5": 0.5, "translation:-5,0": 0.2,
              "translation:3,3": 9.0, "identity": 0.0}  # fmt: skip
    parts = []
    for text, residual in shifts.items():
        part = table(("STN-C0",), "translation", (90.0,)).assign(transform=text)
        part["kind"], part["residual"] = text.partition(":")[0], residual
        parts.append(part)
    figure = plot_learned(pd.concat(parts), "translation")
    line = next(x for x in figure.axes[0].get_lines() if x.get_label() == "learned alignment")
    np.testing.assert_allclose(line.get_xdata(), [-5, 0, 5])
    np.testing.assert_allclose(line.get_ydata(), [0.2, 0.0, 0.75])
    assert figure.axes[0].get_xlabel() == "shift along x or y (px)"


@pytest.mark.parametrize("width, columns", [(85, 2), (170, 4), (None, 4)])
def test_panels_side_by_side_by_width(width, columns):
    figure = plot_learned(table(("STN-C0", "STN-C1", "STN-SL1", "STN-DL1")), width=width)
    assert figure.get_figwidth() * 25.4 == pytest.approx(width or 170)
    assert figure.axes[0].get_gridspec().ncols == columns


def test_a_kind_without_a_figure():
    with pytest.raises(ProbeError, match="no figure of kind 'shear'; there are rotation, scaling"):
        plot_learned(table(), "shear")
