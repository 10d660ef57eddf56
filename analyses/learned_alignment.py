"""How far do the features at a transformer's own layer remain misaligned after what it learned?

Probes every trained network of training runs twice at the layer where its alignment shows, with
the transformers held at the identity and at work: residuals after the exact inverse, the best
spatial alignment, channel maps and the learned transformation, and the classifier's errors with
each (oracle). Images are upright test digits in the middle of the run's canvas, without clutter,
transformed as the run's data are. Writes tables (CSV, Markdown, LaTeX), a figure per data set and
the command.

example:
  python analyses/learned_alignment.py runs/mnist-r/STN-C0 runs/mnist-r/STN-C1 --number 1000 \\
      --data-root DIR --out figures/learned_alignment
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import bare_parser, run, write_provenance  # noqa: E402  (beside this script)

if TYPE_CHECKING:
    from invariance_probe.data import ImageSet
    from invariance_probe.networks import Network
    from invariance_probe.training import TrainConfig


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = bare_parser("learned_alignment", __doc__)
    add = made.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folders of training runs")
    add("--transforms", help="default: by the data, rotation:-90:90:15 for mnist-r")
    add("--data-root", help="where the test digits are; default: the package's last 2,000")
    add("--number", type=int, default=1000, help="digits, half to fit (default 1000)")
    add("--trained-seeds", nargs="+", type=int, help="networks of each run; default: all trained")
    add("--seed", type=int, default=0, help="of the digits, the split and the bootstrap")
    return run("learned_alignment", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Probe the networks of every run and write everything or nothing."""
    import pandas as pd
    from papers.learned import plot_learned
    from papers.learned_tables import (
        learned_latex,
        learned_markdown,
        learned_rows,
        learned_table,
    )

    from invariance_probe.probing.oracles.learned import learned_alignment, merged_residuals
    from invariance_probe.probing.provenance import environment
    from invariance_probe.reporting import write_figure
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder

    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite)
    residuals, rows, about = [], [], []
    for config, seed, network, transforms, images in planned(asked):
        data, name = Path(config.data).name, config.architecture.name
        found = learned_alignment(network, transforms, images, seed=asked.seed, device=asked.device)
        print(f"{data}/{name} seed {seed}: {found.layer}", flush=True)
        table = merged_residuals(found.held, found.working, name)
        residuals.append(table.assign(data=data, seed=seed))
        rows.append(learned_rows(found, data, name, seed))
        about.append({
            "data": config.data, "network": name, "seed": seed, "layer": found.layer,
            "oracle_layer": found.warped, "description": network.description,
            "checkpoint_sha256": network.checkpoint_sha256, "transforms": transforms,
            "images": images.description, "number": len(images), "images_sha256": images.sha256,
            "warnings": list(found.held.warnings),
        })  # fmt: skip
    each, by_seed = pd.concat(residuals, ignore_index=True), pd.concat(rows, ignore_index=True)
    table = learned_table(by_seed)
    with whole_folder(asked.out, overwrite=asked.overwrite) as folder:
        for name, written in {"residuals": each, "seeds": by_seed, "summary": table}.items():
            written.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        page = learned_markdown(table)
        (folder / "table_learned.md").write_text(page, encoding="utf-8")
        (folder / "table_learned.tex").write_text(learned_latex(table), encoding="utf-8")
        for (data, kind), _ in table.groupby(["data", "kind"], sort=False):
            if kind in ("rotation", "scaling", "translation"):
                figure = plot_learned(each[each["data"] == data], kind, width=asked.figure_width)
                for suffix in asked.formats:
                    write_figure(figure, folder / FIGURES / f"learned_{kind}_{data}.{suffix}")
        made = {"command": command, "seed": asked.seed, "environment": environment(asked.device)}
        write_provenance(folder, {**made, "networks": about})
    print(f"\n{page}")
    return ("residuals.csv", "seeds.csv", "summary.csv", "table_learned.md", "table_learned.tex",
            FIGURES, "provenance.json")  # fmt: skip


def planned(
    asked: argparse.Namespace,
) -> Iterator[tuple[TrainConfig, int, Network, str, ImageSet]]:
    """Configuration, seed, network, transformations and images; all checked before any work."""
    from invariance_probe.data.digit_sets import upright_digits
    from invariance_probe.errors import ProbeError
    from invariance_probe.geometry import parse_transforms
    from invariance_probe.networks import build_network
    from invariance_probe.probing.oracles.learned import aligned_layer, default_transforms
    from invariance_probe.training.runs.trained_run import MODEL, run_config, seed_folder

    plans: list[tuple[TrainConfig, int, Network, str, ImageSet]] = []
    sets: dict[Any, ImageSet] = {}
    for folder in dict.fromkeys(asked.runs):
        config = run_config(folder)
        transforms = asked.transforms or default_transforms(config.data)
        parse_transforms(transforms)
        seeds = asked.trained_seeds or [
            seed for seed in config.seeds if (seed_folder(folder, seed) / MODEL).exists()
        ]
        if not seeds:
            raise ProbeError(f"no network in '{folder}' is trained yet; train it to the end first")
        canvas = config.architecture.canvas
        key = (config.data, canvas)
        for seed in seeds:
            network = build_network(str(seed_folder(folder, seed) / MODEL))
            aligned_layer(network.module)  # type: ignore[arg-type]
            if key not in sets:
                sets[key] = upright_digits(
                    config.data, canvas, asked.data_root, asked.number, asked.seed
                )
            plans.append((config, seed, network, transforms, sets[key]))
    return iter(plans)


if __name__ == "__main__":
    raise SystemExit(main())
