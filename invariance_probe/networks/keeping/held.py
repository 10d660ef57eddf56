"""What a network holds, and how all of it is put back."""

from __future__ import annotations

import array
import random
import sys
import types
from argparse import Namespace
from collections import UserDict, UserList, deque
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .putting_back import (
    Restore,
    class_values,
    of_array,
    of_bytes,
    of_class,
    of_class_values,
    of_container,
    of_generator,
    of_gradient,
    of_slots,
    of_tensor,
    slots,
    streams,
)

_MOST = 100_000  # objects that are followed: more are no network's
_DEEP = 4  # plain objects inside each other that are followed


class Kept:
    """What a network holds, to be put back: tensors, plain attributes, and what these hold.

    Parameters and buffers, also of lazy modules; lists, dictionaries, sets, arrays, generators of
    random numbers and plain objects that hang on the modules or their classes; hooks, modes and
    `requires_grad` and gradients; and the random streams of PyTorch, NumPy and Python. Iterators,
    what functions enclose and what lies outside the network are not followed.
    """

    def __init__(self, network: nn.Module) -> None:
        self._parts: list[Restore] = []
        self._seen: dict[int, Any] = {}  # keeps what it names alive, so that ids stay theirs
        for module in network.modules():
            self._follow(module, 0)
        # Those of a scripted module lie outside of Python's dictionaries.
        for tensor in (*network.parameters(), *network.buffers()):
            self._follow(tensor, 0)
        self._streams = streams()

    def restore(self) -> bool:
        """Put everything back; says whether anything but the random streams had changed."""
        for put, state in self._streams:
            put(state)
        return any([part() for part in self._parts])

    def _follow(self, thing: Any, depth: int) -> None:
        if isinstance(thing, _PLAIN) or id(thing) in self._seen or len(self._seen) > _MOST:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, Tensor):
            self._parts += [of_tensor(thing), of_container(thing.__dict__)]
            if not is_lazy(cast(Any, thing)) and thing.is_leaf:
                self._parts.append(of_gradient(thing))
                self._follow(thing.grad, depth)
        elif isinstance(thing, np.ndarray):
            self._parts.append(of_array(thing))
        elif isinstance(thing, (bytearray, array.array)):
            self._parts.append(of_bytes(thing))
        elif isinstance(thing, _STREAMS):
            self._parts.append(of_generator(thing))
        elif isinstance(thing, tuple):
            self._all(thing, depth)
        elif isinstance(thing, (dict, list, set, deque)):
            self._parts.append(of_container(thing))
            self._all((*thing.values(),) if isinstance(thing, dict) else (*thing,), depth)
        if not isinstance(thing, _OPAQUE) and _own(thing, depth):
            self._attributes(thing, depth if isinstance(thing, nn.Module) else depth + 1)

    def _attributes(self, thing: Any, depth: int) -> None:
        held = getattr(thing, "__dict__", None)
        if isinstance(thing, nn.Module):
            self._parts.append(of_class(thing))
            self._classes(type(thing), depth)
        if isinstance(held, dict):
            self._parts.append(of_container(held))
            self._all((*held.values(),), depth)
        names = [name for kind in type(thing).__mro__ for name in slots(kind)]
        if names:
            values = {name: getattr(thing, name) for name in names if hasattr(thing, name)}
            self._parts.append(of_slots(thing, names, values))
            self._all((*values.values(),), depth)

    def _classes(self, kind: type, depth: int) -> None:
        """What a module's classes hold for all of their modules, such as a counter of calls."""
        for each in kind.__mro__:
            if id(each) not in self._seen and not _librarys(each):
                self._seen[id(each)] = each
                values = class_values(each)
                self._parts.append(of_class_values(each, values))
                self._all((*values.values(),), depth)

    def _all(self, things: tuple[Any, ...], depth: int) -> None:
        for thing in things:
            self._follow(thing, depth)


_PLAIN = (str, bytes, int, float, complex, bool, type(None), type, torch.dtype, torch.device)
_STREAMS = (
    torch.Generator, random.Random, np.random.Generator, np.random.RandomState,
    np.random.BitGenerator,
)  # fmt: skip
_BAGS = (types.SimpleNamespace, Namespace, UserDict, UserList)
_OPAQUE = (
    Tensor, np.ndarray, *_STREAMS, tuple,
    types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType,
)  # fmt: skip


def _own(thing: Any, depth: int) -> bool:
    """Whether a thing's attributes may be a network's memory: modules, and objects of classes
    that are made to hold others' values or are not the standard library's or PyTorch's.
    """
    if isinstance(thing, nn.Module):
        return True
    return depth < _DEEP and (isinstance(thing, _BAGS) or not _librarys(type(thing)))


def _librarys(kind: type) -> bool:
    """Whether a class is the standard library's or PyTorch's."""
    room = kind.__module__.partition(".")[0]
    return room == "torch" or room in sys.stdlib_module_names
