"""Train the MNIST network of the paper on upright digits.

    python -m invariance_probe.training.mnist_cnn --data-root DIR --out FILE.safetensors

DIR holds MNIST/raw as torchvision leaves it. Beside the checkpoint comes FILE.json: how it was made
and how well it does. Source of the architecture: Finnveden, Jansson, Lindeberg, arXiv 2004.11678.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..data import torchvision_images
from ..data.images.torchvision import mnist_file
from ..data.pack import PUBLISHED_MD5, checked_bytes
from ..errors import ProbeError
from ..networks.mnist_cnn import MnistCNN
from ..running.files import write_atomically
from ..running.snapshots import save_tensors
from .evaluation import evaluate
from .fitting import Epoch, fit
from .recipe import Recipe

# Mean and standard deviation of the training pixels in [0, 1], as the paper's code has them.
MEAN, STD = 0.1307, 0.3081

# What of a recipe this command takes and states.
FIELDS = (
    "epochs", "batch_size", "optimizer", "learning_rate", "momentum", "weight_decay", "schedule",
    "seed",
)  # fmt: skip


def train(
    data_root: str | Path,
    out: str | Path,
    recipe: Recipe,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train, write the checkpoint and its JSON, and return the provenance.

    Trains on all 60,000 upright digits; the 10,000 of the test set are measured once, at the end.
    With `resume` the state is kept in FILE.progress after every epoch and taken up again.
    Raises ProbeError when the data are missing or are not the originals.
    """
    out = Path(out)
    data_md5 = {name: _checked(data_root, name) for name in PUBLISHED_MD5}
    training = torchvision_images("MNIST", data_root, train=True)
    test = torchvision_images("MNIST", data_root, train=False)
    with torch.random.fork_rng([]):
        torch.manual_seed(recipe.seed)
        network = MnistCNN()
    began = time.perf_counter()
    progress = out.with_name(f"{out.name}.progress") if resume else None
    history = fit(
        network, training, recipe, mean=MEAN, std=STD, on_epoch=on_epoch, progress_file=progress
    )
    seconds = time.perf_counter() - began
    result = evaluate(network, test, mean=MEAN, std=STD)
    provenance = {
        "architecture": "mnist_cnn",
        "source": "Finnveden, Jansson, Lindeberg, arXiv 2004.11678 (architecture)",
        "parameters": sum(p.numel() for p in network.parameters()),
        "canvas": 28,
        "channels": 1,
        "classes": 10,
        "mean": MEAN,
        "std": STD,
        "training_images": len(training),
        "augmentation": "none (upright digits)",
        "test_accuracy": result.accuracy,
        "test_correct": result.correct,
        "test_images": result.number,
        "test_loss": result.loss,
        "recipe": _stated(recipe),
        "command": _command(recipe),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "data_md5": data_md5,
    }
    # No times in the checkpoint: the same run gives the same file.
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for key, value in provenance.items()
    }
    provenance |= {
        "seconds": round(seconds, 1),
        "hardware": f"{_processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "history": [asdict(epoch) for epoch in history],
    }
    save_tensors(out, network.state_dict(), metadata)
    text = json.dumps(provenance, indent=2) + "\n"
    write_atomically(out.with_suffix(".json"), text.encode())
    if progress is not None:
        progress.unlink(missing_ok=True)
    return provenance


def _checked(root: str | Path, name: str) -> str:
    checked_bytes(mnist_file(root, name))
    return PUBLISHED_MD5[name]


def _stated(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in FIELDS}


def _command(recipe: Recipe) -> str:
    options = {k.replace("_", "-"): v for k, v in _stated(recipe).items()}
    given = " ".join(f"--{key} {value}" for key, value in options.items())
    module = "invariance_probe.training.mnist_cnn"
    return f"python -m {module} --data-root DIR --out FILE.safetensors {given}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m invariance_probe.training.mnist_cnn",
        description="Train the MNIST network of the paper on upright digits.",
    )
    parser.add_argument("--data-root", required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--out", required=True, type=Path, help="checkpoint (.safetensors)")
    parser.add_argument("--resume", action="store_true", help="keep and take up FILE.progress")
    for name, default in _stated(Recipe()).items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(default), default=default, help=f"({default})")
    options = vars(parser.parse_args(arguments))
    root, out, resume = (options.pop(name) for name in ("data_root", "out", "resume"))

    def show(epoch: Epoch) -> None:
        sys.stdout.write(
            f"epoch {epoch.number:3d}  loss {epoch.loss:.4f}  training accuracy "
            f"{epoch.accuracy:.2%}  {epoch.seconds:.0f} s\n"
        )
        sys.stdout.flush()

    try:
        if out.suffix != ".safetensors":
            raise ProbeError(f"--out '{out}' must end in .safetensors")
        provenance = train(root, out, Recipe(**options), on_epoch=show, resume=resume)
    except ProbeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"test accuracy {provenance['test_accuracy']:.2%}; wrote {out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
