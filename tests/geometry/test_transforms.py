"""Transformations: matrices in closed form, algebra, text, errors."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
import scipy.linalg
from hypothesis import assume, given
from hypothesis import strategies as st

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    Transform,
    affine,
    from_matrix,
    identity,
    parse_transforms,
    reflection,
    rotation,
    scaling,
    shear,
    translation,
)

BUILDERS = {
    build.__name__: build
    for build in (identity, rotation, scaling, translation, reflection, shear, affine)
}


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@st.composite
def affines(draw: st.DrawFn) -> Transform:
    a, b, d, e = (draw(numbers(-2, 2)) for _ in range(4))
    assume(abs(a * e - b * d) > 0.2)
    return affine(a, b, draw(numbers(-20, 20)), d, e, draw(numbers(-20, 20)))


TRANSFORMS = st.one_of(
    st.just(identity()),
    st.builds(rotation, numbers(-1000, 1000)),
    st.builds(scaling, numbers(0.2, 5)),
    st.builds(scaling, numbers(0.2, 5), numbers(0.2, 5)),
    st.builds(translation, numbers(-50, 50), numbers(-50, 50)),
    st.builds(reflection, numbers(-360, 360)),
    st.builds(shear, numbers(-2, 2)),
    st.builds(shear, numbers(-0.7, 0.7), numbers(-0.7, 0.7)),
    affines(),
)


def close(h: Transform, g: Transform) -> bool:
    return h.isclose(g, tolerance=1e-7)


# Closed forms


COS, SIN = math.cos(0.5), math.sin(0.5)
DEGREES = math.degrees(0.5)


@pytest.mark.parametrize(
    ("transform", "rows"),
    [
        (identity(), [[1, 0, 0], [0, 1, 0]]),
        (rotation(DEGREES), [[COS, SIN, 0], [-SIN, COS, 0]]),
        (scaling(3), [[3, 0, 0], [0, 3, 0]]),
        (scaling(3, 0.5), [[3, 0, 0], [0, 0.5, 0]]),
        (translation(4, -7), [[1, 0, 4], [0, 1, -7]]),
        (reflection(DEGREES / 2), [[COS, -SIN, 0], [-SIN, -COS, 0]]),
        (shear(0.25, -0.5), [[1, 0.25, 0], [-0.5, 1, 0]]),
        (affine(1, 2, 3, 4, 5, 6), [[1, 2, 3], [4, 5, 6]]),
    ],
    ids=str,
)
def test_matrix_in_closed_form(transform: Transform, rows: list[list[float]]) -> None:
    assert transform.matrix.shape == (3, 3)
    assert transform.matrix.dtype == np.float64
    np.testing.assert_allclose(transform.matrix, [*rows, [0, 0, 1]], rtol=0, atol=1e-15)


@pytest.mark.parametrize("turns", range(-9, 10))
def test_quarter_turns_have_integer_matrices(turns: int) -> None:
    quarter = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    expected = np.linalg.matrix_power(quarter, turns % 4)
    assert rotation(90.0 * turns).matrix.tolist() == expected.tolist()


@pytest.mark.parametrize("turns", range(-5, 6))
def test_reflections_at_multiples_of_45_degrees_are_integer(turns: int) -> None:
    matrix = reflection(45.0 * turns).matrix
    assert (matrix == np.rint(matrix)).all()
    assert np.array_equal(matrix @ matrix, np.eye(3))


@pytest.mark.parametrize(
    ("degrees", "kept"), [(190, -170), (-190, 170), (180, 180), (-180, -180), (720, 0), (-0.0, 0)]
)
def test_angles_are_kept_within_half_a_turn(degrees: float, kept: float) -> None:
    assert repr(rotation(degrees)) == f"rotation({float(kept)})"


# Algebra


@given(TRANSFORMS, TRANSFORMS)
def test_composition_multiplies_matrices(h: Transform, g: Transform) -> None:
    np.testing.assert_allclose((h @ g).matrix, h.matrix @ g.matrix, rtol=1e-9, atol=1e-9)


@given(TRANSFORMS, TRANSFORMS, TRANSFORMS)
def test_composition_is_associative(f: Transform, g: Transform, h: Transform) -> None:
    assert close((f @ g) @ h, f @ (g @ h))


@given(TRANSFORMS)
def test_identity_is_neutral(h: Transform) -> None:
    assert h @ identity() == h
    assert identity() @ h == h


@given(TRANSFORMS)
def test_inverse_undoes_from_both_sides(h: Transform) -> None:
    assert close(h @ h.inverse(), identity())
    assert close(h.inverse() @ h, identity())
    np.testing.assert_allclose(h.inverse().matrix, np.linalg.inv(h.matrix), rtol=1e-7, atol=1e-9)


@given(TRANSFORMS, TRANSFORMS)
def test_inverse_of_a_composition_is_the_reversed_composition(h: Transform, g: Transform) -> None:
    assert close((h @ g).inverse(), g.inverse() @ h.inverse())


def test_inverse_of_a_composite_is_not_its_negated_parameters() -> None:
    h = rotation(30) @ scaling(1.5) @ translation(3, -2)
    negated = rotation(-30) @ scaling(1 / 1.5) @ translation(-3, 2)
    assert (h @ h.inverse()).isclose(identity(), 1e-12)
    assert not h.inverse().isclose(negated, 1e-2)


@given(TRANSFORMS)
def test_inverse_keeps_the_kind_where_it_can(h: Transform) -> None:
    if h.kind == "shear" and 0.0 not in h.parameters:
        assert h.inverse().kind == "affine"
    else:
        assert h.inverse().kind == h.kind


@pytest.mark.parametrize(
    ("h", "g", "expected"),
    [
        (rotation(100), rotation(100), rotation(-160)),
        (scaling(2), scaling(4), scaling(8)),
        (scaling(2, 1), scaling(0.5, 1), scaling(1)),
        (scaling(2), scaling(1, 3), scaling(2, 6)),
        (translation(1, 2), translation(3, -5), translation(4, -3)),
    ],
    ids=str,
)
def test_composition_within_a_group_stays_in_it(
    h: Transform, g: Transform, expected: Transform
) -> None:
    assert h @ g == expected


@given(numbers(-180, 180), numbers(-180, 180))
def test_two_reflections_are_a_rotation(first: float, second: float) -> None:
    assert close(reflection(second) @ reflection(first), rotation(2 * (second - first)))


def test_composition_with_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        rotation(30) @ np.eye(3).tolist()


@given(TRANSFORMS)
def test_from_matrix_takes_a_matrix_back(h: Transform) -> None:
    assert from_matrix(h.matrix).isclose(h, 0.0)
    assert from_matrix(h.matrix[:2].tolist()).isclose(h, 0.0)


# Decomposition


@given(numbers(-179, 179), numbers(0.1, 10), numbers(-30, 30), numbers(-30, 30))
def test_similarity_gives_back_its_angle_and_scale(
    degrees: float, factor: float, dx: float, dy: float
) -> None:
    h = translation(dx, dy) @ rotation(degrees) @ scaling(factor)
    assert h.is_similarity
    assert h.angle == pytest.approx(degrees, abs=1e-6)
    assert h.scale == pytest.approx(factor, rel=1e-9)


@given(affines())
def test_angle_is_that_of_the_polar_decomposition(h: Transform) -> None:
    linear = h.matrix[:2, :2]
    if np.linalg.det(linear) < 0:
        h = h @ reflection(90)
        linear = h.matrix[:2, :2]
    turn, _ = scipy.linalg.polar(linear)
    np.testing.assert_allclose(rotation(h.angle).matrix[:2, :2], turn, atol=1e-6)


@given(affines())
def test_scale_squared_is_the_change_of_area(h: Transform) -> None:
    (a, b, _), (c, d, _) = h.matrix[:2]
    assert h.scale**2 == pytest.approx(abs(a * d - b * c), rel=1e-9)


def test_mirror_across_the_vertical_has_no_rotation_part() -> None:
    assert reflection(90).angle == 0
    assert (rotation(20) @ reflection(90)).angle == pytest.approx(20)


@pytest.mark.parametrize(
    ("transform", "is_similarity"),
    [
        (identity(), True),
        (rotation(77), True),
        (scaling(0.3), True),
        (rotation(77) @ scaling(1e-4) @ translation(3, 4), True),
        (reflection(0), False),
        (scaling(1, 2), False),
        (shear(0.1), False),
    ],
    ids=str,
)
def test_similarity_is_recognised(transform: Transform, is_similarity: bool) -> None:
    assert transform.is_similarity is is_similarity


# Values


@given(TRANSFORMS)
def test_repr_evaluates_back(h: Transform) -> None:
    assert eval(repr(h), dict(BUILDERS)) == h


@given(TRANSFORMS)
def test_text_parses_back(h: Transform) -> None:
    assert parse_transforms(h.text) == (h,)
    assert str(h) == h.text


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (identity(), "identity"),
        (rotation(30), "rotation:30"),
        (rotation(-22.5), "rotation:-22.5"),
        (scaling(0.5), "scaling:0.5"),
        (scaling(2, 2), "scaling:2"),
        (scaling(2, 3), "scaling:2,3"),
        (translation(-0.0, 1e-7), "translation:0,1e-07"),
        (shear(0.5), "shear:0.5,0"),
        (affine(1, 0, 2, 0, 1, 3), "affine:1,0,2,0,1,3"),
    ],
    ids=str,
)
def test_text_is_short(transform: Transform, text: str) -> None:
    assert transform.text == text


def test_parameter_is_what_curves_are_drawn_against() -> None:
    assert rotation(-30).parameter == -30
    assert scaling(0.5).parameter == 0.5
    assert identity().parameter == 0


@given(TRANSFORMS)
def test_equal_values_hash_alike_and_survive_pickling(h: Transform) -> None:
    twin = Transform(h.kind, h.parameters)
    assert twin == h
    assert hash(twin) == hash(h)
    _ = h.matrix  # cached on the value: must not enter comparison or pickles
    assert pickle.loads(pickle.dumps(h)) == h
    assert copy.deepcopy(h) == h


def test_values_cannot_be_changed() -> None:
    h = rotation(30)
    with pytest.raises(dataclasses.FrozenInstanceError):
        h.kind = "scaling"  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        h.matrix[0, 0] = 2


def test_isclose_compares_what_is_moved_not_how_it_is_written() -> None:
    assert rotation(180) != rotation(-180)
    assert rotation(180).isclose(rotation(-180))
    assert rotation(180).isclose(scaling(1) @ affine(-1, 0, 0, 0, -1, 0))
    assert not rotation(30).isclose(rotation(30.001))
    assert rotation(30).isclose(rotation(30.001), tolerance=1e-4)


# Errors


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: rotation(math.nan), r"rotation\(nan\) has a parameter that is not finite"),
        (lambda: rotation(math.inf), r"rotation\(inf\) has a parameter that is not finite"),
        (lambda: translation(0, -math.inf), r"translation\(0.0, -inf\).*give finite numbers"),
        (lambda: scaling(0), r"scaling\(0.0\) needs positive factors; mirror with reflection"),
        (lambda: scaling(1, -2), r"scaling\(1.0, -2.0\) needs positive factors"),
        (lambda: scaling(math.nan), r"scaling\(nan\) needs positive factors"),
        (lambda: shear(1, 1), r"shear\(1.0, 1.0\) cannot be undone \(determinant 0\)"),
        (lambda: affine(1, 2, 0, 2, 4, 0), r"affine\(.*\) cannot be undone"),
        (lambda: Transform("twirl", ()), r"unknown transformation kind 'twirl'.*rotation"),
        (lambda: Transform("rotation", ()), r"rotation\(\) has 0 parameters; .*'rotation' takes 1"),
        (lambda: Transform("affine", (1, 0)), r"affine\(1, 0\) has 2 parameters; .* takes 6"),
        (lambda: Transform("scaling", (1, 2, 3)), r"has 3 parameters; .*'scaling' takes 1 or 2"),
        (lambda: from_matrix(np.eye(2)), r"needs a 3x3 or 2x3 matrix, not shape \(2, 2\)"),
        (
            lambda: from_matrix([[1, 0, 0], [0, 1, 0], [0.1, 0, 1]]),
            r"last row of the matrix is \[0.1, 0.0, 1.0\], not \[0, 0, 1\]",
        ),
    ],
)
def test_what_is_no_transformation_is_refused_by_name(build: object, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        build()  # type: ignore[operator]
