"""The tensors inside an output: tuples, lists, mappings and objects, addressed by name.

An object of another library that holds a single tensor, as e2cnn's and escnn's, stands for that
tensor. Tensors are read as dense ones of real numbers: of complex numbers the real parts come
first, then the imaginary ones, as further channels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ProbeError

Path = tuple[str, ...]
MARK = ":"


def parts(output: object, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor in an output with the names that lead to it; () leads to a bare tensor.

    Items of tuples and lists are named by their numbers, of named tuples and dataclasses by their
    fields, of mappings by their keys, of other objects by their attributes.
    """
    output = _inner(output)
    if isinstance(output, Tensor):
        yield path, _readable(output)
        return
    for name, item in _items(output):
        yield from parts(item, (*path, name))


def part(output: object, path: Path) -> object:
    """What the names of `path` lead to; raises KeyError where a name is none of the output's."""
    for name in path:
        output = dict(_items(_inner(output)))[name]
    output = _inner(output)
    return _readable(output) if isinstance(output, Tensor) else output


def with_part(output: Any, path: Path, value: Tensor) -> Any:
    """A copy of the output in which what `path` leads to is `value`; all else is shared."""
    if (attribute := _single(output)) is not None:
        return _with_attribute(output, attribute, with_part(_inner(output), path, value))
    if not path:
        return _written(value, output) if isinstance(output, Tensor) else value
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
    return _with_attribute(output, name, inner)


def _with_attribute(thing: Any, name: str, value: Any) -> Any:
    new = copy.copy(thing)
    object.__setattr__(new, name, value)  # a frozen dataclass too
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
    return _attributes(output)


def _attributes(thing: object) -> list[tuple[str, Any]]:
    """The tensors that hang on an object, by the names of its attributes."""
    if isinstance(thing, (nn.Module, type)):
        return []
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    names = dict.fromkeys([*getattr(thing, "__dict__", {}), *slots])
    held = [(name, getattr(thing, name, None)) for name in names if name.isidentifier()]
    return [(name, value) for name, value in held if isinstance(value, Tensor)]


def _single(output: object) -> str | None:
    """The attribute under which an object of another library holds its only tensor."""
    plain = (Tensor, Mapping, tuple, list)
    if isinstance(output, plain) or is_dataclass(output):
        return None
    held = _attributes(output)
    return held[0][0] if len(held) == 1 else None


def _inner(output: object) -> object:
    name = _single(output)
    return output if name is None else getattr(output, name)


def _readable(values: Tensor) -> Tensor:
    """A tensor as a dense one of real numbers; itself if it is."""
    usual = values.layout == torch.strided and not values.is_quantized and not values.is_nested
    if usual and values.is_floating_point():
        return values
    with torch._C.DisableTorchFunction():
        if values.is_nested:
            return torch.nested.to_padded_tensor(values, 0.0)
        if values.is_quantized:
            return values.dequantize()
        dense = values if values.layout == torch.strided else values.to_dense()
        if not dense.dtype.is_complex:
            return dense if dense.is_floating_point() else dense.float()
        if not dense.ndim:
            return dense.real
        return torch.cat([dense.real, dense.imag], _channels(dense))


def _written(values: Tensor, output: Tensor) -> Tensor:
    """Values that were read from an output, in its own form again."""
    if output.dtype.is_complex:
        real, imaginary = values.chunk(2, _channels(output))
        values = torch.complex(real.contiguous(), imaginary.contiguous()).to(output.dtype)
    if output.is_quantized:
        if output.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams):
            scales, zeros = output.q_per_channel_scales(), output.q_per_channel_zero_points()
            axis = output.q_per_channel_axis()
            return torch.quantize_per_channel(values, scales, zeros, axis, output.dtype)
        return torch.quantize_per_tensor(
            values, output.q_scale(), output.q_zero_point(), output.dtype
        )
    if output.dtype == torch.bool:
        values = values > 0.5
    elif not values.dtype.is_complex and not output.is_floating_point():
        values = values.round().to(output.dtype)
    return values if output.layout == torch.strided else values.to_sparse(layout=output.layout)


def _channels(values: Tensor) -> int:
    """The axis that takes the imaginary parts: of tokens the last, of maps the one after images."""
    return 1 if values.ndim > 3 else values.ndim - 1


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
