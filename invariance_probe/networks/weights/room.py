"""Memory for weights: a network that takes too much is refused before it is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..._memory import bytes_text
from ...errors import ProbeError

_MAKERS = frozenset(
    {
        torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint,
        torch.normal, torch.eye, torch.arange, torch.linspace, torch.empty_strided,
        torch.Tensor.new_empty, torch.Tensor.new_zeros, torch.Tensor.new_ones,
        torch.Tensor.new_full,
    }
)  # fmt: skip
_WIDER, _MORE = 8, 64 << 20  # times and bytes beyond those of a file


def most_of_file(path: Path) -> int:
    """The most bytes that it may take to build the network whose weights a file holds.

    Its numbers may be shorter in the file, and some are drawn only to be replaced.
    """
    try:
        return _WIDER * path.stat().st_size + _MORE
    except (OSError, ValueError):  # said when the file is read
        return _MORE


class Room(TorchFunctionMode):
    """Inside, ProbeError ends what makes tensors of more than `most` bytes together.

    The tensor that is too much is never made. `refusal` gets the bytes in words, for the error's
    text. A network need not be built twice for it, as it would be to be measured on the meta
    device: the factories of users may keep, print or load what they make.
    """

    def __init__(self, most: int, refusal: Callable[[str], str]) -> None:
        super().__init__()
        self._left = self._most = most
        self._refusal = refusal

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _MAKERS:
            self._left -= _bytes(function, args, kwargs)
            if self._left < 0:
                raise ProbeError(self._refusal(bytes_text(self._most - self._left)))
        return function(*args, **kwargs)


def _bytes(function: Any, args: Any, kwargs: dict[str, Any]) -> int:
    """What the tensor takes that a call would make, 0 where it takes none or would raise."""
    if str(kwargs.get("device")) == "meta" or kwargs.get("out") is not None:
        return 0
    try:
        made = function(*args, **{**kwargs, "device": "meta", "pin_memory": False})
    except (TypeError, ValueError, RuntimeError):
        return 0
    return int(made.numel() * made.element_size())
