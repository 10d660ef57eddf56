"""A network run on what its cells can see: NaN marks pixels, and every cell that sees one.

Any operation that reads NaN gives NaN, so a NaN pixel marks exactly the cells whose receptive
field holds it, through every branch a network may have. The few operations for which that fails
are replaced while the mode is active: convolutions and linear layers keep their geometry but not
their weights (fast algorithms smear NaN over a tile, and a probe of geometry needs no products),
normalisations are the identity, reductions over space, which would mark everything, mark nothing,
and attention leaves every value where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NAN = float("nan")
_NORMALISATIONS = {
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm",
}  # fmt: skip
_REDUCTIONS = {
    "mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "median",
    "linalg_vector_norm", "logsumexp", "prod", "nanmean", "std_mean", "var_mean", "aminmax",
}  # fmt: skip
_POOLS = {
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d", "lp_pool2d",
}  # fmt: skip


_MARK = "_attention_weights"


class SupportMode(TorchFunctionMode):
    """While active, PyTorch functions pass on which cells see a NaN, and nothing else."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        first = args[0] if args else kwargs.get("input")
        if name == "einsum" and len(args) == 3 and hasattr(args[1], _MARK):
            return _attended(args[1], args[2], func(*args, **kwargs))
        if not isinstance(first, Tensor) or not first.is_floating_point():
            return func(*args, **kwargs)
        if name in ("conv2d", "conv_transpose2d") and first.ndim == 4:
            return _convolved(func, name, args, kwargs)
        if name == "linear":
            return _linear(args, kwargs)
        if name in _NORMALISATIONS:
            return first.clone()
        if name in ("scaled_dot_product_attention", "multi_head_attention_forward"):
            given = {**dict(zip(("query", "key", "value"), args, strict=False)), **kwargs}
            # From every place to as many places; other attention runs and marks everything.
            if given["query"].shape[:-1] == given["value"].shape[:-1]:
                values = given["value"].clone()
                if name == "scaled_dot_product_attention":
                    return values
                seen = torch.isnan(values.sum(-1, keepdim=True))
                return seen_by_all(given["query"].shape, seen).to(values.dtype), None
        result = func(*args, **kwargs)
        if name in ("softmax", "dropout") and (name == "softmax" or hasattr(first, _MARK)):
            setattr(result, _MARK, True)
        if name in ("matmul", "__matmul__", "bmm") and hasattr(first, _MARK):
            return _attended(first, args[1], result)
        if name in _REDUCTIONS and _over_space(first, args, kwargs):
            return _cleared(result)
        if name in _POOLS and first.shape[-2:].numel() > 1:
            pooled = result[0] if isinstance(result, tuple) else result
            return _cleared(result) if pooled.shape[-2:].numel() == 1 else result
        return result


def seen_by_all(shape: torch.Size | tuple[int, ...], seen: Tensor) -> Tensor:
    """A tensor of `shape` that is NaN where `seen` (broadcast) and 1 elsewhere."""
    ones = torch.ones((), device=seen.device)
    return torch.where(seen, NAN * ones, ones).expand(shape).contiguous()


def _convolved(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
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
    seen = torch.isnan(images.view(number, groups, depth // groups, *images.shape[2:]).sum(2))
    if groups > 1 and bool((seen == seen[:, :1]).all()):
        seen = seen[:, :1]
    planes = seen.reshape(-1, 1, *images.shape[2:]).float()
    kernel = torch.ones(1, 1, *weight.shape[2:], device=images.device)
    spread = func(planes, kernel, **given) > 0.5
    spread = spread.view(number, seen.shape[1], 1, *spread.shape[2:])
    shape = (number, groups, channels // groups, *spread.shape[3:])
    return seen_by_all(shape, spread).flatten(1, 2).to(images.dtype)


def _attended(weights: Tensor, values: Tensor, result: Tensor) -> Tensor:
    """Values in their own places where attention runs from every place to every place."""
    square = weights.shape[-1] == weights.shape[-2]
    return values.clone() if square and values.shape == result.shape else result


def _linear(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    given = {**dict(zip(("input", "weight"), args, strict=False)), **kwargs}
    vectors, weight = given["input"], given["weight"]
    seen = torch.isnan(vectors.sum(-1, keepdim=True))
    return seen_by_all((*vectors.shape[:-1], weight.shape[0]), seen).to(vectors.dtype)


def _over_space(values: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a reduction of maps runs over space: a spatial axis, two axes, or all of them.

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
    last = {values.ndim - 1, values.ndim - 2} if values.ndim == 4 else {2}
    return len(inside) > 1 or not axes or bool(inside & last)


def _cleared(result: Any) -> Any:
    if isinstance(result, Tensor):
        return torch.nan_to_num(result, nan=1.0) if result.is_floating_point() else result
    if isinstance(result, tuple):
        items = tuple(_cleared(item) for item in result)
        # max and min give a named tuple of PyTorch's own, whose constructor takes a sequence.
        return items if type(result) is tuple else type(result)(items)
    return result
