"""Where cells sit as first moments: a second way to measure frames, which knows nothing of marks.

The network is made linear: every kernel averages, activations and normalisations do nothing,
channels and factors are averaged, what joins the whole image is constant. Three images, 1, 1 + ε
and 1 + ε·c with c the coordinate of each pixel, then give every cell the coordinate of the centre
of mass of what it sees, (F₂ − F₀)/(F₁ − F₀): constants cancel, padding has no mass, and a smooth
function that is not known is linear for a small ε. A fourth image only tells what depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ProbeError
from ..layers.capture import run
from ..marking.attention import is_attention, marked_on
from ..marking.constant import BINARY, INPLACE, UNARY, core
from ..marking.rules import PlaceMode
from ..marking.support import NORMALISATIONS, POOLS, REDUCTIONS, like
from ._edges import Line, Strip

_CONVOLUTIONS = {
    f"conv{'_transpose' * turned}{n}d": (n, turned) for n in (1, 2, 3) for turned in (False, True)
}
_FACTORIES = {"zeros", "ones", "empty", "rand", "randn"}
_CASTS = {"float", "half", "double", "bfloat16"}
_PRODUCTS = {"matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "baddbmm", "einsum", "addmm"}
_SMALL, _EVEN, _IMAGES = 1e-6, 1e-5, 4  # even: of masses, relative


class MomentMode(PlaceMode):
    """While active, functions pass on first moments: of four images' values, see the module."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if self.paused:
            return func(*args, **kwargs)
        return marked_on(name, args, self._apply(func, name, args, kwargs))

    def carries(self, values: object) -> bool:
        if not isinstance(values, Tensor) or isinstance(values, nn.Parameter):
            return False
        if not (values.is_floating_point() or values.is_complex()) or not _batched(values):
            return False
        images = _images(values)
        apart = float((images[1:] - images[:1]).abs().max()) if values.numel() else 0.0
        # Rows of a constant that are as many differ by more than a small ε would make them.
        most = 1e-3 * float(images.abs().max()) if self.small < 1 and apart else float("inf")
        return 0 < apart <= most

    def merged(self, values: Sequence[Tensor]) -> Tensor:
        total = values[0].clone() if len(values) == 1 else values[0]
        for one in values[1:]:
            total = total + one
        return total / len(values)

    def over(self, values: Tensor, dim: int | tuple[int, ...], keepdim: bool) -> Tensor:
        return _local(values, values.mean(dim, keepdim=keepdim))

    def lost(self, shape: torch.Size, sources: Sequence[Tensor]) -> Tensor:
        made = sources[0].new_ones(shape)
        if _batched(made) and any(self.carries(one) for one in sources):
            _images(made)[3] += _SMALL
        return made

    def resampled(self, func: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
        return func(maps)

    def convolved(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        axes, turned = _CONVOLUTIONS[name]
        order = "input weight bias stride padding "
        order += "output_padding groups dilation" if turned else "dilation groups"
        given = {**dict(zip(order.split(), args, strict=False)), **kwargs}
        maps, weight = given.pop("input"), given.pop("weight")
        groups = given.pop("groups", 1)
        given.pop("bias", None)
        alone = maps.ndim == axes + 1
        maps = maps.unsqueeze(0) if alone else maps
        number, size = len(maps), maps.shape[2:]
        planes = maps.reshape(number * groups, -1, *size).mean(1, keepdim=True)
        kernel = weight.shape[2:]
        means = torch.ones(1, 1, *kernel, dtype=planes.dtype, device=planes.device)
        spread = func(planes, means / kernel.numel(), **given)
        channels = weight.shape[1] * groups if turned else weight.shape[0]
        spread = spread.reshape(number, groups, 1, *spread.shape[2:])
        shape = (number, groups, channels // groups, *spread.shape[3:])
        whole = spread.expand(shape).flatten(1, 2)
        return whole[0] if alone else whole

    def _apply(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if name in _FACTORIES and getattr(kwargs.get("dtype"), "is_floating_point", True):
            kwargs["dtype"] = self.dtype
            return func(*args, **kwargs)
        if name in _CASTS and self.carries(args[0]):
            return args[0]
        if name in ("to", "type", "type_as") and self.carries(args[0]):
            return args[0]
        done = self.ruled(func, name, args, kwargs)
        if done is not NotImplemented:
            return done
        first = args[0] if args else kwargs.get("input")
        if name == "einsum":
            return self._multiplied(func, name, args, kwargs)
        if not isinstance(first, Tensor) or not (first.is_floating_point() or first.is_complex()):
            return func(*args, **kwargs)
        if name in _CONVOLUTIONS:
            return self.convolved(func, name, args, kwargs)
        rest = {key: value for key, value in kwargs.items() if key != "input"}
        if name == "linear":
            return self._linear(first, args[1] if len(args) > 1 else kwargs["weight"])
        if name in NORMALISATIONS or (name.rstrip("_") in UNARY and "__" not in name):
            return first if name.endswith("_") or rest.get("inplace") else first.clone()
        if name in ("__neg__", "__pow__", "softmax", "log_softmax", "normalize"):
            return first.clone()
        if name in BINARY | INPLACE or name.rstrip("_") in BINARY:
            return self._joined(name, args)
        if name in _PRODUCTS:
            return self._multiplied(func, name, args, kwargs)
        if name in ("scaled_dot_product_attention", "multi_head_attention_forward"):
            return self._attention(name, args, kwargs)
        if name in POOLS and first.ndim == 4:
            return self._pooled(func, name, first, args, rest)
        if name in REDUCTIONS and not any(isinstance(one, Tensor) for one in args[1:]):
            return self._reduced(func, args, kwargs)
        return func(*args, **kwargs)

    dtype, small, lobes = torch.float64, _SMALL, False

    def _linear(self, vectors: Tensor, weight: Tensor) -> Tensor:
        mean = self.over(vectors, -1, keepdim=weight.ndim > 1)
        return mean.expand(*vectors.shape[:-1], *weight.shape[:-1])

    def _joined(self, name: str, args: tuple[Any, ...]) -> Tensor:
        factors = [one for one in args if isinstance(one, Tensor)]
        result = self.merged(factors)
        written = name in INPLACE or (name.endswith("_") and not name.endswith("__"))
        return args[0].copy_(result) if written else result

    def _multiplied(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        factors = [one for one in args if isinstance(one, Tensor)][-2:]
        if len(factors) < 2:
            return func(*args, **kwargs)
        wide = [one if one.is_complex() else one.to(self.dtype) for one in factors]
        left = iter(wide)
        rest = args[len(args) - 2 :] if name not in ("einsum",) else args
        shape = (
            func(*(next(left) if isinstance(one, Tensor) else one for one in rest)).shape
            if name in ("matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "einsum")
            else torch.matmul(*wide).shape
        )
        carriers = [self.carries(one) for one in factors]
        if is_attention(name, args):
            values = [one for one in factors if not hasattr(one, "_attention_weights")]
            if values and values[0].shape == shape:
                return values[0].clone()
            return self.lost(shape, wide)
        if name == "einsum" or name == "__rmatmul__":
            return self.lost(shape, wide) if all(carriers) else func(*args, **kwargs)
        one, two = wide
        if not any(carriers):
            return torch.matmul(one, two)
        if all(carriers):
            # Similarities, or queries of a sum over all places: the places that rows keep.
            kept = [_places(one), _places(two)]
            if kept[0] and not kept[1] and one.ndim > 1:
                return self.over(one, -1, keepdim=True).expand(shape).clone()
            return self.lost(shape, wide)
        learned = isinstance(factors[carriers.index(False)], nn.Parameter)
        if not learned:
            return torch.matmul(one, two)
        mean = self.over(one, -1, True) if carriers[0] else self.over(two, -2, True)
        return mean.expand(shape).clone()

    def _attention(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = {**dict(zip(("query", "key", "value"), args, strict=False)), **kwargs}
        query, values = given["query"], given["value"]
        if query.shape[:-1] != values.shape[:-1]:
            shape = torch.Size((*query.shape[:-1], values.shape[-1]))
            values = self.lost(shape, [query])
        return (values.clone(), None) if name.startswith("multi") else values.clone()

    def _pooled(
        self, func: Callable[..., Any], name: str, maps: Tensor, args: tuple[Any, ...],
        rest: dict[str, Any],
    ) -> Any:  # fmt: skip
        clean = func(maps, *args[1:], **rest)  # for its shape, and how it is handed back
        size = (clean[0] if isinstance(clean, tuple) else clean).shape[2:]
        if "adaptive" in name or name.startswith("fractional"):
            means = F.adaptive_avg_pool2d(maps, size)
        else:
            order = "kernel_size stride padding"
            given = {**dict(zip(order.split(), args[1:], strict=False)), **rest}
            kernel = given["kernel_size"]
            stride = given.get("stride") or kernel
            padding = given.get("padding", 0) if name != "lp_pool2d" else 0
            dilation = rest.get("dilation", args[4] if len(args) > 4 else 1)
            means = _windows(
                maps, _two(kernel), _two(stride), _two(padding),
                _two(dilation if name.startswith("max") else 1), size,
            )  # fmt: skip
        means = _local(maps, means)
        return (means, clean[1]) if isinstance(clean, tuple) else means

    def _reduced(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        values = args[0]
        clean = func(*args, **kwargs)
        parts = clean if isinstance(clean, tuple) else (clean,)
        axes, kept = _axes(values, parts[0].shape, args, kwargs)
        mean = self.over(values, axes, kept) if axes else values.clone()
        if mean.shape != parts[0].shape:
            mean = mean.reshape(parts[0].shape)
        if not isinstance(clean, tuple):
            return mean
        items = tuple(mean.clone() if one.is_floating_point() else one for one in parts)
        return items if type(clean) is tuple else type(clean)(items)


def _axes(
    values: Tensor, shape: torch.Size, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[int, ...], bool]:
    """The axes of a reduction, and whether they stay, as its result shows them."""
    dims = kwargs.get("dim", kwargs.get("axis"))
    if dims is None:
        rest = [one for one in args[1:] if isinstance(one, (int, tuple, list))]
        rest = [one for one in rest if not isinstance(one, bool)]
        dims = rest[-1] if rest else None
    kept = len(shape) == values.ndim
    if dims is None or dims == () or dims == []:
        return tuple(range(values.ndim)), kept
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    return tuple(axis % values.ndim for axis in dims), kept


def _windows(
    maps: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    size: torch.Size,
) -> Tensor:
    """Means over windows, padding counted as nothing, to a given size (a last one may be cut)."""
    means = torch.ones(1, 1, *kernel, dtype=maps.dtype, device=maps.device)
    need = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)
    ]
    after = [max(n - have - p, 0) for n, have, p in zip(need, maps.shape[2:], padding, strict=True)]
    planes = F.pad(maps, (padding[1], after[1], padding[0], after[0])).flatten(0, 1).unsqueeze(1)
    done = F.conv2d(planes, means / means.numel(), None, stride, 0, dilation)
    return done[:, :, : size[0], : size[1]].reshape(*maps.shape[:2], *size)


def _two(value: Any) -> tuple[int, int]:
    values = value if isinstance(value, (tuple, list)) else (value,)
    return int(values[0]), int(values[-1])


def _batched(values: Tensor) -> bool:
    return values.ndim > 0 and len(values) > 0 and len(values) % _IMAGES == 0


def _images(values: Tensor) -> Tensor:
    """Values (4, ...) of the four images, whatever was folded into the first axis."""
    return values.reshape(_IMAGES, -1)


def _places(values: Tensor) -> bool:
    """Whether places in the image differ within the tensor."""
    if not _batched(values) or values.is_complex():
        return values.is_complex()
    base, one, two, _ = _images(core(values.detach()) if len(core(values)) > 1 else values)
    mass = one - base
    seen = mass.abs() > 1e-6 * mass.abs().max()
    if not bool(seen.any()):
        return False
    found = (two - base)[seen] / mass[seen]
    return float(found.max() - found.min()) > 1e-5


def _local(values: Tensor, result: Tensor) -> Tensor:
    """A result of averages, constant where these join all places and so have none themselves."""
    if _places(result) or not _places(values):
        return result
    if not _batched(result):
        return torch.ones_like(result)
    base = _images(result)[:1].repeat(_IMAGES, 1)
    base[3] += _SMALL
    return base.reshape(result.shape)


@dataclass(frozen=True)
class Moments:
    """Masses and coordinates (pixels, 0 the first) of the cells of a map along an axis."""

    mass: NDArray[np.float64]
    place: NDArray[np.float64]


def moments(strip: Strip, layers: Sequence[str], length: int) -> dict[str, Moments]:
    """The moments of each layer on a strip of `length`; layers where some are not finite left out.

    Raises ProbeError for images that the network cannot take.
    """
    reference = like(strip.network)
    try:
        return _run(strip, layers, length, reference.to(torch.float64), _SMALL)
    except (ProbeError, TypeError):
        if reference.dtype == torch.float64:
            raise
        return _run(strip, layers, length, reference, 1.0)


def _run(
    strip: Strip, layers: Sequence[str], length: int, reference: Tensor, small: float
) -> dict[str, Moments]:
    middle = (length - 1) / 2
    half = max(middle, 1.0)
    along = (torch.arange(length, dtype=torch.float64) - middle) / half
    rows = 1 + small * torch.stack([0 * along, 1 + 0 * along, along, (7 * along).sin()])
    line = rows[:, None, None, :] if strip.axis == "x" else rows[:, None, :, None]
    images = line.to(reference).expand(-1, strip.channels, *strip.canvas(length)).contiguous()
    layouts = strip.maps.on(strip.canvas(length), layers)
    found: dict[str, Moments] = {}

    def take(layer: str, output: object) -> None:
        with mode.reading():
            maps = strip.maps.read(layer, output, layouts).double()
            sums = maps.sum((1, 2 if strip.axis == "x" else 3)).cpu().numpy()
        mass = (sums[1] - sums[0]) / small
        moment = (sums[2] - sums[0]) / small
        if np.isfinite(sums).all() and (np.abs(mass) > 1e-9 * np.abs(mass).max()).any():
            with np.errstate(divide="ignore", invalid="ignore"):
                found[layer] = Moments(mass, middle + half * moment / mass)

    with MomentMode() as mode:
        mode.dtype, mode.small = reference.dtype, small
        run(strip.network, images, layers, take)
    return found


def moment_line(found: Moments, tolerance: float) -> Line | None:
    """The Line on which the middle cells of a map lie, whole periods of them on the average.

    None where there is none, or where masses differ: then an end of the image is in them.
    """
    for cells in _middles(len(found.mass)):
        mass, place = found.mass[cells], found.place[cells]
        if not (abs(mass) > 1e-6 * abs(found.mass).max()).all():
            continue
        numbers = np.arange(len(found.mass))[cells]
        for period in range(1, len(mass) // 2 + 1):
            rises = place[period:] - place[:-period]
            if np.ptp(mass[period:] / mass[:-period]) > _EVEN or np.ptp(rises) > tolerance:
                continue
            jump = float(rises.mean()) / period
            if not abs(jump) > tolerance or not np.isfinite(jump):
                continue
            whole = len(mass) // period * period
            corner = float((place - jump * numbers)[:whole].mean())
            # A few cells may rise evenly by chance; the others must not lie elsewhere.
            others = found.place - jump * np.arange(len(found.place)) - corner
            if len(mass) < 5 and np.nanmedian(abs(others)) > 0.1 * abs(jump):
                continue
            return Line(jump, corner)
    return None


def _middles(number: int) -> list[slice]:
    """The whole map, then less and less of its middle, as long as there are three cells."""
    found: list[slice] = []
    cut = 0
    while not found or number - 2 * cut >= 3:
        found.append(slice(cut, number - cut))
        cut = max(cut + 1, cut * 2)
    return found
