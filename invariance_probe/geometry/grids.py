"""Warps with a transformation for each image of a batch, differentiable in both.

The measuring instrument warps whole batches by one transformation (`warp`); data sets and spatial
transformers move every image by its own, which is what this module does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import ProbeError

Size = tuple[int, int]


def warp_each(
    images: Tensor,
    transforms: Tensor,
    size: Size | None = None,
    *,
    beyond: str = "fill",
    fill: float | Sequence[float] | Tensor = 0.0,
) -> Tensor:
    """Move the content of every image (N, C, H, W) by its own transformation (N, 3, 3).

    Bilinear, without anti-aliasing, on a canvas of `size` (h, w) with the same pixel unit and the
    same centre; by default that of the images. Beyond the edge lies `fill` (one value, or one per
    channel) or, with beyond="nearest", the pixel of the edge. Differentiable in images and
    transformations. Raises ProbeError for shapes that do not fit, transformations that cannot be
    inverted and an unknown `beyond`.

    Convention: transformations move content in image coordinates: (T_h f)(x) = f(h^-1 x).

    >>> from invariance_probe.geometry import translations_of
    >>> row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> warp_each(row, translations_of(torch.tensor([[1.0, 0.0]])))
    tensor([[[[0., 1., 2.]]]])
    """
    if transforms.shape != (len(images), 3, 3):
        raise ProbeError(
            f"transformations of shape {tuple(transforms.shape)} for {len(images)} images; give "
            f"one 3x3 matrix each, ({len(images)}, 3, 3)"
        )
    inverse, failed = torch.linalg.inv_ex(transforms)
    if bool(failed.any()):
        first = int(failed.nonzero()[0, 0])
        raise ProbeError(f"transformation {first} cannot be inverted: {transforms[first].tolist()}")
    canvas = (images.shape[-2], images.shape[-1])
    # Rounded only after the inversion, so that exact turns stay exact.
    grid = sampling_grid(inverse.to(images.dtype), size or canvas, canvas)
    return sample(images, grid, beyond=beyond, fill=fill)


def sampling_grid(sources: Tensor, size: Size, canvas: Size) -> Tensor:
    """Return where every pixel of the output looks, (N, h, w, 2) for `sample`.

    `sources` (N, 2, 3) or (N, 3, 3), affine or projective, take points of the output canvas of
    `size` (h, w) to points of the input `canvas` (H, W). Raises ProbeError for another shape.

    Convention: image coordinates on both sides (origin at the centre, pixels, x right, y down);
    the values of the grid are those of torch's grid_sample with align_corners=False.
    """
    if sources.ndim != 3 or sources.shape[1:] not in ((2, 3), (3, 3)):
        raise ProbeError(
            f"sources of shape {tuple(sources.shape)}; give matrices (N, 2, 3) or (N, 3, 3)"
        )
    rows = sources.shape[1]
    out = _diagonal((size[1] / 2, size[0] / 2, 1.0), sources)
    into = _diagonal((2 / canvas[1], 2 / canvas[0], 1.0), sources)
    theta = into[:rows, None] * sources * out
    if rows == 2 or not _projective(theta):
        if rows == 3:
            theta = theta[:, :2] / theta[:, 2:, 2:]
        return functional.affine_grid(theta, [len(theta), 1, *size], align_corners=False)
    x = _centres(size[1], sources).expand(size)
    y = _centres(size[0], sources)[:, None].expand(size)
    points = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    seen = points @ theta.mT
    weight = seen[..., 2:]
    # Behind the horizon of a projective map nothing is seen: far outside, never a division by 0.
    ahead = weight > 1e-6
    flat = torch.where(ahead, seen[..., :2] / torch.where(ahead, weight, 1.0), 1e4)
    return flat.reshape(len(theta), *size, 2)


def sample(
    images: Tensor,
    grid: Tensor,
    *,
    beyond: str = "fill",
    fill: float | Sequence[float] | Tensor = 0.0,
) -> Tensor:
    """Read images (N, C, H, W) bilinearly at the points of a grid (N, h, w, 2).

    The warp is the same for every channel. `beyond` and `fill` as in `warp_each`. Raises
    ProbeError for an unknown `beyond` and a number of fill values that is not that of the channels.

    Source of the sampler: Jaderberg et al., Spatial Transformer Networks, 2015, section 3.3.
    """
    if beyond == "nearest":
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if beyond != "fill":
        raise ProbeError(f"beyond={beyond!r}; give 'fill' or 'nearest'")
    values = torch.as_tensor(fill, dtype=images.dtype, device=images.device).reshape(-1)
    if len(values) not in (1, images.shape[1]):
        raise ProbeError(
            f"{len(values)} fill values for {images.shape[1]} channels; give one, or one each"
        )
    if isinstance(fill, int | float) and fill == 0:
        return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    offset = values[:, None, None]
    # Zero is the background of what is sampled, so that edges blend into the fill value.
    read = functional.grid_sample(images - offset, grid, padding_mode="zeros", align_corners=False)
    return read + offset


def _projective(theta: Tensor) -> bool:
    return bool((theta.detach()[:, 2, :2] != 0).any())


def _diagonal(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _centres(count: int, like: Tensor) -> Tensor:
    """Pixel centres along one axis in units of half the canvas."""
    steps = torch.arange(count, dtype=like.dtype, device=like.device)
    return (2 * steps + 1) / count - 1
