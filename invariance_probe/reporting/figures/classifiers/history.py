"""How training went: loss and error against the step, a line per seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ....errors import ProbeError
from ....probing.rungs import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from ....training import TrainedRun
from ...drawing.panels import given_axes
from ...drawing.style import NARROW, checked_width, new_figure, styled

_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)


@styled
def plot_history(
    run: TrainedRun,
    seeds: int | Iterable[int] | None = None,
    *,
    axes: Axes | Sequence[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw the loss (left) and the error (right) of a run against the step, a line per seed.

    Both are means over the batches since the point before, as they were trained on; points are the
    error of one pass over the test set, where the run looked. The loss is logarithmic. `seeds` are
    all by default. With `axes`, one each for loss and error, the legend is left to the caller.
    `width` is millimetres, 85 by default.

    Raises ProbeError for seeds that the run does not have, and without a history.
    """
    chosen = _seeds(run, seeds)
    figure: Figure
    if axes is None:
        figure = new_figure(checked_width(width) or NARROW, 52.0)
        panels = list(figure.subplots(1, 2))
    else:
        figure, panels = given_axes(axes, 2)
    for place, seed in enumerate(chosen):
        colour = _COLOURS[place % len(_COLOURS)]
        table = run.history(seed)
        panels[0].plot(table["step"], table["loss"], color=colour, label=f"seed {seed}")
        panels[1].plot(table["step"], 100 * (1 - table["accuracy"]), color=colour)
        if "test_error" in table:
            panels[1].plot(
                table["step"], 100 * table["test_error"].astype(float), color=colour, marker="o",
                linestyle="none",
            )  # fmt: skip
    panels[0].set_yscale("log")
    panels[0].set_title("loss (nats)")
    panels[1].set_ylim(bottom=0)
    panels[1].set_title("error (%)")
    for ax in panels:
        ax.set_xlim(left=0)
        ax.set_xlabel("step")
        ax.locator_params(axis="x", nbins=3)
    if axes is None:
        handles = list(panels[0].get_lines())
        if any(line.get_marker() == "o" for line in panels[1].get_lines()):
            handles.append(Line2D([], [], color="0.4", marker="o", linestyle="none", label="test"))
        figure.legend(
            handles=handles,
            loc="outside lower center",
            borderaxespad=0.2,
            ncols=min(4, len(handles)),
        )
    return figure


def _seeds(run: TrainedRun, seeds: int | Iterable[int] | None) -> list[int]:
    there = list(run.networks)
    asked = there if seeds is None else [seeds] if isinstance(seeds, int) else list(seeds)
    for seed in asked:
        if seed not in there:
            raise ProbeError(
                f"no seed {seed} in '{run.folder}'; there are {', '.join(map(str, there))}"
            )
    return asked
