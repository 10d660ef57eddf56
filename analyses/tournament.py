"""Which measure tells networks that are equivariant from networks that are not?

Networks whose truth is known (`_known.py`) see generated scenes at three sizes. Theirs is the same
plane at 1, 2 and 4 times the resolution, so the truth does not change and what does is the
instrument. The truth is the residual of turned views without any interpolation, which generated
scenes allow. Every measure is asked two things: does it rank the networks as the truth does, and is
there a threshold that tells equivariant from not. Writes all numbers (CSV), one table (Markdown)
and one figure, with their provenance (JSON).

example:
  python analyses/tournament.py --out figures/tournament
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import bare_parser, run, write_provenance  # noqa: E402  (beside this script)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FINENESSES = (1, 2, 4)  # maps of 29, 57 and 113 cells
ANGLES = (30.0, 45.0, 90.0)
SHORTEST = 7.0  # pixels of the smallest size in the shortest wave of a scene
FAR = 2e-3  # truth from which a network that is not equivariant must be told from those that are
OURS = "excess, dense"
VERDICT = "verdict, dense"
EQUIVARIANT = ("full", "grid")  # verdicts that do not say that moving maps fails
CAUSES = ("all", "coarse grid", "permuted channels", "discrete group")


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = bare_parser("tournament", __doc__)
    add = made.add_argument
    add("--number", type=int, default=40, help="scenes, half to fit (default 40)")
    add("--seed", type=int, default=0, help="of the scenes and the split")
    add("--fineness", type=int, nargs="+", default=list(FINENESSES), help="times the resolution")
    add("--angles", type=float, nargs="+", default=list(ANGLES), help="of the rotations, degrees")
    add("--networks", nargs="+", help="names or beginnings of them; default: all")
    return run("tournament", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Measure every network at every size, judge the measures, write; everything or nothing."""
    import pandas as pd
    from _known import Scenes, known_networks
    from _peers import measures_of

    from invariance_probe import __version__
    from invariance_probe.errors import ProbeError
    from invariance_probe.probing.provenance import software_versions
    from invariance_probe.reporting.files import check_formats, write_figure
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder

    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite, parts=("tournament",))
    wanted = tuple(asked.networks or ("",))
    entered = [known for known in known_networks() if known.name.startswith(wanted)]
    if not entered:
        raise ProbeError(f"no network begins with {' or '.join(wanted)}; leave --networks out")
    scenes = Scenes.drawn(asked.number, asked.seed, SHORTEST)
    rows: list[dict[str, Any]] = []
    for fineness in asked.fineness:
        for known in entered:
            rows += measures_of(known, scenes, fineness, asked.angles, asked.seed, asked.device)
            print(f"{28 * fineness + 1:4d} cells: {known.name}", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    judged = judge(table)
    page = markdown(judged)
    with whole_folder(asked.out, overwrite=asked.overwrite, parts=("tournament",)) as folder:
        own = folder / "tournament"
        own.mkdir()
        table.to_csv(own / "measures.csv", index=False, lineterminator="\n")
        judged.to_csv(own / "summary.csv", lineterminator="\n")
        (own / "table_tournament.md").write_text(page, encoding="utf-8")
        figure = draw(table, width=asked.figure_width)
        for suffix in asked.formats:
            write_figure(figure, own / FIGURES / f"tournament.{suffix}")
        about = {"name": "invariance_probe", "version": __version__}
        write_provenance(
            own, {"command": command, "software": about, "versions": software_versions()}
        )
    print(page)
    return ("tournament",)


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """How each measure did, a row each, ours first.

    `rank correlation` with the truth (Spearman), the mean over sizes and angles; `misranked`, the
    share of pairs of an equivariant network and one that is not, at any size and angle, in which
    the measure does not put the equivariant one first, over all pairs and over those of one cause:
    the equivariant network has a coarse grid, the other one needs only a permutation of channels,
    the equivariant one is so under a discrete group only; `false verdicts`, the share of networks
    on the wrong side of the best threshold there is, and for the package's verdict of its own.
    """
    import pandas as pd
    from _peers import MEASURES

    rows = {name: _judged(told) for name in MEASURES if len(told := _told(table, name))}
    said = table[(table["measure"] == VERDICT) & _clear(table)]
    wrong = said["value"].isin(EQUIVARIANT) != said["exact"]
    rows[VERDICT] = {"false verdicts": float(wrong.mean())}
    judged = pd.DataFrame.from_dict(rows, orient="index").rename_axis("measure")
    return judged.assign(networks=table["network"].nunique(), cases=len(said))


def _clear(table: pd.DataFrame) -> pd.Series:
    """Where the truth is beyond doubt: equivariant, or far from it."""
    return table["exact"] | (table["truth"] >= FAR)


def _told(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of a measure, `error` growing with the error that it says."""
    from _peers import MEASURES

    rows = table[table["measure"] == name]
    values = rows["value"].astype(float)
    return rows.assign(error=values if MEASURES[name] else -values)


def _judged(told: pd.DataFrame) -> dict[str, float]:
    ranks = [
        group["error"].corr(group["truth"], method="spearman")
        for _, group in told.groupby(["cells", "angle"])
    ]
    clear = told[_clear(told)]
    exact, other = clear[clear["exact"]], clear[~clear["exact"]]
    coarse = exact["network"].str.contains("stride")
    group = exact["network"].str.contains("pooled")
    permuted = other["permutes"]
    pairs = {
        "all": (exact, other), "coarse grid": (exact[coarse], other),
        "permuted channels": (exact, other[permuted]), "discrete group": (exact[group], other),
    }  # fmt: skip
    shares = {f"misranked, {cause}": _misranked(*pairs[cause]) for cause in CAUSES}
    return {
        "rank correlation": float(sum(ranks) / len(ranks)), **shares,
        "false verdicts": _best_threshold(clear),
    }  # fmt: skip


def _misranked(exact: pd.DataFrame, other: pd.DataFrame) -> float:
    """The share of pairs in which the equivariant network does not come out better."""
    first, second = exact["error"].to_numpy(), other["error"].to_numpy()
    return float((first[:, None] >= second).mean()) if len(first) and len(second) else float("nan")


def _best_threshold(clear: pd.DataFrame) -> float:
    """The smallest share of false verdicts that any threshold on the measure has."""
    exact = clear["exact"].to_numpy()
    errors = clear["error"].to_numpy()
    return min(float(((errors <= level) != exact).mean()) for level in (*errors, -float("inf")))


def markdown(judged: pd.DataFrame) -> str:
    """The table of the docs."""
    heads = [name for name in judged.columns if name not in ("networks", "cases")]
    lines = [f"| measure | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for measure, row in judged.iterrows():
        cells = ["–" if row[head] != row[head] else _shown(head, row[head]) for head in heads]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shown(head: str, value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if head.startswith("rank") else f"{100 * value:.0f} %"


def draw(table: pd.DataFrame, *, width: float | None = None) -> Figure:
    """Every measure's value over the truth: a measure tells networks apart where heights differ.

    Equivariant networks stand at the left of each panel. `width` is millimetres, 170 by default.
    """
    from _peers import MEASURES

    from invariance_probe.reporting.drawing.fitting import legend_below
    from invariance_probe.reporting.drawing.panels import letter_panels
    from invariance_probe.reporting.drawing.style import WIDE, checked_width, new_figure, styled

    def drawn() -> Figure:
        wide = checked_width(width) or WIDE
        columns = 4 if wide > 120 else 2
        shown = [name for name in MEASURES if len(_told(table, name))]
        rows = -(-len(shown) // columns)
        figure = new_figure(wide, 38.0 * rows + 12)
        grid = figure.add_gridspec(rows, columns)
        axes = [figure.add_subplot(grid[divmod(place, columns)]) for place in range(len(shown))]
        for ax, name in zip(axes, shown, strict=True):
            _panel(ax, _told(table, name), name)
        for place, ax in enumerate(axes):
            ax.tick_params(labelbottom=place + columns >= len(shown))
            if place + columns >= len(shown):
                ax.set_xlabel("true residual")
        letter_panels(axes)
        legend_below(figure, axes[0].get_legend_handles_labels()[0], most=3)
        return figure

    return styled(drawn)()


def _panel(ax: Axes, told: pd.DataFrame, name: str) -> None:
    import numpy as np
    from _peers import MEASURES

    from invariance_probe.probing.rungs import BLUE, ORANGE

    values = told["value"].astype(float).replace([np.inf, -np.inf], np.nan)
    for exact, colour, label in ((True, BLUE, "equivariant"), (False, ORANGE, "not equivariant")):
        chosen = (told["exact"] == exact).to_numpy()
        for cells, marker in zip(sorted(told["cells"].unique()), "os^Dv", strict=False):
            rows = chosen & (told["cells"] == cells).to_numpy()
            place = 1e-4 if exact else told["truth"].clip(lower=2e-4)[rows]
            at = np.broadcast_to(place, rows.sum())
            ax.plot(
                at, values[rows], marker, ms=3, mew=0.4, mfc="none", color=colour, ls="",
                label=f"{label}, {cells} cells",
            )  # fmt: skip
    ax.set_xscale("log")
    if MEASURES[name]:  # errors: those near 0 are what is to be told apart
        ax.set_yscale("symlog", linthresh=1e-3)
        ax.set_yticks([0, 1e-2, 1, 100][: 4 if values.max() > 5 else 3])
    ax.set_title(name.replace("_", " "))


if __name__ == "__main__":
    sys.exit(main())
