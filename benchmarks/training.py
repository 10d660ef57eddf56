"""Training speed against the usual pipeline, and the sampler against PyTorch's own.

    python benchmarks/training.py --data-root DIR --out benchmarks/results/training.json

Methodology: benchmarks/README.md. Every measurement of a pipeline is a process of its own, ours and
the usual one in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from probe import _hardware

NETWORKS = ("CNN", "STN-C0", "STN-C1", "STN-SL1", "STN-DL1")
BATCH, STEPS, WARM_UP = 256, 60, 10
MEAN, STD = 0.1307, 0.3081


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/training.json"))
    parser.add_argument("--data-root", help="holds MNIST/raw; without it the package's digits")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)  # pipeline and network
    arguments = parser.parse_args()
    if arguments.child:
        kind, network = arguments.child
        measure = {"ours": _ours, "usual": _usual, "usual_data": _usual_data}[kind]
        print(measure(network, arguments))
        return
    report: dict[str, object] = {
        "hardware": _hardware(arguments.threads),
        "device": arguments.device,
        "load_before": os.getloadavg()[0],
        "batch": BATCH,
        "steps": STEPS,
        "pipelines": _pipelines(arguments),
        "sampler": _sampler(arguments),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def _pipelines(arguments: argparse.Namespace) -> dict[str, object]:
    seen: dict[str, list[float]] = {}
    plan = [(kind, name) for name in arguments.networks for kind in ("usual", "ours")]
    plan.append(("usual_data", "CNN"))
    for _ in range(arguments.repeats):
        for kind, name in plan:
            command = [sys.executable, __file__, "--child", kind, name]
            command += ["--threads", str(arguments.threads), "--device", arguments.device]
            if arguments.data_root:
                command += ["--data-root", arguments.data_root]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seen.setdefault(f"{kind} {name}", []).append(float(done.stdout.split()[-1]))
            print(kind, name, seen[f"{kind} {name}"][-1], file=sys.stderr)
    rows: dict[str, object] = {}
    for name in arguments.networks:
        usual, ours = (statistics.median(seen[f"{kind} {name}"]) for kind in ("usual", "ours"))
        rows[name] = {
            "usual_images_per_s": seen[f"usual {name}"],
            "ours_images_per_s": seen[f"ours {name}"],
            "ratio_of_medians": ours / usual,
        }
    rows["usual_data_alone_images_per_s"] = seen["usual_data CNN"]
    rows["target_ratio_for_CNN"] = 3.0
    return rows


def _ours(name: str, arguments: argparse.Namespace) -> float:
    """Images per second of the package's own training loop, at the end of a run."""
    import torch

    from invariance_probe.data import load_examples
    from invariance_probe.networks import build_classifier, parse_architecture
    from invariance_probe.training import Recipe, train

    torch.set_num_threads(arguments.threads)
    examples = load_examples("mnist-r", arguments.data_root, train=True)
    network = build_classifier(parse_architecture(name)).to(arguments.device)
    recipe = Recipe(iterations=WARM_UP, batch_size=BATCH, learning_rate=0.01, fast=True)
    train(network, examples, recipe)
    _wait(arguments.device)
    start = time.perf_counter()
    train(network, examples, recipe.changed({"iterations": STEPS}))
    _wait(arguments.device)
    return STEPS * BATCH / (time.perf_counter() - start)


def _usual(name: str, arguments: argparse.Namespace) -> float:
    """Images per second of a DataLoader with two workers that rotate image by image."""
    import torch
    from torch.nn import functional

    from invariance_probe.networks import build_classifier, parse_architecture

    torch.set_num_threads(arguments.threads)
    network = build_classifier(parse_architecture(name)).to(arguments.device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    start = 0.0
    for step, (images, labels) in enumerate(_loader(arguments)):
        if step == WARM_UP:
            _wait(arguments.device)
            start = time.perf_counter()
        if step == WARM_UP + STEPS:
            break
        loss = functional.cross_entropy(
            network(images.to(arguments.device)), labels.to(arguments.device)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    _wait(arguments.device)
    return STEPS * BATCH / (time.perf_counter() - start)


def _usual_data(name: str, arguments: argparse.Namespace) -> float:
    """Images per second of that DataLoader with nothing trained."""
    start = 0.0
    for step, _ in enumerate(_loader(arguments)):
        if step == WARM_UP:
            start = time.perf_counter()
        if step == WARM_UP + STEPS:
            break
    return STEPS * BATCH / (time.perf_counter() - start)


def _loader(arguments: argparse.Namespace):
    import torch
    from torchvision import transforms

    turned = transforms.Compose(
        [
            transforms.RandomRotation(90, interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.ToTensor(),
            transforms.Normalize((MEAN,), (STD,)),
        ]
    )
    return torch.utils.data.DataLoader(
        _dataset(arguments, turned), batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True
    )


def _dataset(arguments: argparse.Namespace, turned: Callable):
    if arguments.data_root:
        from torchvision.datasets import MNIST

        return MNIST(arguments.data_root, train=True, transform=turned)
    return _Digits(turned)


class _Digits:
    """The package's digits as a torchvision-style data set, repeated to the length of MNIST."""

    def __init__(self, turned: Callable) -> None:
        from invariance_probe.data.images.digits import _load

        self.images, self.labels = _load()
        self.turned = turned

    def __len__(self) -> int:
        return 60_000

    def __getitem__(self, index: int):
        from PIL import Image

        index %= len(self.images)
        return self.turned(Image.fromarray(self.images[index])), int(self.labels[index])


def _sampler(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Forward and backward of the transformer's sampler beside affine_grid and grid_sample."""
    import torch
    from torch.nn import functional

    from invariance_probe.geometry import sample
    from invariance_probe.networks.stn.warps import unit_grid

    torch.set_num_threads(arguments.threads)
    rows = []
    for shape, moves in (
        ((256, 1, 28, 28), False),
        ((256, 64, 10, 10), True),
        ((64, 3, 64, 64), 0),
    ):
        images = torch.rand(shape, device=arguments.device, requires_grad=bool(moves))
        eye = torch.eye(2, 3, device=arguments.device)
        theta = (eye + 0.1 * torch.randn(shape[0], 2, 3, device=arguments.device)).requires_grad_()
        size = shape[2:]

        def ours(images=images, theta=theta, size=size):
            return sample(images, unit_grid(theta, size, size), beyond="nearest")

        def theirs(images=images, theta=theta):
            grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
            return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

        difference = float((ours() - theirs()).detach().abs().max())
        times: dict[str, list[float]] = {"ours": [], "torch": []}
        for _ in range(15):
            for label, function in (("ours", ours), ("torch", theirs)):
                _wait(arguments.device)
                start = time.perf_counter()
                for _ in range(5):
                    function().sum().backward()
                _wait(arguments.device)
                times[label].append((time.perf_counter() - start) / 5 * 1e3)
        ms = {f"{label}_ms": statistics.median(taken[1:]) for label, taken in times.items()}
        rows.append(
            {"shape": list(shape), "gradient_of_images": bool(moves), **ms,
             "ratio": ms["ours_ms"] / ms["torch_ms"], "largest_difference": difference}
        )  # fmt: skip
        print(rows[-1], file=sys.stderr)
    return rows


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
