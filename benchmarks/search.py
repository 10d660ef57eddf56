"""Search from moments against a dense grid_sample search of the same candidates, and its peers.

    python benchmarks/search.py --out benchmarks/results/search.json

Methodology: benchmarks/README.md. Accuracy and time beside kornia and OpenCV are added where
those are installed (`pip install "invariance-probe[benchmark]"`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import poses
import torch
import torch.nn.functional as F
from torch import Tensor

from invariance_probe.alignment import ErrorSurface, SpatialMoments, best_alignment
from invariance_probe.alignment.search import ANGLES, SCALES, grid_samplings
from invariance_probe.geometry import image_frame, rotation, scaling, warp

IMAGES = 64
# (side, channels, least speed-up asked for)
MAPS = ((7, 512, None), (14, 256, 30.0), (28, 128, 12.0), (56, 64, None))
GRID = grid_samplings(ANGLES, SCALES[2:11])  # 72 angles x 9 scales, 0.4 to 2.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--repeats", type=int, default=5, help="of the moments; dense ones run once"
    )
    parser.add_argument("--quick", action="store_true", help="few dense candidates, small maps")
    parser.add_argument("--skip-poses", action="store_true", help="leave the peers out")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report: dict[str, Any] = {
        "hardware": hardware(arguments.threads),
        "versions": versions(),
        "repeats": arguments.repeats,
        "quick": arguments.quick,
    }
    sizes = MAPS[:2] if arguments.quick else MAPS
    report["dense"] = [_against_dense(*size, arguments) for size in sizes]
    report["candidate"] = _candidate_cost(arguments.repeats)
    report["best_alignment"] = [_whole_search(side, arguments.repeats) for side in (7, 14, 28)]
    if not arguments.skip_poses:
        report["poses"] = poses.compare(1 if arguments.quick else 3)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def _against_dense(
    side: int, channels: int, asked: float | None, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Both searches over the same candidates: their times, best values and best candidates."""
    moved, original = _maps(side, channels, IMAGES)
    frame, cells = image_frame(side, side), np.ones((side, side), dtype=bool)
    matrices = frame.inverse_matrix @ GRID @ frame.matrix
    # Large dense searches take minutes: time every ninth candidate, and say so.
    every = 9 if arguments.quick or side > 28 else 1

    def search() -> Tensor:
        moments = SpatialMoments(frame, cells)
        moments.update(moved, original)
        return ErrorSurface(moments).error(matrices)

    def accumulate() -> None:
        SpatialMoments(frame, cells).update(moved, original)

    _dense(moved[:4], original[:4], matrices[:4])  # warm-up
    start = time.perf_counter(), time.process_time()
    dense = _dense(moved, original, matrices[::every])
    dense_wall, dense_cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    wall, cpu = _median_time(search, arguments.repeats)
    accumulation, _ = _median_time(accumulate, arguments.repeats)
    errors = search()
    ours = errors[::every]
    speed_up = dense_wall * every / wall
    return {
        "map": f"{side}x{side}x{channels}",
        "images": IMAGES,
        "candidates": len(matrices),
        "dense_candidates_timed": len(ours),
        "dense_s": dense_wall * every,
        "dense_cpu_s": dense_cpu * every,
        "moments_s": wall,
        "moments_cpu_s": cpu,
        "of_which_accumulation_s": accumulation,
        "speed_up": speed_up,
        "speed_up_cpu": dense_cpu * every / cpu,
        "asked": asked,
        "reached": None if asked is None else bool(speed_up >= asked),
        "best_dense": float(dense.min()),
        "best_moments": float(ours.min()),
        "best_relative_difference": float((ours.min() - dense.min()).abs() / dense.min()),
        "worst_relative_difference": float(((ours - dense).abs() / dense).max()),
        "same_candidate": bool(ours.argmin() == dense.argmin()),
    }


def _dense(moved: Tensor, original: Tensor, matrices: np.ndarray) -> Tensor:
    """Squared error of every candidate by sampling every map."""
    rows, columns = moved.shape[-2:]
    v, u = np.mgrid[:rows, :columns]
    cells = np.stack([u, v, np.ones_like(u)], -1).astype(np.float64)
    errors = []
    for matrix in matrices:
        x, y = np.moveaxis(cells @ matrix[:2].T, -1, 0)
        grid = np.stack([(2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1], -1)
        sampled = F.grid_sample(
            moved,
            torch.from_numpy(grid).to(moved).expand(len(moved), -1, -1, -1),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        errors.append(sampled.sub_(original).square_().sum(dtype=torch.float64))
    return torch.stack(errors)


def _candidate_cost(repeats: int) -> list[dict[str, Any]]:
    """Time of one more candidate as images and channels grow; 14x14 maps."""
    frame, cells = image_frame(14, 14), np.ones((14, 14), dtype=bool)
    matrices = frame.inverse_matrix @ GRID @ frame.matrix
    rows = []
    for images, channels in ((16, 64), (64, 64), (256, 64), (64, 16), (64, 256)):
        moved, original = _maps(14, channels, images)
        moments = SpatialMoments(frame, cells)
        start = time.perf_counter()
        moments.update(moved, original)
        accumulation = time.perf_counter() - start
        surface = ErrorSurface(moments)
        wall, cpu = _median_time(lambda s=surface: s.error(matrices), 3 * repeats)
        dense_wall, _ = _median_time(
            lambda a=moved, b=original: _dense(a, b, matrices[:1]), repeats
        )
        rows.append(
            {
                "map": "14x14",
                "images": images,
                "channels": channels,
                "accumulation_ms": 1e3 * accumulation,
                "one_more_candidate_us": 1e6 * wall / len(matrices),
                "one_more_candidate_cpu_us": 1e6 * cpu / len(matrices),
                "one_more_candidate_dense_us": 1e6 * dense_wall,
            }
        )
    return rows


def _whole_search(side: int, repeats: int) -> dict[str, Any]:
    """Time of `best_alignment`: coarse grid, refinement, curves; after accumulation."""
    moved, original = _maps(side, 64, 16)
    moments = SpatialMoments(image_frame(side, side), np.ones((side, side), dtype=bool))
    moments.update(moved, original)
    wall, cpu = _median_time(lambda: best_alignment(moments, rotation(-33)), repeats)
    return {"map": f"{side}x{side}", "wall_ms": 1e3 * wall, "cpu_ms": 1e3 * cpu}


def _maps(side: int, channels: int, images: int) -> tuple[Tensor, Tensor]:
    """Smoothed noise, and the same maps turned by 33°, enlarged by 1.1 and disturbed."""
    generator = torch.Generator().manual_seed(side)
    noise = torch.randn(images, channels, side, side, generator=generator)
    moved = F.avg_pool2d(noise, 3, stride=1, padding=1)
    original = warp(moved, rotation(33) @ scaling(1.1), beyond="nearest")
    disturbance = torch.randn(original.shape, generator=generator)
    return moved, original + 0.1 * disturbance


def _median_time(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median wall and process CPU seconds of some repeats, after a warm-up."""
    work()
    walls, cpus = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - start[0])
        cpus.append(time.process_time() - start[1])
    return statistics.median(walls), statistics.median(cpus)


def hardware(threads: int) -> dict[str, Any]:
    """The machine, as far as it tells, and how busy it was."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line for line in information.read_text().splitlines() if "model name" in line]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "torch_threads": threads,
        "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "scipy", "kornia", "opencv-python-headless", "invariance-probe"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    main()
