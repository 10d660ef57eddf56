"""Descriptions of classifiers: names, fields, files, and what cannot be built."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.errors import ProbeError
from invariance_probe.networks import Architecture, parse_architecture
from invariance_probe.networks.stn.heads import HEADS
from invariance_probe.networks.stn.warps import FAMILIES

NAMES = [
    ("CNN", None, (), 1),
    ("FCN", None, (), 1),
    ("STN-C0", "C", (0,), 1),
    ("STN-C1", "C", (1,), 1),
    ("STN-SL1", "SL", (1,), 1),
    ("STN-DL2", "DL", (2,), 1),
    ("STN-SL1x2", "SL", (1,), 2),
    ("STN-C0x3", "C", (0,), 3),
    ("STN-C0123", "C", (0, 1, 2, 3), 1),
    ("STN-SL0123", "SL", (0, 1, 2, 3), 1),
    ("STN-C10", "C", (10,), 1),
    ("STN-C2.10", "C", (2, 10), 1),
    ("STN-DL2.4x2", "DL", (2, 4), 2),
    ("ST-FCN", "C", (0,), 1),
    ("ST-FCNx2", "C", (0,), 2),
]


@pytest.mark.parametrize("name, kind, depths, iterations", NAMES)
def test_names(name, kind, depths, iterations):
    made = Architecture(name)
    assert (made.kind, made.depths, made.iterations) == (kind, depths, iterations)
    assert parse_architecture(name) == made


@pytest.mark.parametrize(
    "spelling, name",
    [
        ("cnn", "CNN"),
        (" stn-c0 ", "STN-C0"),
        ("stn-sl1X2", "STN-SL1x2"),
        ("Stn-Dl1x2\n", "STN-DL1x2"),
        ("st-cnn", "STN-C0"),
        ("ST-cnn", "STN-C0"),
        ("st-fcn", "ST-FCN"),
        ("stn-c2.10", "STN-C2.10"),
    ],
)
def test_odd_spellings(spelling, name):
    assert parse_architecture(spelling).name == name


@pytest.mark.parametrize("name", ["FCN", "ST-FCN", "fcn"])
def test_the_fully_connected_network_has_its_own_backbone(name):
    assert parse_architecture(name).backbone == "fcn"


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    kind = draw(st.sampled_from(["C", "SL", "DL"]))
    depths = sorted(draw(st.sets(st.integers(0, 10), min_size=1, max_size=4)))
    text = ".".join(map(str, depths)) if max(depths) > 9 else "".join(map(str, depths))
    times = draw(st.sampled_from(["", "x1", "x2", "x9"]))
    name = draw(st.sampled_from(["CNN", "FCN", "ST-FCN", f"STN-{kind}{text}{times}"]))
    channels = draw(st.integers(1, 4))
    families = [family for family in FAMILIES if family != "tps"]
    numbers = st.floats(-5, 5)
    return Architecture(
        name,
        backbone="fcn" if "FCN" in name else draw(st.sampled_from(["mnist", "svhn", "plankton"])),
        canvas=(draw(st.integers(1, 500)), draw(st.integers(1, 500))),
        channels=channels,
        classes=draw(st.integers(1, 200)),
        positions=draw(st.integers(1, 5)),
        family=draw(st.sampled_from(families)),
        head=draw(st.sampled_from(["auto", *HEADS])),
        reduction=draw(st.integers(1, 4)),
        beyond=draw(st.sampled_from(["nearest", "fill"])),
        fill=draw(st.one_of(st.tuples(numbers), st.tuples(*[numbers] * channels))),
        parallel=draw(st.integers(1, 3)) if name == "STN-C0" else 1,
        width=draw(st.floats(0.01, 2)),
        dropout=draw(st.one_of(st.none(), st.floats(0, 0.9))),
    )


@given(architectures())
def test_written_and_read_back(made):
    text = json.dumps(made.as_dict())
    assert Architecture.from_dict(json.loads(text)) == made
    assert hash(made) == hash(Architecture.from_dict(made.as_dict()))
    assert eval(repr(made)) == made
    given_ = {k: v for k, v in made.as_dict().items() if k not in ("name", "backbone")}
    assert parse_architecture(made.name, made.backbone, **given_) == made


def test_missing_fields_have_their_defaults():
    assert Architecture.from_dict({"name": "STN-SL1"}) == Architecture("STN-SL1")
    assert Architecture.from_dict({}) == Architecture()


@pytest.mark.parametrize(
    "name, hint",
    [
        ("STN-CL1", "did you mean 'STN-"),
        ("STN_SL1", "did you mean 'STN-SL1'?"),
        ("SL1", "did you mean 'STN-SL1'?"),
        ("CNNN", "did you mean 'CNN'?"),
        ("resnet50", "Give one such as CNN, FCN, STN-C0"),
        ("", "Give one such as CNN, FCN, STN-C0"),
        ("STN-C", "did you mean 'STN-C"),
        ("STN-C0x", "did you mean 'STN-C0'?"),
        ("STN-C2.", "did you mean 'STN-C"),
    ],
)
def test_names_that_are_none(name, hint):
    with pytest.raises(ProbeError, match=re.escape("no classifier named '" + name.upper())) as e:
        parse_architecture(name)
    assert hint in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize(
    "name, text",
    [
        ("STN-C10.2", "'STN-C10.2': depths must rise"),
        ("STN-C210", "depths must rise"),
        ("STN-SL00", "for several alignments at one depth write 'STN-SL0x2'"),
        ("STN-DL222", "write 'STN-DL2x3'"),
        ("STN-C0x0", "'STN-C0x0' aligns no time; give x1 or more"),
    ],
)
def test_depths_and_times(name, text):
    with pytest.raises(ProbeError, match=re.escape(text)):
        Architecture(name)


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"backbone": "mnst"}, "no backbone named 'mnst'; did you mean 'mnist'?"),
        ({"family": "afine"}, "no family of warps named 'afine'; did you mean 'affine'?"),
        ({"head": "FNC"}, "no localisation head named 'FNC'; did you mean 'FCN'?"),
        ({"canvas": (0, 28)}, "canvas (0, 28); give (rows, columns) in pixels"),
        ({"canvas": (28,)}, "canvas (28,); give (rows, columns) in pixels"),
        ({"canvas": 28}, "canvas 28; give (rows, columns) in pixels"),
        ({"canvas": (28.5, 28)}, "canvas (28.5, 28); give (rows, columns) in pixels"),
        ({"channels": 0}, "channels 0; give a whole number of at least 1"),
        ({"classes": 1.5}, "classes 1.5; give a whole number of at least 1"),
        ({"positions": True}, "positions True; give a whole number of at least 1"),
        ({"reduction": 0}, "reduction 0; give a whole number of at least 1"),
        ({"parallel": -1}, "parallel -1; give a whole number of at least 1"),
        ({"width": 0}, "width 0; give a positive fraction of the filters"),
        ({"width": float("nan")}, "width nan; give a positive fraction of the filters"),
        ({"width": "half"}, "width 'half'; give a positive fraction of the filters"),
        ({"dropout": 1.0}, "dropout 1.0; give a share from 0 up to, not with, 1"),
        ({"dropout": "half"}, "dropout 'half'; give a share from 0 up to, not with, 1"),
        ({"beyond": "zeros"}, "beyond='zeros'; give 'fill' or 'nearest'"),
        ({"fill": 0.5}, "fill 0.5; give a tuple of finite numbers, one a channel"),
        ({"fill": (float("inf"),)}, "fill (inf,); give a tuple of finite numbers"),
        ({"fill": (0.0, 0.0)}, "fill (0.0, 0.0) for 1 channels; give one value, or one each"),
        ({"name": 3}, "name 3; give a name, as text"),
        ({"backbone": None}, "backbone None; give a name, as text"),
    ],
)
def test_fields_that_do_not_fit(fields, text):
    for make in (Architecture.from_dict, lambda values: Architecture(**values)):
        with pytest.raises(ProbeError, match=re.escape(text)):
            make(fields)


def test_unknown_fields():
    text = "an architecture has no field 'colour'; its fields are backbone, beyond, canvas,"
    with pytest.raises(ProbeError, match=text):
        Architecture.from_dict({"name": "CNN", "colour": 3})


@pytest.mark.parametrize(
    "name, fields, text",
    [
        ("STN-C1", {"backbone": "fcn"}, "the fcn has no blocks to put a spatial transformer after"),
        ("STN-C0x2", {"family": "tps"}, "their warps cannot be composed; take another family"),
        ("STN-SL01", {"family": "tps"}, "their warps cannot be composed; take another family"),
        ("STN-C1", {"parallel": 2}, "with 2 transformers in parallel; only STN-C0 has them"),
        ("STN-SL0", {"parallel": 2}, "with 2 transformers in parallel; only STN-C0 has them"),
        ("STN-C0x2", {"parallel": 2}, "with 2 transformers in parallel; only STN-C0 has them"),
        ("CNN", {"parallel": 2}, "with 2 transformers in parallel; only STN-C0 has them"),
    ],
)
def test_fields_that_do_not_go_together(name, fields, text):
    with pytest.raises(ProbeError, match=f"'{name}'.*{text}"):
        parse_architecture(name, **fields)


@pytest.mark.parametrize("name", ["STN-C0", "STN-C01", "STN-SL1", "STN-DL1"])
def test_splines_that_go_through_maps_or_align_once(name):
    assert Architecture(name, family="tps").family == "tps"
