"""Attention recognised by its weights: a square matrix between all places, in whatever form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_MARK = "_attention_weights"
_PRODUCTS = {"matmul", "__matmul__", "__rmatmul__", "bmm", "baddbmm", "einsum"}
# What leaves weights what they are: by element, normalised, turned round, heads taken apart.
_KEEPS = {
    "softmax", "log_softmax", "sigmoid", "relu", "exp", "dropout", "dropout_", "softmax_", "tanh",
    "add", "add_", "__add__", "__radd__", "__iadd__", "sub", "__sub__", "mul", "mul_", "__mul__",
    "__rmul__", "__imul__", "div", "div_", "__truediv__", "__itruediv__", "masked_fill",
    "masked_fill_", "where", "transpose", "permute", "swapaxes", "contiguous", "clone", "reshape",
    "view", "flatten", "unflatten", "unsqueeze", "squeeze", "to", "float", "type_as", "normalize",
    "clamp", "t", "__get__", "square", "leaky_relu", "softplus", "detach",
}  # fmt: skip


def is_attention(name: str, args: tuple[Any, ...]) -> bool:
    """Whether the call is a product of which one of the two factors is attention weights."""
    return name in _PRODUCTS and any(hasattr(one, _MARK) for one in _factors(name, args))


def attended(args: tuple[Any, ...], result: Tensor, local: bool) -> Tensor:
    """Values in their own places where attention runs from every place to every place.

    With `local`, of attention to other places only what goes around it stays in its place.
    """
    factors = [one for one in args if isinstance(one, Tensor)][-2:]
    values = [one for one in factors if not hasattr(one, _MARK)]
    if values and values[0].shape == result.shape:
        return values[0].clone()
    single = 1 in result.shape[-2:] and values and 1 not in values[0].shape[-2:]
    return torch.ones_like(result) if local or single else result


def marked_on(name: str, args: tuple[Any, ...], result: Any) -> Any:
    """The result, marked if it is weights: a softmax, a square of two maps, or made of weights."""
    if not isinstance(result, Tensor) or result.ndim < 2 or isinstance(result, nn.Parameter):
        return result
    if name in _KEEPS:
        marked = "softmax" in name or any(hasattr(one, _MARK) for one in args)
    elif name in _PRODUCTS:
        factors = _factors(name, args)
        marked = (
            len(factors) == 2
            and result.shape[-1] == result.shape[-2]
            and not any(isinstance(one, nn.Parameter) or hasattr(one, _MARK) for one in factors)
            and factors[0].ndim > 2
            and factors[0].numel() == factors[1].numel()
            and factors[0].shape != result.shape
        )
    else:
        return result
    if marked:
        setattr(result, _MARK, True)
    return result


def _factors(name: str, args: tuple[Any, ...]) -> list[Tensor]:
    return [one for one in args if isinstance(one, Tensor)][-2:]
