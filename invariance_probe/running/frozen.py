"""Objects of this package as plain values and tensors, which a file can hold without any code.

What is written are lists, dictionaries, numbers, texts and tensors, as `torch.load` reads them
with weights_only=True. Only classes of this package come back, and none of their code is run.
"""

from __future__ import annotations

import importlib
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError

_PACKAGE = __name__.partition(".")[0]


def freeze(value: Any, _arrays: dict[int, Any] | None = None) -> Any:
    """Return plain values for numbers, texts, tensors, arrays, containers and own objects.

    Tensors are not copied. Raises TypeError for anything else: functions, files, other libraries.

    >>> thaw(freeze({"a": (1, 2.5), 3: [None, np.arange(3)]}))
    {'a': (1, 2.5), 3: [None, array([0, 1, 2])]}
    """
    arrays = {} if _arrays is None else _arrays
    if isinstance(value, np.generic):  # float64 is a float too, but no plain one
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, Tensor)):
        return value
    if isinstance(value, np.ndarray):
        if id(value) not in arrays:  # kept, so that the id stays its own
            arrays[id(value)] = torch.from_numpy(np.array(value)), value
        return ["array", arrays[id(value)][0]]
    if isinstance(value, (list, tuple)):
        return [
            "list" if isinstance(value, list) else "tuple",
            *(freeze(part, arrays) for part in value),
        ]
    if isinstance(value, dict):
        pairs = ([freeze(k, arrays), freeze(v, arrays)] for k, v in value.items())
        return ["dict", *pairs]
    kind = type(value)
    if isinstance(value, type) or kind.__module__.partition(".")[0] != _PACKAGE:
        raise TypeError(f"a {kind.__module__}.{kind.__qualname__} cannot be stored as plain values")
    if is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
    else:
        held = vars(value)
    plain = {name: freeze(part, arrays) for name, part in held.items()}
    return ["object", f"{kind.__module__}:{kind.__qualname__}", plain]


def thaw(plain: Any) -> Any:
    """Return what `freeze` was given, equal bit for bit.

    Raises ProbeError for what it did not write.
    """
    if not isinstance(plain, list):
        return plain
    kind, *parts = plain
    if kind == "array":
        return parts[0].numpy()
    if kind == "list":
        return [thaw(part) for part in parts]
    if kind == "tuple":
        return tuple(thaw(part) for part in parts)
    if kind == "dict":
        return {thaw(key): thaw(value) for key, value in parts}
    if kind != "object":
        raise ProbeError(f"unknown kind of value {kind!r} in a saved state")
    found = _class(parts[0])
    made: Any = object.__new__(found)
    made.__dict__.update({name: thaw(part) for name, part in parts[1].items()})
    return made


def _class(text: str) -> type:
    module, _, name = text.partition(":")
    known = module.startswith(f"{_PACKAGE}.")
    found = getattr(importlib.import_module(module), name, None) if known else None
    if not isinstance(found, type) or found.__module__ != module:
        raise ProbeError(f"unknown class {text!r} in a saved state")
    return found
