"""The tensors inside an output: tuples, lists, mappings and dataclasses, addressed by name."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from ..errors import ProbeError

Path = tuple[str, ...]
MARK = ":"


def parts(output: object, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor in an output with the names that lead to it; () leads to a bare tensor.

    Items of tuples and lists are named by their numbers, of named tuples and dataclasses by their
    fields, of mappings by their keys.
    """
    if isinstance(output, Tensor):
        yield path, output
        return
    for name, item in _items(output):
        yield from parts(item, (*path, name))


def part(output: object, path: Path) -> object:
    """What the names of `path` lead to; raises KeyError where a name is none of the output's."""
    for name in path:
        output = dict(_items(output))[name]
    return output


def with_part(output: Any, path: Path, value: Tensor) -> Any:
    """A copy of the output in which what `path` leads to is `value`; all else is shared."""
    if not path:
        return value
    name, rest = path[0], path[1:]
    inner = with_part(dict(_items(output))[name], rest, value)
    if isinstance(output, Mapping):
        new: Any = copy.copy(output)
        new[next(key for key in output if str(key) == name)] = inner
        return new
    if hasattr(output, "_fields"):
        return output._replace(**{name: inner})
    if isinstance(output, (tuple, list)):
        items = list(output)
        items[int(name)] = inner
        return type(output)(items)
    new = copy.copy(output)
    object.__setattr__(new, name, inner)  # a frozen dataclass too
    return new


def part_name(layer: str, path: Path) -> str:
    """'layer' and ('out', '0') -> 'layer:out:0'."""
    return MARK.join((layer, *path))


def no_part(layer: str, path: Path, output: object) -> ProbeError:
    """The error for a part that an output does not have."""
    names = _names(layer, output)
    there = f"; there are {names}" if names else ""
    return ProbeError(f"layer {layer!r} has no part {MARK.join(path)!r}{there}")


def describe(layer: str, output: object) -> str:
    """What an output without a bare tensor is, and the names of its parts."""
    names = _names(layer, output)
    kind = f"{_article(type(output).__name__)} {type(output).__name__}"
    if not names:
        inner = f" ({', '.join(type(item).__name__ for _, item in _items(output))})"
        return kind + (inner if isinstance(output, (tuple, list)) else "")
    return f"{kind}; name one of {names}"


def _names(layer: str, output: object, most: int = 8) -> str:
    names = [part_name(layer, path) for path, _ in parts(output) if path]
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _items(output: object) -> list[tuple[str, Any]]:
    if isinstance(output, Tensor):
        return []
    if isinstance(output, Mapping):  # also the ordered dictionaries that are dataclasses
        return [(str(key), value) for key, value in output.items()]
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return [(name, getattr(output, name)) for name in output._fields]
    if isinstance(output, (tuple, list)):
        return [(str(number), item) for number, item in enumerate(output)]
    if is_dataclass(output) and not isinstance(output, type):
        return [(each.name, getattr(output, each.name)) for each in fields(output)]
    return []


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


def split_parts(layer: str, names: Sequence[str] | Mapping[str, Any]) -> tuple[str, Path]:
    """'net.out:0' -> ('net.out', ('0',)) where 'net.out', or a call of it, is one of `names`."""
    if layer in names or MARK not in layer:
        return layer, ()
    pieces = layer.split(MARK)
    for end in range(len(pieces) - 1, 0, -1):
        name = MARK.join(pieces[:end])
        call, mark, number = name.rpartition("#")
        if name in names or (mark and number.isdecimal() and call in names):
            return name, tuple(pieces[end:])
    return pieces[0], tuple(pieces[1:])
