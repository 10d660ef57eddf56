"""Tuning of channels: which orientation or scale each responds to most, and how sharply."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...errors import ProbeError
from ..result import Result


def tuning_summary(result: Result) -> pd.DataFrame:
    """Preferred transformation and selectivity of every channel, one row per layer and channel.

    Responses are root mean squares over the compared cells and evaluation images. Over a full
    turn, `preferred` is the angle of the responses' vector sum in degrees and `selectivity` its
    length over their sum: 0 for a channel that does not care, 1 for one that answers one angle
    only; `preferred_axis` and `axial_selectivity` are the same for doubled angles, for channels
    that answer a direction and its opposite alike (NaN for scales). Over scales, `preferred` is
    the response-weighted mean of log2 scale, as a factor. In both cases `modulation` is
    (max − min)/(max + min) of the curve, and `peak` its maximum's place.

    Convention: angles are those by which the image was turned, counter-clockwise on the screen.

    Raises ProbeError for a result without rotations or scalings.
    """
    table = result.tuning
    kinds = [kind for kind in ("rotation", "scaling") if kind in set(table.get("kind", ()))]
    if not kinds:
        raise ProbeError(
            "no tuning curves in this result; probe rotations or scalings with channels=True"
        )
    rows = []
    for kind in kinds:
        # The identity belongs to both curves, once, at 0° or at scale 1.
        own = (table["kind"] == kind) | table["identity"]
        rest = 0.0 if kind == "rotation" else 1.0
        chosen = table[own].assign(
            parameter=lambda part, rest=rest: part["parameter"].where(~part["identity"], rest)
        )
        chosen = chosen.drop_duplicates(["layer", "channel", "parameter"])
        for (layer, channel), curve in chosen.groupby(["layer", "channel"], sort=False):
            place, response = curve["parameter"].to_numpy(float), curve["rms"].to_numpy(float)
            rows.append(
                {"layer": layer, "channel": channel, "kind": kind, **_one(kind, place, response)}
            )
    return pd.DataFrame(rows)


def _one(kind: str, place: np.ndarray, response: np.ndarray) -> dict[str, float]:
    total, top, bottom = response.sum(), response.max(), response.min()
    if total <= 0:
        names = ("preferred", "selectivity", "preferred_axis", "axial_selectivity")
        return dict.fromkeys((*names, "modulation", "peak"), float("nan"))
    axis = axial = float("nan")
    if kind == "rotation":
        vector = (response * np.exp(1j * np.radians(place))).sum()
        preferred = float(np.degrees(np.angle(vector)))
        selectivity = float(abs(vector) / total)
        doubled = (response * np.exp(2j * np.radians(place))).sum()
        axis, axial = float(np.degrees(np.angle(doubled)) / 2), float(abs(doubled) / total)
    else:
        logs = np.log2(place)
        mean = float((response * logs).sum() / total)
        preferred = 2.0**mean
        spread = float(np.sqrt((response * (logs - mean) ** 2).sum() / total))
        flat = float(np.sqrt(((logs - logs.mean()) ** 2).mean()))
        selectivity = 1 - spread / flat if flat > 0 else float("nan")
    return {
        "preferred": preferred,
        "selectivity": selectivity,
        "preferred_axis": axis,
        "axial_selectivity": axial,
        "modulation": float((top - bottom) / (top + bottom)),
        "peak": float(place[response.argmax()]),
    }
