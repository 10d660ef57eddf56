"""The theorem's figure: its table is the results', its curve the closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from papers.theorem import plot_theorem, theorem_table

from invariance_probe.errors import ProbeError
from invariance_probe.probing import Result

Check = Callable[[Figure], None]
MOVES = "translation:-2,0 translation:0,0 translation:2,0 rotation:-180:180:45 scaling:0.5:2:3"
RUNGS = (
    "unaligned", "inverse", "best", "inverse_orthogonal", "input_aligned", "resampling_floor",
    "other_image",
)  # fmt: skip


@pytest.fixture(scope="module")
def one(make_result: Callable[..., Result]) -> Result:
    return make_result(MOVES, ["conv1", "conv2"])


@pytest.fixture(scope="module")
def gaussian(make_result: Callable[..., Result]) -> Result:
    return make_result("rotation:-180:180:45", ["filters"], rungs=RUNGS)


def test_the_table_is_the_results(one: Result, gaussian: Result) -> None:
    table = theorem_table({"CNN": one, "twin": one}, gaussian, layers={"twin": "conv2"})
    assert table.groupby("network", sort=False)["layer"].first().to_dict() == {
        "CNN": "conv1", "twin": "conv2", "Gaussian derivatives": "filters",
    }  # fmt: skip
    own = table.query("network == 'twin' and rung == 'inverse'").set_index("transform")["residual"]
    rows = one.residuals.query("layer == 'conv2' and rung == 'inverse'").set_index("transform")
    np.testing.assert_array_equal(own, rows["residual"])
    shifts = table.query("network == 'CNN' and kind == 'translation' and rung == 'inverse'")
    assert shifts["parameter"].tolist() == [-2.0, 0.0, 2.0]


def test_what_is_expected_of_gaussian_derivatives(one: Result, gaussian: Result) -> None:
    rows = theorem_table({"CNN": one}, gaussian).query("network == 'Gaussian derivatives'")
    inverse = rows[rows["rung"] == "inverse"].set_index("parameter")["expected"]
    assert inverse[90.0] == pytest.approx(2) and inverse[-180.0] == pytest.approx(4)
    assert rows[rows["rung"] != "inverse"]["expected"].isna().all()


def test_the_figure_draws_the_table(one: Result, gaussian: Result, check_figure: Check) -> None:
    figure = plot_theorem({"CNN": one, "its twin": one, "1x1": one}, gaussian)
    shift, turn, scale, analytic, numbers = figure.axes
    assert scale.get_xscale() == "log"
    assert turn.get_xlim() == (-180, 180)
    marked = [line for line in turn.lines if line.get_marker() == "s"]
    rows = one.residuals.query("layer == 'conv1' and rung == 'inverse' and kind == 'rotation'")
    rows = rows.sort_values("parameter")
    np.testing.assert_array_equal(marked[0].get_xdata(), [*rows["parameter"], 180])
    assert marked[0].get_ydata()[:-1] == pytest.approx(rows["residual"].to_numpy())
    x, y = analytic.lines[0].get_data()
    np.testing.assert_allclose(y, 2 - 2 * np.cos(np.radians(x)))
    said = [text.get_text() for text in numbers.texts]
    at_90 = rows.set_index("parameter").loc[90.0, "residual"]
    assert said.count(f"{at_90:.2f}") >= 3
    assert "  analytic, 2 − 2 cos 90°" in said
    assert len(shift.lines) == 9
    check_figure(figure)


def test_several_results_of_one_kind_each(
    make_result: Callable[..., Result], check_figure: Check
) -> None:
    parts = [make_result(text, ["conv1"]) for text in ("rotation:0:90:45", "scaling:0.5:2:3")]
    figure = plot_theorem({"CNN": parts})
    assert figure.axes[0].texts[0].get_text() == "not measured"
    assert len(figure.axes) == 4  # no analytic panel without Gaussian derivatives
    check_figure(figure)


def test_what_is_not_there_is_named(one: Result, make_result: Callable[..., Result]) -> None:
    with pytest.raises(ProbeError, match="no network to compare; give results by name"):
        plot_theorem({})
    with pytest.raises(ProbeError, match="no layer 'conv9' in this result"):
        theorem_table({"CNN": one}, layers={"CNN": "conv9"})
    with pytest.raises(ProbeError, match="no translation, rotation or scaling in these results"):
        plot_theorem({"CNN": make_result("shear:0.1", ["conv1"])})
