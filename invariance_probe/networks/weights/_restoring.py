"""A network put back as it was where what is tried on it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


@contextmanager
def restored_on_error(network: nn.Module) -> Iterator[None]:
    """Undo what was done to weights, buffers, children and attributes if the block raises.

    Takes a copy of all values, so as much memory as the network has.
    """
    undo = [
        *(_undo_of(module) for module in network.modules()),
        *(_values_of(tensor) for tensor in _tensors(network)),
    ]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for each in undo:
                each()
        raise


def _tensors(network: nn.Module) -> list[Tensor]:
    """Every tensor that modules hold, each once: parameters, buffers, plain attributes."""
    plain = (v for m in network.modules() for v in vars(m).values() if isinstance(v, Tensor))
    held = {id(t): t for t in chain(network.parameters(), network.buffers(), plain)}
    return [tensor for tensor in held.values() if not is_lazy(tensor) and not tensor.is_meta]


def _values_of(tensor: Tensor) -> Callable[[], Any]:
    kept = tensor.detach().clone()
    return lambda: tensor.detach().copy_(kept)


def _undo_of(module: nn.Module) -> Callable[[], None]:
    """Put a module's attributes back; its dictionaries stay the same objects with hooks in them."""
    attributes = dict(vars(module))
    contents = {
        name: (value, value.copy())
        for name, value in attributes.items()
        if isinstance(value, (dict, list, set))
    }
    tables: list[dict[str, Any]] = [module._parameters, module._buffers]
    unmade: list[tuple[dict[str, Any], str, Callable[..., Any], tuple[Any, ...]]] = [
        (held, name, type(value), (value.requires_grad, value.device, value.dtype))
        for held in tables
        for name, value in held.items()
        if is_lazy(value)
    ]

    def undo() -> None:
        vars(module).clear()
        vars(module).update(attributes)
        for value, kept in contents.values():
            value.clear()
            value.extend(kept) if isinstance(value, list) else value.update(kept)
        for held, name, kind, about in unmade:
            held[name] = kind(*about)

    return undo
