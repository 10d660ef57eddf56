"""Which of several networks, or of a network's checkpoints, aligns better, and where?

Probes every network on the same images and transformations, and writes a folder per network with
its residuals, and the folder `comparison`: every network's residuals with intervals and the paired
differences to the first one (CSV, Markdown, LaTeX), figures of both, their provenance, and the
command. By default: the embedded network, the same with random weights, and its symmetrised twin,
which is made to align under quarter turns.

example:
  python analyses/compare_networks.py --networks mnist_cnn --number 1000 --along 1000 5000 20000 \\
      --checkpoints early.safetensors middle.safetensors late.safetensors --data digits
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import bare_parser, probe_config, run  # noqa: E402  (beside this script)

if TYPE_CHECKING:
    from invariance_probe.probing import ProbeConfig

DEFAULTS = {
    "trained": "mnist_cnn",
    "random": "invariance_probe.networks:MnistCNN",
    "symmetrised": "symmetrised:mnist_cnn",
}
COMPARISON = "comparison"
SHOWN = ("inverse", "inverse_linear", "gain")


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = bare_parser("compare_networks", __doc__)
    add = made.add_argument
    add("--networks", nargs="+", metavar="SPEC", help="names as for the command line; one or more")
    add("--checkpoints", nargs="+", metavar="FILE", help="weights, one per network or all of one")
    add("--by-order", action="store_true", help="match weights in order, whatever their names")
    add("--names", nargs="+", help="what they are called in folders and figures")
    add("--along", nargs="+", type=float, help="a number per network, such as its training step")
    add("--data", default="digits", help="digits, a folder of images, or a torchvision data set")
    add("--data-root", help="where torchvision finds the data set")
    add("--number", type=int, default=100, help="images, half to fit (default 100)")
    add("--seed", type=int, default=0, help="of the split and the bootstrap, and random weights")
    add("--layers", nargs="+", default=["conv1", "pool1", "conv2", "pool2"], help="names, patterns")
    add("--match", nargs="+", metavar="LABEL=LAYER,...", help="layers that belong together instead")
    add("--transforms", default="rotation:-180:180:15 scaling:0.5:2:9", help="as one text")
    return run("compare_networks", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Probe every network, compare them, and write all of it, or nothing."""
    from invariance_probe.probing import compare, run_config
    from invariance_probe.probing.comparison.pairing import parse_pairs
    from invariance_probe.reporting import comparison_markdown, write_comparison
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.running.folders import check_free, whole_folder

    match = parse_pairs(asked.match) if asked.match else None
    configs = planned(asked, match)  # the cheapest checks come first
    parts = (*configs, COMPARISON)
    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite, parts=parts)
    results = {}
    with whole_folder(asked.out, overwrite=asked.overwrite, parts=parts) as folder:
        for name, config in configs.items():
            print(f"{name}: probing")
            results[name] = run_config(config)
            results[name].save(folder / name)
        found = compare(results, layers=match, along=asked.along)
        found = replace(found, provenance={**found.provenance, "command": command})
        write_comparison(found, folder / COMPARISON, asked.formats, width=asked.figure_width)
    print(comparison_markdown(found, quantities=[q for q in SHOWN if q in found.quantities]))
    return parts


def planned(
    asked: argparse.Namespace, match: dict[str, tuple[str, ...]] | None
) -> dict[str, ProbeConfig]:
    """What to probe, by name: alike but for network, weights and layers."""
    from invariance_probe.errors import ProbeError
    from invariance_probe.networks import build_network

    networks: list[str] = asked.networks or list(DEFAULTS.values())
    files: list[str | None] = asked.checkpoints or [None] * len(networks)
    if asked.checkpoints and not asked.networks:
        networks = [DEFAULTS["trained"]]
    networks = networks * len(files) if len(networks) == 1 else networks
    if len(files) != len(networks):
        raise ProbeError(
            f"{len(files)} checkpoints for {len(networks)} networks; give one each, or one network"
        )
    if asked.networks or asked.checkpoints:
        known = [_name(*pair) for pair in zip(networks, files, strict=True)]
    else:
        known = list(DEFAULTS)
    names = asked.names or known
    if len(names) != len(networks) or len(set(names) - {COMPARISON}) < len(networks):
        raise ProbeError(
            f"--names {' '.join(names)}: give {len(networks)} different names (not 'comparison')"
        )
    if bad := [name for name in names if Path(name).name != name]:
        raise ProbeError(f"--names {bad[0]} cannot be a folder's name; use no slashes")
    if len(names) < 2:
        raise ProbeError("one network has nothing to be compared with; give more --networks")
    for label, layers in (match or {}).items():
        if len(layers) != len(names):
            raise ProbeError(
                f"--match {label}={','.join(layers)}: {len(layers)} layers for {len(names)} "
                "networks; give one each"
            )
    weights = {"seed": asked.seed, "by_order": asked.by_order}
    first = build_network(networks[0], checkpoint=files[0], **weights)
    configs = {}
    for place, (name, network, file) in enumerate(zip(names, networks, files, strict=True)):
        chosen = argparse.Namespace(**vars(asked), network=network, checkpoint=file)
        layers = [row[place] for row in match.values()] if match else asked.layers
        config = probe_config(chosen, asked.transforms, list(dict.fromkeys(layers)))
        built = first if not place else build_network(network, checkpoint=file, **weights)
        # Networks without a normalisation of their own see the images as the first one does.
        own = any(built.mean) or any(value != 1 for value in built.std)
        if not own and built.channels == first.channels:
            config = replace(config, mean=first.mean, std=first.std)
        configs[name] = replace(config, canvas=first.canvas)
    return configs


def _name(network: str, file: str | None) -> str:
    """A folder's name from a network's name and its file of weights."""
    text = network.replace(":", "-").replace("/", "-").removesuffix(".safetensors")
    return text if file is None else f"{text}-{Path(file).stem}"


if __name__ == "__main__":
    sys.exit(main())
