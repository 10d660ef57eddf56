"""The methods are whole sentences, whatever a result knows of itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from invariance_probe.probing import OracleResult, Result, load_oracle
from invariance_probe.reporting.reports.runs import as_runs
from invariance_probe.reporting.reports.text.methods import as_text, paragraphs, summary


def told(result: Result | OracleResult, **parts: Any) -> str:
    """Both paragraphs of a result of whose provenance some parts are others."""
    runs = as_runs(replace(result, provenance={**result.provenance, **parts}))
    return as_text(paragraphs(runs)) + as_text(summary(runs))


def whole(text: str) -> bool:
    """Whether nothing is left open: no gap, no mark of what is unknown, no two full stops."""
    return not re.search(r"\S  +\S|\?|\.\.|\.[:),]|\(\)|None| [,;.:]|images, images", text)


@pytest.mark.parametrize("part", ["network", "images", "options", "software", "versions"])
def test_what_an_older_result_does_not_say_leaves_no_gap(probed: Result, part: str) -> None:
    assert whole(told(probed))
    assert whole(told(probed, **{part: {}}))


def test_a_result_that_says_nothing_of_itself_has_methods(probed: Result) -> None:
    text = told(probed, **dict.fromkeys(set(probed.provenance) - {"warnings"}))
    assert whole(text)
    assert "The network, whose name is not recorded, was evaluated" in text
    assert "The images were not described." in text
    assert "The transformations were rotation:45, rotation:90, scaling:1.5 and identity (" in text


def test_one_of_a_thing_is_told_as_one(probed: Result, make_result: Any) -> None:
    assert "The transformations were rotation:45" in told(probed)
    assert "; the layers conv1 and conv2." in told(probed)
    text = told(make_result("rotation:90", layers=("conv1",)))
    assert "The transformation was rotation:90 (probe); the layer conv1." in text


def test_full_stops_of_descriptions_end_no_sentence(probed: Result) -> None:
    network, images = ({**probed.provenance[part], "description": "One of mine."}
                       for part in ("network", "images"))  # fmt: skip
    text = told(probed, network=network, images=images)
    assert whole(text) and "(One of mine), evaluated" in text and "were One of mine: " in text


def test_a_probe_of_the_identity_beside_an_oracle_names_what_the_oracle_undid(
    make_result: Any, runs: Any
) -> None:
    alone = make_result("identity", layers=("conv1",))
    assert "can undo the identity of" in as_text(summary(as_runs(alone)))
    both = as_runs([alone, load_oracle(runs / "oracle")])
    assert "can undo a rotation by 90° of the input" in as_text(summary(both))
