"""How far can moving the feature maps of a CNN undo a rotation or scaling of its input?

Probes each group of transformations on one checkpoint, and writes a folder per group with the
residuals (CSV), their provenance (JSON) and the figures: residual against angle and scale between
floor and ceiling, what is recovered, the alignment landscape, the ladder. The folder `overview`
holds the ledger and the residuals of all groups, and the command.

example:
  python analyses/alignment_error.py --checkpoint mine.safetensors --network mnist_cnn \\
      --data digits --number 1000 --out figures/alignment_error
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import folders, parser, probe_config, run, write_provenance  # noqa: E402  (beside this script)

DEFAULTS = ("rotation:-180:180:15", "scaling:0.5:2:9")
OVERVIEW = "overview"
SHOWN = (
    "unaligned", "inverse", "best", "spatial_bound", "inverse_linear",
    "input_aligned", "other_image",
)  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = parser("alignment_error", __doc__, number=100)
    made.add_argument(
        "--layers", nargs="+", default=["conv1", "pool1", "conv2", "pool2"], help="names, patterns"
    )
    made.add_argument(
        "--transforms", nargs="+", default=list(DEFAULTS), help="one group, and folder, each"
    )
    return run("alignment_error", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Probe every group and write all of them, or nothing."""
    from invariance_probe.probing import run_config
    from invariance_probe.reporting import (
        plot_ledger,
        plot_residuals,
        save_figures,
        to_markdown,
    )
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder

    groups = folders(asked.transforms)
    parts = (*groups, OVERVIEW)
    check_free(asked.out, overwrite=asked.overwrite, parts=parts)
    results = []
    with whole_folder(asked.out, overwrite=asked.overwrite, parts=parts) as folder:
        for name, transforms in zip(groups, asked.transforms, strict=True):
            config = probe_config(asked, transforms, asked.layers)
            result = run_config(config)
            result.save(folder / name)
            save_figures(result, folder / name / FIGURES, asked.formats, width=asked.figure_width)
            results.append(result)
            print(to_markdown(result))
            for warning in result.warnings:
                print(f"note: {warning}")
        figures = folder / OVERVIEW / FIGURES
        figures.mkdir(parents=True)
        overview = {
            "ledger": plot_ledger(results, width=asked.figure_width),
            "residuals": plot_residuals(results, rungs=SHOWN, width=asked.figure_width),
        }
        for name, figure in overview.items():
            for kind in asked.formats:
                figure.savefig(figures / f"{name}.{kind}")
        about = {
            "command": command,
            "runs": {n: r.provenance for n, r in zip(groups, results, strict=True)},
        }
        write_provenance(folder / OVERVIEW, about)
    return parts


if __name__ == "__main__":
    sys.exit(main())
