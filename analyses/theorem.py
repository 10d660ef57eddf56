"""Which image transformations can moving the feature maps undo? The theorem in one figure.

Measures the residual after h⁻¹ under translations, rotations and scalings: of one layer of a
network, of its twin with filters averaged over the four rotations, and of a network of 1x1
convolutions; beside them Gaussian derivatives on generated scenes, whose residual is known to be
2 − 2 cos θ. Translation aligns; rotation only with symmetric filters (the twin, at 90°); scaling
never, unless features see single pixels. Writes a result folder per network, and `theorem` with
the figure, its numbers (CSV) and the command (JSON).

example:
  python analyses/theorem.py --checkpoint mine.safetensors --network mnist_cnn --layer conv1 \\
      --data digits --number 1000 --out figures/theorem
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
    import pandas as pd

    from invariance_probe.data import ImageSet

TRANSLATIONS = " ".join(f"translation:{shift},0" for shift in (-4, -3, -2, -1, 0, 1, 2, 3, 4))
TRANSFORMS = f"{TRANSLATIONS} rotation:-180:180:15 scaling:0.5:2:9"
PARTS = ("network", "twin", "pointwise", "gaussian", "theorem")


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = parser("theorem", __doc__, number=100)
    add = made.add_argument
    add("--layer", default="conv1", help="the layer measured on the network and its twin")
    add("--transforms", default=TRANSFORMS, help="translations, rotations and scalings, one text")
    add("--erode", type=float, default=4.0, help="pixels kept from the edge: half the layer's view")
    add("--scenes", type=int, default=16, help="generated scenes for the Gaussian derivatives")
    return run("theorem", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Probe the four networks, draw and write; everything or nothing."""
    from papers.theorem import plot_theorem, theorem_table

    from invariance_probe.geometry import parse_transforms
    from invariance_probe.networks import build_network
    from invariance_probe.networks.controls import gaussian_derivatives, pointwise
    from invariance_probe.networks.symmetry import asymmetry, symmetrised
    from invariance_probe.probing import Options, probe
    from invariance_probe.probing.config import load_images
    from invariance_probe.reporting.files import check_formats, write_figure
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder

    moves = parse_transforms(asked.transforms)  # the cheapest checks come first
    turned = [move for move in moves if move.kind == "rotation"] or list(moves)
    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite, parts=PARTS)
    options = Options(seed=asked.seed, erode=asked.erode, channels=False)
    config = probe_config(asked, asked.transforms, [asked.layer], options)
    network = build_network(
        asked.network, checkpoint=asked.checkpoint, by_order=asked.by_order, seed=asked.seed
    )
    images = load_images(config, network)
    control = pointwise(inputs=network.channels, seed=asked.seed)
    same = {"mean": network.mean, "std": network.std, "options": options, "device": asked.device}
    results = {
        "network": probe(
            network, asked.layer, moves, images, options=options, device=asked.device,
            config=config.to_dict(),
        ),
        "twin": probe(
            symmetrised(network), asked.layer, moves, images, options=options, device=asked.device
        ),
        "pointwise": probe(control, "conv2", moves, images, **same),
        "gaussian": probe(
            gaussian_derivatives(2.0), "filters", turned, scenes(asked.scenes, asked.seed),
            options=Options(
                seed=asked.seed, image_interpolation="bicubic", map_interpolation="bicubic"
            ),
            device=asked.device,
        ),
    }  # fmt: skip
    labels = {"network": f"{network.name} {asked.layer}", "twin": "its symmetrised twin",
              "pointwise": "1x1 convolutions"}  # fmt: skip
    shown = {label: results[part] for part, label in labels.items()}
    table = theorem_table(shown, results["gaussian"])
    with whole_folder(asked.out, overwrite=asked.overwrite, parts=PARTS) as folder:
        for part, result in results.items():
            result.save(folder / part)
        own = folder / PARTS[-1]
        figure = plot_theorem(shown, results["gaussian"], width=asked.figure_width)
        for suffix in asked.formats:
            write_figure(figure, own / FIGURES / f"theorem.{suffix}")
        table.to_csv(own / "residuals.csv", index=False, lineterminator="\n")
        exact = table[(table["kind"] == "rotation") & (table["parameter"].abs() == 90)]
        exact.to_csv(own / "summary.csv", index=False, lineterminator="\n")
        about = {
            "command": command,
            "labels": labels,
            "asymmetry": asymmetry(network),
            "runs": {part: result.provenance for part, result in results.items()},
        }
        write_provenance(own, about)
    print(report(table))
    for warning in dict.fromkeys(w for result in results.values() for w in result.warnings):
        print(f"note: {warning}")
    return PARTS


def report(table: pd.DataFrame) -> str:
    """Residuals after h⁻¹ per network: the largest of each kind, and the one at 90°."""
    rows = table[table["rung"] == "inverse"]
    wide = rows.pivot_table(
        index="network", columns="kind", values="residual", aggfunc="max", sort=False
    )
    wide.columns = [f"worst {kind}" for kind in wide.columns]
    exact = rows[(rows["kind"] == "rotation") & (rows["parameter"] == 90)]
    wide["rotation by 90°"] = exact.set_index("network")["residual"]
    return str(wide.to_string(float_format=lambda value: f"{value:.3g}", na_rep="–"))


def scenes(number: int, seed: int, source: int = 160, canvas: int = 96) -> ImageSet:
    """Generated band-limited scenes: sums of plane waves, none shorter than 14 pixels."""
    import numpy as np

    from invariance_probe.data import array_images

    random = np.random.default_rng(seed)
    axis = np.arange(source) - (source - 1) / 2
    images = np.empty((number, 1, source, source), dtype=np.float32)
    for image in images:
        wave = 2 * np.pi / random.uniform(14, 35, 30)
        angle, phase = random.uniform(0, 2 * np.pi, (2, 30))
        kx, ky = wave * np.cos(angle), wave * np.sin(angle)
        # cos(a + b) of sums over x and y, as products: a scene is two small matrix products.
        across, down = kx[:, None] * axis, ky[:, None] * axis + phase[:, None]
        values = np.cos(down).T @ np.cos(across) - np.sin(down).T @ np.sin(across)
        values -= values.min()
        image[0] = values / values.max()
    text = f"{number} generated scenes (sums of plane waves of 14 to 35 px, seed {seed})"
    return array_images(images, canvas, background="reflect", description=text)


if __name__ == "__main__":
    sys.exit(main())
