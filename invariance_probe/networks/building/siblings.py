"""Architectures that take the same weights in the same order, and differ otherwise."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ..weights.order import COUNTER

_NEAR, _MOST = 0.7, 12  # how like a name is, and how many of them are built to compare


def siblings(spec: str, module: nn.Module, kwargs: dict[str, Any]) -> tuple[str, ...]:
    """The torchvision or timm networks of similar names that the module's weights fit in order.

    They are built without memory for weights. What padding, strides, eps and activations they have
    is in no checkpoint, so only their names are known to differ.
    """
    library, _, name = spec.rpartition(":")
    if library not in ("", "torchvision", "timm"):
        return ()
    known, make = _library(library)
    name = name.partition(".")[0]
    if name not in known:
        return ()
    within = [other for other in known if name in other or other in name]
    near = difflib.get_close_matches(name, known, n=_MOST, cutoff=_NEAR)
    own = _order(module)
    found = [
        other
        for other in list(dict.fromkeys([*sorted(within, key=len), *near]))[:_MOST]
        if other != name and _built(make, other, kwargs) == own
    ]
    return tuple(f"{library}:{other}" if library else other for other in found)


def _library(library: str) -> tuple[list[str], Callable[..., nn.Module]]:
    """The names that a library knows, and what builds one with random weights."""
    if library == "timm":
        timm: Any = import_module("timm")
        return timm.list_models(), lambda name, **given: timm.create_model(name, **given)
    from torchvision import models

    return models.list_models(module=models), lambda name, **given: models.get_model(name, **given)


def _built(make: Callable[..., nn.Module], name: str, kwargs: dict[str, Any]) -> object:
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            return _order(make(name, **kwargs))
    except Exception:  # it takes other arguments, or does not build without values
        return None


def _order(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """What `in_order` compares: the last part of every name, and the shape."""
    return [
        (key.rpartition(".")[2], tuple(value.shape))
        for key, value in module.state_dict().items()
        if isinstance(value, Tensor) and not key.endswith(COUNTER)
    ]
