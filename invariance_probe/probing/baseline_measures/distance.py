"""Same-equivariance by distance: how far a map moved back is from the original's."""

from __future__ import annotations

import torch
from torch import Tensor


def same_equivariance_distance(aligned: Tensor, original: Tensor, cells: Tensor) -> Tensor:
    """DSES: mean over channels of the rms distance between two maps, one value (N) an image.

    `aligned` and `original` are (N, C, rows, columns), the first moved back by h⁻¹; `cells`
    (rows, columns) is 1 where compared. In units of the activations, 0 for perfect equivariance.
    The mean over images and transformations is the source's simple distance same-equivariance.

    Source: Quiroga et al., arXiv 2310.17404 (simple version); on the compared cells only, which
    the source does not have.

    >>> maps = torch.tensor([3.0, 5.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    >>> same_equivariance_distance(maps, 0 * maps, torch.ones(4, 4)).tolist()
    [4.0]
    """
    mask = cells.to(original)
    squares = ((aligned - original) * mask).square().sum(dim=(2, 3), dtype=torch.float64)
    return (squares / mask.sum().double()).sqrt().mean(1)
