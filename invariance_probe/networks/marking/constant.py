"""Arithmetic on tensors that are constant along an axis, at the price of one slice of it.

What a cell sees is mostly the same in all channels. Such a tensor is kept expanded (stride 0
along the axis), and operations by element run on one slice. PyTorch itself would make it dense in
the first operation, and refuses to write into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

UNARY = {
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
    "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "clamp", "exp", "neg", "dropout",
    "sqrt", "rsqrt", "pow", "__pow__", "square", "abs", "stochastic_depth", "__neg__",
}  # fmt: skip
BINARY = {
    "add", "sub", "mul", "div", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__",
    "__rmul__", "__truediv__", "__rtruediv__", "true_divide", "rsub",
}  # fmt: skip
INPLACE = {"__iadd__", "__isub__", "__imul__", "__itruediv__"}


def is_constant(values: Tensor) -> bool:
    """Whether some axis of more than one element is stored once."""
    return any(
        step == 0 and size > 1 for step, size in zip(values.stride(), values.shape, strict=True)
    )


def core(values: Tensor) -> Tensor:
    """One slice along every axis that is stored once, as a view."""
    for axis, (step, size) in enumerate(zip(values.stride(), values.shape, strict=True)):
        if step == 0 and size > 1:
            values = values.narrow(axis, 0, 1)
    return values


def by_element(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor | None:
    """What an operation by element gives, computed on cores; None where it is not such a one.

    Tensors that will be written into otherwise are made dense here, so that `func` can run.
    """
    first = args[0] if args else None
    writes = (name.endswith("_") and not name.endswith("__")) or name in INPLACE
    writes = writes or "out" in kwargs or name == "__setitem__" or kwargs.get("inplace") is True
    inside = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
    if not isinstance(first, Tensor) or not any(is_constant(one) for one in inside):
        return None
    plain = name.rstrip("_") if not name.startswith("__") else name
    known = plain in UNARY or plain in BINARY or name in INPLACE
    tensors = [one for one in args if isinstance(one, Tensor)]
    if known and "out" not in kwargs and len(tensors) == len(inside):
        result = _on_cores(func, args, kwargs, tensors, writes)
        if result is not None:
            return result
    if writes or known:  # known: the flag for in place may come without its name
        densify(inside)
    return None


def _on_cores(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    tensors: list[Tensor],
    writes: bool,
) -> Tensor | None:
    wide = torch.broadcast_tensors(*map(_single, tensors))
    shape = wide[0].shape
    axes = [
        axis for axis, size in enumerate(shape)
        if size > 1 and all(one.stride(axis) == 0 for one in wide)
    ]  # fmt: skip
    if not axes:
        return None
    if writes and (
        tensors[0].shape != shape
        or any(
            step == 0 and size > 1 and axis not in axes
            for axis, (step, size) in enumerate(zip(tensors[0].stride(), shape, strict=True))
        )
    ):
        return None
    slim = []
    for one in wide:
        for axis in axes:
            one = one.narrow(axis, 0, 1)
        slim.append(one)
    left = iter(slim)
    result = func(*(next(left) if isinstance(one, Tensor) else one for one in args), **kwargs)
    return tensors[0] if writes else result.expand(shape)


def _single(values: Tensor) -> Tensor:
    """Of a parameter one value: only what depends on the image may hold a NaN."""
    if isinstance(values, nn.Parameter) and values.numel():
        return values.detach().new_ones(()).expand(values.shape)
    return values


def densify(values: Iterable[Any]) -> bool:
    """Store in full, in place, every tensor that is constant; whether there was one."""
    constant = [one for one in values if isinstance(one, Tensor) and is_constant(one)]
    for one in constant:
        one.data = one.contiguous()
    return bool(constant)
