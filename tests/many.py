"""Starting the same probe in several processes, as torchrun does, and comparing what they find."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from invariance_probe.probing import Result
from invariance_probe.running.storage import TABLES

ROOT = Path(__file__).resolve().parents[2]
MADE = """
import sys
import torch
from torch import nn
from invariance_probe.data import array_images
torch.set_num_threads(1)
torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3, stride=2), nn.Tanh(), nn.Conv2d(4, 2, 1)
)
generator = torch.Generator().manual_seed(1)
images = array_images(torch.rand(NUMBER, 1, 20, 20, generator=generator), canvas=14)
moves = ["rotation:30", "identity", "rotation:90"]
""".strip()
# Numbers of a search whose minimum is flat, or of transformations as text, are not comparable.
LOOSE = {"best", "runner_up", "angle", "scale", "shift_x", "shift_y", "distance_px", "iterations",
         "runner_up_residual", "coverage"}  # fmt: skip

EACH = "best_per_image"  # searched on one image alone: many near minima, and rounding may choose


def start(code: str, world: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """Processes that run `code`, each with its rank."""
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port = some.getsockname()[1]
    started = []
    for rank in range(world):
        environment = {
            **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code, *arguments], env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    return started


def ends(started: list[subprocess.Popen[str]], timeout: float = 150) -> list[tuple[int, str, str]]:
    """(code, stdout, stderr) of every process; none outlives the wait."""
    try:
        said = [process.communicate(timeout=timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(p.returncode, *text) for p, text in zip(started, said, strict=True)]


def same_tables(one: Result, other: Result, tolerance: float = 1e-6) -> list[str]:
    """What differs between two results, by table and column."""
    found = []
    for name in TABLES:
        a, b = getattr(one, name), getattr(other, name)
        if list(a.columns) != list(b.columns) or len(a) != len(b):
            found.append(f"{name}: other rows or columns")
            continue
        for column in set(a.columns) - LOOSE:
            x, y = a[column].to_numpy(), b[column].to_numpy()
            if x.dtype.kind in "fiu":
                own = a["rung"].eq(EACH).to_numpy() if "rung" in a else column == EACH
                near = np.where(own, 1e-3, tolerance)
                same = np.isclose(x, y, rtol=near, atol=near, equal_nan=True).all()
            else:
                same = (a[column].astype(str) == b[column].astype(str)).all()
            if not same:
                found.append(f"{name}.{column}")
    largest = max(1e-300, float(np.nanmax(one.errors)))
    near = np.array([1e-3 if rung == EACH else 1e-6 for rung in one.axes["rung"]])[:, None]
    apart = np.abs(one.errors - other.errors) / largest
    if not ((apart <= near) | np.isnan(apart)).all():
        found.append("errors")
    return found
