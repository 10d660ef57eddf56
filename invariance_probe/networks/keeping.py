"""A network that is left as it came: what its modules hold, before and after others' passes."""

from __future__ import annotations

import copy
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import ProbeError
from ._words import first_line

_MOST = 100_000  # objects that are followed: more are no network's
_DEEP = 4  # plain objects inside each other that are followed

Restore = Callable[[], bool]
"""Puts one thing back as it was; says whether it had changed."""


class Kept:
    """What a network holds, to be put back: tensors, plain attributes, and what these hold.

    Parameters and buffers, also of lazy modules; lists, dictionaries, sets, arrays, generators of
    random numbers and plain objects that hang on the modules or their classes; hooks, modes and
    `requires_grad`; and the random streams of PyTorch, NumPy and Python. What functions enclose
    and what lies outside the network is not followed.
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
            self._parts.append(_of_tensor(thing))
        elif isinstance(thing, np.ndarray):
            self._parts.append(_of_array(thing))
        elif isinstance(thing, (torch.Generator, random.Random, np.random.Generator)):
            self._parts.append(_of_generator(thing))
        elif isinstance(thing, tuple):
            self._all(thing, depth)
        elif isinstance(thing, (dict, list, set, deque)):
            self._parts.append(_of_container(thing))
            self._all((*thing.values(),) if isinstance(thing, dict) else (*thing,), depth)
        if not isinstance(thing, _OPAQUE) and _own(thing, depth):
            self._attributes(thing, depth if isinstance(thing, nn.Module) else depth + 1)

    def _attributes(self, thing: Any, depth: int) -> None:
        held = getattr(thing, "__dict__", None)
        if isinstance(thing, nn.Module):
            self._parts.append(_of_class(thing))
            self._classes(type(thing), depth)
        if isinstance(held, dict):
            self._parts.append(_of_container(held))
            self._all((*held.values(),), depth)
        names = [name for kind in type(thing).__mro__ for name in _slots(kind)]
        if names:
            values = {name: getattr(thing, name) for name in names if hasattr(thing, name)}
            self._parts.append(_of_slots(thing, names, values))
            self._all((*values.values(),), depth)

    def _classes(self, kind: type, depth: int) -> None:
        """What a module's classes hold for all of their modules, such as a counter of calls."""
        for each in kind.__mro__:
            if id(each) not in self._seen and not _librarys(each):
                self._seen[id(each)] = each
                values = _class_values(each)
                self._parts.append(_of_class_values(each, values))
                self._all((*values.values(),), depth)

    def _all(self, things: tuple[Any, ...], depth: int) -> None:
        for thing in things:
            self._follow(thing, depth)


_PLAIN = (str, bytes, int, float, complex, bool, type(None), type, torch.dtype, torch.device)
_VALUES = (
    str, bytes, int, float, complex, bool, type(None), Tensor, np.ndarray, dict, list, set, deque,
)  # fmt: skip
_OPAQUE = (
    Tensor, np.ndarray, torch.Generator, random.Random, np.random.Generator, tuple,
    types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType,
)  # fmt: skip


def _own(thing: Any, depth: int) -> bool:
    """Whether a thing's attributes may be a network's memory: modules, and objects of classes
    that are not the standard library's or PyTorch's.
    """
    if isinstance(thing, nn.Module):
        return True
    return depth < _DEEP and not _librarys(type(thing))


def _librarys(kind: type) -> bool:
    """Whether a class is the standard library's or PyTorch's."""
    room = kind.__module__.partition(".")[0]
    return room == "torch" or room in sys.stdlib_module_names


def _class_values(kind: type) -> dict[str, Any]:
    """The data among a class' attributes; methods, properties and what Python adds are none."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__") and isinstance(value, _VALUES)
    }


def _of_class_values(kind: type, before: dict[str, Any]) -> Restore:
    def put_back() -> bool:
        now = _class_values(kind)
        changed = [n for n in {**before, **now} if n not in now or now[n] is not before.get(n, now)]
        for name in changed:
            setattr(kind, name, before[name]) if name in before else delattr(kind, name)
        return bool(changed)

    return put_back


def _slots(kind: type) -> list[str]:
    slots = kind.__dict__.get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _of_tensor(tensor: Tensor) -> Restore:
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


def _of_class(module: nn.Module) -> Restore:
    """The class of a module: a lazy one becomes another when it first sees an input."""
    kind = type(module)

    def put_back() -> bool:
        changed = type(module) is not kind
        if changed:
            module.__class__ = kind
        return changed

    return put_back


def _of_array(array: np.ndarray[Any, Any]) -> Restore:
    before = array.copy()

    def put_back() -> bool:
        if array.tobytes() == before.tobytes():
            return False
        array[...] = before
        return True

    return put_back


def _of_generator(generator: Any) -> Restore:
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
    bits = generator.bit_generator
    return lambda: copy.deepcopy(bits.state), lambda state: setattr(bits, "state", state)


def _of_container(held: Any) -> Restore:
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


def _of_slots(thing: Any, names: list[str], before: dict[str, Any]) -> Restore:
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


class _Scratch:
    """A network under measurement that is put back after every pass."""

    def __init__(self, network: nn.Module) -> None:
        self.kept = Kept(network)
        self.quiet = False  # a pass has changed nothing: later ones need not be looked at


_SCRATCH: WeakKeyDictionary[nn.Module, _Scratch] = WeakKeyDictionary()


def _to_eval(network: nn.Module) -> None:
    try:
        network.eval()
    except Exception as error:  # a `train` of the user's own
        raise ProbeError(
            f"the network cannot be put into eval mode: {first_line(error)}; mend its train()"
        ) from error


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode inside, every module's own mode back afterwards."""
    training = [module for module in network.modules() if module.training]
    try:
        if training:
            _to_eval(network)
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def keeping(network: nn.Module) -> Iterator[None]:
    """Leave the network and the random streams as they came, however the block ends.

    Inside, one pass follows on another: what the network remembers of images it goes on with.
    """
    with _plainly():
        held = Kept(network)
    try:
        yield
    finally:
        with _plainly():
            held.restore()


@contextmanager
def keeping_each(network: nn.Module) -> Iterator[None]:
    """As keeping, with the network put back after each pass by `run`: none sees another's traces.

    What holds modules in another state for the time of a block goes around this one.
    """
    if network in _SCRATCH:
        yield
        return
    with _plainly():
        held = _SCRATCH[network] = _Scratch(network)
    try:
        yield
    finally:
        del _SCRATCH[network]
        with _plainly():
            held.kept.restore()


def after_pass(network: nn.Module) -> None:
    """Put the network back if it is inside keeping_each; `run` calls this at the end of a pass."""
    held = _SCRATCH.get(network)
    if held is not None and not held.quiet:
        with _plainly():
            held.quiet = not held.kept.restore()


@contextmanager
def _plainly() -> Iterator[None]:
    """PyTorch's own functions, whatever mode replaces them."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        yield
