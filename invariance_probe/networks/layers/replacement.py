"""A network run with one layer's output replaced, and whether all paths pass through a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ProbeError
from ..keeping import keeping_each
from .activations import Activations, as_map, check_finite
from .capture import _Stop, call_name, modules_by_name, run, split_call, unknown_layer
from .layouts import Layout
from .listing import LayerInfo, list_layers
from .parts import Path, part, split_parts, with_part

Replace = Callable[[Tensor], Tensor]

_FOLLOWING = 8  # later layers tried for want of an enclosing one to recommend


def run_replaced(
    network: nn.Module,
    layer: str,
    images: Tensor,
    replace: Replace,
    layout: Layout | None = None,
) -> Tensor:
    """Logits (N, classes) of an eager network whose layer gives `replace(map)` instead.

    `layer` names one call of a module, "conv1", or "relu#2" for the second call of a reused one,
    or a part of its output, "block:0". `replace` takes its map (N, C, H, W) and returns a tensor
    of the same shape and type; it may keep both, for the network goes on with a copy, and what it
    does in place later reaches neither. `layout` says how the output holds the map (tokens that
    are not in it stay as they are), None that the output is the map.
    The network is in eval mode during the pass, without gradient; modes are restored and the hook
    is removed when it ends, however it ends. `images` (N, C, H, W) are normalised already.

    Raises ProbeError for an unknown layer, a call that the pass does not reach, an output that is
    no tensor, a replacement of another shape, and a network whose output is not one vector of
    logits per image; errors of `replace` come out unchanged.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten())
    >>> run_replaced(network, "0", torch.rand(2, 1, 4, 4), torch.ones_like).tolist()[0]
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    modules = modules_by_name(network)
    name, number = split_call(layer, modules)
    if name not in modules:
        raise unknown_layer(layer, modules)
    path = split_parts(layer, modules)[1]
    calls = 0
    failure: list[Exception] = []

    def hook(module: nn.Module, inputs: object, output: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != number:
            return None
        try:
            # Copies on both sides: the network may change in place what it made or what it gets.
            given = _part(layer, path, output).detach()
            if layout is None:
                new = _fitting(layer, replace(given.clone()), given)
            else:
                held = layout.to_map(given)
                new = layout.from_map(_fitting(layer, replace(held.clone()), held), given)
            return with_part(output, path, new.clone())
        except Exception as error:
            failure.append(error)
            raise _Stop from error

    def ignore(name: str, output: object) -> None:
        return None

    handle = modules[name].register_forward_hook(hook)
    try:
        # The call is asked for so that one which is not reached is an error.
        call = call_name(name, number)
        output = run(network, images.clone(), [call], ignore, stop_early=False)
    except ProbeError:
        if failure:
            raise failure[0] from None
        raise
    finally:
        handle.remove()
    return as_logits(output, len(images))


def as_logits(output: object, number: int) -> Tensor:
    """The network's output if it is one vector of two or more logits per image, else an error."""
    if isinstance(output, Tensor) and output.ndim == 2 and output.shape[0] == number:
        if output.shape[1] > 1:
            return output.detach()
        gives = f"a single number per image {tuple(output.shape)}"
    elif isinstance(output, Tensor):
        gives = str(tuple(output.shape))
    else:
        gives = f"a {type(output).__name__}"
    raise ProbeError(
        f"the network gives {gives}, not logits (N, classes) of two classes or more; give a "
        "classifier, or a module around it that returns the logits"
    )


def all_paths_pass(network: nn.Module, layer: str, example: Tensor) -> tuple[bool, str]:
    """Whether every path from input to logits goes through the layer, and if not why not.

    Decided by measurement: each image of `example` (N, C, H, W; two or more that differ) runs
    with the layer's output taken from the image before it. If the logits are then those of the
    image before, nothing passes around the layer and (True, "") is returned; else False and a
    line that names the layer, the cause, and where possible a layer to choose instead. The
    verdict is about these images: a path that none of them uses is not seen.

    Raises ProbeError for an unknown layer, a call that the pass does not reach, a single image,
    images that the network cannot take, and an output that is not logits or not finite.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> all_paths_pass(network, "0", torch.rand(2, 1, 4, 4))
    (True, '')
    """
    if len(example) < 2:
        raise ProbeError("one image cannot show which paths it takes; give two or more that differ")
    with keeping_each(network):
        return _all_paths(network, layer, example)


def _all_paths(network: nn.Module, layer: str, example: Tensor) -> tuple[bool, str]:
    found = _paths(network, layer, example)
    if found == "":
        return True, ""
    called = list_layers(network, example[:1])
    cause = f"{_which_call(network, layer, called)}: {found}"
    for other in _candidates(network, layer, called):
        if _paths(network, other, example) == "":
            return False, f"{cause}; choose {other!r}"
    return False, f"{cause}; choose a layer through which all paths pass"


def _paths(network: nn.Module, layer: str, example: Tensor) -> str:
    """What keeps a layer from deciding the logits; "" if nothing does."""
    activations = Activations(network, [layer])
    try:
        maps, output = activations(example.clone(), outputs=True)
    except ProbeError:
        if reason := _no_map(network, layer, example):
            return reason
        raise
    layout = activations.layouts(example).get(layer)
    own = as_logits(output, len(example))
    check_finite({**maps, "output": own})
    # Compared with a run on the images before, not with `own`: the same arithmetic in both.
    before = run_replaced(network, layer, example.roll(1, 0), lambda same: same, layout)
    fixed = run_replaced(network, layer, example, lambda _: maps[layer].roll(1, 0), layout)
    level = float(own.abs().max())
    rounding = 10 * _distance(before, own.roll(1, 0)) + 100 * torch.finfo(own.dtype).eps * level
    if not _distance(before, own) > 10 * rounding:
        return "the logits are the same for all example images, so paths cannot be told"
    if _distance(fixed, before) <= rounding:
        return ""
    if _distance(fixed, own) <= rounding:
        return "it has no influence on the logits"
    if layout is not None and layout.prefix:
        what = (
            "its class and register tokens pass" if layout.prefix > 1 else "its class token passes"
        )
        return f"the logits still depend on the input when its map is fixed; {what} around it"
    return (
        "the logits still depend on the input when its output is fixed; a shortcut passes around it"
    )


def _no_map(network: nn.Module, layer: str, example: Tensor) -> str:
    """Why a call that is reached gives no map, without the layer's name; "" for other errors."""
    found: list[str] = []
    layouts = Activations(network, [layer]).layouts(example)

    def take(name: str, output: object) -> None:
        try:
            as_map(name, output, network, layouts.get(name), len(example))
        except ProbeError as error:
            found.append(str(error).removeprefix(f"layer {layer!r} ").partition(";")[0])

    run(network, example.clone(), [layer], take)
    return f"it {found[0]}" if found else ""


def _which_call(network: nn.Module, layer: str, called: list[LayerInfo]) -> str:
    """The layer's name, with the number of the call where its module is called several times."""
    modules = modules_by_name(network)
    name, number = split_call(layer, modules)
    times = sum(split_call(one.name, modules)[0] == name for one in called)
    if times < 2:
        return f"layer {layer!r}"
    last = call_name(name, times)
    return f"layer {layer!r} (call {number} of {times} of this module, the last is {last!r})"


def _candidates(network: nn.Module, layer: str, called: list[LayerInfo]) -> Iterator[str]:
    """Maps that may take the layer's place: the modules around it, then what comes after it."""
    spatial = {one.name for one in called if one.spatial}
    name = split_call(layer, modules_by_name(network))[0]
    around = []
    while name := name.rpartition(".")[0]:
        around.append(name)
    yield from (other for other in around if other in spatial)
    names = [one.name for one in called]
    later = names[names.index(layer) + 1 :] if layer in names else []
    yield from islice((n for n in later if n in spatial and n not in around), _FOLLOWING)


def _part(layer: str, path: Path, output: object) -> Tensor:
    try:
        found = part(output, path)
    except KeyError:
        found = None
    if isinstance(found, Tensor):
        return found
    raise ProbeError(
        f"layer {layer!r} gives a {type(found).__name__}, not a tensor that can be replaced; "
        "choose one of the modules in it, or a part of its output"
    )


def _fitting(layer: str, replacement: object, held: Tensor) -> Tensor:
    if not isinstance(replacement, Tensor) or replacement.shape != held.shape:
        gives = (
            str(tuple(replacement.shape))
            if isinstance(replacement, Tensor)
            else f"a {type(replacement).__name__}"
        )
        raise ProbeError(
            f"the replacement for layer {layer!r} is {gives}, its output {tuple(held.shape)}; "
            "return a tensor of that shape"
        )
    return replacement.detach().to(held)


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
