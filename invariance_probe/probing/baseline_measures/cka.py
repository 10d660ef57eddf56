"""Linear centred kernel alignment, from matrices or from the C x C moments of a stream."""

from __future__ import annotations

import math

import torch
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import ChannelMoments
from ...errors import ProbeError

_CONSTANT = 1e-12  # share of the energy below which features do not vary but by rounding


def linear_cka(x: Tensor | NDArray, y: Tensor | NDArray) -> float:  # type: ignore[type-arg]
    """‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of features (examples, p) and (examples, q), columns centred.

    Frobenius norms. 1 for features that are equal up to an orthogonal map and a factor, 0 for
    uncorrelated ones; NaN where either does not vary.

    Source: Kornblith, Norouzi, Lee and Hinton, "Similarity of neural network representations
    revisited" (arXiv 1905.00414), equation for linear CKA. Raises ProbeError unless both have the
    same number of examples.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    >>> round(linear_cka(x, 5 * x.flip(1)), 6)
    1.0
    """
    a, b = (torch.as_tensor(part).double() for part in (x, y))
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise ProbeError(
            f"features of shape {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; "
            "give (examples, features) of the same examples"
        )
    raw = (a.square().sum(), b.square().sum())
    a, b = (part - part.mean(0) for part in (a, b))
    if any(c.square().sum() <= _CONSTANT * r for c, r in zip((a, b), raw, strict=True)):
        return math.nan
    cross, own_a, own_b = b.T @ a, a.T @ a, b.T @ b
    return float(cross.square().sum() / (own_a.norm() * own_b.norm()))


def cka_of_moments(moments: ChannelMoments, original: ChannelMoments) -> float:
    """Linear CKA of two sets of maps from moments; channels are features, cells are examples.

    `moments` is of (maps, originals), `original` of (originals, originals), both over the same
    images and cells. The centring is taken out of the moments afterwards.

    The source compares one example an image, with all of a map as its features. That needs all
    maps at once, and it is blind to any permutation of positions. Here every compared cell of
    every image is an example: memory is C x C, and what is left unseen are orthogonal channel
    maps only.
    """
    number = moments.samples
    mean_x, mean_y = moments.sums / number
    cross = moments.cross - number * torch.outer(mean_y, mean_x)
    own_x = moments.auto - number * torch.outer(mean_x, mean_x)
    own_y = original.auto - number * torch.outer(mean_y, mean_y)
    for centred, raw in ((own_x, moments.auto), (own_y, original.auto)):
        if centred.trace() <= _CONSTANT * raw.trace():
            return math.nan
    return float(cross.square().sum() / (own_x.norm() * own_y.norm()))
