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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/probe.json"))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=("time", "memory"), help="only one; the file keeps both")
    parser.add_argument("--digits", type=int, help=argparse.SUPPRESS)  # the memory run's child
    arguments = parser.parse_args()
    if arguments.digits:
        _print_peak(arguments.digits, arguments.threads)
        return
    report: dict[str, object] = {}
    if arguments.out.exists() and arguments.part:
        report = json.loads(arguments.out.read_text())
    report["hardware"] = _hardware(arguments.threads)
    if arguments.part != "memory":
        report["time"] = _time(arguments)
    if arguments.part != "time":
        report["memory"] = _memory(arguments.threads)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def _time(arguments: argparse.Namespace) -> dict[str, object]:
    import numpy as np
    import torch

    from invariance_probe import build_network, probe, rotations
    from invariance_probe.data import array_images
    from invariance_probe.probing import Options

    torch.set_num_threads(arguments.threads)
    network = build_network("resnet18")
    moves = rotations(-180, 180, step=15)
    pixels = np.random.default_rng(0).random((arguments.images, 3, 320, 320), dtype=np.float32)
    images = array_images(pixels, 224)
    batch = Options().batch_size
    half = arguments.images // 2
    # The identity among the rotations costs no passes of its own.
    passes = half * (1 + len(moves) - 1) + half * (1 + 2 * (len(moves) - 1))
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
            probe(network, LAYERS, moves, images, channels=channels)
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
