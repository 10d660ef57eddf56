"""The figures of a report, each with its title, its words for who cannot see it, and its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from ...probing import OracleResult, Result
from ...probing.ladder.shares import share
from ...probing.rungs import CEILING, FLOOR, rung_of
from ..figures.channels import stand_ins, telling_transform
from ..figures.oracle import plot_oracle
from ..figures.spread import image_residuals
from ..files import Draw, figures
from ..select import kinds_of
from ..tables.ladder import ladder_table
from ..tables.ledger import MOVED, ledger_table
from .runs import Runs
from .text.wording import joined, number, percent, plural


@dataclass(frozen=True)
class Illustration:
    """A figure, by what draws it, with everything that stands beside it in a `section`."""

    name: str
    section: str
    title: str
    caption: str
    alt: str
    draw: Draw
    data: pd.DataFrame


_SECTIONS = {
    "channel_shift": "channels", "composition": "channels",
    "tuning_rotation": "channels", "tuning_scaling": "channels",
    "ladder": "experts", "gain": "experts", "spread": "experts",
    "ledger": "answer", "landscape_angle": "search", "landscape_scale": "search",
}  # fmt: skip
_TITLES = {
    "ledger": ("The ledger", "What predicts the original's maps, on held-out images: "
               "position (the mean map alone), space (the map moved back, one factor per channel), "
               "channels (any map among the channels of a cell), neighbourhood (any filter of "
               "3×3 cells), and what is lost. The parts add up to the maps' variance."),
    "ladder": ("The ladder", "Every rung with its interval, as means over the transformations. "
               "Grey: between floor and ceiling."),
    "gain": ("Gain", "1: moving the maps back wins as much over nothing done as aligning the input "
             "does. 0: it wins nothing. Negative: it does harm. Hatched: no value."),
    "spread": ("Single images", "Residuals of single images under one transformation: middle half "
               "(boxes), middle 90\u00a0% (whiskers), median (line)."),
    "landscape_angle": ("Every aligning angle", "Residual on the fit images for every applied "
                        "angle (across) and every angle by which the maps are turned (up). Dashed: "
                        "h⁻¹. Points: the best movement found."),
    "landscape_scale": ("Every aligning scale", "Residual on the fit images for every applied "
                        "factor (across) and every factor by which the maps are scaled (up). "
                        "Dashed: h⁻¹. Points: the best movement found."),
    "channel_shift": ("Which channel stands in for which", "A point per channel: its "
                      "correlation with itself after the maps are moved back (across), and with "
                      "the best other channel (up). Above the diagonal another channel fits "
                      "better; dashed: what the best of so many reaches with other images."),
    "composition": ("Do channel maps compose?", "Residual of two channel maps, one after the "
                    "other, beside that of the direct one: where they coincide, the channels carry "
                    "the transformations as a group."),
}  # fmt: skip


def illustrations(
    runs: Runs, without: Sequence[str] = (), width: float | None = None
) -> Iterator[Illustration]:
    """Every figure that applies, not drawn yet; those named in `without` are left out.

    `width` is theirs in millimetres; None leaves it to what a figure holds.
    """
    several = len(runs.all) > 1
    for run, result in runs.probes:
        for name, draw in figures(result, without, width=width):
            yield _of_probe(f"{run}_{name}" if several else name, name, draw, result)
    for run, oracle in runs.oracles:
        yield _of_oracle(f"{run}_oracle" if run != "oracle" else run, oracle, width)


def _of_probe(full: str, name: str, draw: Draw, result: Result) -> Illustration:
    title, caption = _TITLES.get(name, ("", ""))
    kind = name.rpartition("_")[2]
    if name.startswith("residuals_"):
        title = f"Residual under {plural(kind)}"
        caption = "Against the transformation; bands are intervals, grey is between floor and "
        caption += "ceiling."
    elif name.startswith("tuning_"):
        title = f"How channels respond under {plural(kind)}"
        caption = "Response of the three channels of each layer that depend on it most, each as a "
        caption += "share of its largest."
    data = _DATA.get(name.partition("_")[0], _nothing)(result, name)
    if kinds := [k for k in kinds_of(result) if k != "identity"]:
        title = title if kind in kinds else f"{title}: {joined([plural(k) for k in kinds])}"
    alt = _ALT.get(name.partition("_")[0], _plain)(result, name)
    section = _SECTIONS.get(name, "ladder")
    return Illustration(full, section, title, caption, f"{title}. {alt}", draw, data)


def _of_oracle(full: str, result: OracleResult, width: float | None) -> Illustration:
    measure = "agreement" if result.accuracy["accuracy"].isna().all() else "accuracy"
    title = "What alignment at a layer is worth to the classifier"
    caption = f"{measure.capitalize()} with one layer's maps moved back, against the depth of the "
    caption += "layer or the transformation; horizontal lines: nothing done, and the input aligned."
    means = result.table(measure=measure).mean()
    alt = f"{title}. Mean {measure}: nothing done {percent(float(means['nothing']))}, input "
    alt += f"aligned {percent(float(means['input_aligned']))}, maps moved back "
    alt += f"{percent(float(means['inverse']))} over layers, with channels mapped "
    alt += f"{percent(float(means['inverse_linear']))}."
    draw = partial(plot_oracle, result, measure, width=width)
    return Illustration(full, "oracle", title, caption, alt, draw, result.accuracy)


def _ladder(result: Result, _: str) -> pd.DataFrame:
    return ladder_table(result)


def _curves(result: Result, name: str) -> pd.DataFrame:
    rows = result.residuals
    return rows[rows["kind"] == name.partition("_")[2]]


def _gain(result: Result, _: str) -> pd.DataFrame:
    ends = ["unaligned", "inverse", FLOOR]
    rows = result.summary[~result.summary["identity"].astype(bool)]
    values = rows[["layer", "transform", "kind", "parameter", *ends]].copy()
    values["gain"] = share(rows[ends].to_numpy(dtype=float), ends, "gain")
    stored = [column for column in ("low_gain", "high_gain") if column in rows]
    return pd.concat([values, rows[stored]], axis=1)


def _spread(result: Result, _: str) -> pd.DataFrame:
    transform = telling_transform(result)
    parts = []
    for layer in result.axes["layer"]:
        values = image_residuals(result, layer, transform)
        if len(values.columns):
            values = values.rename_axis("image").reset_index()
            values.insert(0, "layer", layer)
            parts.append(values)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["layer"])


def _landscape(result: Result, name: str) -> pd.DataFrame:
    by = name.partition("_")[2]
    rows = result.landscape
    kind = {"angle": "rotation", "scale": "scaling"}[by]
    return rows[(rows["by"] == by) & (rows["kind"] == kind)].drop(columns=["identity", "kind"])


def _stand_ins(result: Result, _: str) -> pd.DataFrame:
    transform = telling_transform(result)
    parts = [
        stand_ins(result, layer, transform).assign(layer=layer, transform=transform)
        for layer in result.axes["layer"]
        if f"correlation/{layer}" in result.extra
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["layer"])


def _tuning(result: Result, name: str) -> pd.DataFrame:
    rows = result.tuning
    return rows[rows["kind"] == name.partition("_")[2]]


def _nothing(result: Result, _: str) -> pd.DataFrame:
    return result.summary


_DATA: dict[str, Callable[[Result, str], pd.DataFrame]] = {
    "ledger": lambda result, _: ledger_table(result),
    "ladder": _ladder, "residuals": _curves, "gain": _gain, "spread": _spread,
    "landscape": _landscape, "channel": _stand_ins, "tuning": _tuning,
    "composition": lambda result, _: result.composition,
}  # fmt: skip


def _plain(result: Result, _: str) -> str:
    return f"Layers: {joined(result.axes['layer'])}."


def _alt_ladder(result: Result, _: str) -> str:
    table = ladder_table(result)
    parts = []
    for (over, layer), rows in table.groupby(["over", "layer"], sort=False):
        value = rows.set_index("rung")["residual"]
        named = [
            f"{rung_of(rung).label} {number(float(value[rung]))}"
            for rung in ("unaligned", "inverse", FLOOR, CEILING)
            if rung in value
        ]
        parts.append(f"{layer}, {over}: {', '.join(named)}")
    return _few(parts)


def _alt_ledger(result: Result, _: str) -> str:
    table = ledger_table(result)
    table = table[table["source"] == MOVED]
    parts = []
    for (over, layer), rows in table.groupby(["over", "layer"], sort=False):
        named = [f"{one.part} {number(float(one.share))}" for one in rows.itertuples()]
        parts.append(f"{layer}, {over}: {', '.join(named)}")
    return _few(parts)


def _alt_curves(result: Result, name: str) -> str:
    rows = _curves(result, name)
    rows = rows[~rows["identity"].astype(bool) & (rows["rung"] == "inverse")]
    parts = []
    for layer, own in rows.groupby("layer", sort=False):
        values = own.set_index("transform")["residual"].dropna()
        if len(values):
            parts.append(
                f"{layer}: moved back, from {number(values.min())} ({values.idxmin()}) to "
                f"{number(values.max())} ({values.idxmax()})"
            )
    return _few(parts)


def _alt_gain(result: Result, _: str) -> str:
    rows = _gain(result, "")
    parts = []
    for layer, own in rows.groupby("layer", sort=False):
        values = own["gain"].dropna()
        if len(values):
            parts.append(f"{layer}: {number(values.min())} to {number(values.max())}")
    return _few(parts)


def _alt_channels(result: Result, _: str) -> str:
    parts = [
        f"{layer}: another channel fits better than itself for "
        f"{int((own['other'] > own['own']).sum())} of {len(own)}"
        for layer, own in _stand_ins(result, "").groupby("layer", sort=False)
    ]
    return _few(parts)


def _few(parts: list[str], most: int = 8) -> str:
    shown = "; ".join(parts[:most])
    return f"{shown}; and {len(parts) - most} more." if len(parts) > most else f"{shown}."


_ALT: dict[str, Callable[[Result, str], str]] = {
    "ledger": _alt_ledger, "ladder": _alt_ladder, "residuals": _alt_curves, "gain": _alt_gain,
    "channel": _alt_channels,
}  # fmt: skip
