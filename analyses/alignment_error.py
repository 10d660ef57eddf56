"""How far can moving the feature maps of a CNN undo a rotation or scaling of its input?

Probes each group of transformations on one checkpoint, and writes a folder per group with the
residuals (CSV), their provenance (JSON) and the figures: residual against angle and scale between
floor and ceiling, what is recovered, the alignment landscape, the ladder. The folder `overview`
holds one figure of all groups, and the command.

example:
  python analyses/alignment_error.py --checkpoint mine.safetensors --network mnist_cnn \\
      --data digits --number 1000 --out figures/alignment_error
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a clone, uninstalled

DEFAULTS = ("rotation:-180:180:15", "scaling:0.5:2:9")
OVERVIEW = "overview"
SHOWN = (
    "unaligned", "inverse", "best", "spatial_bound", "inverse_linear",
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
    add("--layers", nargs="+", default=["conv1", "pool1", "conv2", "pool2"], help="names, patterns")
    add("--transforms", nargs="+", default=list(DEFAULTS), help="one group, and folder, each")
    add("--data", default="digits", help="digits, a folder of images, or a torchvision data set")
    add("--data-root", help="where torchvision finds the data set")
    add("--number", type=int, default=100, help="images, half of them to fit (default 100)")
    add("--seed", type=int, default=0, help="of the split and the bootstrap")
    add("--device", default="cpu", help="cpu, cuda")
    add("--formats", nargs="+", default=["svg", "png"], help="of the figures: svg png pdf")
    add("--out", type=Path, default=Path("figures/alignment_error"), help="folder to write")
    add("--overwrite", action="store_true", help="replace an earlier result in that folder")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    asked = arguments(words)
    from invariance_probe.errors import ProbeError

    try:
        analyse(asked, words or sys.argv[1:])
    except ProbeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    command = shlex.join(["python", "analyses/alignment_error.py", *(words or sys.argv[1:])])
    print(f"\n{command}\nwrote {asked.out}/: " + ", ".join([*folders(asked.transforms), OVERVIEW]))
    return 0


def analyse(asked: argparse.Namespace, command: Sequence[str]) -> None:
    """Probe every group and write all of them, or nothing."""
    from invariance_probe.probing import Options, ProbeConfig, run_config
    from invariance_probe.probing.storage import FIGURES, check_free, whole_folder
    from invariance_probe.reporting import plot_residuals, save_figures, to_markdown

    groups = folders(asked.transforms)
    parts = (*groups, OVERVIEW)
    check_free(asked.out, overwrite=asked.overwrite, parts=parts)
    results = []
    with whole_folder(asked.out, overwrite=asked.overwrite, parts=parts) as folder:
        for name, transforms in zip(groups, asked.transforms, strict=True):
            config = ProbeConfig(
                network=asked.network,
                checkpoint=asked.checkpoint,
                layers=tuple(asked.layers),
                transforms=transforms,
                images=asked.data,
                data_root=asked.data_root,
                number=asked.number,
                device=asked.device,
                options=Options(seed=asked.seed),
            )
            result = run_config(config)
            result.save(folder / name)
            save_figures(result, folder / name / FIGURES, asked.formats)
            results.append(result)
            print(to_markdown(result))
            for warning in result.warnings:
                print(f"note: {warning}")
        figures = folder / OVERVIEW / FIGURES
        figures.mkdir(parents=True)
        figure = plot_residuals(results, rungs=SHOWN)
        for kind in asked.formats:
            figure.savefig(figures / f"residuals.{kind}")
        about = {
            "command": shlex.join(["python", "analyses/alignment_error.py", *command]),
            "runs": {n: r.provenance for n, r in zip(groups, results, strict=True)},
        }
        text = json.dumps(about, indent=2, sort_keys=True)
        (folder / OVERVIEW / "provenance.json").write_text(text + "\n", encoding="utf-8")


def folders(groups: Sequence[str]) -> list[str]:
    """A folder name per group of transformations: its kinds, numbered where they repeat.

    >>> folders(["rotation:-90:90:15", "scaling:0.5:2:9", "rotation:5"])
    ['rotation', 'scaling', 'rotation-2']
    """
    from invariance_probe.geometry import parse_transforms

    names: list[str] = []
    for group in groups:
        kinds = "-".join(dict.fromkeys(move.kind for move in parse_transforms(group)))
        taken = sum(name.split("#")[0] == kinds for name in names)
        names.append(f"{kinds}#{taken + 1}" if taken else kinds)
    return [name.replace("#", "-") for name in names]


if __name__ == "__main__":
    sys.exit(main())
