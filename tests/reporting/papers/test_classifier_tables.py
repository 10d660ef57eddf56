"""Networks by data as tables: means and spreads by hand, text for pages and papers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from papers.classifier_tables import classifier_latex, classifier_markdown, classifier_table

from invariance_probe.errors import ProbeError

ERRORS = {  # by run, seed: the errors of two passes
    ("r/cnn", 0): (0.02, 0.04), ("r/cnn", 1): (0.04, 0.06),
    ("r/c0", 0): (0.01, 0.01), ("r/c0", 1): (0.01, 0.03),
    ("t/c0", 0): (0.010, 0.014),
}  # fmt: skip
PARAMETERS = {"r/cnn": 208586, "r/c0": 270026, "t/c0": 544586}


@pytest.fixture
def errors() -> pd.DataFrame:
    rows = [
        {
            "run": run, "network": "CNN" if run == "r/cnn" else "STN-C0",
            "data": "mnist-r" if run[0] == "r" else "mnist-t", "seed": seed, "pass": place + 1,
            "error": error, "loss": 0.1, "number": 2000, "parameters": PARAMETERS[run],
        }
        for (run, seed), values in ERRORS.items()
        for place, error in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def poses() -> pd.DataFrame:
    columns = (
        "run", "seed", "kind", "slope", "slope_low", "slope_high",
        "deviation", "deviation_low", "deviation_high",
    )  # fmt: skip
    rows = [
        ("r/c0", 0, "rotation", -0.9, -0.92, -0.88, 10.0, 9.0, 11.0),
        ("r/c0", 1, "rotation", -1.0, -1.01, -0.99, 20.0, 19.5, 20.5),
        ("t/c0", 0, "translation_x", -0.5, -0.6, -0.4, 1.0, 0.9, 1.1),
        ("t/c0", 0, "translation", -0.7, -0.8, -0.6, 2.0, 1.9, 2.1),
        ("t/c0", 0, "scaling", 0.1, 0.0, 0.2, 0.25, 0.2, 0.3),
    ]
    return pd.DataFrame(rows, columns=columns)


def test_means_and_spreads(errors: pd.DataFrame, poses: pd.DataFrame) -> None:
    table = classifier_table(errors, poses)
    assert table["data"].tolist() == ["mnist-r", "mnist-r", "mnist-t", "mnist-t"]
    assert table["kind"].tolist()[1:] == ["rotation", "translation", "scaling"]
    cnn, c0, shifted, _ = table.to_dict("records")
    assert cnn["error"] == pytest.approx(0.04) and cnn["seeds"] == cnn["passes"] == 2
    assert cnn["sd_seeds"] == pytest.approx(np.std([0.03, 0.05], ddof=1))
    assert cnn["sd_passes"] == pytest.approx(np.std([0.02, 0.04], ddof=1))
    assert np.isnan(cnn["slope"]) and not isinstance(cnn["kind"], str)
    assert (c0["slope"], c0["slope_low"], c0["slope_high"]) == (-0.95, -1.01, -0.88)
    assert (c0["deviation"], c0["deviation_low"], c0["deviation_high"]) == (15, 9, 20.5)
    assert (c0["parameters"], c0["unit"], shifted["unit"]) == (270026, "degrees", "px")
    assert np.isnan(shifted["sd_seeds"])


def test_printed_tables(errors: pd.DataFrame, poses: pd.DataFrame) -> None:
    table = classifier_table(errors, poses)
    page = classifier_markdown(table).splitlines()
    assert page[2] == "| mnist-r | CNN | 208,586 | 4.00 ± 1.41 | – | – | – |"
    assert page[3] == (
        "| mnist-r | STN-C0 | 270,026 | 1.50 ± 0.71 | rotation | −0.95 [−1.01, −0.88] | "
        "15.0 [9.0, 20.5] degrees |"
    )
    # A single seed shows the spread over passes; a second kind of pose takes a row of its own.
    assert page[4].startswith("| mnist-t | STN-C0 | 544,586 | 1.20 ± 0.28 | translation | −0.70")
    assert page[5].startswith("| mnist-t |  |  |  | scaling | 0.10 [0.00, 0.20] | 0.25")
    assert page[-2:] == [
        "mnist-r: 2 seeds, 2 passes over 2000 images. By error: STN-C0, CNN; no pair is decided "
        "(95 % intervals of the mean over seeds overlap).",
        "mnist-t: 1 seed, 2 passes over 2000 images.",
    ]
    assert len({line.count("|") for line in page if line.startswith("|")}) == 1

    tex = classifier_latex(table)
    assert r"CNN & 208,586 & 4.00 $\pm$ 1.41 & -- & -- & -- \\" in tex
    assert r"\multicolumn{6}{@{}l}{\emph{mnist-r: 2 seeds, 2 passes over 2000 images}} \\" in tex
    assert r"\below{$-$0.95}{[$-$1.01, $-$0.88]}" in tex and r"error\\(\%)" in tex
    assert not set(tex) & set("±−–")
    assert tex.count(r"\midrule") == 2


def test_without_poses_and_parameters(errors: pd.DataFrame) -> None:
    table = classifier_table(errors.drop(columns="parameters"))
    assert len(table) == 3 and table["slope"].isna().all()
    assert "| mnist-r | CNN | – | 4.00 ± 1.41 | – | – | – |" in classifier_markdown(table)
    single = classifier_table(errors[errors["pass"] == 1].query("run == 't/c0'"))
    assert "| 1.00 |" in classifier_markdown(single)  # nothing varied: no spread


def test_poses_of_other_runs_are_refused(errors: pd.DataFrame, poses: pd.DataFrame) -> None:
    with pytest.raises(ProbeError, match="poses but no errors of t/c0"):
        classifier_table(errors[errors["data"] == "mnist-r"], poses)
