"""The spatial transformer: localisation, grid generator and sampler as separate parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ...errors import ProbeError
from ...geometry import sample
from ...geometry.grids import full_precision
from .warps import spline_grid, unit_grid, warp_family

Size = tuple[int, int]


class SpatialTransformer(nn.Module):
    """Warps maps (N, C, H, W) by what a localisation network reads from them.

    `features` maps the localisation's input to (N, F); a linear regression to the family's
    parameters follows, zero at first, so that an untrained transformer is the identity (up to the
    rounding of coordinates) and weight decay pulls to it. Translations are in units of half the
    shorter side of what is warped. The output has 1/`reduction` of the input's cells per axis and
    the same field of view.

    `beyond` is what lies outside the map: "nearest" (the edge goes on) or "fill" with `fill` (one
    value or one per channel, of the *normalised* background: with zeros an image that is not black
    at 0 tempts the transformer to zoom out).

    Convention: see `WarpFamily`. Raises ProbeError for an unknown family or `beyond`, and a
    reduction below 1. Source: Jaderberg et al. 2015, section 3; the added identity as in
    Finnveden, Jansson & Lindeberg 2021.

    >>> pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> images = torch.randn(2, 3, 8, 8)
    >>> torch.allclose(SpatialTransformer(pool, 3)(images), images, atol=1e-5)
    True
    """

    def __init__(
        self,
        features: nn.Module,
        number: int,
        family: str = "affine",
        *,
        reduction: int = 1,
        beyond: str = "nearest",
        fill: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        if beyond not in ("nearest", "fill"):
            raise ProbeError(f"beyond={beyond!r}; give 'fill' or 'nearest'")
        if reduction < 1:
            raise ProbeError(f"reduction {reduction}; give 1 for the input's own size, 2 for half")
        self.family = warp_family(family)
        self.features = features
        self.regression = nn.Linear(number, self.family.parameters)
        nn.init.zeros_(self.regression.weight)
        nn.init.zeros_(self.regression.bias)
        self.reduction = reduction
        self.beyond = beyond
        self.fill = fill
        self._still = False

    def locate(self, maps: Tensor) -> Tensor:
        """Return the parameters (N, k) that the localisation network reads from maps."""
        if self._still:
            return maps.new_zeros(len(maps), self.family.parameters)
        features = self.features(maps)
        with full_precision(maps.device):
            return self.regression(features.to(self.regression.weight.dtype))

    def sources(self, maps: Tensor) -> Tensor | None:
        """Return the source matrices (N, 2, 3) or (N, 3, 3), in half sides, for maps.

        None, the identity, inside `still_transformers`. Raises ProbeError for thin plate splines.
        """
        if self._still:
            return None
        if self.family.sources is None:
            raise ProbeError("a thin plate spline has no matrix; use another family of warps")
        return self.family.sources(self.locate(maps))

    def render(self, maps: Tensor, sources: Tensor | None, *, whole: bool = False) -> Tensor:
        """Return the maps read through source matrices; None is the identity.

        With `whole` at their own size, whatever the reduction.
        """
        size = (maps.shape[-2], maps.shape[-1])
        out = size if whole else self.output_size(size)
        if sources is None:
            if out == size:
                return maps
            eye = torch.eye(2, 3, device=maps.device)
            sources = eye.to(self.regression.weight.dtype).expand(len(maps), 2, 3)
        return self._sample(maps, unit_grid(sources, out, size))

    @property
    def still(self) -> bool:
        """Whether the transformer is held at the identity, see `still_transformers`."""
        return self._still

    def output_size(self, size: Size) -> Size:
        """Return the size of the output for maps of a size."""
        return (max(1, size[0] // self.reduction), max(1, size[1] // self.reduction))

    def forward(self, maps: Tensor, shown: Tensor | None = None) -> Tensor:
        """Return the maps as the localisation network aligns them, or `shown` by the same warp."""
        image = maps if shown is None else shown
        if self._still:
            return self.render(image, None)
        if self.family.sources is None:
            size = (image.shape[-2], image.shape[-1])
            grid = spline_grid(self.locate(maps), self.output_size(size), size)
            return self._sample(image, grid)
        return self.render(image, self.sources(maps))

    def extra_repr(self) -> str:
        """Settings for `repr`."""
        return f"family={self.family.name}, reduction={self.reduction}, beyond={self.beyond}"

    def _sample(self, maps: Tensor, grid: Tensor) -> Tensor:
        return sample(maps, grid, beyond=self.beyond, fill=self.fill)


def in_parallel(transformers: Iterable[nn.Module], maps: Tensor) -> Tensor:
    """Return what several transformers make of the same maps, stacked along the channels.

    Source: Jaderberg et al. 2015, section 3.4 and appendix A.1 (addition of digits).
    """
    return torch.cat([transformer(maps) for transformer in transformers], 1)


@contextmanager
def still_transformers(network: nn.Module) -> Iterator[None]:
    """Hold every spatial transformer of a network at the identity, for the time of the block.

    So grids of cells behind a transformer have a frame that does not depend on the image.
    """
    found = [module for module in network.modules() if isinstance(module, SpatialTransformer)]
    before = [module._still for module in found]
    try:
        for module in found:
            module._still = True
        yield
    finally:
        for module, still in zip(found, before, strict=True):
            module._still = still
