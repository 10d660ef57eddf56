"""What trained transformers leave misaligned, and what it costs, as tables over seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from invariance_probe.probing.ladder.shares import OF_INVERSE
from invariance_probe.probing.oracles.learned import LEARNED, LearnedAlignment
from invariance_probe.reporting.tables.ladder import ladder_table
from invariance_probe.reporting.tables.latex import latex_table, stacked
from invariance_probe.reporting.tables.oracle import oracle_table

RESIDUAL, ERROR = "residual", "error"

_ROWS = {
    (RESIDUAL, "unaligned"): "no alignment",
    (RESIDUAL, "inverse"): "exact inverse on the maps",
    (RESIDUAL, "best"): "best spatial alignment",
    (RESIDUAL, "spatial_bound"): "bound of all spatial maps",
    (RESIDUAL, "inverse_permuted"): "inverse, channels permuted",
    (RESIDUAL, "inverse_orthogonal"): "inverse, orthogonal channel map",
    (RESIDUAL, "inverse_linear"): "inverse, linear channel map",
    (RESIDUAL, LEARNED): "learned alignment",
    (RESIDUAL, "input_aligned"): "input aligned (floor)",
    (RESIDUAL, "other_image"): "another image (ceiling)",
    (ERROR, "upright"): "upright images, held",
    (ERROR, "nothing"): "no alignment",
    (ERROR, "inverse"): "exact inverse on the maps",
    (ERROR, "inverse_linear"): "inverse, linear channel map",
    (ERROR, "input_aligned"): "input aligned, held",
    (ERROR, LEARNED): "learned alignment",
    (ERROR, "inverse_at_work"): "exact inverse, then learned",
    (ERROR, "inverse_linear_at_work"): "inverse and channel map, then learned",
    (ERROR, "input_aligned_at_work"): "input aligned, then learned",
    (ERROR, "upright_at_work"): "upright images, then learned",
}
_TITLES = {RESIDUAL: "residual", ERROR: "error of the classifier (%)"}
_AXES = ["data", "network", "kind", "over", "quantity", "what"]


def learned_rows(found: LearnedAlignment, data: str, network: str, seed: int) -> pd.DataFrame:
    """Residuals and errors of one trained network, as means over each kind of transformation.

    Tidy: columns `data`, `network`, `seed`, `layer`, `kind`, `over` (what was averaged; never the
    identity), `quantity` ("residual" or "error", in [0, 1]), `what`, `value`, `low`, `high` (over
    evaluation images, as `ladder_table` and `oracle_table` give them) and `images`.

    `what` is a rung or a treatment with the transformers held at the identity, "learned" what their
    own alignment leaves, "..._at_work" a treatment after which they go on to align, and "upright"
    the images as they are.
    """
    parts = [_residuals(found)]
    for work, oracle in enumerate((found.held_oracle, found.working_oracle)):
        table = oracle_table(oracle)
        table = table[table["measure"] == "accuracy"]
        if work and not found.warps_maps:
            table = table[table["layer"] == "input"]
        names = table["treatment"] + "_at_work" * work
        table = table.assign(what=names.replace({"nothing_at_work": LEARNED}), quantity=ERROR)
        flipped = {"value": 1 - table["value"], "low": 1 - table["high"], "high": 1 - table["low"]}
        table = table.assign(**flipped, layer=found.warped)
        upright = table.drop_duplicates("kind").assign(
            what="upright" + "_at_work" * work, value=1 - oracle.untransformed_accuracy,
            low=np.nan, high=np.nan,
        )  # fmt: skip
        parts += [table, upright]
    whole = pd.concat(parts, ignore_index=True)
    whole = whole.assign(data=data, network=network, seed=seed)
    order = ["data", "network", "seed", "layer", *_AXES[2:], "value", "low", "high", "images"]
    return whole[order]


def _residuals(found: LearnedAlignment) -> pd.DataFrame:
    held, working = ladder_table(found.held), ladder_table(found.working)
    own = working[working["rung"] == "unaligned"].assign(rung=LEARNED)
    table = pd.concat([held[~held["rung"].isin(OF_INVERSE)], own])
    return table.assign(quantity=RESIDUAL).rename(columns={"rung": "what", RESIDUAL: "value"})


def learned_table(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of several networks and seeds, one row per network, kind and quantity.

    Columns: those of `learned_rows` but for the seed, with `seeds` (how many), `value` (mean over
    seeds), `sd` (over seeds, n - 1; NaN for one), and `low` and `high`, the outermost ends of the
    seeds' own intervals.
    """
    ends: dict[str, Any] = {
        "layer": ("layer", "first"), "seeds": ("seed", "nunique"), "value": ("value", "mean"),
        "sd": ("value", "std"), "low": ("low", "min"), "high": ("high", "max"),
        "images": ("images", "max"),
    }  # fmt: skip
    # A mean of some seeds only would not be comparable with its neighbours.
    known = rows.groupby(_AXES, sort=False)["value"].transform(lambda v: v.notna().all())
    return rows.assign(value=rows["value"].where(known)).groupby(_AXES, sort=False).agg(
        **ends
    ).reset_index()  # fmt: skip


def learned_markdown(table: pd.DataFrame) -> str:
    """The table of `learned_table` in Markdown: a block per data set and kind, networks as columns.

    Entries are "mean ± standard deviation over seeds [low, high]"; errors are in percent.
    """
    parts = []
    for title, note, networks, groups in _blocks(table):
        for quantity, lines in groups:
            heads = [f"{title}: {_TITLES[quantity]}", *networks]
            part = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * len(networks)]
            part += ["| " + " | ".join(line) + " |" for line in lines]
            parts.append("\n".join(part))
        parts.append(note)
    return "\n\n".join(parts) + "\n"


def learned_latex(table: pd.DataFrame) -> str:
    """The table of `learned_table` as LaTeX tables of two columns' width.

    One per data set and kind. Needs ``\\usepackage{booktabs,tabularx}``; entries as
    `learned_markdown`.
    """
    parts = []
    for number, (title, note, networks, groups) in enumerate(_blocks(table), start=1):
        blocks = [
            (_TITLES[quantity], [[stacked(cell) for cell in row] for row in rows])
            for quantity, rows in groups
        ]
        heads, label = [title, *networks], f"learned-{number}"
        parts.append(latex_table(blocks, heads, note, label, wide=True))
    return "\n".join(parts)


_Groups = list[tuple[str, list[list[str]]]]


def _blocks(table: pd.DataFrame) -> Iterator[tuple[str, str, list[str], _Groups]]:
    """(data and transformations, note, networks, lines by quantity) per data set and kind."""
    for (data, over), block in table.groupby(["data", "over"], sort=False):
        networks = list(dict.fromkeys(block["network"]))
        entries = {
            (row["quantity"], row["what"], row["network"]): _entry(row)
            for row in block.to_dict("records")
        }
        groups: _Groups = []
        for quantity in _TITLES:
            lines = []
            for (of, what), text in _ROWS.items():
                cells = [entries.get((of, what, network), "–") for network in networks]
                if of == quantity and set(cells) != {"–"}:
                    lines.append([text, *cells])
            groups.append((quantity, lines))
        yield f"{data}, {over}", _note(block), networks, groups


def _note(block: pd.DataFrame) -> str:
    layers = block[block["quantity"] == RESIDUAL].drop_duplicates("network")
    at = ", ".join(f"{row.network} at {row.layer}" for row in layers.itertuples())
    counts = sorted(set(block["seeds"]))
    seeds = "1 seed" if counts == [1] else f"{'–'.join(map(str, counts))} seeds"
    return (
        f"{block['data'].iloc[0]}: {seeds}, {int(block['images'].max()):,} evaluation images; "
        f"{at}. Held: the transformers at the identity. Mean ± standard deviation over seeds "
        "[outermost ends of the seeds' intervals]."
    )


def _entry(row: dict[str, Any]) -> str:
    factor, digits = (100, 1) if row["quantity"] == ERROR else (1, 2)
    if not np.isfinite(row["value"]):
        return "–"

    def text(name: str) -> str:
        # Adding 0 to what is rounded turns -0 into 0.
        return f"{round(factor * row[name], digits) + 0.0:.{digits}f}".replace("-", "−")

    spread = f" ± {text('sd')}" if np.isfinite(row["sd"]) else ""
    ends = f" [{text('low')}, {text('high')}]" if np.isfinite(row["low"]) else ""
    return text("value") + spread + ends
