"""The training loop: seeded, resumable at any step, the same for one process and for several."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.examples.examples import Examples
from ..errors import ProbeError
from ..running.processes import Group, current_group
from ..running.snapshots import read_progress, restore, save_progress
from ._batches import device_of
from ._learner import Learner
from ._modes import training_ways
from .checks import check_batches, check_fits
from .history import Board, Progress, Row
from .passes import evaluate_passes
from .recipe import Recipe

_LOOK = 0.25  # seconds between two looks at the losses: each look waits for the device
_LOOK_TOGETHER = 10  # several processes must look at the same steps


def train(
    network: nn.Module,
    examples: Examples,
    recipe: Recipe | None = None,
    *,
    test: Examples | None = None,
    progress_file: str | Path | None = None,
    save_every: float | None = 60.0,
    save_every_steps: int | None = None,
    on_step: Callable[[Progress], None] | None = None,
    on_row: Callable[[Row], None] | None = None,
    stop: Callable[[], bool] | None = None,
    tensorboard: str | Path | None = None,
    on_saved: Callable[[Path], Path] | None = None,
) -> tuple[Row, ...]:
    """Train a classifier in place, where its parameters are; return the history.

    Step k sees batch k mod (batches per epoch) of epoch k div (batches per epoch). An epoch is a
    draw of the examples (fresh transformations) and an order, both seeded by the recipe's seed and
    the number of the epoch. The loss is the cross-entropy, summed over the positions of an image.
    The same network, examples and recipe give the same bits on the same CPU with the same number
    of threads; the global random state is left alone. The network is left in evaluation mode.

    With `progress_file` the state is written every `save_every` seconds, every `save_every_steps`
    steps and at the end, whole or not at all. A file that is there is resumed to the same bits as
    an uninterrupted run. `stop` is asked after every step (not in several processes); once it says
    so the state is written and KeyboardInterrupt raised. `on_step` gets a Progress a few times a
    second, `on_row` each row of the history. `tensorboard` names a folder for its curves.
    `on_saved` gets the progress file whenever it is whole, and says where it goes from then on.

    In processes that `distributed.processes` has joined the batch is shared, gradients averaged,
    and only the first one writes.

    Raises ProbeError when network and examples do not fit, for a progress file of another network,
    recipe or data set (with what differs), and for a loss that is not finite, with the step and the
    last good state.
    """
    recipe = recipe or Recipe()
    device = device_of(network)
    examples = examples.to(device)
    for some in (examples, *([] if test is None else [test.to(device)])):
        check_fits(network, some)
    identity = {**recipe.as_dict(), "examples": examples.sha256} if progress_file else {}
    return run(
        network, examples, recipe, identity=identity, test=test, progress_file=progress_file,
        save_every=save_every, save_every_steps=save_every_steps, on_step=on_step, on_row=on_row,
        stop=stop, tensorboard=tensorboard, on_saved=on_saved,
    )  # fmt: skip


def run(
    network: nn.Module,
    examples: Examples,
    recipe: Recipe,
    *,
    identity: Mapping[str, Any],
    test: Examples | None = None,
    progress_file: str | Path | None = None,
    save_every: float | None = None,
    save_every_steps: int | None = None,
    on_step: Callable[[Progress], None] | None = None,
    on_row: Callable[[Row], None] | None = None,
    stop: Callable[[], bool] | None = None,
    tensorboard: str | Path | None = None,
    on_saved: Callable[[Path], Path] | None = None,
) -> tuple[Row, ...]:
    """Train as `train`, with examples that are known to fit and are on the network's device."""
    group, device = current_group(), device_of(network)
    check_batches(network, recipe, len(examples), group.world)
    file = None if progress_file is None else Path(progress_file)
    with training_ways(network, recipe, device):
        loop = _Loop(network, examples, recipe, group, device, file, identity)
        board = Board(tensorboard if group.main else None)
        boundary = recipe.report_every or loop.learner.per_epoch
        steps = loop.learner.steps
        saved = time.monotonic()
        with torch.random.fork_rng([device] if device.type == "cuda" else []), board:
            for step in range(loop.done, steps):
                loop.take(step)
                done = step + 1
                validate = test is not None and (
                    done == steps
                    or bool(recipe.validate_every and done % recipe.validate_every == 0)
                )
                ends = done == steps or done % boundary == 0 or validate
                save_now = done == steps or bool(save_every_steps and done % save_every_steps == 0)
                asked = stop is not None and group.world == 1 and stop()
                if not (ends or save_now or asked or loop.due(done)):
                    continue
                where = loop.look(done)
                row = loop.end_row(done, test if validate else None) if ends else None
                late = save_every is not None and time.monotonic() - saved >= save_every
                if file is not None and group.main and (save_now or late or asked):
                    loop.save(on_saved)
                    saved = time.monotonic()
                if on_step is not None:
                    on_step(where)
                if row is not None:
                    board.add(row)
                    if on_row is not None:
                        on_row(row)
                if asked and done < steps:
                    raise KeyboardInterrupt
    network.eval()
    return tuple(loop.history)


class _Loop:
    """The state of a run between two steps."""

    def __init__(
        self,
        network: nn.Module,
        examples: Examples,
        recipe: Recipe,
        group: Group,
        device: torch.device,
        file: Path | None,
        identity: Mapping[str, Any],
    ) -> None:
        self.learner = Learner(network, examples, recipe, group, device)
        self._network, self._recipe, self._group = network, recipe, group
        self._file, self._identity = file, identity
        self.done, self.saved = 0, 0
        self.history: list[Row] = []
        self._sums = [0.0, 0.0, 0.0]  # loss, images right, images since the last row
        self._waiting: list[Tensor] = []
        if file is not None:
            snapshot = group.from_main(lambda: read_progress(file, identity))
            if snapshot is not None:
                restore(snapshot, network, self.learner.optimizer)
                state = snapshot.state
                self.done = self.saved = int(state["step"])
                self._sums = list(state["sums"])
                self.history = [Row(**row) for row in state["history"]]
        network.train()
        now = time.perf_counter()
        self._row_began = self._looked = now
        self._seen: deque[tuple[float, int]] = deque([(now, self.done)], maxlen=20)

    def take(self, step: int) -> None:
        self._waiting.append(self.learner.take(step))
        self.done = step + 1

    def due(self, done: int) -> bool:
        """Whether the losses should be looked at now."""
        if self._group.world > 1:
            return done % _LOOK_TOGETHER == 0
        return time.perf_counter() - self._looked >= _LOOK

    def look(self, done: int) -> Progress:
        """Wait for the device, add up the losses, and refuse one that is not finite."""
        waiting, self._waiting = self._waiting, []
        table = self._group.total(torch.stack(waiting)).tolist()
        for index, row in enumerate(table):
            if not math.isfinite(row[0]):
                raise self._exploded(done - len(table) + index, row[0])
            self._sums = [held + new for held, new in zip(self._sums, row, strict=True)]
        now = time.perf_counter()
        self._looked = now
        self._seen.append((now, done))
        (then, before), steps = self._seen[0], self.learner.steps
        pace = (done - before) / max(now - then, 1e-9)  # steps per second
        return Progress(
            done,
            steps,
            self._epoch(done),
            self._sums[0] / self._sums[2],
            self._sums[1] / self._sums[2],
            pace * self._recipe.batch_size,
            (steps - done) / pace if pace else math.inf,
        )

    def end_row(self, done: int, test: Examples | None) -> Row:
        """Close a row of the history, with a pass over the test set where one is given."""
        seconds = time.perf_counter() - self._row_began
        error = None
        if test is not None:
            error = evaluate_passes(self._network, test, 1, seed=self._recipe.seed).errors[0]
        loss, hits, images = self._sums
        row = Row(
            done, self._epoch(done), loss / images, hits / images, self.learner.rate(done - 1),
            error, seconds,
        )  # fmt: skip
        self.history.append(row)
        self._sums = [0.0, 0.0, 0.0]
        self._row_began = self._looked = time.perf_counter()
        if error is not None:  # the test took time that training did not
            self._seen = deque([(self._looked, done)], maxlen=20)
        return row

    def save(self, on_saved: Callable[[Path], Path] | None = None) -> None:
        """Write the state; weights that are not finite are not worth keeping."""
        if self._file is None:
            return
        for value in self._network.state_dict().values():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise self._exploded(self.done - 1, math.nan)
        state = {
            "step": self.done,
            "sums": self._sums,
            "history": [asdict(row) for row in self.history],
        }
        save_progress(self._file, self._network, self.learner.optimizer, self._identity, state)
        self.saved = self.done
        if on_saved is not None:
            self._file = on_saved(self._file)

    def _epoch(self, done: int) -> int:
        return (done - 1) // self.learner.per_epoch + 1

    def _exploded(self, step: int, value: float) -> ProbeError:
        good = ""
        if self._file is not None:
            good = (
                f"; the last good state is '{self._file}' of step {self.saved}"
                if self.saved
                else "; no state had been saved"
            )
        return ProbeError(
            f"the loss became {value} in epoch {self._epoch(step + 1)}, step {step + 1} of "
            f"{self.learner.steps}; lower the learning rate ({self._recipe.learning_rate:g}), and "
            f"check the images and the normalisation{good}"
        )
