"""Time of a whole probe against the bare forward passes it needs, and peak memory against images.

    python benchmarks/probe.py --out benchmarks/results/probe.json

Methodology: benchmarks/README.md. The forward passes are those of the same images under the same
transformations, in the same batches, through the same network with no hooks; preparing the inputs
is not part of them.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

LAYERS = ("layer1", "layer2", "layer3", "layer4")
LITE_LAYERS = ("1", "2", "3", "5", "7")
# Channels, kernel, stride, expansion and number of blocks of EfficientNet-Lite0's stages.
STAGES = ((16, 3, 1, 1, 1), (24, 3, 2, 6, 2), (40, 5, 2, 6, 2), (80, 3, 2, 6, 3),
          (112, 5, 1, 6, 3), (192, 5, 2, 6, 4), (320, 3, 1, 6, 1))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/probe.json"))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--part", choices=("time", "memory", "lite"), help="only one; the file keeps the others"
    )
    parser.add_argument("--lite-images", type=int, default=106)
    parser.add_argument("--child", help=argparse.SUPPRESS)  # forward or probe, in its own process
    parser.add_argument("--digits", type=int, help=argparse.SUPPRESS)  # the memory run's child
    arguments = parser.parse_args()
    if arguments.digits:
        _print_peak(arguments.digits, arguments.threads)
        return
    if arguments.child:
        print(json.dumps(_lite_child(arguments)))
        return
    report: dict[str, object] = {}
    if arguments.out.exists() and arguments.part:
        report = json.loads(arguments.out.read_text())
    report["hardware"] = _hardware(arguments.threads)
    if arguments.part in (None, "time"):
        report["time"] = _time(arguments)
    if arguments.part in (None, "memory"):
        report["memory"] = _memory(arguments.threads)
    if arguments.part in (None, "lite"):
        report["lite"] = _lite(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def _time(arguments: argparse.Namespace) -> dict[str, object]:
    import numpy as np
    import torch

    from invariance_probe import build_network, probe, rotations
    from invariance_probe.data import array_images

    torch.set_num_threads(arguments.threads)
    network = build_network("resnet18")
    moves = rotations(-180, 180, step=15)
    pixels = np.random.default_rng(0).random((arguments.images, 3, 320, 320), dtype=np.float32)
    images = array_images(pixels, 224)
    batch = 32
    half = arguments.images // 2
    # The aligned input of the identity is its moved one: that takes one pass, not two.
    passes = half * (1 + len(moves)) + half * (2 * len(moves))
    rows = []
    for _ in range(arguments.repeats):
        start, cpu = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            module, shown = network.module.eval(), torch.rand(min(batch, half), 3, 224, 224)
            for _ in range(passes // len(shown)):
                module(shown)
        forward = (time.perf_counter() - start, time.process_time() - cpu)
        row = {"forward_s": forward[0], "forward_cpu_s": forward[1]}
        for name, channels in (("spatial", False), ("all", True)):
            start, cpu = time.perf_counter(), time.process_time()
            probe(network, LAYERS, moves, images, channels=channels, batch_size=batch)
            row[f"{name}_s"] = time.perf_counter() - start
            row[f"{name}_cpu_s"] = time.process_time() - cpu
        row["ratio"] = row["spatial_s"] / row["forward_s"]
        row["channels_add"] = row["all_s"] / row["spatial_s"] - 1
        rows.append(row)
        print(rows[-1], file=sys.stderr)
    return {
        "network": "resnet18 (random weights), 224 px, layer1-layer4",
        "rotations": len(moves), "images": arguments.images, "forward_passes": passes,
        "runs": rows,
        "median_ratio": statistics.median(row["ratio"] for row in rows),
        "target_ratio": 1.6,
        "median_channels_add": statistics.median(row["channels_add"] for row in rows),
        "target_channels_add": 0.35,
    }  # fmt: skip


def _memory(threads: int) -> dict[str, object]:
    peaks = {}
    for number in (1_000, 10_000):
        done = subprocess.run(
            [sys.executable, __file__, "--digits", str(number), "--threads", str(threads)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks[number] = float(done.stdout)
        print(number, peaks[number], file=sys.stderr)
    return {
        "network": "mnist_cnn, pool1 and pool2, 24 rotations",
        "peak_MiB": peaks, "ratio": peaks[10_000] / peaks[1_000], "target": 1.15,
    }  # fmt: skip


def _print_peak(number: int, threads: int) -> None:
    import torch

    from invariance_probe import build_network, embedded_digits, probe, rotations

    torch.set_num_threads(threads)
    network = build_network("mnist_cnn")
    probe(network, ["pool1", "pool2"], rotations(-180, 180, step=15), embedded_digits(number))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _lite(arguments: argparse.Namespace) -> dict[str, object]:
    rows = []
    for _ in range(arguments.repeats):
        row: dict[str, float] = {}
        for child in ("forward", "probe"):
            done = subprocess.run(
                [sys.executable, __file__, "--child", child, "--threads", str(arguments.threads),
                 "--lite-images", str(arguments.lite_images)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            row |= json.loads(done.stdout.splitlines()[-1])
        row["ratio"] = row["probe_s"] / row["forward_s"]
        row["cpu_ratio"] = row["probe_cpu_s"] / row["forward_cpu_s"]
        rows.append(row)
        print(row, file=sys.stderr)
    return {
        "network": "shaped like EfficientNet-Lite0, random weights, 224 px of 416 px sources, maps "
        "112x112x16, 56x56x24, 28x28x40, 14x14x112, 7x7x320, channel rungs on",
        "rotations": 24, "scalings": 9, "images": arguments.lite_images, "runs": rows,
        "median_ratio": statistics.median(row["ratio"] for row in rows), "target_ratio": 1.5,
        "peak_MiB": max(row["probe_peak_MiB"] for row in rows), "target_peak_MiB": 3072,
    }  # fmt: skip


def _lite_child(arguments: argparse.Namespace) -> dict[str, float]:
    """Time of the bare forward passes at their best batch size, or of the probe that does them."""
    import torch

    from invariance_probe import probe, rotations
    from invariance_probe.data import array_images
    from invariance_probe.geometry import scalings

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    number, network = arguments.lite_images, _lite_network()
    moves = [*rotations(-180, 180, step=15), *scalings(0.5, 2, number=9)]
    distinct = dict.fromkeys(moves)
    moving = sum(not move.is_identity for move in distinct)
    half = number // 2
    passes = half * (1 + len(distinct)) + (number - half) * (1 + len(distinct) + moving)
    if arguments.child == "forward":
        best = min((_lite_forward(network, size, 48), size) for size in (1, 2, 4, 8, 16, 32))
        start, cpu = time.perf_counter(), time.process_time()
        _lite_forward(network, best[1], passes)
        return {
            "forward_passes": passes, "batch": best[1],
            "forward_s": time.perf_counter() - start,
            "forward_cpu_s": time.process_time() - cpu,
        }  # fmt: skip
    scenes = torch.rand(number, 3, 52, 52)
    pixels = [
        torch.nn.functional.interpolate(scene[None], size=(416, 416), mode="bicubic").clamp(0, 1)
        for scene in scenes
    ]
    images = array_images(torch.cat(pixels).numpy(), 224)
    del pixels
    start, cpu = time.perf_counter(), time.process_time()
    probe(network, LITE_LAYERS, moves, images)
    return {
        "probe_s": time.perf_counter() - start,
        "probe_cpu_s": time.process_time() - cpu,
        "probe_peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _lite_forward(network: object, size: int, passes: int) -> float:
    """Seconds an image of so many forward passes."""
    import torch

    shown = torch.rand(size, 3, 224, 224)
    with torch.inference_mode():
        network(shown)  # type: ignore[operator]
        start = time.perf_counter()
        for _ in range(-(-passes // size)):
            network(shown)  # type: ignore[operator]
    return (time.perf_counter() - start) / passes


def _lite_network() -> object:
    """A network shaped like EfficientNet-Lite0: inverted residuals, no squeeze and excitation."""
    from torch import Tensor, nn

    def unit(into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
        convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(out))

    class Inverted(nn.Module):
        def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int) -> None:
            super().__init__()
            wide = into * expansion
            grow = [unit(into, wide, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
            deep = [unit(wide, wide, kernel, stride, wide), nn.ReLU6(inplace=True)]
            self.body = nn.Sequential(*grow, *deep, unit(wide, out, 1))
            self.adds = stride == 1 and into == out

        def forward(self, maps: Tensor) -> Tensor:
            return maps + self.body(maps) if self.adds else self.body(maps)

    parts: list[nn.Module] = [nn.Sequential(unit(3, 32, 3, 2), nn.ReLU6(inplace=True))]
    into = 32
    for out, kernel, stride, expansion, number in STAGES:
        first = Inverted(into, out, kernel, stride, expansion)
        more = [Inverted(out, out, kernel, 1, expansion) for _ in range(number - 1)]
        parts.append(nn.Sequential(first, *more))
        into = out
    head = [unit(into, 1280, 1), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, *head, nn.Linear(1280, 1000)).eval()


def _hardware(threads: int) -> dict[str, object]:
    import torch

    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    return {"cpu": model, "threads": threads, "python": platform.python_version(),
            "torch": torch.__version__, "platform": platform.platform()}  # fmt: skip


if __name__ == "__main__":
    main()
