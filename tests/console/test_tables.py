"""What the console says of a result, beside the numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd

from invariance_probe.console.tables import _chosen, _gathered, _measured
from invariance_probe.running.schema import Remark


def test_a_remark_on_several_layers_is_told_once_and_names_parts_of_outputs() -> None:
    said = [f"grid of lstm:{part}: the map's centre lies (2, 0) px off" for part in range(3)]
    told = _gathered(map(Remark, [*said, "sample: 4 evaluation images"]))
    assert told == [
        said[0],
        "likewise lstm:1, lstm:2; their numbers are in provenance.json",
        "sample: 4 evaluation images",
    ]


def test_what_is_shown_in_detail_is_said_where_it_is_not_all() -> None:
    kinds = {"rotation:45": "rotation", "rotation:90": "rotation", "identity": "identity"}
    summary = pd.DataFrame({"transform": list(kinds), "kind": list(kinds.values())})
    summary["identity"] = summary["kind"] == "identity"
    result: Any = SimpleNamespace(summary=summary)
    assert _chosen(result, ["rotation:90"]).startswith("in detail only the rotation nearest 90°")
    result.summary = summary[1:]
    assert _chosen(result, ["rotation:90"]) == ""


def test_one_transformation_is_told_as_one() -> None:
    def said(*kinds: str) -> str:
        moves = pd.DataFrame({"transform": range(len(kinds)), "kind": kinds})
        summary = moves.assign(identity=moves["kind"] == "identity")
        result: Any = SimpleNamespace(provenance={}, summary=summary)
        return _measured(result).splitlines()[-1]

    assert said("rotation") == "1 rotation"
    assert said("rotation", "identity", "rotation") == "2 rotations and the identity"
    assert said("rotation", "scaling", "scaling") == "1 rotation and 2 scalings"
