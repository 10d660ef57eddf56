"""What spatial transformers make of their inputs: single images, and the mean of each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from ....data.examples.examples import Batch, Examples
from ....errors import ProbeError
from ....training.poses.poses import pose_parameters, single_labels
from ...drawing.fitting import text_width, wrapped
from ...drawing.style import NARROW, WIDE, checked_width, new_figure, styled

Array = NDArray[np.float64]

_CANDIDATES = 8  # draws per column from which the parameters shown are chosen
_GAP = 0.18  # between the columns of two examples, as a fraction of a column
_LEAST = 6.0  # millimetres of a picture
_ROOM = 1e-3  # a smaller spread of an applied parameter is none


@styled
def plot_aligned(
    networks: Mapping[str, nn.Module],
    examples: Examples,
    indices: Sequence[int] | None = None,
    draws: int = 3,
    seed: int = 0,
    *,
    width: float | None = None,
) -> Figure:
    """Draw some images under several transformations, and how each network aligns them.

    The first row holds the inputs, then comes a row per network of `networks`. Columns are the
    examples `indices` (by default the first of each of four classes), each under `draws`
    transformations: of eight times as many passes those that spread the applied angle, scale or
    shift evenly, from lowest to highest, as written above. A network that works shows an example
    the same way in all its columns. One that warps maps is shown by the motion it applies to them.
    `width` is millimetres; columns that do not fit go on below.

    Convention: angles in degrees, counter-clockwise on the screen; × factor; (dx, dy) in pixels.
    Source of the figure: Finnveden, Jansson & Lindeberg, ICPR 2020.

    Raises ProbeError for examples that are not there and networks without a transformer.
    """
    _check(networks)
    checked_width(width)
    if draws < 1:
        raise ProbeError(f"{draws} draws; show each image at least once")
    chosen = list(indices) if indices is not None else _one_per_class(examples, seed)
    for index in chosen:
        if not 0 <= index < len(examples):
            raise ProbeError(f"no example {index}; there are 0 to {len(examples) - 1}")
    batches = _spread(examples, chosen, draws, seed)
    rows = {"input": _pictures(examples, torch.stack([b.images for b in batches]))}
    for name, network in networks.items():
        shown = torch.stack([_aligned(network, batch.images) for batch in batches])
        rows[name] = _pictures(examples, shown)
    titles = [_text(batch, place) for place in range(len(chosen)) for batch in batches]
    return _grid(
        {name: [part[place] for place in range(len(chosen)) for part in shown]
         for name, shown in rows.items()},
        titles, examples.canvas, group=draws, width=width,
    )  # fmt: skip


@styled
def plot_class_means(
    networks: Mapping[str, nn.Module],
    examples: Examples,
    classes: Sequence[int] | None = None,
    passes: int = 1,
    seed: int = 0,
    batch_size: int = 100,
    *,
    width: float | None = None,
) -> Figure:
    """Draw the mean image of each class as it is given, and as each network aligns it.

    The first row holds the means of the inputs, then comes a row per network; columns are the
    `classes` (by default the first ten). The better the images of a class come to one pose, the
    sharper their mean. All `examples` in `passes` passes count. `width` is as in `plot_aligned`.

    Raises ProbeError for classes without images, for images with several labels and for networks
    without a transformer.
    """
    _check(networks)
    checked_width(width)
    shown = list(range(min(examples.classes, 10))) if classes is None else list(classes)
    sums = {name: [torch.zeros(())] * len(shown) for name in ("input", *networks)}
    counts = np.zeros(len(shown), dtype=int)
    for number in range(passes):
        draw = examples.draw(seed + number)
        for start in range(0, len(examples), batch_size):
            batch = draw.batch(range(start, min(start + batch_size, len(examples))))
            labels = single_labels(batch)
            views = {"input": batch.images}
            views |= {name: _aligned(net, batch.images) for name, net in networks.items()}
            for place, label in enumerate(shown):
                own = labels == label
                counts[place] += int(own.sum())
                for name, images in views.items():
                    part = images[own.to(images.device)].double().sum(dim=0).cpu()
                    sums[name][place] = sums[name][place] + part
    if not counts.all():
        missing = ", ".join(str(label) for label, n in zip(shown, counts, strict=True) if not n)
        raise ProbeError(f"no image of class {missing} in {examples.description}; give other ones")
    rows = {
        name: list(
            _pictures(
                examples, torch.stack([p / int(n) for p, n in zip(parts, counts, strict=True)])
            )
        )
        for name, parts in sums.items()
    }
    return _grid(rows, [str(label) for label in shown], examples.canvas, width=width)


def _grid(
    rows: Mapping[str, Sequence[Array]],
    titles: Sequence[str],
    canvas: tuple[int, int],
    group: int = 0,
    width: float | None = None,
) -> Figure:
    """Pictures by row, titles above the first; a gap after every `group` columns.

    Where a `width` is given, columns that have no room for their titles go on in rows below.
    """
    number = len(titles)
    wide = width or (WIDE if number > 4 else NARROW)
    across = number if width is None else _columns(titles, wide, group, rows)
    bands = -(-number // across)
    gaps = (across - 1) // group if group > 1 else 0
    cell = (wide - 6.0) / (across + _GAP * gaps)
    height = cell * canvas[0] / canvas[1]
    # Names of networks stand upright beside a row of pictures.
    names = [wrapped(name, max(height - 0.5, 6.0), 7.0) for name in rows]
    lines = 1 + max(title.count("\n") for title in titles)
    figure = new_figure(wide, bands * (1.0 + 3.4 * lines + len(rows) * height))
    places = [column + (column // group if gaps else 0) for column in range(across)]
    ratios = [1.0 if place in places else _GAP for place in range(across + gaps)]
    grid = figure.add_gridspec(bands * len(rows), across + gaps, width_ratios=ratios)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)  # type: ignore[call-arg]
    for row, (name, pictures) in enumerate(zip(names, rows.values(), strict=True)):
        for column, (title, picture) in enumerate(zip(titles, pictures, strict=True)):
            band, place = divmod(column, across)
            ax = figure.add_subplot(grid[band * len(rows) + row, places[place]])
            _picture(ax, picture)
            if row == 0:
                ax.set_title(title, fontsize=7.0, loc="center", pad=2.0)
            if place == 0:
                ax.set_ylabel(name, labelpad=2.0, fontsize=7.0)
    return figure


def _columns(titles: Sequence[str], width: float, group: int, names: Iterable[str]) -> int:
    """How many pictures have room side by side, in whole groups where one fits."""
    # A title stands above a picture, the name of a row upright beside it, in a few lines if long.
    beside = min(12.0, 0.5 + max(text_width(name, 7.0) for name in names))
    least = max(_LEAST, beside, 1.0 + max(text_width(title, 7.0) for title in titles))
    fit = max(1, min(len(titles), int((width - 6.0) // (least * (1 + _GAP / max(group, 1))))))
    if 1 < group <= fit:
        return fit - fit % group
    return -(-len(titles) // -(-len(titles) // fit))  # rows of nearly equal length


def _check(networks: Mapping[str, nn.Module]) -> None:
    for name, network in networks.items():
        if not hasattr(network, "align") or not getattr(network, "has_transformer", True):
            raise ProbeError(f"{name} has no spatial transformer: it aligns nothing; leave it out")


def _aligned(network: nn.Module, images: Tensor) -> Tensor:
    """The images as a network's transformers show them."""
    place = next(network.parameters(), images)
    with torch.inference_mode():
        return network.align(images.to(place)).images  # type: ignore[operator]


def _one_per_class(examples: Examples, seed: int) -> list[int]:
    few = range(min(len(examples), 200))
    labels = single_labels(examples.draw(seed).batch(few)).tolist()
    return [labels.index(label) for label in sorted(set(labels))[:4]]


def _spread(examples: Examples, chosen: list[int], draws: int, seed: int) -> list[Batch]:
    """Batches of the chosen examples whose applied parameters rise evenly from batch to batch."""
    number = _CANDIDATES * draws if draws > 1 else 1
    found = [examples.draw(seed + k).batch(chosen) for k in range(number)]
    if any(batch.transforms is None for batch in found):
        return found[:draws]
    values = np.stack([_parameter(batch) for batch in found])  # (candidates, examples)
    ranks = np.linspace(0, number - 1, draws).round().astype(int)
    order = np.argsort(values, axis=0, kind="stable")[ranks]
    return [
        Batch(*(_pick([getattr(b, field) for b in found], line)
                for field in ("images", "targets", "transforms")))
        for line in order
    ]  # fmt: skip


def _pick(parts: Sequence[Tensor], line: NDArray[np.intp]) -> Tensor:
    return torch.stack([parts[draw][place] for place, draw in enumerate(line.tolist())])


def _parameter(batch: Batch) -> Array:
    """The applied parameter that varies first: angle, scale or shift to the right."""
    if batch.transforms is None:
        return np.zeros(len(batch))
    values = pose_parameters(batch.transforms)
    varied = np.abs(values).max(axis=0) > _ROOM
    return np.asarray(values[:, int(np.argmax(varied))])


def _text(batch: Batch, place: int) -> str:
    """What was applied to one image, in a few letters."""
    if batch.transforms is None:
        return ""
    angle, octave, dx, dy = pose_parameters(batch.transforms[place, None])[0]
    parts = []
    if abs(angle) > _ROOM:
        parts.append(f"{round(angle)}°")
    if abs(octave) > _ROOM:
        parts.append(f"×{2.0**octave:.2g}")
    if max(abs(dx), abs(dy)) > _ROOM:
        parts.append(f"({round(dx)}, {round(dy)})")
    return "\n".join(parts).replace("-", "−")


def _pictures(examples: Examples, images: Tensor) -> Array:
    """(..., H, W, 3) or (..., H, W) pixels in [0, 1], without normalisation."""
    images = images.detach().cpu().double()
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(-1, 1, 1)
                 for v in (examples.mean, examples.std))  # fmt: skip
    pixels = (images * std + mean).clamp(0, 1).numpy()
    if pixels.shape[-3] == 3:
        return np.asarray(np.moveaxis(pixels, -3, -1))
    return np.asarray(pixels.mean(axis=-3))


def _picture(ax: Axes, pixels: Array) -> None:
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
