"""What accumulators hold, by name: sums that add over processes, rows that follow each other.

An accumulator names its sums in a class attribute `SUMS` (tensors, numbers, other accumulators or
lists of them) and its rows, one an image, in `ROWS`. Nothing else is known of it here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..alignment import GrowingRows
from .processes import Group

Leaf = tuple[str, Any, str]  # path for messages and bookkeeping, owner, name of its attribute

_CHUNK = 4_000_000  # float64 numbers that travel at a time


def leaves(thing: Any, path: str = "") -> Iterator[Leaf]:
    """Every tensor and number that adds up, however deep, in the same order everywhere."""
    if isinstance(thing, (list, tuple)):
        for index, part in enumerate(thing):
            yield from leaves(part, f"{path}.{index}")
    for name in getattr(type(thing), "SUMS", ()):
        value = getattr(thing, name)
        if isinstance(value, (Tensor, int, float)):
            yield f"{path}.{name}", thing, name
        elif value is not None:
            yield from leaves(value, f"{path}.{name}")


def rows(thing: Any, path: str = "") -> Iterator[Leaf]:
    """Every table with a row an image, however deep."""
    if isinstance(thing, (list, tuple)):
        for index, part in enumerate(thing):
            yield from rows(part, f"{path}.{index}")
    for name in getattr(type(thing), "ROWS", ()):
        yield f"{path}.{name}", thing, name
    for name in getattr(type(thing), "SUMS", ()):
        yield from rows(getattr(thing, name), f"{path}.{name}")


def size(thing: Any) -> int:
    """Bytes of all sums."""
    held = (getattr(owner, name) for _, owner, name in leaves(thing))
    return sum(value.numel() * value.element_size() for value in held if isinstance(value, Tensor))


def empty(thing: Any) -> None:
    """Forget all sums, and free what they take."""
    for _, owner, name in leaves(thing):
        setattr(owner, name, torch.zeros(0) if isinstance(getattr(owner, name), Tensor) else 0)


def clear(thing: Any, closed: set[str]) -> None:
    """Set sums and rows to nothing seen, but for those that are complete."""
    for path, owner, name in leaves(thing):
        if path not in closed:
            value = getattr(owner, name)
            setattr(owner, name, torch.zeros_like(value) if isinstance(value, Tensor) else 0)
    for path, owner, name in rows(thing):
        if path not in closed:
            setattr(owner, name, GrowingRows())


def add_up(thing: Any, group: Group, closed: set[str]) -> None:
    """Replace sums by those over all processes, and rows by those of all, by rank.

    `closed` names what has been added up before; what is complete now joins it. Sums that have
    seen nothing in any process stay open: their turn comes later in the run.
    """
    if group.world == 1:
        return
    open_leaves = [leaf for leaf in leaves(thing) if leaf[0] not in closed]
    held = [getattr(owner, name) for _, owner, name in open_leaves]
    shapes = group.objects(
        [tuple(v.shape) if isinstance(v, Tensor) else None for v in held]
    )  # a sum that has seen nothing here may have elsewhere
    chunk: list[tuple[Leaf, Tensor]] = []
    number = 0
    for leaf, value, seen in zip(open_leaves, held, zip(*shapes, strict=True), strict=True):
        if isinstance(value, Tensor):
            shape = max((s for s in seen if s is not None), key=lambda s: torch.Size(s).numel())
            if 0 in shape:
                continue
            if value.shape != torch.Size(shape):
                value = value.new_zeros(shape, dtype=torch.float64)
        else:
            value = torch.tensor(value, dtype=torch.float64)
        chunk.append((leaf, value))
        number += value.numel()
        if number > _CHUNK:
            _send(chunk, group, closed)
            chunk, number = [], 0
    if chunk:
        _send(chunk, group, closed)
    for path, owner, name in rows(thing):
        if path in closed:
            continue
        parts = [part for part in group.objects(getattr(owner, name).all().cpu()) if len(part)]
        if parts:
            whole, device = GrowingRows(), getattr(owner, name).all().device
            whole.append(torch.cat(parts).to(device))
            setattr(owner, name, whole)
            closed.add(path)


def _send(chunk: list[tuple[Leaf, Tensor]], group: Group, closed: set[str]) -> None:
    flat = torch.cat([value.double().flatten().cpu() for _, value in chunk])
    total = group.sums(flat)
    for ((path, owner, name), value), part in zip(
        chunk, total.split([value.numel() for _, value in chunk]), strict=True
    ):
        if isinstance(getattr(owner, name), Tensor):
            setattr(owner, name, part.reshape(value.shape).to(value.device).clone())
        else:
            number = part.item()
            setattr(owner, name, int(number) if isinstance(getattr(owner, name), int) else number)
        if bool(part.any()):
            closed.add(path)
