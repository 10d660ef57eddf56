"""The spatial transformer as a module: identity at first, planted heads, fill, holding still."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotations_of, translations_of, warp_each
from invariance_probe.networks import SpatialTransformer, in_parallel, still_transformers
from invariance_probe.networks.stn.warps import FAMILIES

CASES = [(name, size) for name in FAMILIES for size in ((28, 28), (20, 33))]


def images(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.randn(3, 2, rows, columns, generator=generator, dtype=torch.float64).to(dtype)


def transformer(family: str = "affine", **options: object) -> SpatialTransformer:
    """One that sees the mean of both channels."""
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SpatialTransformer(pool, 2, family, **options)


def planted(family: str, *values: float, **options: object) -> SpatialTransformer:
    made = transformer(family, **options).double()
    made.regression.bias.data = torch.tensor(values, dtype=torch.float64)
    return made


@pytest.mark.parametrize("family, size", CASES)
@pytest.mark.parametrize("dtype, atol", [(torch.float32, 3e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("options", [{}, {"beyond": "fill", "fill": (0.5, -3.0)}])
def test_untrained_is_the_identity(family, size, dtype, atol, options):
    """Up to the rounding of coordinates: some 1e-6 of a pixel in single precision."""
    still = images(*size, dtype)
    same = transformer(family, **options).to(dtype)(still)
    assert same.dtype == dtype
    torch.testing.assert_close(same, still, atol=atol, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_start_at_zero_and_all_learn(family):
    """Features that are not 0 and images that are not flat move every parameter at once."""
    torch.manual_seed(0)
    made = transformer(family, reduction=2)
    assert not made.regression.weight.any() and not made.regression.bias.any()
    (made(images(28, 28)) * torch.randn(3, 2, 14, 14)).sum().backward()
    assert (made.regression.bias.grad != 0).all()
    assert (made.regression.weight.grad != 0).all()


def test_a_planted_angle_turns_the_content():
    still = images(28, 28, torch.float64)
    turned = planted("rotation", math.radians(90))(still)
    torch.testing.assert_close(turned, torch.rot90(still, 1, (-2, -1)), atol=1e-10, rtol=0)
    tilted = planted("rotation", math.radians(20), beyond="fill")(still)
    expected = warp_each(still, rotations_of(torch.full((3,), 20.0)))
    torch.testing.assert_close(tilted, expected, atol=1e-10, rtol=0)


def test_a_planted_shift_is_in_half_sides():
    still = images(20, 33, torch.float64)
    moved = planted("translation", 0.2, -0.1, beyond="fill", fill=(1.0, 2.0))(still)
    shift = translations_of(torch.tensor([[-2.0, 1.0]])).expand(3, 3, 3)
    expected = warp_each(still, shift, fill=(1.0, 2.0))
    torch.testing.assert_close(moved, expected, atol=1e-12, rtol=0)


def test_the_warp_of_one_thing_shows_another():
    """The localisation reads small maps; the image is warped in its own pixels."""
    maps, still = images(5, 5, torch.float64), images(28, 28, torch.float64)
    shown = planted("translation", 0.5, 0.0, beyond="nearest")(maps, shown=still)
    torch.testing.assert_close(shown[..., :21], still[..., 7:], atol=1e-12, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reduction, size", [(2, (10, 16)), (3, (6, 11))])
def test_a_reduced_output(family, reduction, size):
    still = images(20, 33)
    made = transformer(family, reduction=reduction)
    seen = made(still)
    assert seen.shape[-2:] == made.output_size((20, 33)) == size
    with still_transformers(made):
        torch.testing.assert_close(made(still), seen, atol=3e-5, rtol=0)


def test_half_the_size_is_the_mean_of_four():
    still = images(20, 32, torch.float64)
    seen = transformer(reduction=2).double()(still)
    torch.testing.assert_close(seen, nn.functional.avg_pool2d(still, 2), atol=1e-12, rtol=0)


def test_tiny_maps_keep_a_cell():
    assert transformer(reduction=3)(images(2, 7)).shape == (3, 2, 1, 2)


@pytest.mark.parametrize("fill", [(0.5, -3.0), 0.0])
def test_the_background_goes_on(fill):
    """Zooming out of a flat image of the background shows no frame."""
    flat = torch.empty(3, 2, 16, 16, dtype=torch.float64)
    flat[:] = torch.tensor(fill if isinstance(fill, tuple) else [fill] * 2)[:, None, None]
    seen = planted("scaling", math.log(3), beyond="fill", fill=fill)(flat)
    torch.testing.assert_close(seen, flat)


def test_the_edge_goes_on():
    still = images(8, 8, torch.float64)
    seen = planted("translation", 5.0, 0.0)(still)
    torch.testing.assert_close(seen, still[..., -1:].expand_as(still))


def test_sources_and_their_lack():
    still = images(8, 8)
    assert transformer("affine").sources(still).shape == (3, 2, 3)
    assert transformer("projective").sources(still).shape == (3, 3, 3)
    with pytest.raises(ProbeError, match="a thin plate spline has no matrix; use another family"):
        transformer("tps").sources(still)


def test_side_by_side():
    still = images(12, 12, torch.float64)
    left, right = planted("rotation", 0.3), planted("translation", 0.1, 0.2)
    both = in_parallel([left, right], still)
    assert both.shape == (3, 4, 12, 12)
    assert torch.equal(both[:, :2], left(still)) and torch.equal(both[:, 2:], right(still))


@pytest.mark.parametrize("family", FAMILIES)
def test_held_still(family):
    still = images(12, 12)
    made = nn.Sequential(transformer(family), nn.Sequential(transformer(family)))
    for part in (made[0], made[1][0]):
        nn.init.constant_(part.regression.bias, 0.2)
    moved = made(still)
    with still_transformers(made):
        assert made(still) is still
        with still_transformers(made[1]):
            assert made(still) is still
        assert made[0].still and made[1][0].still
    assert not made[0].still
    assert torch.equal(made(still), moved)
    with pytest.raises(KeyError), still_transformers(made):
        raise KeyError
    assert torch.equal(made(still), moved)


def test_marks_of_one_cell_stay_in_it_while_held_still():
    """So frames can be measured by marking pixels with NaN."""
    marked = images(12, 12)
    marked[..., 3, 4] = torch.nan
    made = transformer()
    with still_transformers(made):
        assert torch.equal(made(marked).isnan(), marked.isnan())


def test_copies_and_states():
    made = planted("similarity", 0.1, 0.2, 0.3, 0.4)
    still = images(12, 12, torch.float64)
    twin = copy.deepcopy(made)
    assert torch.equal(twin(still), made(still))
    nn.init.zeros_(twin.regression.bias)
    assert not torch.equal(twin(still), made(still))
    twin.load_state_dict(made.state_dict())
    assert torch.equal(twin(still), made(still))
    assert "family=similarity, reduction=1, beyond=nearest" in repr(made)


@pytest.mark.parametrize("family", FAMILIES)
def test_autocast_does_not_round_the_warp(family):
    made = transformer(family)
    nn.init.constant_(made.regression.bias, 0.03)
    still = images(60, 60)
    exact = made(still)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made(still)
        maps = made(still.bfloat16())
    torch.testing.assert_close(rounded, exact, atol=1e-6, rtol=0)
    assert maps.dtype == torch.bfloat16
    torch.testing.assert_close(maps, made(still.bfloat16().float()).bfloat16())


def test_bad_input():
    with pytest.raises(ProbeError, match="named 'rotations'; did you mean 'rotation'"):
        transformer("rotations")
    with pytest.raises(ProbeError, match="beyond='zeros'; give 'fill' or 'nearest'"):
        transformer(beyond="zeros")
    with pytest.raises(ProbeError, match="reduction 0; give 1 for the input's own size, 2 for"):
        transformer(reduction=0)
    made = transformer(beyond="fill", fill=(1.0, 2.0, 3.0))
    with pytest.raises(ProbeError, match="3 fill values for 2 channels"):
        made(images(8, 8))
