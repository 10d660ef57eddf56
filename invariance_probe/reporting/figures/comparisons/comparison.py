"""Networks on one plan: a curve each, and below it the paired difference to the baseline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ....errors import ProbeError
from ....probing.comparison.compared import Comparison
from ....probing.ladder.shares import READINGS, SHARES
from ....probing.rungs import (
    BLACK,
    BLUE,
    CEILING,
    FLOOR,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Style,
    rung_of,
)
from ...drawing.style import SHADE, styled
from ...select import known
from .compared import (
    DIFFERENCE,
    VALUE,
    choose_blocks,
    curve,
    draw,
    finish,
    limits,
    line,
    move_axis,
    pair_grid,
    percent,
    step_axis,
)

COURSE = (
    "unaligned", "inverse", "best", "spatial_bound", "inverse_linear", "input_aligned",
    "other_image",
)  # fmt: skip
_LOOKS: tuple[tuple[str, str, Any], ...] = (
    (BLACK, "o", "-"), (VERMILLION, "s", (0, (5, 1.5))), (BLUE, "^", (0, (3, 1, 1, 1))),
    (GREEN, "D", (0, (1, 1))), (ORANGE, "P", (0, (8, 2))), (SKY, "X", (0, (3, 1, 1, 1, 1, 1))),
    (PURPLE, "v", (0, (2, 2))), (GREY, "p", (0, (10, 1, 2, 1))),
)  # fmt: skip


@styled
def plot_comparison(
    comparison: Comparison,
    quantity: str = "inverse",
    kind: str | None = None,
    layers: str | Iterable[str] | None = None,
    *,
    width: float | None = None,
) -> Figure:
    """Draw a quantity of every network against the transformation, and its difference below.

    A pair of panels per layer: above, a curve per network with its interval; below, the paired
    difference to the baseline with its own. Thin lines are each network's floor and ceiling, grey
    the band between the baseline's; `recovered` lies between them by definition. `kind` is
    "rotation", "scaling", ...; None draws all in rows of their own. `width` is 85 mm
    (`style.NARROW`, the default for up to two layers) or 170 mm (`style.WIDE`).

    Convention: difference = network − baseline; angles in degrees, counter-clockwise on the
    screen; factors > 1 enlarge.

    Raises ProbeError for an unknown quantity, kind or layer.
    """
    name = known("quantity", quantity, comparison.quantities, "this comparison")
    blocks = choose_blocks(comparison, kind, layers)
    looks = network_styles(comparison)
    both = set(comparison.quantities) >= {FLOOR, CEILING} and name not in (*SHARES, FLOOR, CEILING)
    handles: list[Artist] = [line(style) for style in looks.values()]
    if both:
        handles.append(Line2D([], [], color=GREY, linewidth=0.5, label="floor and ceiling of each"))
        handles.append(Patch(facecolor=SHADE, label="between the baseline's"))
    handles.append(Patch(facecolor=GREY, alpha=0.3, label=f"{percent(comparison)} interval"))
    figure, pairs, room = pair_grid(blocks, handles, width)
    for (layer, block), (above, below) in pairs:
        rows = comparison.table[comparison.table["layer"] == layer].set_index("transform")
        for place, (network, style) in enumerate(looks.items()):
            own = rows[rows["network"] == network].loc[list(block.moves)]
            one = own[own["quantity"] == name]
            spot = (place, len(looks))
            draw(above, block, one, VALUE, style, spot)
            if both:
                limits(above, block, own.reset_index(), style, spot, network == comparison.baseline)
            if network != comparison.baseline:
                draw(below, block, one, DIFFERENCE, style, spot)
        move_axis(below, block, room)
    upper = f"{quantity_style(name).label}\n({'share' if name in SHARES else 'residual'})"
    finish(pairs, upper, comparison, from_zero=name not in SHARES)
    return figure


@styled
def plot_training_course(
    comparison: Comparison,
    quantities: str | Iterable[str] | None = None,
    kind: str | None = None,
    layers: str | Iterable[str] | None = None,
    *,
    width: float | None = None,
    xlabel: str = "training step",
) -> Figure:
    """Draw quantities against the number that orders the networks, such as their training step.

    A pair of panels per layer: above, the means over all transformations of a kind with their
    intervals, a curve per quantity; below, their paired differences to the baseline, without the
    ceiling's. Steps that span more than a factor of 20 stand on a logarithmic axis. Arguments as
    `plot_comparison`.

    Raises ProbeError where the comparison has no `along`, and for unknown names.
    """
    if comparison.along is None:
        raise ProbeError(
            "this comparison has no order to draw along; compare(..., along=[0, 1000, 5000]) "
            "(--along 0,1000,5000) gives every result a number"
        )
    wanted = [q for q in COURSE if q in comparison.quantities]
    if quantities is not None:
        where = "this comparison"
        asked = [quantities] if isinstance(quantities, str) else list(quantities)
        wanted = [known("quantity", one, comparison.quantities, where) for one in asked]
    looks = {one: quantity_style(one, wanted) for one in wanted}
    blocks = choose_blocks(comparison, kind, layers, means=True)
    handles: list[Artist] = [line(style) for style in looks.values()]
    handles.append(Patch(facecolor=GREY, alpha=0.3, label=f"{percent(comparison)} interval"))
    figure, pairs, _ = pair_grid(blocks, handles, width, subtitles=True)
    table = comparison.means().sort_values("along", kind="stable")
    for (layer, block), (above, below) in pairs:
        rows = table[(table["layer"] == layer) & (table["kind"] == block.kind)]
        for one, style in looks.items():
            own = rows[rows["quantity"] == one]
            x = own["along"].to_numpy(dtype=float)
            curve(above, x, own, VALUE, style)
            if one == CEILING:
                continue  # wide, and no part of what training can change
            # The baseline differs from itself by nothing: the curve passes through 0 there.
            own = own.fillna({f"difference{end}": 0.0 for end in ("", "_low", "_high")})
            curve(below, x, own, DIFFERENCE, style)
        step_axis(below, np.array(sorted(comparison.along.values())), xlabel)
    shares = {one in SHARES for one in wanted}
    label = "residual" if shares == {False} else "share" if shares == {True} else "value"
    if len(wanted) == 1:
        label = f"{looks[wanted[0]].label}\n({label})"
    finish(pairs, label, comparison, from_zero=shares == {False})
    return figure


def network_styles(comparison: Comparison) -> dict[str, Style]:
    """Colour, mark and line of every network: the baseline black, told apart without colour."""
    others = [name for name in comparison.networks if name != comparison.baseline]
    looks = {comparison.baseline: _LOOKS[0]}
    looks |= {name: _LOOKS[1 + n % (len(_LOOKS) - 1)] for n, name in enumerate(others)}
    extra = {comparison.baseline: " (baseline)"}
    return {n: Style(n + extra.get(n, ""), *looks[n]) for n in comparison.networks}


def quantity_style(quantity: str, among: Iterable[str] = ()) -> Style:
    """Label and look of a rung, as in every figure, or of a share.

    >>> quantity_style("won_by_linear").label
    'won by a linear map'
    """
    others = tuple(one for one in among if one not in READINGS)
    return READINGS.get(quantity) or rung_of(quantity, others)
