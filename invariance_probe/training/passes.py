"""How often a classifier errs, over several passes with fresh transformations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .._limits import SEED, check_whole
from ..data.examples.examples import Batch, Examples
from ..errors import ProbeError
from ..networks.keeping import evaluating
from ..running.plots import as_html
from ._batches import device_of
from ._learner import loss_of, right
from ._modes import batch_for_tests, testing_ways
from .checks import check_fits
from .recipe import seed_for


@dataclass(frozen=True)
class Passes:
    """Errors of a classifier, one per pass over `number` examples.

    Attributes
    ----------
    errors : share of the images that are classified wrong, in [0, 1]; an image with several
        positions is right when all of them are.
    losses : mean cross-entropy per image in nats, summed over its positions.
    """

    errors: tuple[float, ...]
    losses: tuple[float, ...]
    number: int

    @property
    def mean(self) -> float:
        """Mean error over the passes."""
        return float(np.mean(self.errors))

    @property
    def sd(self) -> float:
        """Standard deviation of the error over the passes (n - 1); nan for a single pass."""
        return float(np.std(self.errors, ddof=1)) if len(self.errors) > 1 else float("nan")

    def _repr_html_(self) -> str:
        said = f"Error {self.mean:.2%} ± {self.sd:.2%} (standard deviation over passes)."
        return as_html(self, said, self.table, "{:.4f}")

    def table(self) -> pd.DataFrame:
        """One row per pass: pass (from 1), error, loss, number."""
        columns = {
            "pass": range(1, len(self.errors) + 1),
            "error": self.errors,
            "loss": self.losses,
            "number": self.number,
        }
        return pd.DataFrame(columns)


def evaluate_passes(
    network: nn.Module,
    examples: Examples,
    passes: int = 10,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Passes:
    """Return how often a classifier errs in each of several passes over examples.

    Every pass draws transformations of its own, the same for a seed whatever the network, the
    batch size (by default 100 on the CPU, 500 elsewhere) and the device. Examples whose draws do
    not differ are passed once. `mean` and `std` are what the network was trained with, where the
    examples are normalised by something else. The network keeps its modes. Source: Finnveden,
    Jansson & Lindeberg 2021 test so, ten passes.

    Raises ProbeError when network and examples do not fit.
    """
    check_whole("seed", seed, -SEED // 2, SEED)
    device = device_of(network)
    batch_size = batch_for_tests(passes, batch_size, device)
    examples = examples.to(device)
    check_fits(network, examples)
    scale, shift = _renormalisation(examples, mean, std)
    errors, losses = [], []
    with evaluating(network), testing_ways(network, device) as ordered, torch.inference_mode():
        for number in range(passes if examples.fresh else 1):
            draw = examples.draw(seed_for("pass", seed, number))
            sums = torch.zeros(2, dtype=torch.float64, device=device)
            for start in range(0, len(examples), batch_size):
                batch = draw.batch(range(start, min(start + batch_size, len(examples))))
                sums += _wrong(network, batch, device, scale, shift, ordered)
            wrong, loss = sums.tolist()
            errors.append(wrong / len(examples))
            losses.append(loss / len(examples))
    return Passes(tuple(errors), tuple(losses), len(examples))


def _wrong(
    network: nn.Module,
    batch: Batch,
    device: torch.device,
    scale: Tensor | None,
    shift: Tensor | None,
    ordered: Callable[[Tensor], Tensor],
) -> Tensor:
    """(images wrong, loss summed) of a batch."""
    images, targets = batch.images.to(device), batch.targets.to(device)
    if scale is not None and shift is not None:
        images = images * scale.to(device) + shift.to(device)
    logits = network(ordered(images))
    wrong = (~right(logits, targets)).sum().double()
    return torch.stack([wrong, loss_of(logits, targets, "sum").double()])


def _renormalisation(
    examples: Examples, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Tensor | None, Tensor | None]:
    """Factor and summand (C, 1, 1) from the examples' normalisation to another; None for none."""
    own = np.array([examples.mean, examples.std], dtype=np.float64)
    wanted = [
        own[index] if values is None else np.asarray(values, dtype=np.float64)
        for index, values in enumerate((mean, std))
    ]
    if any(len(values) not in (1, examples.channels) for values in wanted):
        raise ProbeError(
            f"a normalisation of {max(map(len, wanted))} channels for {examples.description} with "
            f"{examples.channels}; give one value per channel"
        )
    if np.allclose(own, np.broadcast_arrays(own, wanted)[1], rtol=1e-9, atol=0):
        return None, None
    factor = own[1] / wanted[1]
    summand = (own[0] - wanted[0]) / wanted[1]
    shaped = [torch.tensor(v, dtype=torch.float32).reshape(-1, 1, 1) for v in (factor, summand)]
    return shaped[0], shaped[1]
