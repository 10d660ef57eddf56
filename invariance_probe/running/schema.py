"""What the parts of a stored result must look like, checked before anything is computed of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._limits import DENSE, is_formula

TEXT_COLUMNS = {
    "layer", "transform", "kind", "rung", "best", "runner_up", "status", "start", "family", "by",
    "first", "second", "product", "treatment", "reason", "network", "network_layer", "quantity",
    "method", "frame_method", "source", "part", "best_status",
}  # fmt: skip
"""Columns of text: a layer called "0" must not come back as a number, nor "" as a missing one."""

_MOVED = ("layer", "transform", "kind", "parameter", "identity")
_COMPOSED = ("first", "second", "product", "composed_linear", "direct_linear",
             "composed_orthogonal", "direct_orthogonal")  # fmt: skip
_PLACED = ("channels", "rows", "columns", "jump_x", "jump_y")
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "residuals": (*_MOVED, "rung", "residual", "low", "high", "images"),
    "summary": (*_MOVED, "best", "recovered", "low", "high"),
    "alignments": (
        *_MOVED, "best", "angle", "scale", "shift_x", "shift_y", "distance_px", "fit_residual",
        "fit_inverse", "fit_unaligned", "runner_up", "runner_up_residual", "coverage", "status",
        "start", "family",
    ),
    "landscape": (*_MOVED, "by", "value", "residual"),
    "layers": (
        "layer", *_PLACED, "start_x", "start_y", "offset_x", "offset_y", "compared_cells",
        "cell_step", "dead_channels",
    ),
    "channels": (*_MOVED, "determined", "samples", "moved", "moved_by_chance",
                 "strongest_changed", "strongest_changed_floor", "off_diagonal"),
    "tuning": (*_MOVED, "channel", "mean", "rms"),
    "composition": ("layer", "kind", *_COMPOSED),
    "ledger": (*_MOVED, "source", "part", "share", "low", "high"),
    "bounds": (*_MOVED, "bound", "determined", "rank", "positions", "samples"),
    "accuracy": (
        *_MOVED, "treatment", "images",
        *(f"{measure}{end}" for measure in ("accuracy", "agreement", "logit_residual")
          for end in ("", "_low", "_high")),
    ),
    "inadmissible": ("layer", "reason"),
    "comparison": (*_MOVED, "quantity", "network", "value", "low", "high"),
    "pairs": ("layer", "network", "network_layer", *_PLACED),
}  # fmt: skip
_KEYS: Mapping[str, tuple[str, ...]] = {
    "residuals": ("layer", "transform", "rung"),
    "summary": ("layer", "transform"),
    "alignments": ("layer", "transform"),
    "landscape": ("layer", "transform", "by", "value"),
    "layers": ("layer",),
    "channels": ("layer", "transform"),
    "tuning": ("layer", "transform", "channel"),
    "composition": ("layer", "kind", "first", "second"),
    "bounds": ("layer", "transform"),
    "ledger": ("layer", "transform", "source", "part"),
    "accuracy": ("layer", "transform", "treatment"),
    "inadmissible": ("layer",),
}
"""What tells the rows of a table apart: two of the same would be read as either."""

_YES_OR_NO = {"identity", "exact", "determined", "excludes_zero"}
_FINITE = {"parameter", "jump_x", "jump_y", "start_x", "start_y", "offset_x", "offset_y"}
_PARTS = ("network", "images", "options", "conventions", "software", "numerics", "versions")
_TEXTS = {"network": ("name", "description", "state_sha256"), "images": ("description",),
          "software": ("name", "version", "commit")}  # fmt: skip


class Remark(str):
    """A warning of a result: a text "KIND: ..." or "KIND of LAYER: ...".

    >>> remark = Remark("grid of lstm:0: the map's centre lies (2, 0) px off the image's")
    >>> remark.kind, remark.layer, remark.said
    ('grid', 'lstm:0', "the map's centre lies (2, 0) px off the image's")
    """

    @property
    def kind(self) -> str:
        """What it is about: grid, cells, borders, purity, ..."""
        return self.partition(": ")[0].partition(" of ")[0]

    @property
    def layer(self) -> str:
        """The layer that it is about, "" where it is about all."""
        return self.partition(": ")[0].partition(" of ")[2]

    @property
    def said(self) -> str:
        """The text without kind and layer."""
        return self.partition(": ")[2]


def remarks(provenance: Mapping[str, Any], kind: str | None = None) -> tuple[Remark, ...]:
    """The warnings that provenance holds: all, or those of one kind."""
    every = map(Remark, provenance.get("warnings", ()))
    return tuple(one for one in every if kind in (None, one.kind))


def check_table(name: str, table: pd.DataFrame) -> None:
    """Raise ValueError unless a table has its columns, each of its kind.

    >>> check_table("inadmissible", pd.DataFrame({"layer": ["a"]}))
    Traceback (most recent call last):
        ...
    ValueError: inadmissible.csv lacks the column reason
    """
    columns = list(table.columns)
    if twice := {column for column in columns if columns.count(column) > 1}:
        raise ValueError(f"{name}.csv has the column {min(twice)} twice")
    empty = not len(table)
    for column in () if empty and columns == ["layer"] else _COLUMNS.get(name, ()):
        if column not in columns and not (name == "summary" and column == "best"):
            raise ValueError(f"{name}.csv lacks the column {column}")
    for column in [] if empty else columns:
        _check_column(name, column, table[column])
    if not empty and table.duplicated(keys := list(_KEYS.get(name, columns))).any():
        raise ValueError(f"{name}.csv has two rows of the same {', '.join(keys)}")


def _check_column(name: str, column: str, values: pd.Series[Any]) -> None:
    where = f"{name}.csv, column {column}"
    if _is_text(name, column):
        if column in ("layer", "network_layer") and any(map(is_formula, values)):
            raise ValueError(f"{where}: a name that spreadsheets would compute as a formula")
        return
    if column in _YES_OR_NO:
        if values.dtype != bool:
            raise ValueError(f"{where}: not all are True or False")
    elif name in _COLUMNS and values.dtype.kind not in "if":
        raise ValueError(f"{where}: not all are numbers")
    elif values.dtype.kind == "f" and np.isinf(values).any():
        raise ValueError(f"{where}: a number without end")
    elif name != "comparison" and column in _FINITE and values.isna().any():
        raise ValueError(f"{where}: a number is missing")
    elif column == "dense" and not ((values % 1 == 0) & (values >= 1) & (values <= DENSE)).all():
        raise ValueError(f"{where}: not all are whole numbers from 1 to {DENSE}")


def text_columns(table: str) -> set[str]:
    """The columns of text of a table; `best` names a transform but in the summary, a rung."""
    return TEXT_COLUMNS - {"best"} if table == "summary" else TEXT_COLUMNS


def _is_text(table: str, column: str) -> bool:
    return column in text_columns(table)


def check_provenance(held: Any) -> None:
    """Raise ValueError unless what is said of a result has the kinds of values it must have."""
    if not isinstance(held, dict):
        raise ValueError("provenance.json holds no object")
    for name in _PARTS:
        if not isinstance(held.get(name, {}), dict):
            raise ValueError(f"{name} of provenance.json is no object")
    for name, keys in _TEXTS.items():
        for key in keys:
            if not isinstance(held.get(name, {}).get(key, ""), str | None):
                raise ValueError(f"{name}.{key} of provenance.json is no text")
    for name in ("warnings", "transforms", "notes"):
        values = held.get(name, [])
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise ValueError(f"{name} of provenance.json is no list of texts")
    if not isinstance(held.get("config"), dict | None):
        raise ValueError("config of provenance.json is no object")
    _check_options(held.get("options", {}))
    _check_numbers(held.get("options", {}), "options")
    _check_numbers(held.get("images", {}), "images")


def _check_options(held: Mapping[str, Any]) -> None:
    for name, value in held.items():
        if not isinstance(value, str | int | float | None):
            raise ValueError(f"options.{name} of provenance.json is no text or number")
    level = held.get("level", 0.95)
    if isinstance(level, str | bool | None) or not 0 < level < 1:
        raise ValueError("options.level of provenance.json does not lie between 0 and 1")


_WHOLE = ("number", "fit", "evaluation", "available", "resamples", "seed", "search_images")
_LISTS = ("canvas", "source", "fill", "mean", "std")


def _check_numbers(held: Mapping[str, Any], name: str) -> None:
    for key in _WHOLE:
        value = held.get(key, 0)
        if not isinstance(value, int | None) or isinstance(value, bool):
            raise ValueError(f"{name}.{key} of provenance.json is no whole number")
    for key in _LISTS:
        values = held.get(key)
        if values is None or (isinstance(values, str) and name == "options"):
            continue
        plain = isinstance(values, list) and all(isinstance(v, int | float) for v in values)
        if not plain or not np.isfinite(values).all():
            raise ValueError(f"{name}.{key} of provenance.json is no list of numbers")
        if key in ("canvas", "source") and len(values) != 2:
            raise ValueError(f"{name}.{key} of provenance.json is not two numbers")


def axes_of(arrays: Mapping[str, NDArray[Any]], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The names along axes, from the arrays "axis_NAME"; ValueError unless they are texts."""
    axes: dict[str, tuple[str, ...]] = {}
    for name in names:
        values = arrays[f"axis_{name}"]
        if values.ndim != 1 or values.dtype.kind != "U":
            raise ValueError(f"the names along {name} are no list of texts")
        axes[name] = tuple(values.tolist())
        if name in ("transform", "rung") and len(set(axes[name])) < len(axes[name]):
            raise ValueError(f"a {name} is there twice")
    return axes


def check_array(
    name: str, values: NDArray[Any], shape: Sequence[int], kinds: str, least: float | None = None
) -> None:
    """Raise ValueError unless an array has a shape and kind, and no value below `least`."""
    if values.shape != tuple(shape) or values.dtype.kind not in kinds:
        raise ValueError(
            f"{name} has shape {values.shape} of {values.dtype}, which does not fit its names"
        )
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise ValueError(f"{name} holds a number without end")
    if least is not None and (values < least).any():
        raise ValueError(f"{name} holds a number below {least:g}")


def check_moves(tables: Mapping[str, pd.DataFrame]) -> None:
    """Raise ValueError where a transform has another kind, parameter or identity in some row."""
    about = [name for name in _MOVED if name != "layer"]
    told = [table[about] for table in tables.values() if len(table) and "transform" in table]
    seen = pd.concat(told).drop_duplicates() if told else pd.DataFrame(columns=about)
    if (again := seen["transform"].duplicated()).any():
        raise ValueError(f"{seen['transform'][again].iloc[0]!r} is described in two ways")


def check_names(
    name: str, table: pd.DataFrame, axes: Mapping[str, tuple[str, ...]], *, whole: bool = False
) -> None:
    """Raise ValueError where a table speaks of a layer, transform or rung that was not measured.

    With `whole` it must have one row for each combination of its names.
    """
    known = [column for column in ("layer", "transform", "rung", "treatment") if column in axes]
    here = [column for column in known if column in table.columns] if len(table) else []
    for column in here:
        if strange := set(table[column]) - set(axes[column]):
            raise ValueError(f"{name}.csv names a {column} {min(strange)!r} that has no sums")
    if name == "composition" and len(table):
        pairs = table[table["kind"] == "pair"]
        if strange := {*table["first"], *pairs["product"]} - set(axes["transform"]):
            raise ValueError(f"composition.csv names a transform {min(strange)!r} without sums")
    if whole:
        wanted = int(np.prod([len(set(axes[column])) for column in here]))
        if len(table) != wanted or table.duplicated(here).any():
            raise ValueError(f"{name}.csv has not one row for each {', '.join(here)}")
