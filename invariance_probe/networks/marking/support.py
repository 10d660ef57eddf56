"""A network run on what its cells can see: NaN marks pixels, and every cell that sees one.

Any operation that reads NaN gives NaN, so a NaN pixel marks exactly the cells whose receptive
field holds it, through every branch a network may have. The few operations for which that fails
are replaced while the mode is active: convolutions and linear layers keep their geometry but not
their weights (fast algorithms smear NaN over a tile, and a probe of geometry needs no products),
normalisations are the identity, reductions over space, which would mark everything, mark nothing,
and attention leaves every value where it is. What is alike in all channels is kept once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from .attention import attended, is_attention, marked_on
from .constant import UNARY, by_element, core, densify
from .rules import PlaceMode, tensors_in

NAN = float("nan")
_SEEN = 1e-5  # of the weight of what a resampled cell reads
NORMALISATIONS = {
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm",
}  # fmt: skip
REDUCTIONS = {
    "mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "median",
    "linalg_vector_norm", "logsumexp", "prod", "nanmean", "std_mean", "var_mean", "aminmax",
}  # fmt: skip
POOLS = {
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d", "lp_pool2d",
    "max_pool2d_with_indices", "adaptive_max_pool2d_with_indices", "fractional_max_pool2d",
}  # fmt: skip


# Of joined channels; neither takes them apart.
_HARMLESS = {"size", "dim", "__get__", "is_floating_point", "__len__"}

_UNITED = "_united_channels"
_JOINED = "_joins_all_places"  # made of what reductions over space gave: no place, yet no constant


class SupportMode(PlaceMode):
    """While active, PyTorch functions pass on which cells see a NaN, and nothing else.

    With `local`, windows shrink to a point: a cell of a convolution or pooling sees one cell of
    its input, the one in the same place, so that marks stay where they are at any depth.

    Channels that are joined see, each of them, what any of them sees: the same to everything that
    mixes all of them. What does not sets `inexact`, and needs `unite=False`.
    """

    def __init__(self, local: bool = False, unite: bool = True) -> None:
        super().__init__()
        self.local = local
        self.unite, self.inexact = unite, False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if self.paused:
            return func(*args, **kwargs)
        result = self._passed(func, name, args, kwargs)
        if any(hasattr(one, _JOINED) for one in tensors_in([*args, *kwargs.values()])):
            _joined(args[0] if name == "__setitem__" else result)
        return result

    def _passed(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if not self.unite:
            return self._apply(func, name, args, kwargs)
        if name in ("cat", "concat", "concatenate"):
            united = _united(args, kwargs)
            return func(*args, **kwargs) if united is None else united
        inside = any(hasattr(one, _UNITED) for one in args)
        result = self._apply(func, name, args, kwargs)
        if inside and isinstance(result, Tensor) and result.ndim == 4:
            whole = name.startswith("conv") and result.stride(1) == 0
            kept = name in NORMALISATIONS | POOLS or name.rstrip("_") in UNARY
            if kept:
                setattr(result, _UNITED, True)
            elif not whole and name != "linear":
                self.inexact = True
        elif inside and name not in _HARMLESS:
            self.inexact = True
        return result

    def carries(self, values: object) -> bool:
        if not isinstance(values, Tensor) or isinstance(values, nn.Parameter):
            return False
        return values.is_floating_point() and bool(torch.isnan(core(values)).any())

    def depends(self, values: Tensor) -> bool:
        return hasattr(values, _JOINED) or self.carries(values)

    def merged(self, values: Sequence[Tensor]) -> Tensor:
        total = values[0]
        for one in values[1:]:
            both = by_element(torch.add, "add", (total, one), {})
            total = total + one if both is None else both
        return total.clone() if len(values) == 1 else total

    def over(self, values: Tensor, dim: int | tuple[int, ...], keepdim: bool) -> Tensor:
        return values.sum(dim, keepdim=keepdim)

    def lost(self, shape: torch.Size, sources: Sequence[Tensor]) -> Tensor:
        number = sources[0].shape[0]
        if self.local:
            return sources[0].new_ones(shape)
        if not shape or shape[0] != number or any(len(one) != number for one in sources):
            return torch.full(shape, NAN, device=sources[0].device)
        each = [torch.isnan(core(one).flatten(1)).any(1) for one in sources]
        seen = torch.stack(each).any(0)
        return seen_by_all(shape, seen.view(-1, *[1] * (len(shape) - 1))).to(sources[0].dtype)

    def resampled(self, func: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
        slim = maps[:, :1] if maps.stride(1) == 0 else maps
        planes = torch.isnan(slim).float()
        spread = func(planes)
        if self.local:
            spread = F.interpolate(planes, size=spread.shape[2:])
        shape = (*maps.shape[:2], *spread.shape[2:])
        return seen_by_all(shape, spread.abs() > _SEEN).to(maps.dtype)

    def convolved(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        return _convolved(func, name, args, kwargs, self.local)

    def _apply(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        result = self._without_marks(func, name, args, kwargs)
        return marked_on(name, args, result)

    def _without_marks(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        done = self.ruled(func, name, args, kwargs)
        if done is not NotImplemented:
            return done
        first = args[0] if args else kwargs.get("input")
        if is_attention(name, args):
            return attended(args, func(*args, **kwargs), self.local)
        if not isinstance(first, Tensor) or not first.is_floating_point():
            return func(*args, **kwargs)
        if name in ("conv2d", "conv_transpose2d") and first.ndim == 4:
            return self.convolved(func, name, args, kwargs)
        if name == "linear":
            return _linear(args, kwargs)
        if name in NORMALISATIONS:
            return core(first).clone().expand(first.shape)
        done = by_element(func, name, args, kwargs)
        if done is not None:
            return done
        if name in ("scaled_dot_product_attention", "multi_head_attention_forward"):
            given = {**dict(zip(("query", "key", "value"), args, strict=False)), **kwargs}
            # From every place to as many places; other attention runs and marks everything.
            if given["query"].shape[:-1] == given["value"].shape[:-1]:
                values = given["value"].clone()
                if name == "scaled_dot_product_attention":
                    return values
                seen = torch.isnan(values.sum(-1, keepdim=True))
                return seen_by_all(given["query"].shape, seen).to(values.dtype), None
            if self.local:
                return _cleared(func(*args, **kwargs))
        if name in POOLS and first.ndim == 4:
            return _pooled(func, args, kwargs, self.local)
        try:
            result = func(*args, **kwargs)
        except RuntimeError:  # some other way of writing into what is stored once
            if not densify((*args, *kwargs.values())):
                raise
            result = func(*args, **kwargs)
        if name in REDUCTIONS and _over_space(first, args, kwargs):
            return _cleared(result)
        return result


def _united(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Maps of constant channels joined along these; None for what else may be joined."""
    maps = kwargs.get("tensors", args[0] if args else ())
    axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    if not all(isinstance(one, Tensor) and one.ndim == 4 for one in maps) or not maps:
        return None
    if axis not in (1, -3) or not all(
        one.is_floating_point() and (one.stride(1) == 0 or one.shape[1] == 1) for one in maps
    ):
        return None
    marks: Tensor = sum(one[:, :1] for one in maps[1:]) + maps[0][:, :1]
    result = marks.expand(-1, sum(one.shape[1] for one in maps), -1, -1)
    setattr(result, _UNITED, True)
    return result


def seen_by_all(shape: torch.Size | tuple[int, ...], seen: Tensor) -> Tensor:
    """A tensor of `shape` that is NaN where `seen` (broadcast) and 1 elsewhere."""
    ones = torch.ones((), device=seen.device)
    return torch.where(seen, NAN * ones, ones).expand(shape)


def _convolved(
    func: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    local: bool,
) -> Tensor:
    order = ["input", "weight", "bias", "stride", "padding"]
    order += (
        ["dilation", "groups"] if name == "conv2d" else ["output_padding", "groups", "dilation"]
    )
    given = {**dict(zip(order, args, strict=False)), **kwargs}
    images, weight = given.pop("input"), given.pop("weight")
    groups = given.pop("groups", 1)
    given.pop("bias", None)
    channels = weight.shape[0] if name == "conv2d" else weight.shape[1] * groups
    number, depth = images.shape[:2]
    # A sum tells at the price of one read which cells of a group's inputs are seen; ones as the
    # kernel spread that as any weights would, zero weights included.
    if images.stride(1) == 0:
        seen = torch.isnan(images[:, :1])
    else:
        split = images.reshape(number, groups, depth // groups, *images.shape[2:])
        seen = torch.isnan(split.sum(2))
        if groups > 1 and bool((seen == seen[:, :1]).all()):
            seen = seen[:, :1]
    planes = seen.reshape(-1, 1, *images.shape[2:]).float()
    kernel = torch.ones(1, 1, *weight.shape[2:], device=images.device)
    if local:
        # One plane is cheap; on the device "meta" this would import sympy, half a second of it.
        size = func(planes[:1], kernel, **given).shape[2:]
        spread = F.interpolate(planes, size=size) > 0.5
    else:
        with torch.backends.mkldnn.flags(enabled=True):  # no NaN here that it could smear
            spread = func(planes, kernel, **given) > 0.5
    spread = spread.view(number, seen.shape[1], 1, *spread.shape[2:])
    shape = (number, groups, channels // groups, *spread.shape[3:])
    if spread.shape[1] == 1:
        whole = (number, channels, *spread.shape[3:])
        return seen_by_all(whole, spread[:, 0]).to(images.dtype)
    return seen_by_all(shape, spread).flatten(1, 2).to(images.dtype)


def _pooled(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], local: bool
) -> Any:
    """A pooling of maps (N, C, H, W); one down to a single cell is a reduction over space."""
    images = args[0] if args else kwargs["input"]
    slim = images[:, :1] if images.stride(1) == 0 else images
    rest = {name: value for name, value in kwargs.items() if name != "input"}
    result = func(slim, *args[1:], **rest)
    pooled = result[0] if isinstance(result, tuple) else result
    size = pooled.shape[2:]
    if local and size.numel() > 1:
        pooled = F.interpolate(slim, size=size)
    if size.numel() == 1 and images.shape[2:].numel() > 1:
        pooled = _cleared(pooled)
    joins = hasattr(pooled, _JOINED)
    pooled = pooled.expand(*images.shape[:2], *size)
    if joins:
        _joined(pooled)
    if isinstance(result, tuple):
        return pooled, result[1].expand(pooled.shape)
    return pooled


def _linear(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    given = {**dict(zip(("input", "weight"), args, strict=False)), **kwargs}
    vectors, weight = given["input"], given["weight"]
    seen = torch.isnan(vectors.sum(-1, keepdim=True))
    return seen_by_all((*vectors.shape[:-1], weight.shape[0]), seen).to(vectors.dtype)


def _over_space(values: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a reduction of maps or tokens runs over space: a spatial axis, two axes, or all.

    Two axes of four are the spatial ones in either memory layout; a single last axis is space
    or, channels last, a norm over channels whose result only ever meets its own cell again.
    """
    if values.ndim not in (3, 4):
        return False
    axes = kwargs.get("dim", kwargs.get("axis"))
    if axes is None:
        rest = [arg for arg in args[1:] if isinstance(arg, (int, tuple, list))]
        rest = [arg for arg in rest if not isinstance(arg, bool)]
        axes = rest[-1] if rest else None
    if axes is None:
        return not any(isinstance(arg, Tensor) for arg in args[1:])  # max(a, b) is elementwise
    axes = [axes] if isinstance(axes, int) else list(axes)
    inside = {axis % values.ndim for axis in axes}
    last = {values.ndim - 1, values.ndim - 2}
    return len(inside) > 1 or not axes or bool(inside & last)


def _cleared(result: Any) -> Any:
    if isinstance(result, Tensor):
        clear = torch.nan_to_num(result, nan=1.0) if result.is_floating_point() else result
        return _joined(clear)
    if isinstance(result, tuple):
        items = tuple(_cleared(item) for item in result)
        # max and min give a named tuple of PyTorch's own, whose constructor takes a sequence.
        return items if type(result) is tuple else type(result)(items)
    return result


def _joined(result: Any) -> Any:
    for one in tensors_in([result]):
        setattr(one, _JOINED, True)
    return result


@contextmanager
def support(local: bool = False, unite: bool = True) -> Iterator[SupportMode]:
    """SupportMode with libraries off that compute convolutions over tiles."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32")
        with torch.backends.mkldnn.flags(enabled=False), SupportMode(local, unite) as mode:
            yield mode


def like(network: nn.Module) -> Tensor:
    """A tensor of the network's device and floating type."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point() and not is_lazy(tensor):
            return tensor
    return torch.zeros(())
