"""Choosing what to draw from results, with errors that say what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import ProbeError
from ..probing import OracleResult, Result
from ..probing.rungs import CEILING

CURVES = ("rotation", "scaling")


@dataclass(frozen=True)
class Block:
    """The transformations of one kind in one result, and the layers to show."""

    result: Result
    kind: str
    layers: tuple[str, ...]

    @property
    def numeric(self) -> bool:
        """Whether one number, an angle or a uniform factor, orders the transformations."""
        return self.kind in CURVES and not self.moves["transform"].str.contains(",").any()

    @property
    def moves(self) -> pd.DataFrame:
        """One row per transformation, in the order in which they are drawn."""
        return moves_of(self.result, self.kind)

    def rows(self, layer: str, table: str = "summary") -> pd.DataFrame:
        """Rows of a table for one layer, one per transformation where the table has one."""
        rows: pd.DataFrame = getattr(self.result, table)
        rows = rows[(rows["layer"] == layer) & (rows["kind"] == self.kind)]
        return rows.sort_values("parameter", kind="stable") if self.numeric else rows


def moves_of(result: Result, kind: str | None = None) -> pd.DataFrame:
    """Columns transform, kind, parameter, identity: angles and factors in rising order."""
    columns = ["transform", "kind", "parameter", "identity"]
    moves = result.summary[columns].drop_duplicates("transform", ignore_index=True)
    if kind is not None:
        moves = moves[moves["kind"] == kind]
        if kind in CURVES and not moves["transform"].str.contains(",").any():
            moves = moves.sort_values("parameter", kind="stable")
    return moves.reset_index(drop=True)


def as_results(result: Result | Sequence[Result]) -> tuple[Result, ...]:
    """One result or several, as a tuple."""
    results = (result,) if isinstance(result, Result) else tuple(result)
    if not results:
        raise ProbeError("no result to draw; give one that probe(...) returned")
    return results


def kinds_of(result: Result) -> list[str]:
    """Kinds of transformations in a result, in its order; the identity only if nothing else is."""
    kinds = list(dict.fromkeys(result.summary["kind"]))
    return [kind for kind in kinds if kind != "identity"] or kinds


def choose_blocks(
    result: Result | Sequence[Result],
    kind: str | None = None,
    layers: str | Iterable[str] | None = None,
) -> list[Block]:
    """Every kind (or the one asked for) of every result, in order.

    Raises ProbeError where no result has the kind or one lacks a layer.
    """
    results = as_results(result)
    blocks = [
        Block(one, name, choose_layers(one, layers))
        for one in results
        for name in kinds_of(one)
        if kind in (None, name)
    ]
    if not blocks:
        there = dict.fromkeys(name for one in results for name in kinds_of(one))
        raise ProbeError(
            f"no transformation of kind {kind!r} in this result, which has {', '.join(there)}; "
            f"ask for one of those or probe with {kind}s too"
        )
    return blocks


def choose_layers(result: Result, layers: str | Iterable[str] | None = None) -> tuple[str, ...]:
    """The layers asked for, all by default; unknown ones are refused with near matches."""
    there = result.axes["layer"]
    if layers is None:
        return tuple(there)
    asked = (layers,) if isinstance(layers, str) else tuple(layers)
    return tuple(known("layer", name, there) for name in asked) or tuple(there)


def choose_rungs(result: Result, rungs: str | Iterable[str] | None = None) -> tuple[str, ...]:
    """The rungs asked for, all by default; unknown ones are refused with near matches."""
    there = result.axes["rung"]
    if rungs is None:
        return tuple(there)
    asked = (rungs,) if isinstance(rungs, str) else tuple(rungs)
    return tuple(known("rung", name, there) for name in asked) or tuple(there)


def undetermined(
    result: Result, layers: Iterable[str], rungs: Iterable[str]
) -> dict[str, list[str]]:
    """Layers, by rung, in which a rung has no number anywhere although the layer varies."""
    rows = result.residuals
    found = rows.assign(there=np.isfinite(rows["residual"].to_numpy(dtype=float)))
    there = found.groupby(["layer", "rung"], sort=False)["there"].any()
    lacking = {
        rung: [name for name in layers if there[name, CEILING] and not there[name, rung]]
        for rung in rungs
    }
    return {rung: names for rung, names in lacking.items() if names}


def choose_transform(result: Result, transform: str) -> str:
    """The transform asked for; an unknown one is refused with near matches."""
    return known("transform", transform, result.axes["transform"])


def spoken(transform: str) -> str:
    """A transformation as a figure names it, with numbers that can be read.

    >>> spoken("rotation:-90"), spoken("scaling:1.4142135623730951"), spoken("translation:3,-2")
    ('rotation −90°', 'scaling 1.41', 'translation 3, −2')
    """
    kind, _, values = transform.partition(":")
    unit = {"rotation": "°", "reflection": "°"}.get(kind, "")
    return f"{kind} {plain_numbers(values)}{unit}".strip()


def plain_numbers(text: str) -> str:
    """Numbers between commas with three digits after the point at most.

    >>> plain_numbers("1.4142135623730951,-2"), plain_numbers("0.70710678")
    ('1.41, −2', '0.707')
    """
    return ", ".join(_plain(part) for part in text.split(",")).replace("-", "−")


def _plain(part: str) -> str:
    try:
        return f"{float(part):.4g}" if abs(float(part)) >= 100 else f"{float(part):.3g}"
    except ValueError:
        return part


def known(what: str, name: str, there: Sequence[str], where: str = "this result") -> str:
    """The name, if it is there; ProbeError with near matches otherwise."""
    if name in there:
        return name
    near = difflib.get_close_matches(name, there, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        shown = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
        hint = f"there are {shown}"
    raise ProbeError(f"no {what} {name!r} in {where}; {hint}")


def interval_percent(result: Result | OracleResult) -> str:
    """The level of the intervals as text: "95 %"."""
    return f"{100 * result.level:g} %"


def closes(angles: np.ndarray) -> bool:
    """Whether sorted angles in degrees go all the way round, so that ±180° is one point.

    >>> closes(np.arange(-180.0, 180.0, 15.0)), closes(np.arange(-90.0, 91.0, 15.0))
    (True, False)
    """
    if len(angles) < 4 or (angles[0] == -180) == (angles[-1] == 180):
        return False
    gap = angles[0] + 360 - angles[-1]
    return bool(gap <= 1.5 * np.median(np.diff(angles)))


def around(angles: np.ndarray) -> np.ndarray:
    """Indices that repeat the half turn at the other end of a closed run of angles."""
    index = np.arange(len(angles))
    if not closes(angles):
        return index
    return np.append(index, 0) if angles[0] == -180 else np.append(len(angles) - 1, index)


def unrolled(angles: np.ndarray) -> np.ndarray:
    """The angles at `around`, with the repeated half turn at ±180°."""
    values = angles[around(angles)].copy()
    if len(values) > len(angles):
        values[0], values[-1] = -180.0, 180.0
    return values
