"""Classifiers that localise at several depths or align several times: errors and poses by seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from invariance_probe.errors import ProbeError
from invariance_probe.networks.stn.architecture import Architecture
from invariance_probe.probing.rungs import BLUE, GREY, ORANGE, VERMILLION, Style
from invariance_probe.reporting.drawing.panels import panel_grid
from invariance_probe.reporting.drawing.style import WIDE, styled
from invariance_probe.reporting.tables.latex import latex_table

_STYLES = {
    "C": Style("STN-C0 (from the image)", ORANGE, "D", (0, (1, 1))),
    "SL": Style("STN-SL (shared layers)", BLUE, "o", "-"),
    "DL": Style("STN-DL (layers of its own)", VERMILLION, "s", (0, (5, 1.5))),
}
_PLAIN = "none"
_ALIGNMENTS = "alignments"
_POSES = ("rotation", "scaling", "translation")
_MEASURED = ("error", "slope", "deviation")
_OF = ["data", "network", "run", "kind", "depth", "alignments", "parameters", "pose", "unit"]
_HEADS = ("network", "depth", "alignments", "parameters", "error (%)", "slope", "deviation")


def depth_rows(
    errors: pd.DataFrame, poses: pd.DataFrame | None, networks: Mapping[str, Architecture]
) -> pd.DataFrame:
    """Error and pose of every trained network, one row per run and seed.

    `errors` holds rows of `evaluate_run` with columns `run` and `parameters`, `poses` those of
    `run_pose_statistics` (None: no poses are known), `networks` the architecture of every run.
    Columns: data, network, run, kind ("C", "SL", "DL", or "none" without a transformer), depth
    (blocks before the last localisation), alignments (of all transformers), parameters, pose (the
    first of rotation, scaling and translation that varies) and its unit, seed, error (mean over
    passes, in [0, 1]), slope and deviation; NaN where nothing aligns.
    """
    rows = []
    known = pd.DataFrame(columns=["run", "seed", "kind"]) if poses is None else poses
    for (run, seed), group in errors.groupby(["run", "seed"], sort=False):
        built = networks[str(run)]
        own = known[(known["run"] == run) & (known["seed"] == seed)].set_index("kind")
        pose = next((kind for kind in _POSES if kind in own.index), None)
        at = {} if pose is None else own.loc[pose].to_dict()
        rows.append(
            {
                "data": group["data"].iloc[0], "network": built.name, "run": run,
                "kind": built.kind or _PLAIN, "depth": max(built.depths, default=0),
                "alignments": built.iterations * len(built.depths),
                "parameters": int(group["parameters"].iloc[0]), "pose": pose or "",
                "unit": at.get("unit", ""), "seed": seed, "error": group["error"].mean(),
                "slope": at.get("slope", np.nan), "deviation": at.get("deviation", np.nan),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def depth_table(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of `depth_rows` over seeds: one per run, in their order.

    Columns: those of a network, `seeds`, and error, slope and deviation, each as its mean over
    seeds and `..._sd`, their standard deviation (n - 1; NaN for one seed).
    """
    ends: dict[str, Any] = {"seeds": ("seed", "nunique")}
    for name in _MEASURED:
        ends |= {name: (name, "mean"), f"{name}_sd": (name, "std")}
    # Runs without a pose have an empty one here, whatever their seeds.
    return rows.groupby(_OF, sort=False, dropna=False).agg(**ends).reset_index()


def depth_markdown(table: pd.DataFrame, note: str = "") -> str:
    """The table of `depth_table` in Markdown; entries "mean ± standard deviation over seeds"."""
    lines = ["| data | " + " | ".join(_HEADS) + " |", "|---|---|" + "---:|" * (len(_HEADS) - 1)]
    for row in table.to_dict("records"):
        lines.append("| " + " | ".join([str(row["data"]), *_cells(row)]) + " |")
    return "\n".join([*lines, "", _note(table, note)]) + "\n"


def depth_latex(table: pd.DataFrame, note: str = "") -> str:
    """The table of `depth_table` as a LaTeX table of two columns' width, a block per data set.

    Needs ``\\usepackage{booktabs,tabularx}``.
    """
    blocks = [
        (str(data), [_cells(row) for row in block.to_dict("records")])
        for data, block in table.groupby("data", sort=False)
    ]
    return latex_table(blocks, _HEADS, _note(table, note), "depths", wide=True)


@styled
def plot_depths(rows: pd.DataFrame, *, width: float | None = None) -> Figure:
    """Draw error and pose deviation against depth and against the number of alignments.

    `rows` are those of `depth_rows` for one data set. Small open marks are seeds, lines join their
    means; networks that localise on the image itself stand at depth 0, and the dotted line is the
    network without a transformer. A column of panels has the networks that align once, by depth;
    the other, where there are any, those that differ in nothing but how often they align. `width`
    is in millimetres.

    Raises ProbeError for rows of several data sets, and where no network has a transformer.
    """
    if rows["data"].nunique() != 1:
        names = ", ".join(map(str, rows["data"].unique()))
        raise ProbeError(f"a figure shows one data set, these rows are of {names}; choose one")
    aligning = rows[rows["kind"] != _PLAIN]
    if aligning.empty:
        raise ProbeError("no network here has a spatial transformer, so there is no depth to draw")
    plain = rows[rows["kind"] == _PLAIN]
    once = aligning[aligning["alignments"] == 1]
    repeated = aligning.groupby(["kind", "depth"]).filter(lambda g: g["alignments"].nunique() > 1)
    across = [
        (part, by) for part, by in ((once, "depth"), (repeated, "alignments")) if len(part)
    ]  # fmt: skip
    measures = [("error", "error (%)", 100.0)]
    if aligning["deviation"].notna().any():
        unit = next(unit for unit in aligning["unit"] if unit)
        measures.append(("deviation", f"pose deviation ({unit})", 1.0))
    number = len(across)
    side = len(measures) if (width or WIDE) > 120 and number * len(measures) <= 4 else 1
    figure, axes = panel_grid(
        [number * side] * (len(measures) // side), row_height=46.0, extra=12.0, width=width,
        columns=number * side, share_y=False,
    )  # fmt: skip
    for place, ax in enumerate(axes):
        (part, by), (name, label, factor) = across[place % number], measures[place // number]
        _draw(ax, part, by, name, factor)
        if name == "error" and len(plain):
            ax.axhline(factor * plain[name].mean(), color=GREY, linestyle=":", label="CNN")
        ax.set_ylabel(label if place % number == 0 else "")
        ax.set_xlabel("blocks before localisation" if by == "depth" else _counted(part))
        ticks = sorted(part[by].unique())
        ax.xaxis.set_major_locator(FixedLocator([float(tick) for tick in ticks]))
        ax.set_xlim(ticks[0] - 0.5, ticks[-1] + 0.5)
        drawn = factor * rows[name].dropna()
        room = 0.06 * (float(drawn.max() - drawn.min()) or 1.0)
        ax.set_ylim(drawn.min() - room, drawn.max() + room)
        if place % number:
            ax.tick_params(labelleft=False)
    shown: dict[str, Any] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        shown |= {label: handle for handle, label in zip(handles, labels, strict=True)}
    figure.legend(
        list(shown.values()), list(shown), loc="outside lower center",
        ncols=2 if figure.get_figwidth() < 4.5 else 4,
    )  # fmt: skip
    return figure


def _draw(ax: Axes, part: pd.DataFrame, by: str, name: str, factor: float) -> None:
    """Seeds and their means, a line per kind (and depth, where alignments are counted)."""
    kinds = [kind for kind in _STYLES if kind in set(part["kind"])]
    for kind in kinds:
        style = _STYLES[kind]
        # Beside each other, or the marks of one kind hide those of another.
        shift = 0.12 * (kinds.index(kind) - (len(kinds) - 1) / 2)
        of_kind = part[part["kind"] == kind]
        groups = [of_kind] if by == "depth" else [g for _, g in of_kind.groupby("depth")]
        for own in groups:
            label = style.label if by == "depth" else f"STN-{kind}{own['depth'].iloc[0]}"
            if kind == "C" and own["depth"].any():
                label = "STN-C (warps maps)" if by == "depth" else label
            means = factor * own.groupby(by)[name].mean()
            ax.plot(
                means.index + shift, means, color=style.colour, marker=style.marker,
                linestyle=style.line, label=label if by == "depth" else None,
            )  # fmt: skip
            ax.plot(
                own[by] + shift, factor * own[name], color=style.colour, marker=style.marker,
                markerfacecolor="none", markeredgewidth=0.5, linestyle="none", alpha=0.8,
            )  # fmt: skip
            if by != "depth" and _counted(part) == _ALIGNMENTS:
                place = (means.index[-1] + shift, means.iloc[-1])
                ax.annotate(label, place, (0, 5), textcoords="offset points", ha="right", size=7)


def _counted(part: pd.DataFrame) -> str:
    """The label of an axis of alignments; it names the network where there is only one."""
    names = part.loc[part["alignments"] == part["alignments"].min(), "network"].unique()
    return f"{_ALIGNMENTS} of {names[0]}" if len(names) == 1 else _ALIGNMENTS


def _cells(row: dict[str, Any]) -> list[str]:
    aligns = row["kind"] != _PLAIN
    first = [str(row["network"]), str(row["depth"]) if aligns else "–"]
    first += [str(row["alignments"]) if aligns else "–", f"{row['parameters']:,}"]
    unit = {"degrees": "°"}.get(row["unit"], f" {row['unit']}")
    digits = 1 if row["unit"] == "degrees" else 2
    deviation = _entry(row, "deviation", 1, digits)
    return [
        *first,
        _entry(row, "error", 100, 2),
        _entry(row, "slope", 1, 2),
        deviation if deviation == "–" else deviation + unit,
    ]


def _entry(row: dict[str, Any], name: str, factor: float, digits: int) -> str:
    if not np.isfinite(row[name]):
        return "–"
    # Adding 0 to what is rounded turns -0 into 0.
    text = f"{round(factor * row[name], digits) + 0.0:.{digits}f}"
    spread = row[f"{name}_sd"]
    if np.isfinite(spread):
        text += f" ± {factor * spread:.{digits}f}"
    return text.replace("-", "−")


def _note(table: pd.DataFrame, note: str) -> str:
    counts = sorted(set(table["seeds"]))
    seeds = "–".join(map(str, (counts[0], counts[-1]) if len(counts) > 1 else counts))
    said = f"Mean ± standard deviation over {seeds} seed{'' if seeds == '1' else 's'}"
    poses = ", ".join(sorted(set(table["pose"]) - {""}))
    said += f"; slope and deviation of {poses}, a slope of −1 undoes it." if poses else "."
    return f"{said} {note}".strip()
