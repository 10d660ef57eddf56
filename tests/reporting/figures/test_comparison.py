"""Figures and tables of comparisons: what is drawn where, at printed width, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compared_results import made_result
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from invariance_probe.errors import ProbeError
from invariance_probe.probing import Comparison, Result, compare, load_comparison
from invariance_probe.reporting import (
    comparison_latex,
    comparison_markdown,
    plot_comparison,
    plot_training_course,
    write_comparison,
)
from invariance_probe.reporting.drawing.style import NARROW, WIDE
from invariance_probe.reporting.figures.comparisons.comparison import network_styles

BOTH = "rotation:-90:90:30 scaling:0.5:2:5"
LONG = [f"features.denseblock{n}.denselayer{m}.conv2" for n, m in ((1, 6), (2, 12), (3, 24))]


def several(number: int = 3, **options: object) -> dict[str, Result]:
    return {
        name: made_result(seed=seed, factor=1 - seed / 8, **options)
        for seed, name in enumerate("abcdefgh"[:number])
    }


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(several(transforms=BOTH))


@pytest.fixture(scope="module")
def course() -> Comparison:
    return compare(several(4), along=[0, 100, 1000, 20000])


def test_curves_are_the_table_and_lie_above_their_differences(found: Comparison) -> None:
    figure = plot_comparison(found, "best", "rotation", "conv2")
    above, below = figure.axes
    rows = found.table.query(
        "layer == 'conv2' and kind == 'rotation' and transforms == 1 and quantity == 'best'"
    ).sort_values("parameter")
    for number, name in enumerate("abc"):
        own = rows[rows["network"] == name]
        line = next(  # a floor and a ceiling follow every curve
            ln for ln in above.lines[3 * number :] if ln.get_linewidth() > 0.6
        )
        np.testing.assert_allclose(line.get_xdata(), own["parameter"])
        np.testing.assert_allclose(line.get_ydata(), own["value"])
    curves = [line for line in below.lines if len(line.get_xdata()) > 2]
    assert len(curves) == 2  # none of the baseline
    own = rows[rows["network"] == "b"]
    np.testing.assert_allclose(curves[0].get_ydata(), own["difference"])
    band = next(c for c in below.collections if isinstance(c, PolyCollection))
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(own["difference_low"].min())
    assert corners[:, 1].max() == pytest.approx(own["difference_high"].max())
    assert below.get_ylabel() == "difference\nto a"
    assert above.get_ylabel() == "best found\n(residual)"
    zero = [line for line in below.lines if len(line.get_xdata()) == 2]
    assert len(zero) == 1 and list(zero[0].get_ydata()) == [0, 0]


def test_floors_and_ceilings_stand_beside_residuals_but_not_shares(found: Comparison) -> None:
    for quantity, lines in (("inverse", 9), ("gain", 3), ("input_aligned", 3)):
        figure = plot_comparison(found, quantity, "rotation", "conv1")
        assert len(figure.axes[0].lines) == lines
    assert plot_comparison(found, "gain").axes[0].get_ylabel() == "gain\n(share)"


def test_widths_of_a_printed_page(found: Comparison, check_figure: Callable[..., None]) -> None:
    for figure, width in (
        (plot_comparison(found), NARROW),
        (plot_comparison(found, layers="conv1"), NARROW),
        (plot_comparison(found, width=WIDE), WIDE),
        (plot_comparison(compare(several(layers=["a", "b", "c"]))), WIDE),
        (plot_comparison(compare(several(layers=["a", "b", "c"])), width=NARROW), NARROW),
    ):
        check_figure(figure)
        assert figure.get_figwidth() * 25.4 == pytest.approx(width)


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_long_names_stay_on_the_page(width: float, check_figure: Callable[..., None]) -> None:
    names = ["resnet50_before_augmentation_and_finetuning_version_one", "b" * 70, "short"]
    plan = "rotation:0:90:45 translation:4,0 affine:1,0.5,0,0,1,0"
    results = [
        made_result(layers=LONG[: 2 if width == NARROW else 3], transforms=plan, seed=seed)
        for seed in range(3)
    ]
    found = compare(dict(zip(names, results, strict=True)), along=[0, 5, 10])
    for figure in (plot_comparison(found, width=width), plot_training_course(found, width=width)):
        check_figure(figure)


def test_eight_networks_are_told_apart_without_colour() -> None:
    looks = network_styles(compare(several(8), quantities="inverse"))
    assert len({look.marker for look in looks.values()}) == 8
    assert len({look.colour for look in looks.values()}) == 8
    assert looks["a"].label == "a (baseline)" and looks["a"].colour == "#000000"


def test_one_transform_one_kind_and_nothing_but_the_identity(
    check_figure: Callable[..., None],
) -> None:
    for plan in ("rotation:30", "scaling:2", "translation:3,0"):
        found = compare(several(transforms=plan), along=[1, 2, 3])
        check_figure(plot_comparison(found))
        check_figure(plot_training_course(found))
    still = compare(several(transforms="identity"), along=[1, 2, 3])
    check_figure(plot_comparison(still))
    with pytest.raises(ProbeError, match="nothing but the identity"):
        plot_training_course(still)


def test_undetermined_values_leave_a_gap_and_no_warning(check_figure: Callable[..., None]) -> None:
    results = several(2)
    results["b"].errors[:] = np.nan
    found = compare(results, along=[0, 1])
    check_figure(plot_comparison(found))
    check_figure(plot_training_course(found))
    assert "| b | – | – | – |" in comparison_markdown(found)


def test_equal_networks_have_a_flat_difference(check_figure: Callable[[Figure], None]) -> None:
    one = made_result(layers=["conv1"])
    for other in (one, replace(one, errors=one.errors * (1 + 1e-13))):  # rounding is no difference
        figure = plot_comparison(compare([one, other]))
        check_figure(figure)
        low, high = figure.axes[1].get_ylim()
        assert -low == pytest.approx(high) and high >= 1e-3


def test_the_course_of_training_is_drawn_in_order(
    course: Comparison, check_figure: Callable[..., None]
) -> None:
    shuffled = compare(
        {name: course_result for name, course_result in reversed(several(4).items())},
        along={"a": 0, "b": 100, "c": 1000, "d": 20000}, baseline="a",
    )  # fmt: skip
    for one in (course, shuffled):
        figure = plot_training_course(one, ["inverse", "other_image"], layers="conv1")
        check_figure(figure)
        above, below = figure.axes
        means = one.means().query("layer == 'conv1' and quantity == 'inverse'")
        means = means.sort_values("along")
        line = above.lines[0]
        assert list(line.get_xdata()) == [0, 100, 1000, 20000]
        np.testing.assert_allclose(line.get_ydata(), means["value"])
        under = below.lines[0]
        np.testing.assert_allclose(under.get_ydata(), [0, *means["difference"][1:]])
        assert len(below.lines) == 2  # the inverse and zero, not the ceiling
        assert below.get_xscale() == "symlog"  # 100 to 20000
        labels = [tick.get_text() for tick in below.get_xticklabels()]
        assert labels[0] == "20k" and "100" in labels
        assert above.get_title(loc="left") == "conv1\nmean of 2 rotations"
    near = compare(several(2), along=[1000, 2000])
    assert plot_training_course(near).axes[1].get_xscale() == "linear"
    check_figure(plot_training_course(course, "gain"))
    check_figure(plot_training_course(course))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda one: plot_comparison(one, "invers"), "no quantity 'invers' in this comparison"),
        (lambda one: plot_comparison(one, kind="shear"), "no kind 'shear' in this comparison"),
        (lambda one: plot_comparison(one, layers="conv9"), "no layer 'conv9' in this comparison"),
        (lambda one: plot_training_course(one), "has no order to draw along; compare(..., along="),
        (lambda one: comparison_markdown(one, "rotation:31"), "no transform 'rotation:31' in this"),
        (lambda one: comparison_latex(one, quantities="x"), "no quantity 'x' in this comparison"),
    ],
)  # fmt: skip
def test_unknown_names_are_refused(
    found: Comparison, draw: Callable[[Comparison], object], message: str
) -> None:
    with pytest.raises(ProbeError) as caught:
        draw(found)
    assert message in str(caught.value) and "\n" not in str(caught.value)


# --- tables --------------------------------------------------------------------------------------


def test_markdown_holds_the_means_with_intervals_and_p(found: Comparison) -> None:
    page = comparison_markdown(found, quantities=["inverse"], digits=3)
    lines = [line for line in page.splitlines() if line.startswith("| mean of 6 rotations")]
    assert len(lines) == 2 * 3
    row = found.means().query("layer == 'conv1' and network == 'b' and kind == 'rotation'")
    (one,) = row[row["quantity"] == "inverse"].to_dict("records")

    def cell(*columns: str) -> str:
        value, low, high = (f"{one[name]:.3f}" for name in columns)
        return f"{value} [{low}, {high}]".replace("-", "−")

    assert lines[1] == (
        f"| mean of 6 rotations | conv1 | inverse | b | {cell('value', 'low', 'high')} | "
        f"{cell('difference', 'difference_low', 'difference_high')} | ≤ 0.005 |"
    )
    assert lines[0].endswith("| – | – |")
    assert "95 % intervals over 40 images; differences are to a, on the same images." in page
    assert "rotation:30 |" in comparison_markdown(found, "rotation:30")


def test_latex_escapes_names_and_balances() -> None:
    results = [made_result(layers=["a_b%"], seed=seed) for seed in range(2)]
    text = comparison_latex(compare({"x_1": results[0], "50%": results[1]}))
    assert r"a\_\allowbreak{}b\%" in text and r" & x\_\allowbreak{}1 & " in text
    assert r" & 50\% & " in text
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert all(line.count("&") == 5 for line in rows if "multicolumn" not in line)
    assert text.count(r"\begin{tabularx}") == text.count(r"\end{tabularx}") == 1
    assert text.isascii() or set(text) - set(map(chr, range(128))) <= set("·")


def test_a_folder_holds_all_of_it_or_nothing(course: Comparison, tmp_path: Path) -> None:
    out = write_comparison(course, tmp_path / "out", ["svg"])
    assert load_comparison(out).equals(course)
    assert (out / "table_comparison.md").read_text() == comparison_markdown(course)
    assert {place.name for place in (out / "figures").iterdir()} == {
        "comparison_inverse.svg", "comparison_gain.svg", "training_course.svg",
        "files.json",
    }  # fmt: skip
    with pytest.raises(ProbeError, match="unknown figure format 'gif'"):
        write_comparison(course, tmp_path / "other", ["gif"])
    assert not (tmp_path / "other").exists()
    with pytest.raises(ProbeError, match="already holds a result"):
        write_comparison(course, out)
    write_comparison(course, out, (), overwrite=True)
    assert not (out / "figures").exists()
