"""The layers of a network, as a forward pass meets them, and their choice by pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ...errors import ProbeError
from ..keeping import keeping_each
from .activations import as_map
from .capture import check_module, filled, modules_by_name, near, run, split_call
from .layouts import Layout, layouts_of, measure_layouts
from .parts import part_name, parts


@dataclass(frozen=True)
class LayerInfo:
    """One call of a module in a forward pass, or one part of what it gives.

    `name` is the module's ("layer1.0.relu"; its second call "layer1.0.relu#2"; a part of a tuple,
    list, dictionary or dataclass "lstm:0", "head:out"), `kind` its class, `shape` the tensor's
    shape with the batch first, `layout` how it holds a map, None where it holds none. `channels`
    and `size` (rows, columns) are the map's; `spatial` says whether its cells have positions that
    can be aligned: whether there is a map of more than one cell.

    Given no layout, a tensor of four axes is taken as a map (N, C, H, W), unless `per_image` says
    that its first axis is not that of the images (as of windows).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    layout: Layout | None = None
    per_image: bool = True

    def __post_init__(self) -> None:
        if self.layout is None and self.per_image and len(self.shape) == 4:
            object.__setattr__(self, "layout", Layout("NCHW", (self.shape[2], self.shape[3])))

    @property
    def channels(self) -> int | None:
        if self.layout is None:
            return None
        return self.layout.channels(self.shape)

    @property
    def size(self) -> tuple[int, int] | None:
        return None if self.layout is None else self.layout.grid

    @property
    def spatial(self) -> bool:
        return self.size is not None and self.size[0] * self.size[1] > 1


def list_layers(network: nn.Module, example: Tensor) -> list[LayerInfo]:
    """Every call of every submodule that gives a tensor, in the order in which they finish.

    Of outputs that hold several tensors every one is listed. `example` is a batch of images
    (N, C, H, W), one image is enough; one more pass finds the layouts. Raises ProbeError when the
    network cannot take it.

    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    >>> import torch
    >>> [(layer.name, layer.size) for layer in list_layers(network, torch.zeros(1, 1, 8, 8))]
    [('0', (6, 6)), ('1', (6, 6)), ('2', None)]
    """
    check_module(network)
    modules = modules_by_name(network)
    called: dict[str, tuple[int, ...]] = {}

    def take(layer: str, output: object) -> None:
        for path, values in parts(output):
            called[part_name(layer, path)] = tuple(values.shape)

    canvas = (int(example.shape[-2]), int(example.shape[-1]))
    with filled(network, example), keeping_each(network):
        run(network, example, None, take, stop_early=False)
        layouts = measure_layouts(network, None, canvas, int(example.shape[1]))
    found = []
    for name, shape in called.items():
        kind = type(modules[split_call(name, modules)[0]]).__name__
        per_image = shape[:1] == (len(example),)
        found.append(LayerInfo(name, kind, shape, layouts.get(name), per_image))
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


def _exact(network: nn.Module, name: str, called: dict[str, LayerInfo], example: Tensor) -> str:
    if name in called and called[name].spatial:
        return name
    canvas = (int(example.shape[-2]), int(example.shape[-1]))
    layouts = layouts_of(network, [name], canvas, int(example.shape[1]))

    def take(layer: str, output: object) -> None:
        as_map(layer, output, network, layouts.get(layer), len(example))

    # The pass itself knows best what is wrong: unknown, not reached, a tuple, a vector.
    with keeping_each(network):
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
