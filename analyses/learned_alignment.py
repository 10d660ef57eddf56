"""How far do the features at a transformer's own layer remain misaligned after what it learned?

Probes the networks of training runs twice at the layer where their alignment shows: with the
transformers held at the identity, and at work. Writes the residuals (CSV), the accuracy that
perfect alignment at the same places would have (oracle), a figure and the command.

example:
  python analyses/learned_alignment.py runs/STN-C0 runs/STN-C1 --number 1000 \\
      --transforms rotation:-90:90:15 --out figures/learned_alignment
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import bare_parser, run, write_provenance  # noqa: E402  (beside this script)

if TYPE_CHECKING:
    import pandas as pd


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = bare_parser("learned_alignment", __doc__)
    add = made.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folders of training runs")
    add("--transforms", default="rotation:-90:90:15", help="default: rotation:-90:90:15")
    add("--number", type=int, default=1000, help="digits, half to fit (default 1000)")
    add("--trained-seed", type=int, help="which network of each run; default: its first")
    add("--seed", type=int, default=0, help="of the split and the bootstrap")
    return run("learned_alignment", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Probe one network of every run and write everything or nothing."""
    import pandas as pd

    from invariance_probe.data import embedded_digits
    from invariance_probe.geometry import parse_transforms
    from invariance_probe.networks import build_network
    from invariance_probe.probing import oracle
    from invariance_probe.probing.learned import aligned_layer, learned_residuals
    from invariance_probe.probing.storage import FIGURES, check_free, whole_folder
    from invariance_probe.reporting import plot_learned, write_figure
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.training.runs import MODEL, run_config, seed_folder

    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite)
    kinds = {move.kind for move in parse_transforms(asked.transforms)} & {"rotation", "scaling"}
    tables, oracles, about = [], [], {}
    for folder in dict.fromkeys(asked.runs):
        seeds = run_config(folder).seeds
        seed = seeds[0] if asked.trained_seed is None else asked.trained_seed
        network = build_network(str(seed_folder(folder, seed) / MODEL))
        images = embedded_digits(asked.number, canvas=network.canvas, channels=network.channels)
        print(f"{network.description}: {aligned_layer(network.module)}")
        options = {"seed": asked.seed, "device": asked.device}
        tables.append(learned_residuals(network, asked.transforms, images, **options))
        depth = max(1, network.module.architecture.depths[-1])
        found = oracle(network, [f"blocks.{depth - 1}*"], asked.transforms, images, **options)
        oracles.append(found.accuracy.assign(network=network.name))
        about[network.name] = {
            "checkpoint_sha256": network.checkpoint_sha256, "description": network.description,
            "seed": seed, "layer": aligned_layer(network.module),
        }  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    with whole_folder(asked.out, overwrite=asked.overwrite) as folder:
        table.to_csv(folder / "learned.csv", index=False, lineterminator="\n")
        accuracy = pd.concat(oracles, ignore_index=True)
        accuracy.to_csv(folder / "oracle.csv", index=False, lineterminator="\n")
        for kind in sorted(kinds):
            figure = plot_learned(table, kind)
            for suffix in asked.formats:
                write_figure(figure, folder / FIGURES / f"learned_{kind}.{suffix}")
        write_provenance(
            folder,
            {"command": command, "networks": about, "images": images.description,
             "number": len(images), "transforms": asked.transforms, "seed": asked.seed},
        )  # fmt: skip
    print(report(table))
    return ("learned.csv", "oracle.csv", FIGURES, "provenance.json")


def report(table: pd.DataFrame) -> str:
    """The residuals of every network, averaged over the transformations but the identity."""
    moved = table[~table["identity"]]
    wide = moved.pivot_table("residual", "network", "rung", sort=False)
    return "\n" + wide.round(3).to_string()


if __name__ == "__main__":
    raise SystemExit(main())
