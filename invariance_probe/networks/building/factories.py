"""Which names stand for code of the package, and what may be called of the code of others."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from torch import nn

from ...errors import ProbeError
from .._words import shown

WEIGHT_FILES = (".pt", ".pth", ".pt2", ".ckpt", ".pts", ".torchscript", ".index.json")
_OWN_FACTORIES = ("invariance_probe.networks:MnistCNN",)


def is_own_network(spec: str) -> bool:
    """Whether a network's name calls nothing but constructors of this package, torchvision or timm.

    False for package.module:factory and for files.

    >>> [is_own_network(name) for name in ("resnet18", "symmetrised:timm:resnet18", "os:system")]
    [True, True, False]
    """
    while spec.startswith("symmetrised:"):
        spec = spec.partition(":")[2]
    if not spec.strip(":") or spec.endswith((".safetensors", *WEIGHT_FILES)):
        return False
    kind, colon, _ = spec.rpartition(":")
    return (
        spec in _OWN_FACTORIES
        or spec.startswith("timm:")
        or kind in ("torchvision", "classifier", "controls")
        or not colon
    )


def find_factory(module: types.ModuleType, name: str, attribute: str) -> Callable[..., Any]:
    """Return the class or function `attribute` ("build", "Net.small") of the module called `name`.

    Raises ProbeError for names that are not there (with near ones), for what lies in another module
    that this one happens to have imported, and for anything but a class of modules or a function
    written in Python.
    """
    found: Any = module
    for part in attribute.split("."):
        if isinstance(found, types.ModuleType) and found is not module:
            raise ProbeError(
                f"{shown(f'{name}:{attribute}')} lies in the module {found.__name__}; name it as "
                f"{found.__name__}:{shown(part)}"
            )
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=3, cutoff=0.5)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise ProbeError(f"module {name!r} has no {shown(attribute)!r}{hint}")
        found = getattr(found, part)
    spec = shown(f"{name}:{attribute}")
    if not callable(found):
        raise ProbeError(
            f"{spec} is a {type(found).__name__}, not a callable; name a function or class "
            "that returns the network"
        )
    if isinstance(found, type) and not issubclass(found, nn.Module):
        raise ProbeError(
            f"{spec} is a class of {found.__name__}, not of networks; name a subclass of "
            "torch.nn.Module or a function that returns one"
        )
    written = inspect.unwrap(found.func if isinstance(found, functools.partial) else found)
    if not (isinstance(written, type) or inspect.isfunction(written) or inspect.ismethod(written)):
        raise ProbeError(
            f"{spec} is a {type(written).__name__}, not a function or class written in Python; "
            "name a function that returns the network"
        )
    return found
