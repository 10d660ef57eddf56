"""Where a layer's output keeps its rows and columns: among its axes, or in a row of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

import torch
from torch import Tensor, nn

from ...errors import ProbeError
from ..keeping import keeping_each
from ..marking.support import NAN, like, support
from ..stn.transformer import still_transformers
from .capture import modules_by_name, run, split_call
from .parts import part_name, parts, split_parts

# Their outputs are (N, C, H, W) by definition, whatever comes before.
_PLAIN = (
    nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.MaxPool2d, nn.AvgPool2d,
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How an output holds a map: where its channels are, and which of its tokens are cells.

    `kind` names the axes, "NCHW", "NHWC", "NCCHW" (channels and, say, a group's elements), "NHW",
    or is "tokens" (N, tokens, C); `grid` holds the (rows, columns) of cells on the canvas it was
    measured on. Of tokens the first `prefix` have no place in the image (class and register
    tokens), then come the cells row by row, and what follows has no place either.

    >>> layout = Layout("tokens", (2, 3), prefix=1)
    >>> layout.to_map(torch.zeros(5, 7, 16)).shape
    torch.Size([5, 16, 2, 3])
    >>> Layout("NCCHW", (2, 3)).to_map(torch.zeros(5, 4, 8, 2, 3)).shape
    torch.Size([5, 32, 2, 3])
    """

    kind: str
    grid: tuple[int, int]
    prefix: int = 0

    def to_map(self, output: Tensor) -> Tensor:
        """The cells of an output as a map (N, C, rows, columns); a view."""
        if self.kind == "NCHW":
            return output
        if self.kind != "tokens":
            moved = output.permute(*self._axes())
            return moved.flatten(1, -3) if output.ndim > 3 else moved.unsqueeze(1)
        rows, columns = self.grid
        cells = output[:, self.prefix : self.prefix + rows * columns]
        return cells.transpose(1, 2).unflatten(2, (rows, columns))

    def from_map(self, maps: Tensor, output: Tensor) -> Tensor:
        """An output like `output` whose cells are those of `maps` (N, C, rows, columns).

        Tokens without a place are those of `output`.
        """
        if self.kind == "NCHW":
            return maps
        if self.kind != "tokens":
            axes = self._axes()
            shape = [output.shape[axis] for axis in axes[1:-2]]
            whole = maps.reshape(len(maps), *shape, *maps.shape[2:])
            return whole.permute(*(axes.index(axis) for axis in range(len(axes)))).contiguous()
        cells = maps.flatten(2).transpose(1, 2)
        after = self.prefix + cells.shape[1]
        return torch.cat([output[:, : self.prefix], cells, output[:, after:]], dim=1)

    def fits(self, output: object) -> bool:
        """Whether an output has the axes, and the number of tokens, that this layout reads."""
        if not isinstance(output, Tensor):
            return False
        if self.kind != "tokens":
            return output.ndim == len(self.kind)
        return output.ndim == 3 and output.shape[1] >= self.prefix + self.grid[0] * self.grid[1]

    def channels(self, shape: Sequence[int]) -> int:
        """How many channels the map of an output of this shape has."""
        if self.kind == "tokens":
            return shape[-1]
        return prod(shape[axis] for axis in self._axes()[1:-2])

    def _axes(self) -> list[int]:
        """The axes of an output in the order images, channels, rows, columns."""
        rows, columns = self.kind.index("H"), self.kind.index("W")
        rest = [axis for axis in range(1, len(self.kind)) if axis not in (rows, columns)]
        return [0, *rest, rows, columns]


def measure_layouts(
    network: nn.Module, layers: Sequence[str] | None, canvas: tuple[int, int], channels: int
) -> dict[str, Layout]:
    """The layouts of layers (None: of every call and part) for images (N, channels, *canvas).

    One forward pass in which the halves of the image are marked, every cell passes on the mark of
    its own place only, and the axes along which the marks change are the rows and the columns;
    all others are channels. A tensor of four axes or more in which nothing changes, or changes
    along no single axis, is taken as (N, C, H, W), as PyTorch has it, with further channels
    before the rows; its frame will not be found. Layers without a map are left
    out, and all are if the network does not run on marked images.

    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(2))
    >>> measure_layouts(network, ["0", "1"], (8, 6), 1)
    {'0': Layout(kind='NCHW', grid=(6, 4), prefix=0)}
    """
    found: dict[str, Layout] = {}
    with torch.inference_mode(False):
        images = _halves(*canvas).to(like(network)).expand(-1, channels, -1, -1)

    def take(layer: str, output: object) -> None:
        with mode.reading():
            for path, values in parts(output):
                layout = _layout(values, len(images))
                if layout is not None:
                    found[part_name(layer, path)] = layout

    try:
        with (
            still_transformers(network),
            keeping_each(network),
            support(local=True) as mode,
        ):
            run(network, images, layers, take, stop_early=layers is not None)
    except ProbeError:
        return {}
    return found


def layouts_of(
    network: nn.Module,
    layers: Sequence[str],
    canvas: tuple[int, int],
    channels: int,
    known: Mapping[str, Layout] | None = None,
) -> dict[str, Layout]:
    """Layouts of the layers that are not plain convolutions and the like, which need none.

    `known` are layouts on another canvas: if all are maps of four axes there, they are here.
    """
    modules = modules_by_name(network)
    unclear = [
        layer for layer in layers
        if split_parts(layer, modules)[1]
        or not isinstance(modules.get(split_call(layer, modules)[0]), _PLAIN)
    ]  # fmt: skip
    if known is not None and all(
        layer in known and known[layer].kind != "tokens" for layer in unclear
    ):
        return {layer: known[layer] for layer in unclear}
    return measure_layouts(network, unclear, canvas, channels) if unclear else {}


def _halves(rows: int, columns: int) -> Tensor:
    """Images (6, 1, rows, columns) with NaN nowhere, everywhere, left, right, above, below."""
    images = torch.ones(6, 1, rows, columns)
    images[1] = NAN
    images[2, :, :, : columns // 2] = NAN
    images[3, :, :, columns // 2 :] = NAN
    images[4, :, : rows // 2] = NAN
    images[5, :, rows // 2 :] = NAN
    return images


def _layout(output: Tensor, number: int) -> Layout | None:
    if not output.shape or output.shape[0] != number or not output.is_floating_point():
        return None
    marks = torch.isnan(output.detach())
    if output.ndim == 4:
        first, last = marks.any(1).cpu(), marks.any(3).cpu()
        if _regular(last) and not _regular(first):
            return Layout("NHWC", (output.shape[1], output.shape[2]))
        if output.shape[1:3] == (1, 1) and output.shape[3] > 1 and not _regular(first):
            return Layout("NHWC", (1, 1))
        return Layout("NCHW", (output.shape[2], output.shape[3]))
    if output.ndim == 3:
        return _of_axes(marks) or _of_tokens(marks.any(2).cpu())
    if output.ndim > 4:
        axes = _of_axes(marks)
        return axes or Layout(
            "N" + "C" * (output.ndim - 3) + "HW", (output.shape[-2], output.shape[-1])
        )
    return None


def _of_axes(marks: Tensor) -> Layout | None:
    """The two axes of marks (images, ...) along which halves run; the last ones are tried first."""
    for rows, columns in reversed(list(combinations(range(1, marks.ndim), 2))):
        rest = tuple(axis for axis in range(1, marks.ndim) if axis not in (rows, columns))
        seen = (marks.any(rest) if rest else marks).cpu()
        if _regular(seen, ordered=True):
            letters = {rows: "H", columns: "W"}
            kind = "N" + "".join(letters.get(axis, "C") for axis in range(1, marks.ndim))
            return Layout(kind, (marks.shape[rows], marks.shape[columns]))
    return None


def _of_tokens(marks: Tensor) -> Layout | None:
    """The layout of tokens with these marks (images, tokens)."""
    placed = marks[1] & ~marks[0] & ~marks[2:].all(0)
    where = placed.nonzero()[:, 0].tolist()
    if not where or where[-1] - where[0] + 1 != len(where):
        return None
    cells = marks[:, where[0] : where[-1] + 1]
    for rows in range(1, len(where) + 1):
        if len(where) % rows == 0:
            grid = (rows, len(where) // rows)
            if _regular(cells.unflatten(1, grid), ordered=True):
                return Layout("tokens", grid, where[0])
    return None


def _regular(marks: Tensor, ordered: bool = False) -> bool:
    """Whether marks (images, rows, columns) of halves run along rows and columns, and change.

    `ordered`: they must change along every axis of two cells or more, once.
    """
    placed = marks[1] & ~marks[0]
    changes = 0
    for left, right, axis in ((2, 3, 0), (4, 5, 1)):
        here = placed.any(axis)
        for half, order in ((left, 1), (right, -1)):
            marked = (marks[half] & placed).any(axis)
            if bool((marked & (~marks[half] & placed).any(axis)).any()):
                return False
            steps = marked[here].int().diff()
            changes += int(bool((steps != 0).any()))
            if ordered and len(here) > 1:
                once = int((steps != 0).sum()) == 1
                if not once or int(steps.sum()) != -order:
                    return False
    return changes > 0
