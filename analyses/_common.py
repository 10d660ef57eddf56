"""What every analysis script shares: its arguments, and how it ends."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invariance_probe.probing import Options, ProbeConfig

Analyse = Callable[[argparse.Namespace, str], Sequence[str]]


def parser(name: str, doc: str | None, *, number: int) -> argparse.ArgumentParser:
    """A parser with the arguments of analyses that probe a network."""
    made = bare_parser(name, doc)
    add = made.add_argument
    add("--network", default="mnist_cnn", help="mnist_cnn, a torchvision name, or module:factory")
    add("--checkpoint", help="weights, .safetensors or .pt; default: the embedded ones")
    add("--by-order", action="store_true", help="match weights in order, whatever their names")
    add("--data", default="digits", help="digits, a folder of images, or a torchvision data set")
    add("--data-root", help="where torchvision finds the data set")
    add("--number", type=int, default=number, help=f"images, half to fit (default {number})")
    add("--seed", type=int, default=0, help="of the split and the bootstrap")
    return made


def bare_parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser with the arguments of all analyses; the docstring ends in an example."""
    summary, _, example = (doc or "").partition("\nexample:")
    made = argparse.ArgumentParser(
        description=summary,
        epilog="example:" + example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--device", default="cpu", help="cpu, cuda")
    add("--formats", nargs="+", default=["svg", "png"], help="of the figures: svg png pdf")
    add("--figure-width", type=millimetres, metavar="MM", help="of every figure, 85 for one column")
    add("--out", type=Path, default=Path("figures") / name, help="folder to write")
    add("--overwrite", action="store_true", help="replace an earlier result in that folder")
    return made


def millimetres(text: str) -> float:
    """A figure's width, refused before any work."""
    from invariance_probe.errors import ProbeError
    from invariance_probe.reporting.drawing.style import checked_width

    try:
        return float(checked_width(float(text)) or 0.0)
    except ProbeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def probe_config(
    asked: argparse.Namespace,
    transforms: str,
    layers: Sequence[str],
    options: Options | None = None,
) -> ProbeConfig:
    """What the arguments of `parser` ask for; without `options`, the defaults with their seed."""
    from invariance_probe.probing import Options, ProbeConfig

    return ProbeConfig(
        network=asked.network,
        checkpoint=asked.checkpoint,
        by_order=asked.by_order,
        layers=tuple(layers),
        transforms=transforms,
        images=asked.data,
        data_root=asked.data_root,
        number=asked.number,
        device=asked.device,
        options=options or Options(seed=asked.seed),
    )


def write_provenance(folder: Path, about: dict[str, Any]) -> None:
    """Write where the numbers in a folder come from."""
    text = json.dumps(about, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")


def run(
    name: str,
    analyse: Analyse,
    asked: argparse.Namespace,
    words: Sequence[str] | None,
    stopped: str = "stopped; nothing was written",
) -> int:
    """Run an analysis; 0 when its folders are written, 2 for input it cannot use."""
    from invariance_probe.errors import ProbeError

    given = sys.argv[1:] if words is None else words
    command = shlex.join(["python", f"analyses/{name}.py", *given])
    try:
        parts = analyse(asked, command)
    except ProbeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130
    print(f"\n{command}\nwrote {asked.out}/: {', '.join(parts)}")
    return 0


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
