"""The outcome of an oracle run as a value: tidy tables, top-1 classes per image, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...alignment import interval, proportion_interval, ratio
from ...errors import ProbeError
from ...geometry import Transform
from ...running.hashes import content_hash
from ...running.plots import Plots, as_html
from ...running.schema import Remark, axes_of, check_array, check_moves, check_names, remarks
from ...running.storage import ORACLE_TABLES, damage_named, read_folder, write_folder
from ..ladder.assemble import described
from ..ladder.shares import quotient
from ..options import Options, stored_level

ON_INPUT = ("nothing", "input_aligned")
"""Treatments that no layer has a part in."""

AT_LAYER = ("inverse", "inverse_permuted", "inverse_linear")
"""Treatments of one layer's maps: T_h⁻¹, then a channel permutation or a linear channel map."""

MEASURES = ("accuracy", "agreement", "logit_residual")

_ARRAYS = ("predictions", "originals", "labels", "errors", "variance")


@dataclass(frozen=True, eq=False)
class OracleResult:
    """What alignment by the known h⁻¹ gives a classifier, per layer, transformation, treatment.

    Attributes
    ----------
    accuracy : one row per transform and treatment, and per layer for treatments of a layer (others
        have the layer "input"). `accuracy` is NaN without labels; `agreement` is that of the top-1
        class with the untransformed image's; `logit_residual` is Σ‖logits − logits of f‖² /
        Σ‖logits of f − their mean‖². Each with its interval (`accuracy_low`, `accuracy_high`, ...)
        over the same draws of evaluation images; all NaN where a channel map is not determined.
    inadmissible : layers that were left out, with the `reason`.
    predictions : top-1 classes (transforms, rows, images), −1 where not determined; the rows are
        axes["layer"] and axes["treatment"].
    originals : top-1 classes of the untransformed evaluation images.
    labels : their true classes; −1 without labels.
    errors : ‖logits − logits of f‖², (transforms, rows, images).
    variance : ‖logits of f − their mean‖², (images).
    axes : names along the axes: transform, layer and treatment (one a row), image.
    provenance : configuration, versions, hashes, device, and warnings.
    """

    accuracy: pd.DataFrame
    inadmissible: pd.DataFrame
    predictions: NDArray[np.int32]
    originals: NDArray[np.int64]
    labels: NDArray[np.int64]
    errors: NDArray[np.float64]
    variance: NDArray[np.float64]
    axes: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, Any]

    plot = Plots()
    """The figures of this result: ``result.plot.oracle()`` is ``plot_oracle(result)``."""

    @property
    def warnings(self) -> tuple[Remark, ...]:
        """What a reader of the numbers must know: grid offsets, borders, small samples."""
        return remarks(self.provenance)

    @property
    def level(self) -> float:
        """The level of the intervals."""
        return stored_level(self.provenance)

    @property
    def untransformed_accuracy(self) -> float:
        """Accuracy on the evaluation images as they are; NaN without labels."""
        return float(np.mean(self.originals == self.labels)) if self._labelled else float("nan")

    @property
    def _labelled(self) -> bool:
        return bool((self.labels >= 0).all())

    def table(self, transform: str | None = None, measure: str = "accuracy") -> pd.DataFrame:
        """One measure as a table layers x treatments, of one transform or averaged over all.

        Averages leave out the identity, where nothing is to be aligned. Raises ProbeError for a
        transform or measure that the result does not have.
        """
        rows = self.accuracy
        if measure not in MEASURES:
            raise ProbeError(f"no measure {measure!r}; there are {', '.join(MEASURES)}")
        if transform is not None and transform not in self.axes["transform"]:
            known = ", ".join(self.axes["transform"])
            raise ProbeError(f"the result has no transform {transform!r}; there are {known}")
        if transform is not None:
            rows = rows[rows["transform"] == transform]
        else:
            rows = rows[~rows["identity"].astype(bool)]
        means = rows.groupby(["layer", "treatment"])[measure].mean()
        layers = dict.fromkeys(name for name in self.axes["layer"] if name != "input")
        return pd.DataFrame(
            {
                treatment: [
                    means.get(("input" if treatment in ON_INPUT else layer, treatment), np.nan)
                    for layer in layers
                ]
                for treatment in ON_INPUT + AT_LAYER
            },
            index=pd.Index(list(layers), name="layer"),
        )

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write tables (CSV), numbers per image (NPZ) and provenance (JSON) to a folder.

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
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"axis_{name}": np.array(values) for name, values in self.axes.items()}
        tables = {name: getattr(self, name) for name in ORACLE_TABLES}
        return tables, arrays, dict(self.provenance)

    def equals(self, other: OracleResult) -> bool:
        """Whether both hold the same numbers and provenance, bit for bit."""
        return (
            all(_same(getattr(self, name), getattr(other, name)) for name in ORACLE_TABLES)
            and all(
                np.array_equal(
                    getattr(self, name), getattr(other, name), equal_nan=name == "errors"
                )
                for name in _ARRAYS
            )
            and dict(self.axes) == dict(other.axes)
            and dict(self.provenance) == dict(other.provenance)
        )

    def __repr__(self) -> str:
        transforms, rows, images = self.predictions.shape
        layers = (rows - len(ON_INPUT)) // len(AT_LAYER)
        return (
            f"OracleResult({layers} layers x {transforms} transforms, {images} evaluation images)"
        )

    def _repr_html_(self) -> str:
        measure = "accuracy" if self._labelled else "agreement"
        caption = f"Top-1 {measure} per layer and treatment, mean over all but the identity"
        if self._labelled:
            caption += f"; {self.untransformed_accuracy:.1%} on the images as they are"
        return as_html(
            self, f"{caption}.", lambda: self.table(measure=measure), "{:.1%}", self.warnings
        )


def load_oracle(folder: str | Path) -> OracleResult:
    """Read a result that `OracleResult.save` wrote; equal to the original.

    Raises ProbeError when the folder holds no such result or a part of it is missing or damaged.
    """
    names = ("transform", "layer", "treatment", "image")
    required = (*_ARRAYS, *(f"axis_{name}" for name in names))
    tables, arrays, provenance = read_folder(Path(folder), ORACLE_TABLES, required)
    with damage_named(Path(folder)):
        axes = axes_of(arrays, names)
        moves, rows, images = (len(axes[name]) for name in ("transform", "layer", "image"))
        if rows != len(axes["treatment"]) or not rows:
            raise ValueError("layers and treatments are not equally many")
        check_array("predictions", arrays["predictions"], (moves, rows, images), "i")
        check_array("errors", arrays["errors"], (moves, rows, images), "f", least=0)
        for name in ("originals", "labels"):
            check_array(name, arrays[name], (images,), "i")
        check_array("variance", arrays["variance"], (images,), "f", least=0)
        check_names("accuracy", tables["accuracy"], axes)
        check_moves(tables)
        told = tables["accuracy"]
        strange = {*zip(told["layer"], told["treatment"], strict=True)} - {
            *zip(axes["layer"], axes["treatment"], strict=True)
        }
        if len(told) != moves * rows or strange:
            raise ValueError("accuracy.csv has not one row for each transform and treatment")
    return OracleResult(
        **tables, **{name: arrays[name] for name in _ARRAYS}, axes=axes, provenance=provenance
    )


def assemble_oracle(
    layers: Sequence[str],
    moves: Sequence[Transform],
    names: Sequence[str],
    labels: NDArray[np.int64] | None,
    predictions: NDArray[np.int32],
    originals: NDArray[np.int64],
    errors: NDArray[np.float64],
    variance: NDArray[np.float64],
    refused: Mapping[str, str],
    options: Options,
    provenance: dict[str, Any],
) -> OracleResult:
    """Tables with intervals from the numbers per image; arguments as the result's attributes."""
    rows = [("input", treatment) for treatment in ON_INPUT]
    rows += [(layer, treatment) for layer in layers for treatment in AT_LAYER]
    known = ~np.isnan(errors)
    parts: dict[str, tuple[NDArray[np.float64], NDArray[np.float64] | None]] = {
        "agreement": (np.where(known, predictions == originals, np.nan), None),
        "logit_residual": (errors, variance),
    }
    if labels is not None:
        right = np.where(known, predictions == labels, np.nan)
        parts = {"accuracy": (right, None), **parts}
    columns = {name: with_interval(*part, options.level) for name, part in parts.items()}
    if labels is None:
        columns = {"accuracy": np.full((len(moves), len(rows), 3), np.nan), **columns}
    table = [
        {
            "layer": layer,
            **described(move),
            "treatment": treatment,
            **{
                f"{measure}{end}": values[number, row, index]
                for measure, values in columns.items()
                for index, end in enumerate(("", "_low", "_high"))
            },
            "images": len(names),
        }
        for row, (layer, treatment) in enumerate(rows)
        for number, move in enumerate(moves)
    ]
    return OracleResult(
        accuracy=pd.DataFrame(table),
        inadmissible=pd.DataFrame({"layer": list(refused), "reason": list(refused.values())}),
        predictions=predictions,
        originals=originals,
        labels=np.full(len(names), -1, dtype=np.int64) if labels is None else labels,
        errors=errors,
        variance=variance,
        axes={
            "transform": tuple(move.text for move in moves),
            "layer": tuple(layer for layer, _ in rows),
            "treatment": tuple(treatment for _, treatment in rows),
            "image": tuple(names),
        },
        provenance=provenance,
    )


def with_interval(
    sums: NDArray[np.float64], weights: NDArray[np.float64] | None, level: float
) -> NDArray[np.float64]:
    """Σ sums / Σ weights over images with the ends of its interval, (..., 3); None: proportions."""
    known = np.asarray(~np.isnan(sums).any(axis=-1))
    filled = np.where(known[..., None], sums, 0.0)
    if weights is None:
        values = np.stack([filled.mean(-1), *proportion_interval(filled, level=level)], axis=-1)
    else:
        low, high = interval(quotient, filled, weights, level=level)
        values = np.stack([ratio(filled, weights), np.maximum(low, 0), high], axis=-1)
    values[~known] = np.nan
    return values


def _same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Equal values under equal names; an empty table has no types to compare."""
    if len(one) == len(other) == 0:
        return list(one.columns) == list(other.columns)
    return bool(one.equals(other))
