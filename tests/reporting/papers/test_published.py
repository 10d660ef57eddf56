"""Published errors: the numbers as notes on the paper give them, and ours beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from papers.published import (
    DATA,
    PUBLISHED,
    published_error,
    published_networks,
    published_table,
)
from papers.published_figure import plot_published
from papers.published_tables import (
    beside_published,
    published_latex,
    published_markdown,
    published_names,
)

from invariance_probe.errors import ProbeError
from invariance_probe.networks.stn.architecture import Architecture

# Typed again, by columns: R, RTS, P, E.
ROWS = ["FCN", "CNN", "ST-FCN affine", "ST-FCN projective", "ST-FCN tps",
        "ST-CNN affine", "ST-CNN projective", "ST-CNN tps"]  # fmt: skip
COLUMNS = {
    "mnist-r": "2.1 1.2 1.2 1.3 1.1 0.7 0.8 0.7",
    "mnist-rts": "5.2 0.8 0.8 0.9 0.8 0.5 0.6 0.5",
    "mnist-p": "3.1 1.5 1.5 1.4 1.4 0.8 0.8 0.8",
    "mnist-e": "3.2 1.4 2.7 2.6 2.4 1.2 1.3 1.1",
}
OTHERS = {
    "mnist-tc FCN": 13.2, "mnist-tc CNN": 3.5, "mnist-addition FCN": 47.7,
    "mnist-addition CNN": 14.7, "mnist-addition ST-FCN affine": 22.6,
    "mnist-addition ST-FCN projective": 18.5, "mnist-addition 2xST-FCN affine": 9.0,
    "mnist-addition 2xST-FCN projective": 5.9, "mnist-addition 2xST-FCN tps": 5.8,
}  # fmt: skip


@pytest.mark.parametrize("data", COLUMNS)
def test_table_1(data: str) -> None:
    for name, error in zip(ROWS, COLUMNS[data].split(), strict=True):
        found = published_error(data, *name.split())
        assert found is not None and found.error == float(error) and found.verified
        assert (found.place, found.note) == ("Table 1", "")


def test_cluttered_digits_and_addition() -> None:
    for name, error in OTHERS.items():
        found = published_error(*name.split())
        assert found is not None and found.error == error
    for family in ("affine", "projective", "tps"):  # whose family is not known
        for network, error in (("ST-FCN", 2.0), ("ST-CNN", 1.7)):
            found = published_error("mnist-tc", network, family)
            assert found is not None and (found.error, found.family) == (error, None)
            assert "family" in found.note
    assert len(PUBLISHED) == 32 + 4 + 8


def test_what_is_not_confirmed_has_no_number() -> None:
    (one,) = [one for one in PUBLISHED if not one.verified]
    assert (one.data, one.network, one.family) == ("mnist-addition", "ST-FCN", "tps")
    assert one.error is None and "could not be verified" in one.note
    table = published_table()
    assert len(table) == len(PUBLISHED) and (~table["verified"]).sum() == 1
    assert table["error"].isna().sum() == 1


def test_what_was_not_published() -> None:
    assert published_error("mnist-addition", "ST-CNN", "affine") is None
    assert published_error("mnist-tc", "FCN", "affine") is None
    assert published_networks("mnist-tc") == ("FCN", "CNN", "ST-FCN", "ST-CNN")
    with pytest.raises(ProbeError, match="no published errors of 'mnist-s'; there are those of"):
        published_networks("mnist-s")
    assert DATA[0] == "mnist-r" and DATA[-1] == "mnist-addition"


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"name": "CNN"}, ("CNN", "")),
        ({"name": "STN-C0", "head": "CNN"}, ("ST-CNN", "affine")),
        ({"name": "STN-C0", "head": "CNNt"}, ("ST-CNN (CNNt)", "affine")),
        ({"name": "ST-FCN", "family": "tps", "parallel": 2}, ("2xST-FCN", "tps")),
        ({"name": "STN-C1"}, ("STN-C1", "affine")),
    ],
)
def test_names_of_the_paper(given: dict[str, object], names: tuple[str, str]) -> None:
    assert published_names(Architecture.from_dict(given)) == names


def rows(
    data: str, network: str, family: str, errors: tuple[tuple[float, ...], ...], budget: str = "b"
) -> list[dict[str, object]]:
    return [
        {
            "run": f"{budget}/{data}/{network}{family}", "network": network, "family": family,
            "data": data, "seed": seed, "pass": place + 1, "error": error, "loss": 0.1,
            "number": 2000, "parameters": 14522, "budget": budget,
        }
        for seed, passes in enumerate(errors)
        for place, error in enumerate(passes)
    ]  # fmt: skip


@pytest.fixture
def errors() -> pd.DataFrame:
    return pd.DataFrame(
        rows("mnist-addition", "ST-FCN", "tps", ((0.3, 0.3),))
        + rows("mnist-tc", "ST-CNN", "tps", ((0.03, 0.03), (0.05, 0.05)))
        + rows("mnist-r", "ST-CNN (CNNt)", "affine", ((0.01, 0.01),))
        + rows("mnist-r", "CNN", "", ((0.02, 0.04), (0.04, 0.06)))
    )


def test_ours_stand_beside_theirs_in_the_order_of_the_paper(errors: pd.DataFrame) -> None:
    table = beside_published(errors)
    assert table["data"].tolist() == ["mnist-r", "mnist-r", "mnist-tc", "mnist-addition"]
    assert table["network"].tolist() == ["CNN", "ST-CNN (CNNt)", "ST-CNN", "ST-FCN"]
    assert table["error"].tolist() == pytest.approx([0.04, 0.01, 0.04, 0.3])
    assert table["sd_seeds"][0] == pytest.approx(np.std([0.03, 0.05], ddof=1))
    assert table["published"].tolist() == pytest.approx([0.012, 0.007, 0.017, np.nan], nan_ok=True)
    assert table["parameters"].tolist() == [14522] * 4


def test_printed_tables(errors: pd.DataFrame) -> None:
    table = beside_published(errors)
    page = published_markdown(table)
    lines = page.splitlines()
    assert lines[0] == "Budget 1: b."
    assert lines[2] == "| network | family | R | paper | TC | paper | addition | paper |"
    assert lines[4] == "| CNN | – | 4.00 ± 1.41 | 1.2 | – | – | – | – |"
    assert "| ST-CNN | TPS | – | – | 4.00 ± 1.41 | 1.7 [a] | – | – |" in lines
    assert "| ST-FCN | TPS | – | – | – | – | 30.00 | – [b] |" in lines
    assert "| CNN | – | 14,522 | – | – |" in lines
    assert "2 passes over 2,000 test images" in page and "150,000 iterations of 256" in page
    assert "[a] the family of the published transformer is not known. [b] a number" in page
    latex = published_latex(table)
    assert r"CNN & -- & 4.00 $\pm$ 1.41 & 1.2 & -- & -- & -- & -- \\" in latex
    assert r"\caption{Budget 1: b. " in latex and latex.count(r"\begin{tabularx}") == 2
    assert latex.count(r"\end{tabularx}") == 2


def test_what_was_trained_differently_is_kept_apart(errors: pd.DataFrame) -> None:
    more = pd.DataFrame(rows("mnist-r", "CNN", "", ((0.5,),), budget="longer"))
    table = beside_published(pd.concat([errors, more]))
    page = published_markdown(table)
    first, second = page.split("Budget 2: longer.")
    assert "50.00" in second and "50.00" not in first and "4.00 ± 1.41" not in second
    with pytest.raises(ProbeError, match="runs of 2 budgets are not drawn together"):
        plot_published(table)
    again = pd.DataFrame(rows("mnist-r", "CNN", "", ((0.5,),))).assign(run="other")
    with pytest.raises(ProbeError, match="'b/mnist-r/CNN' and 'other' are the same network"):
        beside_published(pd.concat([errors, again]))


def test_the_figure_has_a_panel_per_data_set(errors: pd.DataFrame) -> None:
    figure = plot_published(beside_published(errors))
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "mnist-r", "mnist-tc", "mnist-addition",
    ]  # fmt: skip
    ours, theirs = (
        [line for line in figure.axes[0].lines if line.get_marker() == marker]
        for marker in ("s", "D")
    )
    assert ours[0].get_xdata() == pytest.approx([4.0])
    drawn = sorted(float(np.ravel(line.get_xdata())[0]) for line in theirs)
    assert drawn == pytest.approx([0.7, 1.2])
    assert not [line for line in figure.axes[2].lines if line.get_marker() == "D"]
    assert all(ax.get_xscale() == "log" for ax in figure.axes)
    assert figure.get_figwidth() * 25.4 == pytest.approx(170)
    narrow = plot_published(beside_published(errors), width=85)
    assert narrow.get_figwidth() * 25.4 == pytest.approx(85)
    own = narrow.subfigures(1, 1).subplots(1, 3)
    assert plot_published(beside_published(errors), axes=own) is narrow


def test_an_error_of_zero_has_a_place() -> None:
    table = beside_published(pd.DataFrame(rows("mnist-r", "CNN", "", ((0.0, 0.0),))))
    (ax,) = plot_published(table).axes
    low, high = ax.get_xlim()
    (ours,) = [line for line in ax.lines if line.get_marker() == "s"]
    assert low < float(np.ravel(ours.get_xdata())[0]) == pytest.approx(100 * 0.5 / 4000)
    assert high > 1.2
    with pytest.raises(ProbeError, match="no errors to draw"):
        plot_published(table.iloc[:0])
