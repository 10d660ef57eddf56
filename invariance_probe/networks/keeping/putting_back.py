"""How each kind of thing that a network may hold is put back as it was."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

Restore = Callable[[], bool]
"""Puts one thing back as it was; says whether it had changed."""

_VALUES = (
    str, bytes, int, float, complex, bool, type(None), Tensor, np.ndarray, dict, list, set, deque,
)  # fmt: skip


def class_values(kind: type) -> dict[str, Any]:
    """The data among a class' attributes; methods, properties and what Python adds are none."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__") and isinstance(value, _VALUES)
    }


def of_class_values(kind: type, before: dict[str, Any]) -> Restore:
    """The data of a class, name by name."""

    def put_back() -> bool:
        now = class_values(kind)
        changed = [n for n in {**before, **now} if n not in now or now[n] is not before.get(n, now)]
        for name in changed:
            setattr(kind, name, before[name]) if name in before else delattr(kind, name)
        return bool(changed)

    return put_back


def slots(kind: type) -> list[str]:
    """The names of the slots that a class itself declares."""
    slots = kind.__dict__.get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def of_tensor(tensor: Tensor) -> Restore:
    """Values, shape and `requires_grad` of a tensor; one that is lazy becomes lazy again."""
    kind: type[Tensor] = type(tensor)
    wanted = tensor.requires_grad
    if is_lazy(cast(Any, tensor)):
        device, dtype = tensor.device, tensor.dtype

        def unmake() -> bool:
            if type(tensor) is kind:
                return False
            tensor.data = torch.empty(0, device=device, dtype=dtype)
            tensor.__class__ = kind
            return True

        return unmake
    try:
        before = tensor.detach().clone()
    except torch.cuda.OutOfMemoryError:
        before = tensor.detach().cpu()

    def put_back() -> bool:
        changed = not _same(tensor, before)
        if changed:
            with torch.inference_mode(tensor.is_inference()):
                # Of `data`, which has no version: a gradient that is still to be taken may be.
                if tensor.shape == before.shape and tensor.dtype == before.dtype:
                    tensor.data.copy_(before)
                else:
                    tensor.data = before.clone()
        if tensor.requires_grad != wanted and tensor.is_leaf:
            tensor.requires_grad_(wanted)
            changed = True
        return changed

    return put_back


def _same(tensor: Tensor, before: Tensor) -> bool:
    """Whether two tensors are alike to the bit; of those that cannot be compared, no."""
    if tensor.shape != before.shape or tensor.dtype != before.dtype:
        return False
    if tensor.is_meta:
        return True
    with suppress(RuntimeError, NotImplementedError):
        if torch.equal(tensor, before):
            return True
        if tensor.is_floating_point():
            return bool(torch.equal(tensor.isnan(), before.isnan())) and torch.equal(
                tensor.nan_to_num(), before.nan_to_num()
            )
    return False


def of_class(module: nn.Module) -> Restore:
    """The class of a module: a lazy one becomes another when it first sees an input."""
    kind = type(module)

    def put_back() -> bool:
        changed = type(module) is not kind
        if changed:
            module.__class__ = kind
        return changed

    return put_back


def of_array(array: np.ndarray[Any, Any]) -> Restore:
    """The values of an array."""
    before = array.copy()

    def put_back() -> bool:
        if array.tobytes() == before.tobytes():
            return False
        array[...] = before
        return True

    return put_back


def of_bytes(held: Any) -> Restore:
    """The values of a bytearray or of an array of the standard library."""
    before = held[:]

    def put_back() -> bool:
        if bytes(held) == bytes(before):
            return False
        held[:] = before
        return True

    return put_back


def of_gradient(tensor: Tensor) -> Restore:
    """Which gradient hangs on a leaf, or none."""
    before = tensor.grad

    def put_back() -> bool:
        changed = tensor.grad is not before
        if changed:
            tensor.grad = before
        return changed

    return put_back


def of_generator(generator: Any) -> Restore:
    """The state of a generator of random numbers."""
    read, put = _state_of(generator)
    before = read()

    def put_back() -> bool:
        put(before)
        return False  # a stream of random numbers is no memory of images

    return put_back


def _state_of(generator: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    if isinstance(generator, torch.Generator):
        return generator.get_state, generator.set_state
    if isinstance(generator, random.Random):
        return generator.getstate, generator.setstate
    if isinstance(generator, np.random.RandomState):
        return generator.get_state, generator.set_state
    bits = getattr(generator, "bit_generator", generator)
    return lambda: copy.deepcopy(bits.state), lambda state: setattr(bits, "state", state)


def of_container(held: Any) -> Restore:
    """The items of a dictionary, list, set or deque, each the same object as before."""
    mapping = isinstance(held, dict)
    before = tuple(held.items()) if mapping else tuple(held)

    def put_back() -> bool:
        now = tuple(held.items()) if mapping else tuple(held)
        if len(now) == len(before) and all(map(_identical, now, before)):
            return False
        held.clear()
        held.update(before) if isinstance(held, (dict, set)) else held.extend(before)
        return True

    return put_back


def _identical(one: Any, other: Any) -> bool:
    if one is other:
        return True
    pair = isinstance(one, tuple) and isinstance(other, tuple)
    if pair and len(one) == len(other) == 2:
        return one[0] is other[0] and one[1] is other[1]
    return False


def of_slots(thing: Any, names: list[str], before: dict[str, Any]) -> Restore:
    """What the slots of an object hold."""

    def put_back() -> bool:
        changed = False
        for name in names:
            if getattr(thing, name, None) is before.get(name) and (
                hasattr(thing, name) == (name in before)
            ):
                continue
            changed = True
            if name in before:
                object.__setattr__(thing, name, before[name])
            else:
                object.__delattr__(thing, name)
        return changed

    return put_back


def streams() -> list[tuple[Callable[[Any], Any], Any]]:
    """The random streams that a forward pass may draw from: how to set each, and to what."""
    found: list[tuple[Callable[[Any], Any], Any]] = [
        (torch.set_rng_state, torch.get_rng_state()),
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
    ]
    if torch.cuda.is_initialized():
        found.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return found
