"""What is perfect alignment of one layer's maps worth to the classifier?

Classifies transformed images with an oracle spatial transformer at each layer: the layer's maps
are moved back by the known inverse, alone or with a channel map fitted on other images, beside
doing nothing and aligning the input. Writes the oracle's tables (`oracle`), the residuals of the
same layers (`probe`), and one table of both per transformation with the figures (`overview`).

example:
  python analyses/oracle_stn.py --checkpoint mine.safetensors --network mnist_cnn \\
      --data digits --number 10000 --transforms rotation:90 --out figures/oracle_stn
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a clone, uninstalled

LAYERS = ("conv1", "pool1", "relu1", "conv2", "pool2", "relu2")
PARTS = ("oracle", "probe", "overview")
RUNGS = (
    "unaligned", "inverse", "best", "spatial_bound", "inverse_permuted", "inverse_linear",
    "input_aligned", "other_image",
)  # fmt: skip


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    summary, _, example = (__doc__ or "").partition("\nexample:")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog="example:" + example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--network", default="mnist_cnn", help="mnist_cnn, a torchvision name, or module:factory")
    add("--checkpoint", help="weights, .safetensors or .pt; default: the embedded ones")
    add("--layers", nargs="+", default=list(LAYERS), help="names, patterns")
    add("--transforms", default="rotation:90 scaling:2", help="transformations in one text")
    add("--data", default="digits", help="digits, a folder of images, or a torchvision data set")
    add("--data-root", help="where torchvision finds the data set")
    add("--number", type=int, default=400, help="images, half of them to fit (default 400)")
    add("--seed", type=int, default=0, help="of the split and the bootstrap")
    add("--device", default="cpu", help="cpu, cuda")
    add("--formats", nargs="+", default=["svg", "png"], help="of the figures: svg png pdf")
    add("--out", type=Path, default=Path("figures/oracle_stn"), help="folder to write")
    add("--overwrite", action="store_true", help="replace an earlier result in that folder")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    asked = arguments(words)
    from invariance_probe.errors import ProbeError

    command = shlex.join(["python", "analyses/oracle_stn.py", *(words or sys.argv[1:])])
    try:
        analyse(asked, command)
    except ProbeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(f"\n{command}\nwrote {asked.out}/: {', '.join(PARTS)}")
    return 0


def analyse(asked: argparse.Namespace, command: str) -> None:
    """Run oracle and probe on the same halves of the same images; write all or nothing."""
    from invariance_probe.probing import Options, ProbeConfig, oracle, run_config
    from invariance_probe.probing.config import load_images, load_network
    from invariance_probe.probing.storage import FIGURES, check_free, whole_folder
    from invariance_probe.reporting import oracle_markdown, plot_oracle, write_figure

    check_free(asked.out, overwrite=asked.overwrite, parts=PARTS)
    config = ProbeConfig(
        network=asked.network,
        checkpoint=asked.checkpoint,
        layers=tuple(asked.layers),
        transforms=asked.transforms,
        images=asked.data,
        data_root=asked.data_root,
        number=asked.number,
        device=asked.device,
        options=Options(seed=asked.seed),
    )
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
        for measure in ("accuracy", "agreement", "logit_residual"):
            if found.accuracy[measure].notna().any():
                for kind in asked.formats:
                    figure = plot_oracle(found, measure)
                    write_figure(figure, own / FIGURES / f"{measure}.{kind}")
        both = rungs_and_accuracies(probed, found)
        both.to_csv(own / "summary.csv", index=False, lineterminator="\n")
        about = {"command": command, "oracle": found.provenance, "probe": probed.provenance}
        text = json.dumps(about, indent=2, sort_keys=True)
        (own / "provenance.json").write_text(text + "\n", encoding="utf-8")
    for transform in found.axes["transform"]:
        print(f"{transform}: accuracy {found.untransformed_accuracy:.3f} untransformed")
        print(oracle_markdown(found, transform))
        rows = both[both["transform"] == transform].drop(columns="transform")
        print(markdown(rows))
    for _, row in found.inadmissible.iterrows():
        print(f"left out: {row['reason']}")
    for warning in found.warnings:
        print(f"note: {warning}")


def rungs_and_accuracies(probed, found):  # type: ignore[no-untyped-def]
    """One row per transformation and layer: residuals of the rungs, accuracies of the oracle."""
    import pandas as pd

    tables = []
    for transform in found.axes["transform"]:
        ladder = probed.ladder(transform)
        worth = found.table(transform).add_prefix("accuracy_")
        table = ladder[[rung for rung in RUNGS if rung in ladder]].join(worth)
        table.insert(0, "transform", transform)
        tables.append(table.reset_index())
    return pd.concat(tables, ignore_index=True)


def markdown(table) -> str:  # type: ignore[no-untyped-def]
    """A DataFrame as a Markdown table, numbers with three digits."""
    lines = ["| " + " | ".join(name.replace("_", " ") for name in table) + " |"]
    lines.append("|---|" + "---:|" * (table.shape[1] - 1))
    for row in table.itertuples(index=False):
        cells = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
