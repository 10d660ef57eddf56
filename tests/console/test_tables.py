"""What the console says of a result, beside the numbers."""

from __future__ import annotations

from invariance_probe.console.tables import _gathered
from invariance_probe.running.schema import Remark


def test_a_remark_on_several_layers_is_told_once_and_names_parts_of_outputs() -> None:
    said = [f"grid of lstm:{part}: the map's centre lies (2, 0) px off" for part in range(3)]
    told = _gathered(map(Remark, [*said, "sample: 4 evaluation images"]))
    assert told == [
        said[0],
        "likewise lstm:1, lstm:2; their numbers are in provenance.json",
        "sample: 4 evaluation images",
    ]
