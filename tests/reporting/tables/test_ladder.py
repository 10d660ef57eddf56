"""The ladder's tables and its figure: means per kind, intervals paired, text for papers."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from invariance_probe.errors import ProbeError
from invariance_probe.probing import Result
from invariance_probe.probing.ladder.shares import OF_INVERSE
from invariance_probe.probing.rungs import rung_of
from invariance_probe.reporting import ladder_table, plot_ladder, to_latex, to_markdown

RUNGS = ("unaligned", "inverse", "best", "input_aligned", "resampling_floor", "other_image")
Check = Callable[[Figure], None]
Make = Callable[..., Result]


def test_one_transformation_is_the_result_itself(result: Result) -> None:
    table = ladder_table(result, "rotation:90")
    known = result.residuals.query("transform == 'rotation:90'")
    own = table[~table["rung"].isin(OF_INVERSE)]
    for column in ("layer", "rung"):
        assert own[column].tolist() == known[column].tolist()
    for column in ("residual", "low", "high"):
        np.testing.assert_allclose(own[column], known[column], rtol=1e-12)
    for name in OF_INVERSE:
        part = table[table["rung"] == name]["residual"]
        np.testing.assert_allclose(
            part, result.summary.query("transform == 'rotation:90'")[name], rtol=1e-12
        )


def test_means_are_taken_per_kind_without_the_identity(result: Result) -> None:
    table = ladder_table(result)
    assert table["over"].unique().tolist() == ["mean of 23 rotations", "mean of 8 scalings"]
    known = (
        result.residuals.query("not identity")
        .groupby(["kind", "layer", "rung"], sort=False)["residual"]
        .mean()
    )
    for row in table[~table["rung"].isin(OF_INVERSE)].itertuples():
        assert row.residual == pytest.approx(known[row.kind, row.layer, row.rung], rel=1e-12)
        assert row.low <= row.residual <= row.high
    wide = table.pivot(index=["kind", "layer"], columns="rung", values="residual")
    span = wide["other_image"] - wide["input_aligned"]
    np.testing.assert_allclose(
        wide["recovered"], (wide["other_image"] - wide["inverse"]) / span, rtol=1e-12
    )
    span = wide["unaligned"] - wide["input_aligned"]
    np.testing.assert_allclose(
        wide["gain"], (wide["unaligned"] - wide["inverse"]) / span, rtol=1e-12
    )
    np.testing.assert_allclose(wide["excess"], wide["inverse"] - wide["input_aligned"], rtol=1e-12)
    once = (np.sqrt(wide["input_aligned"]) + np.sqrt(wide["resampling_floor"])) / 2
    np.testing.assert_allclose(wide["attribution"], once**2 / wide["inverse"], rtol=1e-12)


def test_latex_is_a_float_of_values_with_the_reach_of_intervals(make_result: Make) -> None:
    made = make_result("rotation:90", ["layer1.0_a&b"])
    text = to_latex(made)
    assert r"layer1.0\_\allowbreak{}a\&b & " in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    row = ladder_table(made).set_index("rung").loc["inverse"]
    reach = max(row.residual - row.low, row.high - row.residual)
    assert rf"\below{{{row.residual:.2f}}}{{$\pm${reach:.2f}}}" in text
    for wide, columns in ((False, len(RUNGS) - 1), (True, len(RUNGS) + 2)):
        text = to_latex(made, wide=wide)
        rows = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert {line.count(" & ") for line in rows} == {columns}
        assert text.count("{") == text.count("}")
    assert r"\begin{table*}" in text


def test_a_table_longer_than_a_page_goes_on_in_another(make_result: Make) -> None:
    text = to_latex(make_result("rotation:90", [f"layer{n}" for n in range(30)]))
    assert text.count(r"\begin{table}") == text.count(r"\caption{") == 2
    assert text.count(r"\label{") == 1 and "(continued)" in text
    assert [line.split(" ")[0] for line in text.splitlines() if line.startswith("layer")] == [
        "layer", *(f"layer{n}" for n in range(22)), "layer", *(f"layer{n}" for n in range(22, 30))
    ]  # fmt: skip


def test_markdown_has_as_many_cells_in_every_row(result: Result) -> None:
    lines = to_markdown(result, rungs=["inverse", "recovered"], digits=3).splitlines()
    assert lines[0] == "| transformations | layer | inverse | recovered |"
    assert {line.count("|") for line in lines} == {5}
    assert len(lines) == 2 + 8
    assert re.search(r"\| \d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\] \|", lines[2])


def test_a_layer_without_variance_has_dashes(make_result: Make) -> None:
    made = make_result("rotation:90", ["dead"], dead=["dead"])
    assert "| – | – |" in to_markdown(made)
    assert "--" in to_latex(made) and " nan" not in to_latex(made)


def test_what_is_not_there_is_named(result: Result, make_result: Make) -> None:
    with pytest.raises(ProbeError, match="no transform 'rotation:91' in this result; did you mean"):
        ladder_table(result, "rotation:91")
    with pytest.raises(ProbeError, match="no rung 'worst'"):
        to_markdown(result, rungs=["worst"])
    with pytest.raises(ProbeError, match="nothing but the identity"):
        ladder_table(make_result("identity"))
    with pytest.raises(ProbeError, match="no layer 'conv9'"):
        plot_ladder(result, layers="conv9")


@pytest.mark.parametrize("transform", [None, "rotation:-45"])
def test_the_figure_shows_the_table(
    result: Result, check_figure: Check, transform: str | None
) -> None:
    table = ladder_table(result, transform)
    figure = plot_ladder(result, transform)
    panels = list(table.groupby(["over", "layer"], sort=False))
    assert len(figure.axes) == len(panels)
    for ax, (_, rows) in zip(figure.axes, panels, strict=True):
        rows = rows.set_index("rung")
        for rung in RUNGS:
            (point,) = [line for line in ax.lines if line.get_label() == rung_of(rung).label]
            assert point.get_xdata() == [rows.loc[rung, "residual"]]
        written = [text.get_text() for text in ax.texts]
        assert written == [f"{rows.loc[rung, 'residual']:.2f}" for rung in RUNGS]
    assert "fraction of variance unexplained" in figure.get_supxlabel()
    assert "95 % interval" in figure.get_supxlabel()
    check_figure(figure)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_the_figure_is_readable_for_any_number_of_layers(
    make_result: Make, check_figure: Check, number: int
) -> None:
    layers = [f"layer{n}" for n in range(number)]
    check_figure(plot_ladder(make_result("rotation:30 scaling:2", layers, dead=layers[1:2])))


def test_given_axes_are_used(result: Result) -> None:
    figure = Figure()
    axes = figure.subplots(2, 2)
    assert plot_ladder(result, "rotation:90", axes=axes.ravel()) is figure
