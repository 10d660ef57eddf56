"""Passes through a network that leave it as it came."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ...errors import ProbeError
from .._words import first_line
from .held import Kept


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
            f"the network cannot be put into eval mode: {first_line(error).rstrip('.')}; "
            "mend its train(), or give the network itself where this is an exported program of it"
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
