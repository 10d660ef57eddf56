"""A plain, seeded training loop for classifiers, resumable after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from ..data import ImageSet
from ..errors import ProbeError
from ._batches import Batches, device_of, labels_of
from .evaluate import checked_logits
from .progress import load_progress, save_progress


@dataclass(frozen=True)
class Recipe:
    """How to train: everything that changes the outcome, besides network and images.

    Attributes
    ----------
    optimizer : "sgd" (Nesterov where momentum > 0) or "adam" (momentum is its beta 1).
    learning_rate : the highest value of the schedule.
    schedule : "onecycle" (linear rise over the first quarter, cosine fall to 0), "step" (divided by
        10 after each third) or "constant".
    seed : order of the images and randomness inside the network (dropout).
    """

    epochs: int = 10
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 0.0005
    schedule: str = "onecycle"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ProbeError(
                f"{self.epochs} epochs in batches of {self.batch_size}; give at least 1 of each"
            )
        if self.optimizer not in ("sgd", "adam"):
            raise ProbeError(f"unknown optimizer '{self.optimizer}'; give 'sgd' or 'adam'")
        if self.schedule not in ("onecycle", "step", "constant"):
            raise ProbeError(
                f"unknown schedule '{self.schedule}'; give 'onecycle', 'step' or 'constant'"
            )
        if not (self.learning_rate > 0 and 0 <= self.momentum < 1 and self.weight_decay >= 0):
            raise ProbeError(
                f"learning rate {self.learning_rate}, momentum {self.momentum}, weight decay "
                f"{self.weight_decay}; give a rate > 0, a momentum in [0, 1) and a decay >= 0"
            )

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of one step (0 ... steps - 1).

        >>> [round(Recipe(schedule="step", learning_rate=1).rate(s, 6), 3) for s in range(6)]
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
        """
        done = (step + 0.5) / steps
        if self.schedule == "onecycle":
            rise = 0.25
            part = (
                done / rise
                if done < rise
                else 0.5 + 0.5 * math.cos(math.pi * (done - rise) / (1 - rise))
            )
        elif self.schedule == "step":
            part = 10.0 ** -int(3 * done)
        else:
            part = 1.0
        return self.learning_rate * part


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images: means over the batches as they were trained on."""

    number: int  # from 1
    loss: float
    accuracy: float
    learning_rate: float  # of the last step
    seconds: float


def fit(
    network: nn.Module,
    images: ImageSet,
    recipe: Recipe | None = None,
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    on_epoch: Callable[[Epoch], None] | None = None,
    progress_file: str | Path | None = None,
) -> tuple[Epoch, ...]:
    """Train a classifier in place, where its parameters are, on labelled upright images.

    The network returns logits (N, classes) for canvases (N, C, H, W), normalised by `mean` and
    `std` per channel; the loss is the cross-entropy. The same network, images and recipe give the
    same bits on the same CPU with the same number of threads; the global random state is left
    alone. The network is left in evaluation mode.

    With `progress_file` the state is written after every epoch (whole or not at all), and a file
    that is there is resumed to the same bits as an uninterrupted run.

    Raises ProbeError for images without labels, logits that do not fit them, a loss that is not
    finite, and a progress file of another network, recipe or set of images.
    """
    recipe = recipe or Recipe()
    labels = labels_of(images)
    device = device_of(network)
    batches = Batches(images, mean, std, device)
    optimizer = _optimizer(network, recipe)
    per_epoch = math.ceil(len(images) / recipe.batch_size)
    history: list[Epoch] = []
    identity = {}
    if progress_file is not None:
        # Hashing reads all images once, so only where it is needed.
        identity = {**asdict(recipe), "images": images.sha256, "mean": mean, "std": std}
        rows = load_progress(Path(progress_file), network, optimizer, identity)
        names = {f.name for f in fields(Epoch)}
        history = [Epoch(**{k: v for k, v in row.items() if k in names}) for row in rows]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        for number in range(len(history) + 1, recipe.epochs + 1):
            began = time.perf_counter()
            # A seed per epoch rather than a running state: a resumed run needs no generator state.
            seed = recipe.seed * 1_000_003 + number
            torch.manual_seed(seed)
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
            network.train()
            loss_sum, correct = 0.0, 0
            for index in range(per_epoch):
                rate = recipe.rate((number - 1) * per_epoch + index, recipe.epochs * per_epoch)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                chosen = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
                target = labels[chosen].to(device)
                logits = checked_logits(network(batches.read(chosen.tolist())), target)
                loss = functional.cross_entropy(logits, target)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise ProbeError(
                        f"the loss became {value} in epoch {number}; lower the learning rate "
                        f"({recipe.learning_rate:g}), and check the images and the normalisation"
                    )
                loss_sum += value * len(chosen)
                correct += int((logits.argmax(1) == target).sum())
            epoch = Epoch(
                number,
                loss_sum / len(images),
                correct / len(images),
                rate,
                time.perf_counter() - began,
            )
            history.append(epoch)
            if progress_file is not None:
                rows = [asdict(entry) for entry in history]
                save_progress(Path(progress_file), network, optimizer, identity, rows)
            if on_epoch is not None:
                on_epoch(epoch)
    network.eval()
    return tuple(history)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ProbeError("the network has no parameters to train; give one that has")
    if recipe.optimizer == "adam":
        betas = (recipe.momentum, 0.999)
        return torch.optim.Adam(
            parameters, lr=recipe.learning_rate, betas=betas, weight_decay=recipe.weight_decay
        )
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )
