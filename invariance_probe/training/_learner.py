"""One step of training: forward, loss, backward, update."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.examples.examples import Batch, Draw, Examples
from ..errors import ProbeError
from ..running.processes import Group
from ._modes import memory_format
from .recipe import Recipe, seed_for


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer, its groups with their learning-rate `factor`.

    Raises ProbeError for a network without parameters to train.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ProbeError("the network has no parameters to train; give one that has")
    own: Callable[[], list[nn.Parameter]] = getattr(network, "localisation_parameters", list)
    localising = {id(p) for p in own()} if recipe.localisation_factor != 1 else set()
    groups = [
        {"params": [p for p in parameters if (id(p) in localising) == chosen], "factor": factor}
        for chosen, factor in ((False, 1.0), (True, recipe.localisation_factor))
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adam":
        betas = (float(recipe.momentum), 0.999)
        return torch.optim.Adam(
            groups, lr=recipe.learning_rate, betas=betas, weight_decay=recipe.weight_decay
        )
    return torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )


def loss_of(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy (nats) per image, summed over its positions.

    `logits` are (n, classes) with targets (n,), or (n, positions, classes) with (n, positions).
    """
    flat, wanted = logits.float().flatten(0, -2), targets.flatten()
    loss = functional.cross_entropy(flat, wanted, reduction=reduction)
    positions = math.prod(targets.shape[1:])
    return loss * positions if positions > 1 and reduction == "mean" else loss


def right(logits: Tensor, targets: Tensor) -> Tensor:
    """Return for each image whether it is classified right: at all its positions."""
    return (logits.argmax(-1) == targets).reshape(len(targets), -1).all(1)


class Learner:
    """Takes the steps of a run in order; where it is follows from the step's number alone."""

    def __init__(
        self,
        network: nn.Module,
        examples: Examples,
        recipe: Recipe,
        group: Group,
        device: torch.device,
    ) -> None:
        self.optimizer = optimizer_of(network, recipe)
        self.steps = recipe.steps(len(examples))
        self.per_epoch = recipe.per_epoch(len(examples))
        self._examples, self._recipe, self._group, self._device = examples, recipe, group, device
        self._format = memory_format(recipe, device)
        self._network = network
        self._model: Callable[[Tensor], Tensor] | None = None
        self._epoch = -1
        self._draw: Draw
        self._order: Tensor

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, for parameters whose factor is 1."""
        return self._recipe.rate(step, self.steps)

    def take(self, step: int) -> Tensor:
        """Take one step and return (loss summed over images, images right, images), on the device.

        The sums are over this process' part of the batch.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step) * group["factor"]
        # A seed per step rather than a running state: a resumed run needs no generator state.
        self._seed(seed_for("step", self._recipe.seed, step, self._group.rank))
        batch, whole, share = self._batch(step)
        images = batch.images.to(self._device).contiguous(memory_format=self._format)
        targets = batch.targets.to(self._device)
        bfloat = self._recipe.precision == "bfloat16"
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=bfloat):
            logits = self._forward(images)
        if self._group.world == 1:
            loss = loss_of(logits, targets)
            total = loss.detach().double() * whole
        else:
            # Averaged over processes this is the mean over the whole batch, whatever the parts.
            summed = loss_of(logits, targets, "sum") * (share > 0)
            loss = summed * self._group.world / whole
            total = summed.detach().double()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._recipe.clip is not None:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._recipe.clip)
        self.optimizer.step()
        hits = right(logits.detach(), targets)[:share].sum().double()
        return torch.stack([total, hits, torch.full_like(hits, share)])

    def _batch(self, step: int) -> tuple[Batch, int, int]:
        """The images of a step, how many all processes have together, and how many of these count.

        A process whose part is empty looks at one image that does not count.
        """
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            seed = self._recipe.seed
            self._draw = self._examples.draw(seed_for("draw", seed, epoch))
            mixer = torch.Generator().manual_seed(seed * 1_000_003 + epoch + 1)
            self._order = torch.randperm(len(self._examples), generator=mixer)
            self._epoch = epoch
        size = self._recipe.batch_size
        chosen = self._order[index * size : (index + 1) * size]
        part = self._group.part(chosen)
        return self._draw.batch(part if len(part) else chosen[:1]), len(chosen), len(part)

    def _seed(self, seed: int) -> None:
        # Not torch.manual_seed: where no GPU is in use it queues a call for every one of them.
        torch.default_generator.manual_seed(seed)
        if self._device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _forward(self, images: Tensor) -> Tensor:
        if self._model is not None:
            return self._model(images)
        model = self._group.spread(self._network, self._device)
        if not self._recipe.compile:
            self._model = model
            return model(images)
        self._model = compiled = torch.compile(model)
        from torch._dynamo.exc import TorchDynamoException

        try:
            return compiled(images)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise ProbeError(
                f"torch.compile does not work here ({reason}); train with compile=False"
            ) from error
