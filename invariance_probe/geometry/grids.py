"""Warps with a transformation for each image of a batch, differentiable in both.

The measuring instrument warps whole batches by one transformation (`warp`); data sets and spatial
transformers move every image by its own, which is what this module does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

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
    >>> row = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    >>> warp_each(row, translations_of(torch.tensor([[1.0, 0.0]])))
    tensor([[[[0., 1., 2., 3.]]]])
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
    # Rounded only after the inversion, so that turns by 90 degrees have whole numbers.
    grid = sampling_grid(inverse.to(_working(images)), size or canvas, canvas)
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
    with full_precision(sources.device):
        return _grid(sources, size, canvas)


def _grid(sources: Tensor, size: Size, canvas: Size) -> Tensor:
    rows = sources.shape[1]
    if not len(sources):
        return sources.new_zeros(0, *size, 2)
    out = _diagonal((size[1] / 2, size[0] / 2, 1.0), sources)
    into = _diagonal((2 / canvas[1], 2 / canvas[0], 1.0), sources)
    theta = into[:rows, None] * sources * out
    # The affine route has no gradient for the last row, which a localisation network needs at the
    # identity already.
    if rows == 2 or not (theta.requires_grad or _projective(theta)):
        if rows == 3:
            theta = theta[:, :2] / theta[:, 2:, 2:]
        # A sum of two lines: several times faster than a product with every pixel's coordinates.
        along = theta[:, None, :, 0] * _centres(size[1], sources)[:, None]
        down = theta[:, None, :, 1] * _centres(size[0], sources)[:, None] + theta[:, None, :, 2]
        return along[:, None] + down[:, :, None]
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
    ProbeError for images that are not floating point, an unknown `beyond` and a number of fill
    values that is not that of the channels.

    Source of the sampler: Jaderberg et al., Spatial Transformer Networks, 2015, section 3.3.
    """
    if not images.is_floating_point():
        raise ProbeError(f"images of {images.dtype}; give floating point, as images.float() is")
    given, images = images.dtype, images.to(_working(images))
    grid = grid.to(images.dtype)
    if beyond == "nearest":
        return _read(images, grid, "border").to(given)
    if beyond != "fill":
        raise ProbeError(f"beyond={beyond!r}; give 'fill' or 'nearest'")
    values = torch.as_tensor(fill, dtype=images.dtype).reshape(-1)
    if len(values) not in (1, images.shape[1]):
        raise ProbeError(
            f"{len(values)} fill values for {images.shape[1]} channels; give one, or one each"
        )
    if not isinstance(fill, Tensor) and not values.any():
        return _read(images, grid, "zeros").to(given)
    offset = values.to(images.device)[:, None, None]
    # Zero is the background of what is sampled, so that edges blend into the fill value.
    return (_read(images - offset, grid, "zeros") + offset).to(given)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Compute coordinates as they are under autocast: half precision is worth 0.1 px and more."""
    if device.type not in ("cpu", "cuda"):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _read(images: Tensor, grid: Tensor, padding: str) -> Tensor:
    with full_precision(images.device):
        return functional.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def _working(images: Tensor) -> torch.dtype:
    """The precision of coordinates: at least single."""
    return torch.promote_types(images.dtype, torch.float32)


def _projective(theta: Tensor) -> bool:
    return bool((theta.detach()[:, 2, :2] != 0).any())


def _diagonal(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _centres(count: int, like: Tensor) -> Tensor:
    """Pixel centres along one axis in units of half the canvas."""
    steps = torch.arange(count, dtype=like.dtype, device=like.device)
    return (2 * steps + 1) / count - 1
