"""The layers of a network, as a forward pass meets them, and their choice by pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import ProbeError
from ._capture import modules_by_name, near, run, split_call
from .activations import as_map


@dataclass(frozen=True)
class LayerInfo:
    """One call of a module in a forward pass.

    `name` is the module's ("layer1.0.relu"; its second call "layer1.0.relu#2"), `kind` its
    class, `shape` the output's shape with the batch first. `channels` and `size` (rows,
    columns) are None unless the output is a map; `spatial` says whether its cells have
    positions that can be aligned: a map (N, C, H, W) of more than one cell.
    """

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int | None:
        return self.shape[1] if len(self.shape) == 4 else None

    @property
    def size(self) -> tuple[int, int] | None:
        return (self.shape[2], self.shape[3]) if len(self.shape) == 4 else None

    @property
    def spatial(self) -> bool:
        return len(self.shape) == 4 and self.shape[2] * self.shape[3] > 1


def list_layers(network: nn.Module, example: Tensor) -> list[LayerInfo]:
    """Every call of every submodule that gives a tensor, in the order in which they finish.

    `example` is a batch of images (N, C, H, W), one image is enough. Raises ProbeError when the
    network cannot take it.

    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    >>> import torch
    >>> [(layer.name, layer.size) for layer in list_layers(network, torch.zeros(1, 1, 8, 8))]
    [('0', (6, 6)), ('1', (6, 6)), ('2', None)]
    """
    modules = modules_by_name(network)
    found: list[LayerInfo] = []

    def take(layer: str, output: object) -> None:
        if isinstance(output, Tensor):
            kind = type(modules[split_call(layer, modules)[0]]).__name__
            found.append(LayerInfo(layer, kind, tuple(output.shape)))

    run(network, example, None, take, stop_early=False)
    return found


def select_layers(network: nn.Module, patterns: str | Sequence[str], example: Tensor) -> list[str]:
    """The spatial layers that the patterns name, each once, in the order of the patterns.

    A pattern is a name ("layer1", "relu#2") or a glob within one level of names: `*` and `?`
    stop at a dot, `**` does not ("layer*" gives layer1 ... layer4, "layer1.**" all inside
    layer1), `[12]` is one of the characters. A glob keeps the layers that are maps; a name must
    be one. `example` is a batch of images (N, C, H, W).

    Raises ProbeError for a name or glob that matches nothing (with near matches), a name whose
    output is not a map, and a glob without any map.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not patterns:
        raise ProbeError("no layer named: give at least one name or pattern")
    called = {layer.name: layer for layer in list_layers(network, example)}
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if pattern in called or not re.search(r"[*?\[]", pattern):
            chosen[_exact(network, pattern, called, example)] = None
            continue
        regex = _translate(pattern)
        matches = [layer for name, layer in called.items() if regex.fullmatch(name)]
        if not matches:
            stem = re.split(r"[*?\[]", pattern)[0].rstrip(".")
            raise ProbeError(f"no layer matches {pattern!r}{near(stem or pattern, called)}")
        maps = [layer.name for layer in matches if layer.spatial]
        if not maps:
            one = matches[0]
            raise ProbeError(
                f"no layer that matches {pattern!r} gives a map (N, C, H, W): {one.name!r} gives "
                f"{one.shape}; choose a convolutional layer"
            )
        chosen.update(dict.fromkeys(maps))
    return list(chosen)


def default_layers(layers: Sequence[LayerInfo], most: int = 8) -> list[str]:
    """Names of 4 to `most` maps, evenly spaced through a network, for want of a choice.

    Of the spatial layers other than normalisations and dropout, the outermost named ones: the
    fewest levels of names ("layer1" has one, "features.0" two) at which there are 4; containers
    only where none of their parts is among them.

    >>> layers = [LayerInfo(f"conv{i}", "Conv2d", (1, 8, 6, 6)) for i in range(20)]
    >>> default_layers(layers, most=4)
    ['conv0', 'conv6', 'conv13', 'conv19']
    """
    skipped = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "Dropout", "Identity")
    maps = [one.name for one in layers if one.spatial and not one.kind.startswith(skipped)]
    depth = max((name.count(".") for name in maps), default=0)
    chosen = maps
    for level in range(depth + 1):
        chosen = [name for name in maps if name.count(".") <= level]
        inner = {name.rpartition(".")[0] for name in chosen}
        chosen = [name for name in chosen if name not in inner]
        if len(chosen) >= 4:
            break
    if len(chosen) <= most:
        return chosen
    last = len(chosen) - 1
    return [chosen[(2 * index * last + most - 1) // (2 * (most - 1))] for index in range(most)]


def _exact(network: nn.Module, name: str, called: dict[str, LayerInfo], example: Tensor) -> str:
    if name in called and called[name].spatial:
        return name

    def take(layer: str, output: object) -> None:
        as_map(layer, output, network)

    # The pass itself knows best what is wrong: unknown, not reached, a tuple, a vector.
    run(network, example, [name], take)
    return name


def _translate(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression in which `*` and `?` stay within one level."""
    parts = []
    for token in re.findall(r"\*\*|\*|\?|\[[^\]]+\]|.", pattern):
        if token.startswith("[") and len(token) > 1:
            inner = token[1:-1].replace("\\", r"\\")
            parts.append(f"[^{inner[1:]}]" if inner[0] == "!" and inner[1:] else f"[{inner}]")
        else:
            parts.append({"**": ".*", "*": "[^.]*", "?": "[^.]"}.get(token, re.escape(token)))
    try:
        return re.compile("".join(parts))
    except re.error:
        return re.compile(r"(?!)")  # a range that runs backwards, as [z-a], matches nothing
