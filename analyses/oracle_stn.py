"""What is perfect alignment of one layer's maps worth to the classifier?

Classifies transformed images with an oracle spatial transformer at each layer: the layer's maps
are moved back by the known inverse, alone or with a channel map fitted on other images, beside
doing nothing and aligning the input. Writes the oracle's tables (`oracle`), the residuals of the
same layers on the same images (`probe`), and in `overview` both in one table (CSV, Markdown),
accuracy, agreement and logit residual (CSV, LaTeX, Markdown), figures, and the command.

example:
  python analyses/oracle_stn.py --checkpoint mine.safetensors --network mnist_cnn \\
      --data digits --number 10000 --transforms rotation:90 --out figures/oracle_stn
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import parser, probe_config, run, write_provenance  # noqa: E402  (beside this script)

if TYPE_CHECKING:
    from invariance_probe.probing import OracleResult, Result

LAYERS = ("conv1", "pool1", "relu1", "conv2", "pool2", "relu2")
PARTS = ("oracle", "probe", "overview")
MEASURES = ("accuracy", "agreement", "logit_residual")
DEFAULTS = ("rotation:90", "scaling:2")


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = parser("oracle_stn", __doc__, number=400)
    made.add_argument("--layers", nargs="+", default=list(LAYERS), help="names, patterns")
    made.add_argument(
        "--transforms", nargs="+", default=list(DEFAULTS), help="transformations, all in one run"
    )
    return run("oracle_stn", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Run oracle and probe on the same halves of the same images; write all or nothing."""
    from invariance_probe.geometry import parse_transforms
    from invariance_probe.probing import oracle, run_config
    from invariance_probe.probing.config import load_images, load_network
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.running.folders import check_free, whole_folder

    transforms = " ".join(asked.transforms)
    parse_transforms(transforms)  # the cheapest checks come first
    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite, parts=PARTS)
    config = probe_config(asked, transforms, asked.layers)
    network = load_network(config)
    found = oracle(
        network, config.layers, config.transforms, load_images(config, network),
        options=config.options, device=config.device, config=config.to_dict(),
    )  # fmt: skip
    probed = run_config(config)
    with whole_folder(asked.out, overwrite=asked.overwrite, parts=PARTS) as folder:
        found.save(folder / "oracle")
        probed.save(folder / "probe")
        own = folder / "overview"
        own.mkdir()
        print(write_overview(own, found, probed, asked.formats, asked.figure_width))
        about = {"command": command, "oracle": found.provenance, "probe": probed.provenance}
        write_provenance(own, about)
    for _, row in found.inadmissible.iterrows():
        print(f"left out: {row['reason']}")
    for warning in dict.fromkeys((*found.warnings, *probed.warnings)):
        print(f"note: {warning}")
    return PARTS


def write_overview(
    folder: Path,
    found: OracleResult,
    probed: Result,
    formats: Sequence[str],
    width: float | None = None,
) -> str:
    """Write tables and figures that hold both; returns what tells most, as Markdown."""
    from invariance_probe.reporting import (
        oracle_latex,
        oracle_markdown,
        oracle_table,
        plot_oracle,
        rungs_and_accuracies,
        rungs_markdown,
        write_figure,
    )
    from invariance_probe.running.folders import FIGURES

    labelled = found.untransformed_accuracy >= 0
    measures = [name for name in MEASURES if labelled or name != "accuracy"]
    moving = found.accuracy[~found.accuracy["identity"].astype(bool)]
    several = moving["transform"].nunique() > 1
    names = list(found.axes["transform"])
    for measure in measures:
        texts = {"md": [], "tex": []}  # type: dict[str, list[str]]
        for name in [*names, None] if several else names:
            texts["tex"].append(oracle_latex(found, name, measure))
            title = (
                f"Mean over transformations: {measure}" if name is None else f"{name}: {measure}"
            )
            page = oracle_markdown(found, name, measure)
            texts["md"].append(f"{title.replace('_', ' ')}\n\n{page}")
        for suffix, parts in texts.items():
            path = folder / f"table_{measure}.{suffix}"
            path.write_text("\n".join(parts), encoding="utf-8")
        for suffix in formats:
            figure = plot_oracle(found, measure, width=width)
            write_figure(figure, folder / FIGURES / f"{measure}.{suffix}")
    tables = {"summary": rungs_and_accuracies(probed, found)}
    if len(moving):
        tables["accuracy"] = oracle_table(found)
    for title, table in tables.items():
        table.to_csv(folder / f"{title}.csv", index=False, lineterminator="\n")
    pages = []
    for name in names:
        head = f"{name}: {100 * found.untransformed_accuracy:.1f} % correct when untransformed"
        head = head if labelled else name
        pages.append(f"{head}\n\n{rungs_markdown(probed, found, name)}")
    text = "\n".join(pages)
    (folder / "table_rungs_and_accuracy.md").write_text(text, encoding="utf-8")
    return text


if __name__ == "__main__":
    sys.exit(main())
