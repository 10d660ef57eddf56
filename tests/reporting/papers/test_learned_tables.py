"""Tables of what trained transformers leave: against the results that they are made of."""

import numpy as np
import pandas as pd
import pytest
from papers.learned_tables import (
    learned_latex,
    learned_markdown,
    learned_rows,
    learned_table,
)

from invariance_probe.data import embedded_digits
from invariance_probe.networks import build_network
from invariance_probe.probing.oracles.learned import LEARNED, learned_alignment


@pytest.fixture(scope="module")
def found():
    images = embedded_digits(40)
    return {
        name: learned_alignment(
            build_network(f"classifier:{name}", width=0.125), "rotation:-90:90:90", images
        )
        for name in ("STN-C1", "STN-SL1")
    }


def value(rows, quantity, what):
    (row,) = rows[(rows["quantity"] == quantity) & (rows["what"] == what)].to_dict("records")
    return row


def test_residuals_are_means_over_what_is_not_the_identity(found):
    rows = learned_rows(found["STN-C1"], "mnist-r", "STN-C1", 4)
    table = found["STN-C1"].held.residuals
    moved = table[~table["identity"]]
    for rung in ("unaligned", "inverse", "best", "spatial_bound", "inverse_linear"):
        row = value(rows, "residual", rung)
        expected = moved.loc[moved["rung"] == rung, "residual"].mean()
        assert row["value"] == pytest.approx(expected, rel=1e-6)
        assert row["low"] <= row["value"] <= row["high"]
        assert (row["seed"], row["layer"], row["over"]) == (4, "aligned.0", "mean of 2 rotations")
    # Untrained, a transformer does nothing.
    learned, nothing = (value(rows, "residual", what) for what in (LEARNED, "unaligned"))
    assert learned["value"] == pytest.approx(nothing["value"], rel=1e-4)


def test_errors_are_those_of_the_oracles(found):
    rows = learned_rows(found["STN-C1"], "mnist-r", "STN-C1", 4)
    held, working = found["STN-C1"].held_oracle, found["STN-C1"].working_oracle
    for what, oracle, treatment in [
        ("nothing", held, "nothing"), ("inverse", held, "inverse"),
        ("input_aligned", held, "input_aligned"), (LEARNED, working, "nothing"),
        ("inverse_linear_at_work", working, "inverse_linear"),
    ]:  # fmt: skip
        row = value(rows, "error", what)
        assert row["value"] == pytest.approx(1 - oracle.table()[treatment].iloc[0])
        assert row["low"] <= row["value"] <= row["high"]
        assert row["layer"] == "blocks.0"
    assert value(rows, "error", "upright")["value"] == pytest.approx(
        1 - held.untransformed_accuracy
    )


def test_aligning_twice_is_left_out_where_the_input_is_warped(found):
    rows = learned_rows(found["STN-SL1"], "mnist-r", "STN-SL1", 0)
    errors = set(rows.loc[rows["quantity"] == "error", "what"])
    assert {"inverse", LEARNED, "input_aligned_at_work"} <= errors
    assert not {"inverse_at_work", "inverse_linear_at_work"} & errors


def rows_of(values, network="STN-C1", quantity="residual", what="inverse"):
    return pd.DataFrame(
        [
            {
                "data": "mnist-r", "network": network, "seed": seed, "layer": "aligned.0",
                "kind": "rotation", "over": "mean of 2 rotations", "quantity": quantity,
                "what": what, "value": value, "low": value - 0.1, "high": value + 0.2, "images": 20,
            }
            for seed, value in enumerate(values)
        ]
    )  # fmt: skip


def test_over_seeds():
    rows = pd.concat([rows_of([0.4, 0.6]), rows_of([0.5], "STN-SL1"), rows_of([0.02], "STN-C1",
                      "error", LEARNED)])  # fmt: skip
    table = learned_table(rows)
    one = table[(table["network"] == "STN-C1") & (table["quantity"] == "residual")].iloc[0]
    assert (one["seeds"], one["value"]) == (2, 0.5)
    assert one["sd"] == pytest.approx(np.sqrt(0.02))
    assert (one["low"], one["high"]) == pytest.approx((0.3, 0.8))
    page = learned_markdown(table)
    assert "| mnist-r, mean of 2 rotations: residual | STN-C1 | STN-SL1 |" in page
    line = "| exact inverse on the maps | 0.50 ± 0.14 [0.30, 0.80] | 0.50 [0.40, 0.70] |"
    assert line in page
    assert "| learned alignment | 2.0 [−8.0, 22.0] | – |" in page
    assert "1–2 seeds, 20 evaluation images; STN-C1 at aligned.0, STN-SL1 at aligned.0." in page
    tex = learned_latex(table)
    row = r"exact inverse on the maps & \below{0.50 $\pm$ 0.14}{[0.30, 0.80]} & "
    assert row + r"\below{0.50}{[0.40, 0.70]} \\" in tex
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 1


def test_a_map_that_one_seed_lacks_has_no_mean():
    table = learned_table(rows_of([0.4, np.nan]))
    assert np.isnan(table["value"].iloc[0])
    assert "| exact inverse" not in learned_markdown(table)
