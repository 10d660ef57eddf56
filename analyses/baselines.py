"""How do the measures of other papers relate to the residual, on the same activations?

Takes normalised variance, same-equivariance, EQ PSNR, linear CKA and the Lie derivative error of a
checkpoint's layers beside the residuals of the probe, for each group of transformations. Writes a
folder per group with all numbers (CSV), a table (Markdown) and their provenance (JSON); the folder
`overview` holds one figure of all groups, and the command.

example:
  python analyses/baselines.py --checkpoint mine.safetensors --network mnist_cnn \\
      --data digits --number 1000 --out figures/baselines
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import folders, parser, probe_config, run, write_provenance  # noqa: E402  (beside this script)

if TYPE_CHECKING:
    import pandas as pd

DEFAULTS = ("rotation:-180:180:15", "scaling:0.5:2:9")
OVERVIEW = "overview"
SHOWN = (
    "unaligned", "inverse", "gain", "normalised_variance", "same_equivariance",
    "same_equivariance_distance", "eq_psnr", "cka_unaligned", "cka_inverse",
)  # fmt: skip
DERIVATIVES = "lie_derivative_relative"


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = parser("baselines", __doc__, number=200)
    add = made.add_argument
    add("--layers", nargs="+", default=["conv1", "pool1", "conv2", "pool2"], help="names, patterns")
    add("--transforms", nargs="+", default=list(DEFAULTS), help="one group, and folder, each")
    add("--aggregation", choices=["mean", "sum", "max"], help="of variances over a channel's cells")
    return run("baselines", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Measure every group and write all of them, or nothing."""
    from invariance_probe.probing import baselines
    from invariance_probe.probing.config import load_images, load_network
    from invariance_probe.reporting import plot_baselines, write_figure
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder

    groups = folders(asked.transforms)  # the cheapest checks come first
    parts = (*groups, OVERVIEW)
    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite, parts=parts)
    tables = {}
    with whole_folder(asked.out, overwrite=asked.overwrite, parts=parts) as folder:
        for name, transforms in zip(groups, asked.transforms, strict=True):
            config = probe_config(asked, transforms, asked.layers)
            network = load_network(config)
            table = baselines(
                network, config.layers, config.transforms, load_images(config, network),
                aggregation=asked.aggregation, options=config.options, device=config.device,
                config=config.to_dict(),
            )  # fmt: skip
            own = folder / name
            own.mkdir()
            table.to_csv(own / "summary.csv", index=False, lineterminator="\n")
            page = markdown(table)
            (own / "table_baselines.md").write_text(page, encoding="utf-8")
            write_provenance(own, table.attrs["provenance"])
            tables[name] = table
            print(f"{name}\n\n{page}")
            for warning in table.attrs["provenance"]["warnings"]:
                print(f"note: {warning}")
        figure = plot_baselines(tables, width=asked.figure_width)
        for suffix in asked.formats:
            write_figure(figure, folder / OVERVIEW / FIGURES / f"baselines.{suffix}")
        about = {name: table.attrs["provenance"] for name, table in tables.items()}
        write_provenance(folder / OVERVIEW, {"command": command, "runs": about})
    return parts


def markdown(table: pd.DataFrame) -> str:
    """Layers by measures over all transformations of a group, and Lie derivatives by generator."""
    rows = table[(table["transform"] == "all") & table["measure"].isin(SHOWN)]
    wide = rows.pivot(index="layer", columns="measure", values="value")
    wide = wide.reindex(index=list(dict.fromkeys(rows["layer"])), columns=list(SHOWN))
    lie = table[table["measure"] == DERIVATIVES]
    speeds = lie.pivot(index="layer", columns="transform", values="value")
    speeds = speeds.reindex(
        index=list(dict.fromkeys(lie["layer"])), columns=list(dict.fromkeys(lie["transform"]))
    )
    speeds.columns = [f"Lie: {name}" for name in speeds.columns]
    return f"{_page(wide)}\n{_page(speeds)}"


def _page(wide: pd.DataFrame) -> str:
    heads = [str(name).replace("_", " ") for name in wide.columns]
    lines = [f"| layer | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for layer, values in wide.iterrows():
        shown = ["–" if value != value else f"{value:.3g}".replace("-", "−") for value in values]
        lines.append(f"| {layer} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
