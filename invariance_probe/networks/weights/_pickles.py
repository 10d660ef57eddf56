"""What a pickle of torch.save would build, without building it: values, names, tensors' layouts."""

from __future__ import annotations

import math
import pickletools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import torch
from torch import Tensor

STORAGES = {
    f"torch.{name}Storage": kind
    for name, kind in {
        "BFloat16": torch.bfloat16,
        "Bool": torch.bool,
        "Byte": torch.uint8,
        "Char": torch.int8,
        "ComplexDouble": torch.complex128,
        "ComplexFloat": torch.complex64,
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "Int": torch.int32,
        "Long": torch.int64,
        "Short": torch.int16,
    }.items()
} | {"torch.storage.UntypedStorage": torch.uint8}

_DICTS = ("collections.OrderedDict", "collections.Counter")
_REBUILT = {f"torch._utils._rebuild_{name}" for name in ("tensor", "tensor_v2", "tensor_v3")}
_PARAMETERS = {f"torch._utils._rebuild_{name}" for name in ("parameter", "parameter_with_state")}
_TYPED = "torch._tensor._rebuild_from_type_v2"
_VALUES = {"torch.Size", "torch.device", "_codecs.encode"}
_TYPES = {"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"}
_KNOWN = {*_DICTS, *_REBUILT, *_PARAMETERS, _TYPED, *_VALUES, *_TYPES, *STORAGES}
_SCRIPT = ("__torch__.", "torch.jit._pickle.")

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_PLAIN = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"}
_NEW: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}
_FEW = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

_STEPS = 3_000_000  # 10,000 tensors and what Adam remembers of them take half of it
_BYTES = 1 << 26
_DEPTH = 64  # hashing a deeper tuple, as the key of a dictionary, could exhaust the C stack


class NotOfTorchSave(ValueError):
    """A pickle with steps that torch.save does not write, such as one of `pickle.dump`."""


@dataclass(frozen=True)
class Stored:
    """A run of values in the file: its key, kind and number of values."""

    key: str
    dtype: torch.dtype
    number: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.number * self.dtype.itemsize


@dataclass(frozen=True)
class Layout:
    """A tensor as a pickle describes it: a view of stored values."""

    stored: Stored
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        held = self.stored.size // self.dtype.itemsize
        check_layout(self.offset, self.shape, self.strides, held)

    def of(self, content: bytearray) -> Tensor:
        """The tensor, a view of its storage's bytes."""
        return view_of(content, self.dtype, self.offset, self.shape, self.strides)


@dataclass(frozen=True)
class Named:
    """A class or function that the pickle names; it is neither imported nor called."""

    name: str


@dataclass(eq=False)
class Made:
    """What calling such a name would return, and the state it would be given."""

    name: str
    state: Any = None


@dataclass
class Outline:
    """The content of a pickle: its value, the storages it names, and names beyond tensors."""

    value: Any = None
    storages: dict[str, Stored] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)


def check_layout(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], held: int) -> None:
    """Raise ValueError where a tensor's declared layout is not within the values it has."""
    if len(shape) != len(strides) or not all(
        type(n) is int and n >= 0 for n in (offset, *shape, *strides)
    ):
        raise ValueError("a tensor has an impossible shape, stride or offset")
    if (number := math.prod(shape)) == 0:
        return
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if last >= held or number > held:
        raise ValueError(f"a tensor of shape {shape} is declared over {held} stored values")


def view_of(
    content: bytearray,
    dtype: torch.dtype,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> Tensor:
    """The tensor with this checked layout over the bytes of a storage."""
    if not content or 0 in shape:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=dtype).as_strided(shape, strides, offset)


def outline(stream: BinaryIO, *, script: bool = False) -> Outline:
    """Follow one pickle to its end without importing, calling or allocating what it names.

    Layouts of tensors are checked against the storages they are views of. `script` knows the
    names of TorchScript modules too. Names that are not part of plain tensors end up in `foreign`.

    Raises NotOfTorchSave for steps that torch.save does not write, ValueError and the errors of
    Python's containers for nonsense.
    """
    reader = _Reader(script)
    try:
        reader.found.value = reader.run(stream)
    except NotOfTorchSave:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        if not reader.found.foreign:
            raise
    return reader.found


def foreign_entries(value: Any) -> Iterator[str]:
    """Names of the top-level entries of a pickled dictionary that hold more than plain values."""
    for key, entry in value.items() if isinstance(value, dict) else ():
        todo, seen = [entry], set[int]()
        while todo:
            item = todo.pop()
            if isinstance(item, (Made, Named)):
                yield str(key)
                break
            if isinstance(item, (dict, list, tuple)) and id(item) not in seen:
                seen.add(id(item))
                todo.extend(item.values() if isinstance(item, dict) else item)


class _Reader:
    """A machine for the part of the pickle language that torch.save writes."""

    def __init__(self, script: bool) -> None:
        self.script, self.found = script, Outline()
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.depths: dict[int, int] = {}

    def run(self, stream: BinaryIO) -> Any:
        start = stream.tell()
        steps: Iterable[tuple[Any, Any, int | None]] = pickletools.genops(stream)
        for step, (operation, given, place) in enumerate(steps):
            name = operation.name
            if step > _STEPS or (place or 0) - start > _BYTES:
                raise ValueError("its pickle is longer than that of any checkpoint")
            if name in ("BINPUT", "LONG_BINPUT"):
                self.memo[given] = self.stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[given])
            elif name in _PLAIN:
                self.stack.append(given)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _NEW:
                self.stack.append(_NEW[name]())
            elif name == "GLOBAL":
                self.stack.append(self._named(given.replace(" ", ".", 1)))
            elif name == "STOP":
                return self.stack.pop()
            elif name != "PROTO":
                self._change(name)
        raise ValueError("its pickle has no end")

    def _change(self, name: str) -> None:
        stack = self.stack
        if name == "MARK":
            self.marks.append(stack)
            self.stack = []
        elif name == "TUPLE":
            self._tuple(self._marked())
        elif name in _FEW:
            items = stack[-_FEW[name] :]
            del stack[-_FEW[name] :]
            self._tuple(items)
        elif name in ("SETITEM", "SETITEMS"):
            pairs = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._marked()
            target = self.stack[-1]
            if isinstance(target, dict):
                target.update(zip(pairs[::2], pairs[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._marked()
            target = self.stack[-1]
            if isinstance(target, list):
                target.extend(items)
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = stack.pop()
            stack[-1] = self._made(stack[-1], arguments)
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Made):
                stack[-1].state = state
            elif isinstance(stack[-1], Layout):
                raise ValueError("it changes a tensor after making it")
        elif name == "BINPERSID":
            stack[-1] = self._stored(stack[-1])
        else:
            raise NotOfTorchSave(f"its pickle has {name}, which torch.save does not write")

    def _marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _tuple(self, items: list[Any]) -> None:
        made = tuple(items)
        depth = 1 + max((self.depths.get(id(i), 0) for i in items if type(i) is tuple), default=0)
        if depth > _DEPTH:
            raise ValueError("its pickle nests tuples too deeply")
        self.depths[id(made)] = depth
        self.stack.append(made)

    def _named(self, name: str) -> Named:
        kind = getattr(torch, name.removeprefix("torch."), None)
        if not (
            name in _KNOWN
            or isinstance(kind, torch.dtype)
            or (self.script and name.startswith(_SCRIPT))
        ):
            self._foreign(name)
        return Named(name)

    def _foreign(self, name: str) -> None:
        if name not in self.found.foreign:
            self.found.foreign.append(name)

    def _made(self, called: Any, arguments: Any) -> Any:
        name = called.name if isinstance(called, Named) else type(called).__name__
        if name in _DICTS and arguments == ():
            return {}
        if name in _REBUILT:
            stored, offset, shape, strides, *rest = arguments
            kind = rest[2] if name.endswith("v3") else None
            return self._layout(stored, offset, shape, strides, kind)
        if name in _PARAMETERS:
            return arguments[0]
        if name == _TYPED:
            return self._made(arguments[0], arguments[2])
        if name == "torch.Size" and len(arguments) == 1:
            return tuple(arguments[0])
        plain = name == "torch.device" or (
            name == "_codecs.encode" and arguments[1:] == ("latin1",)
        )
        # The types and storages that may be named may not be called: that allocates memory.
        if not plain and not (self.script and name.startswith(_SCRIPT)):
            self._foreign(name)
        return Made(name)

    def _stored(self, what: Any) -> Stored | Made:
        kind = what[1].name if isinstance(what, tuple) and isinstance(what[1], Named) else ""
        if what[0] != "storage" or kind not in STORAGES:
            self._foreign(kind or "objects by reference")
            return Made(kind)
        _, _, key, _, number, *view = what
        if not isinstance(key, str) or type(number) is not int or number < 0:
            raise ValueError("a tensor's values have an impossible number or key")
        stored = Stored(key, STORAGES[kind], number)
        if self.found.storages.setdefault(key, stored).size != stored.size:
            raise ValueError("the same values are declared with two sizes")
        if view and view[0] is not None:
            _, start, length = view[0]
            check_layout(start, (length,), (1,), number)
            return Stored(key, STORAGES[kind], length)
        return stored

    def _layout(
        self, stored: Any, offset: Any, shape: Any, strides: Any, kind: Named | None
    ) -> Layout:
        if not isinstance(stored, Stored):
            raise ValueError("a tensor has no stored values")
        dtype = stored.dtype
        if kind is not None:
            dtype = getattr(torch, kind.name.removeprefix("torch."))
        return Layout(stored, dtype, offset, tuple(shape), tuple(strides))
