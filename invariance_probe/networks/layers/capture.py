"""One forward pass with hooks that exist only while it runs."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...errors import ForwardError, ProbeError, is_of_memory
from .._words import first_line
from ..keeping import after_pass, evaluating, keeping
from .parts import Path, no_part, part, part_name, split_parts

Take = Callable[[str, object], None]


class _Stop(BaseException):
    """Ends a forward pass early; a BaseException, so no `except Exception` on the way eats it."""


def _on_meta(weights: Tensor) -> bool:
    return not is_lazy(weights) and weights.is_meta  # lazy ones have no answer yet


def check_module(network: object) -> None:
    """ProbeError for what is no module, or one whose layers cannot be watched."""
    if isinstance(network, type):
        raise ProbeError(f"the network is the class {network.__name__}; give an object of it")
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise ProbeError(f"the network is of type {kind}, no torch.nn.Module; wrap it in one")
    for name, held in network.named_modules():
        if isinstance(held, torch.jit.ScriptModule):
            said = f"the network has a part {name!r} that" if name else "the network"
            whole = "the Python network, and the program as its checkpoint"
            raise ProbeError(
                f"{said} is a TorchScript program, whose layers cannot be watched; give "
                f"{'its Python module' if name else whole}"
            )
    if any(map(_on_meta, network.parameters())):
        raise ProbeError("the network has no values (device meta); give it weights first")


def modules_by_name(network: nn.Module) -> dict[str, nn.Module]:
    """Every submodule under every name it has (a module may be registered twice)."""
    named = network.named_modules(remove_duplicate=False)
    return {name: module for name, module in named if name}


def split_call(layer: str, modules: dict[str, nn.Module]) -> tuple[str, int]:
    """'relu#2' -> ('relu', 2), the second call of the module in a pass; ('relu', 1) for 'relu'.

    The part of an output is left aside: 'relu#2:0' is of the same call.
    """
    layer = split_parts(layer, modules)[0]
    name, mark, number = layer.rpartition("#")
    if layer in modules or not mark or not number.isdecimal() or int(number) < 1:
        return layer, 1
    return name, int(number)


def call_name(name: str, number: int) -> str:
    """The name of a call: the module's own for the first, 'relu#2' for the second."""
    return name if number == 1 else f"{name}#{number}"


def near(name: str, names: Iterable[str]) -> str:
    """'; did you mean a, b?' with the closest of `names`, or nothing."""
    names = list(dict.fromkeys(names))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    close = close or [other for other in names if name and name.lower() in other.lower()][:3]
    if not close:
        shown = [other for other in names if "." not in other][:8] or names[:8]
        if not shown:
            return "; it has none inside: wrap it, nn.Sequential(network), and name layer '0'"
        return f"; there are {', '.join(shown)}"
    return f"; did you mean {', '.join(close)}?"


def unknown_layer(layer: str, names: Iterable[str]) -> ProbeError:
    """The error for a name that is none of the network's."""
    return ProbeError(f"the network has no layer {layer!r}{near(layer, names)}")


def run(
    network: nn.Module,
    images: Tensor,
    layers: Sequence[str] | None,
    take: Take,
    *,
    stop_early: bool = True,
    grad: bool = False,
) -> Any:
    """Run the network once in eval mode and hand the output of each wanted call to `take`.

    `layers` names calls ("conv1", "relu#2") or parts of their outputs ("lstm:0"); None wants the
    whole output of every call of every submodule. `take` may raise; its error ends the pass and
    comes out, as a ProbeError where PyTorch could not read an output. The pass ends as soon as
    every wanted call is in, unless `stop_early` is false; then the network's output is returned.
    Hooks and modes are as before afterwards, whatever happens inside.
    """
    check_module(network)
    modules = modules_by_name(network)
    wanted = None if layers is None else _wanted(layers, modules)
    hooked = network.named_modules() if wanted is None else ((n, modules[n]) for n, _ in wanted)
    asked: dict[tuple[str, int], list[Path]] = {} if wanted is None else wanted
    # One hook a module: aliases of a module share its calls and its numbering.
    aliases: dict[nn.Module, list[str]] = {}
    for name, module in hooked:
        if name and name not in aliases.setdefault(module, []):
            aliases[module].append(name)
    missing = set() if wanted is None else set(wanted)
    calls: Counter[nn.Module] = Counter()
    failure: list[BaseException] = []

    def hook(module: nn.Module, inputs: object, output: object) -> None:
        calls[module] += 1
        for name in aliases[module]:
            call = (name, calls[module])
            if wanted is not None and call not in missing:
                continue
            missing.discard(call)
            try:
                for path in asked.get(call, [()]):
                    take(part_name(call_name(*call), path), _part(call, path, output))
            except Exception as error:
                failure.append(_unread(call_name(*call), error))
                raise _Stop from error
        if stop_early and wanted is not None and not missing:
            raise _Stop

    handles = []
    result = None
    try:
        for module in aliases:
            handles.append(module.register_forward_hook(hook))
        # Inference tensors keep no version counters and cannot be changed by in-place layers.
        with torch.inference_mode(False), torch.set_grad_enabled(grad), evaluating(network):
            result = network(images)
    except _Stop:
        pass
    except (Exception, SystemExit) as error:  # whatever a forward pass may raise, sys.exit too
        if is_of_memory(error):
            raise
        raise ForwardError(
            f"the network cannot take images {tuple(images.shape)}: {first_line(error)}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
        if not grad:  # a gradient is still to go through what the pass left
            after_pass(network)
    if failure:
        raise failure[0]
    if missing:
        raise _not_reached(min(missing), {m: calls[m] for m in aliases}, modules)
    return result


@contextmanager
def filled(network: nn.Module, images: Tensor) -> Iterator[None]:
    """Inside, lazy modules are as a pass of these images makes them; afterwards lazy again."""
    if not any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        yield
        return
    with keeping(network):
        run(network, images, None, lambda layer, output: None, stop_early=False)
        yield


def _wanted(
    layers: Sequence[str], modules: dict[str, nn.Module]
) -> dict[tuple[str, int], list[Path]]:
    """The calls that are asked for, and which parts of their outputs."""
    wanted: dict[tuple[str, int], list[Path]] = {}
    for layer in layers:
        call = split_call(layer, modules)
        if call[0] not in modules:
            raise unknown_layer(layer, modules)
        wanted.setdefault(call, []).append(split_parts(layer, modules)[1])
    return wanted


def _unread(layer: str, error: Exception) -> Exception:
    """What is raised where an output of a layer, of whatever kind, cannot be read."""
    if not isinstance(error, RuntimeError) or isinstance(error, torch.cuda.OutOfMemoryError):
        return error
    said = f"layer {layer!r} gives what cannot be read as a map: {first_line(error)}"
    found = ProbeError(f"{said}; let it give a plain tensor")
    found.__cause__ = error
    return found


def _part(call: tuple[str, int], path: Path, output: object) -> object:
    try:
        return part(output, path)
    except KeyError:
        raise no_part(call_name(*call), path, output) from None


def _not_reached(
    call: tuple[str, int], calls: dict[nn.Module, int], modules: dict[str, nn.Module]
) -> ProbeError:
    name, number = call
    times = calls[modules[name]]
    if times:
        return ProbeError(
            f"layer {call_name(name, number)!r} is not reached: a forward pass calls "
            f"{name!r} {times} time{'s' if times > 1 else ''}"
        )
    return ProbeError(
        f"layer {name!r} is not reached by a forward pass in eval mode; choose a layer that runs"
    )
