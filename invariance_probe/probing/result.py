"""The outcome of a probe as a value: tidy tables, sums per image, provenance."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._limits import is_real
from ..alignment import PARTS
from ..errors import ProbeError
from ..geometry import Transform
from ..running.hashes import content_hash
from ..running.plots import Plots, as_html
from ..running.schema import Remark, axes_of, check_array, check_moves, check_names, remarks
from ..running.storage import OPTIONAL, TABLES, damage_named, read_folder, write_folder
from .options import SOURCES, stored_level

AXES = ("layer", "transform", "rung", "image")


def _no_layers() -> pd.DataFrame:
    return pd.DataFrame(columns=["layer"])


@dataclass(frozen=True, eq=False)
class Result:
    """Residuals per layer, transformation and rung, with all that is needed to check them.

    Attributes
    ----------
    residuals : one row per layer, transform and rung: `residual`, interval `low`, `high`, number
        of evaluation `images`; `kind` and `parameter` describe the transform (degrees, factors).
    summary : one row per layer and transform: the residual of every rung, and
        `recovered` = (ceiling − inverse)/(ceiling − floor) with its interval; `won_by_linear` =
        (inverse − inverse_linear)/(inverse − floor) is what a channel map wins back.
    alignments : one row per layer and transform: the transform found by the search, in-sample
        residuals, distance from h⁻¹ in pixels, runner-up, coverage, status.
    landscape : in-sample residual against the aligning angle and scale.
    layers : one row per layer: channels, map size, frame, the margin in pixels that cells keep from
        the canvas' edge, how many are compared, dead channels.
    channels : one row per layer and transform: share of variance that moved to other channels,
        beside chance; how often the strongest channel changes, beside the floor.
    tuning : response of every channel under every transform.
    composition : held-out residuals of composed channel maps, and closure after a full turn.
    ledger : one row per layer, transform, source and part: the share of the original's variance
        that `part` predicts ("position", "space", "channels", "neighbourhood", and what is "lost",
        or "undetermined" with so few images; they add up to 1) from the maps of `source` ("maps
        moved", "input moved", "another image").
    bounds : in-sample bound over all linear operators on positions, rank, regularisation.
    errors : sums of squared errors, (layers, transforms, rungs, evaluation images).
    variance : sums of squared deviations of the originals, (layers, evaluation images).
    axes : names along the axes of `errors`: layer, transform, rung, image.
    provenance : configuration, versions, hashes, device, and warnings.
    extra : arrays by name: "permutation/LAYER" (transforms, C), "correlation/LAYER" and
        "by_chance/LAYER", each original channel's greatest correlation with another channel of
        unrelated images.
    """

    residuals: pd.DataFrame
    summary: pd.DataFrame
    alignments: pd.DataFrame
    landscape: pd.DataFrame
    layers: pd.DataFrame
    errors: NDArray[np.float64]
    variance: NDArray[np.float64]
    axes: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, Any]
    channels: pd.DataFrame = field(default_factory=_no_layers)
    tuning: pd.DataFrame = field(default_factory=_no_layers)
    composition: pd.DataFrame = field(default_factory=_no_layers)
    bounds: pd.DataFrame = field(default_factory=_no_layers)
    ledger: pd.DataFrame = field(default_factory=_no_layers)
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    plot = Plots()
    """The figures of this result: ``result.plot.residuals()`` is ``plot_residuals(result)``."""

    @property
    def warnings(self) -> tuple[Remark, ...]:
        """What a reader of the numbers must know: grid offsets, borders, dead channels."""
        return remarks(self.provenance)

    @property
    def level(self) -> float:
        """The level of the intervals."""
        return stored_level(self.provenance)

    @property
    def margins(self) -> dict[str, float]:
        """Pixels that compared cells keep from the canvas' edge, by layer."""
        if "margin" in self.layers:
            return dict(zip(self.layers["layer"], self.layers["margin"].astype(float), strict=True))
        erode = self.provenance.get("options", {}).get("erode")
        known = is_real(erode, 0, math.inf)
        return dict.fromkeys(self.axes["layer"], float(erode) if known else 0.0)

    @property
    def dense(self) -> dict[str, int]:
        """How many times finer than its own the grid of each layer was that was moved back."""
        if "dense" not in self.layers:
            return dict.fromkeys(self.axes["layer"], 1)
        return dict(zip(self.layers["layer"], self.layers["dense"].astype(int), strict=True))

    def per_image(self) -> pd.DataFrame:
        """One row per layer, transform, rung and evaluation image: its squared error and variance.

        Sums over images of `squared_error` over sums of `variance` are the residuals.
        """
        index = pd.MultiIndex.from_product([self.axes[name] for name in AXES], names=list(AXES))
        shape = self.errors.shape
        variance = np.broadcast_to(self.variance[:, None, None, :], shape)
        return pd.DataFrame(
            {"squared_error": self.errors.ravel(), "variance": variance.ravel()}, index=index
        ).reset_index()

    def ladder(self, transform: str | Transform | None = None) -> pd.DataFrame:
        """Residuals as a table layers x rungs, of one transform or averaged over all.

        Averages leave out the identity, where every rung but the ceiling is 0. Raises ProbeError
        for a transform that was not measured.
        """
        rows = self.residuals
        if transform is not None:
            text, known = str(transform), self.axes["transform"]
            if text not in known:
                near = difflib.get_close_matches(text, known, n=3) or known[:8]
                raise ProbeError(
                    f"no transform {text!r} in this result; there are {', '.join(near)}"
                )
            rows = rows[rows["transform"] == text]
        else:
            rows = rows[~rows["identity"]]
        table = rows.pivot_table(
            index="layer", columns="rung", values="residual", sort=False, aggfunc="mean"
        )
        order = list(self.axes["layer"])
        return table.reindex(index=order, columns=list(self.axes["rung"]))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write tables (CSV), sums per image (NPZ) and provenance (JSON) to a folder.

        The folder appears whole or not at all. Raises ProbeError when it already holds something
        and `overwrite` is off, or when the disk is full.
        """
        return write_folder(Path(folder), *self._stored(), overwrite=overwrite)

    @property
    def content_hash(self) -> str:
        """SHA-256 over tables, arrays and settings: the same for the same run, wherever it lies."""
        return content_hash(*self._stored())

    def _stored(self) -> tuple[dict[str, pd.DataFrame], dict[str, NDArray[Any]], dict[str, Any]]:
        """Tables, arrays and provenance as they go to disk."""
        tables = {name: getattr(self, name) for name in TABLES}
        for name in OPTIONAL:
            if not len(tables[name]):
                del tables[name]
        arrays: dict[str, NDArray[Any]] = {"errors": self.errors, "variance": self.variance}
        arrays |= self.extra
        arrays |= {f"axis_{name}": np.array(values) for name, values in self.axes.items()}
        return tables, arrays, dict(self.provenance)

    def equals(self, other: Result) -> bool:
        """Whether both hold the same numbers and provenance, bit for bit."""
        same_tables = all(getattr(self, name).equals(getattr(other, name)) for name in TABLES)
        return (
            same_tables
            and np.array_equal(self.errors, other.errors, equal_nan=True)
            and np.array_equal(self.variance, other.variance, equal_nan=True)
            and dict(self.axes) == dict(other.axes)
            and set(self.extra) == set(other.extra)
            and all(
                np.array_equal(value, other.extra[name], equal_nan=value.dtype.kind == "f")
                for name, value in self.extra.items()
            )
            and dict(self.provenance) == dict(other.provenance)
        )

    def __repr__(self) -> str:
        layers, transforms, _, images = self.errors.shape
        return f"Result({layers} layers x {transforms} transforms, {images} evaluation images)"

    def _repr_html_(self) -> str:
        caption = (
            "Residual per layer and rung, mean over all transformations but the identity "
            "(0 is perfect, 1 no better than channel means)."
        )
        return as_html(self, caption, self.ladder, warnings=self.warnings)


def load_result(folder: str | Path) -> Result:
    """Read a result that `Result.save` wrote; equal to the original.

    Raises ProbeError when the folder holds no result or a part of it is missing or damaged.
    """
    required = ("errors", "variance", *(f"axis_{name}" for name in AXES))
    tables, arrays, provenance = read_folder(Path(folder), TABLES, required, OPTIONAL)
    with damage_named(Path(folder)):
        axes = axes_of(arrays, AXES)
        layers, moves, _, images = shape = [len(axes[name]) for name in AXES]
        check_array("errors", arrays["errors"], shape, "f", least=0)
        check_array("variance", arrays["variance"], (layers, images), "f", least=0)
        for name, table in tables.items():
            check_names(name, table, axes, whole=name in ("residuals", "summary", "layers"))
        check_moves(tables)
        extra = {name: values for name, values in arrays.items() if "/" in name}
        channels = dict(zip(tables["layers"]["layer"], tables["layers"]["channels"], strict=True))
        for name, values in extra.items():
            kind, _, layer = name.partition("/")
            width = channels.get(layer, -1)
            if kind == "permutation":
                check_array(name, values, (moves, width), "i", least=0)
            elif kind == "correlation":
                check_array(name, values, (moves, width, width), "f")
            elif kind == "by_chance":
                check_array(name, values, (moves, width), "f")
            elif kind == "ledger":
                check_array(name, values, (moves, len(SOURCES), len(PARTS), images), "f", least=0)
    return Result(
        **tables,
        errors=arrays["errors"],
        variance=arrays["variance"],
        axes=axes,
        provenance=provenance,
        extra=extra,
    )
