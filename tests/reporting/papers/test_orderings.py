"""Which network errs less, and whether the seeds decide it: intervals by SciPy's own interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from papers.classifier_tables import classifier_latex, classifier_markdown, classifier_table
from papers.orderings import error_orderings, orderings_text
from scipy import stats

ERRORS = {  # by data and network: the mean errors of the seeds
    "mnist-r": {"CNN": (0.020, 0.021, 0.0205), "C0": (0.010, 0.011, 0.0105),
                "SL1": (0.0100, 0.0110, 0.0115)},
    "mnist-t": {"CNN": (0.02, 0.03), "C0": (0.01, 0.04)},
    "mnist-s": {"CNN": (0.02,), "C0": (0.01,)},
    "mnist-e": {"CNN": (0.02, 0.0201, 0.0202), "C0": (0.01, 0.0101, 0.0102)},
    "mnist-p": {"CNN": (0.02,)},
}  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        {"run": f"{data}/{network}", "network": network, "data": data, "seed": seed, "pass": 1,
         "error": error, "loss": 0.1, "number": 100}
        for data, networks in ERRORS.items()
        for network, errors in networks.items()
        for seed, error in enumerate(errors)
    ]  # fmt: skip
    return classifier_table(pd.DataFrame(rows))


def test_intervals_are_students(table: pd.DataFrame) -> None:
    for row in table.to_dict("records"):
        errors = np.array(ERRORS[row["data"]][row["network"]])
        if len(errors) == 1:
            assert np.isnan(row["error_low"]) and np.isnan(row["error_high"])
            continue
        expected = stats.t.interval(0.95, len(errors) - 1, errors.mean(), stats.sem(errors))
        assert (row["error_low"], row["error_high"]) == pytest.approx(expected)


def test_a_pair_is_decided_where_the_intervals_do_not_overlap(table: pd.DataFrame) -> None:
    pairs = error_orderings(table)
    assert (pairs["difference"] >= 0).all()
    decided = {(p.data, p.fewer, p.more): p.decided for p in pairs.itertuples()}
    assert decided == {
        ("mnist-r", "C0", "SL1"): False, ("mnist-r", "C0", "CNN"): True,
        ("mnist-r", "SL1", "CNN"): True, ("mnist-t", "CNN", "C0"): False,
        ("mnist-s", "C0", "CNN"): False, ("mnist-e", "C0", "CNN"): True,
    }  # fmt: skip


def test_what_is_said(table: pd.DataFrame) -> None:
    rule = "95 % intervals of the mean over seeds"
    said = {
        "mnist-r": f"by error: C0, SL1, CNN; decided ({rule} do not overlap) but for C0 and SL1",
        "mnist-t": f"by error: CNN, C0; no pair is decided ({rule} overlap)",
        "mnist-s": "by error: C0, CNN; no pair is decided (one seed only)",
        "mnist-e": f"by error: C0, CNN; every pair is decided ({rule} do not overlap)",
    }
    assert orderings_text(table) == said
    page = classifier_markdown(table, {"mnist-r": "quick, all filters"}).splitlines()
    assert page[-5] == (
        "mnist-r: quick, all filters; 3 seeds, 1 pass over 100 images. "
        f"By error: C0, SL1, CNN; decided ({rule} do not overlap) but for C0 and SL1."
    )
    assert page[-1] == "mnist-p: 1 seed, 1 pass over 100 images."
    latex = classifier_latex(table, {"mnist-r": "quick, 50% of the filters"})
    assert r"quick, 50\% of the filters" in latex
    (caption,) = [line for line in latex.splitlines() if line.startswith(r"\caption{")]
    places = [caption.index(f"{data}: ") for data in said]
    assert places == sorted(places)
    assert r"decided (95 \% intervals" in caption and latex.count(r"\end{tabularx}") == 1
