"""How many images fit in one forward pass: from what one image's activations take."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ...errors import is_of_memory
from ...networks.keeping import keeping
from ..options import AUTO, Options, memory_size
from .memory import free_memory

MOST = 256  # images: more are no faster anywhere
_WORKING_SET = 8_000_000  # bytes of activations: more outgrow a CPU's caches and slow it down
_LEAST = 8  # images: fewer leave a CPU's matrix products too small, whatever the caches
_SHARE = 0.25  # of the memory that is free
_COPIES = 6  # of the activations: maps of three kinds of image, and warps of them


def with_batch_size(
    options: Options, module: nn.Module, example: Tensor, place: torch.device
) -> Options:
    """Return the options with a number in place of "auto": a power of two, at most 256.

    On a CPU it follows from the network and the canvas alone, so that the same run has the same
    bits, unless memory is short. `example` is one image (1, C, H, W), normalised.
    """
    if options.batch_size != AUTO:
        return options
    each = max(1, activation_bytes(module, example, place))
    limit = memory_size(options.memory) or free_memory(place)
    most = _SHARE * limit / (_COPIES * each)
    if place.type == "cpu":
        most = min(most, max(_LEAST, _WORKING_SET / each))
    size = 1
    while 2 * size <= min(most, MOST):
        size *= 2
    return replace(options, batch_size=size)


def activation_bytes(module: nn.Module, example: Tensor, place: torch.device) -> int:
    """Bytes that one image more takes in a forward pass.

    On a GPU as measured between one and two images; elsewhere the outputs of all modules that
    have no parts, of which some are freed on the way.
    """
    if place.type == "cuda":
        peaks = []
        for number in (1, 2):
            torch.cuda.synchronize(place)
            torch.cuda.reset_peak_memory_stats(place)
            before = torch.cuda.memory_allocated(place)
            _forward(module, example.expand(number, -1, -1, -1))
            torch.cuda.synchronize(place)
            peaks.append(torch.cuda.max_memory_allocated(place) - before)
        if peaks[1] > peaks[0]:
            return peaks[1] - peaks[0]
    total = 0

    def add(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal total
        parts = output if isinstance(output, (tuple, list)) else [output]
        total += sum(p.numel() * p.element_size() for p in parts if isinstance(p, Tensor))

    leaves = [m for m in module.modules() if next(m.children(), None) is None]
    handles = [m.register_forward_hook(add) for m in leaves]
    try:
        _forward(module, example)
    finally:
        for handle in handles:
            handle.remove()
    return total


def _forward(module: nn.Module, images: Tensor) -> None:
    try:
        with keeping(module), torch.inference_mode(False), torch.no_grad():
            module(images.clone())
    except (Exception, SystemExit) as error:
        if is_of_memory(error):
            raise
        return  # a network whose end does not fit these images: its maps are all that is asked for
