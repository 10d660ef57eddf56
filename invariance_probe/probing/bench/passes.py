"""The passes of a probe, step by step: fit, search, evaluate, in one process or in several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...alignment import FOLDS
from ...geometry import Transform, identity
from ...networks import check_finite
from ...running.processes import Group
from ...running.resume import Unfinished
from ...running.sums import add_up, clear
from ..ladder.layer_state import LayerState
from ..ladder.outcomes import Outcome, put, release, taken
from ..options import Options
from .dense import Stitching
from .look import Looker
from .plan import batches


class _Phase(NamedTuple):
    kind: str
    steps: int  # of the process that has most
    do: Callable[[int], None]
    end: Callable[[], None]


@dataclass
class Passes:
    """All passes of one run over its images, seen from one process.

    The images of either half are dealt out in contiguous parts, the searches layer by layer. A
    step is one transformation of one batch, or one search; between steps all processes agree on
    whether to save, to stop, or to end with an error. Where a run stands is the phase, the step
    and what the layers hold: `state` gives that, `restore` takes it back.
    """

    look: Looker
    states: list[LayerState]
    moves: Sequence[Transform]
    blocks: list[list[int]]
    fit: list[int]
    evaluation: list[int]
    options: Options
    group: Group
    unfinished: Unfinished | None = None
    stop: Callable[[], bool] | None = None
    phase: int = 0
    step: int = 0
    outcomes: dict[tuple[int, int], Outcome] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    _shown: tuple[str, int] = ("", -1)
    _source: Tensor = field(default_factory=lambda: torch.zeros(0))
    _originals: dict[str, Tensor] = field(default_factory=dict)
    _finer: dict[str, Tensor] = field(default_factory=dict)  # the originals on the source grids

    def __post_init__(self) -> None:
        # By the place in the whole half: the same whatever batches and processes.
        self._folds = {index: place % FOLDS for place, index in enumerate(self.fit)}

    @cached_property
    def stitching(self) -> Stitching:
        """How the maps that are moved come to their grids."""
        frames = {state.name: state.frame for state in self.states}
        return Stitching(frames, {state.name: state.compared.dense for state in self.states})

    def run(self) -> None:
        """Go from where the run stands to its end; the states then hold everything.

        Raises KeyboardInterrupt when `stop` asked for it, and in all processes the ProbeError of
        any of them.
        """
        self._count()
        self.same_pivots()
        phases = self._phases()
        for number in range(self.phase, len(phases)):
            kind, steps, do, end = phases[number]
            self.phase = number
            self.look.meter.begin(kind)
            for step in range(self.step, steps):
                self._guarded(do, step)
            with self.group.together():
                end()
            self.phase, self.step, self._shown = number + 1, 0, ("", -1)

    def state(self) -> dict[str, Any]:
        """Where this process stands."""
        meter = self.look.meter
        return {
            "phase": self.phase, "step": self.step, "states": self.states, "blocks": self.blocks,
            "most": self.look.most,
            "outcomes": self.outcomes, "closed": sorted(self.closed), "done": meter.done,
            "spent": meter.spent,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where `state` says."""
        self.phase, self.step, self.states = state["phase"], state["step"], state["states"]
        self.blocks = state["blocks"]
        self.outcomes, self.closed = state["outcomes"], set(state["closed"])
        self.look.most = state["most"]
        self.look.meter.done, self.look.meter.spent = state["done"], state["spent"]

    def same_pivots(self) -> None:
        """Fix every layer's pivot on the run's first image, the same in all processes."""
        if self.group.world == 1 or self.phase or self.step:
            return
        with self.group.together():
            inputs = self.look.inputs
            maps = self.look.maps(inputs.normalise(inputs.original(inputs.load(self.fit[:1]))))
            check_finite(maps, [inputs.images.names[self.fit[0]]], "first image")
            for state in self.states:
                own = maps[state.name].to(self.look.home)
                state.see(own.float() if own.dtype.itemsize < 4 else own)
        for state in self.states:
            state.pivot = self._from_first(state.pivot)

    # -- the phases -------------------------------------------------------------------------------

    def _phases(self) -> list[_Phase]:
        phases = []
        fitted = self._batches(self.fit)
        if self.options.weighting == "channel":
            phases.append(_Phase("scale", self._most(self.fit), self._scale, self._fix_scales))
        for block in self.blocks:
            tasks = [(layer, which) for layer in range(len(self.states)) for which in block]
            phases += [
                _Phase(
                    "fit", self._most(self.fit) * len(block),
                    self._fitting(fitted, block), self._share_sums,
                ),
                _Phase(
                    "search", -(-len(tasks) // self.group.world),
                    self._searching(tasks), self._sharing_outcomes(tasks),
                ),
            ]  # fmt: skip
        steps = self._most(self.evaluation) * len(self.moves)
        return [*phases, _Phase("evaluate", steps, self._evaluate, self._end_evaluation)]

    def _scale(self, step: int) -> None:
        own = self._batches(self.fit)
        if step < len(own):
            self._originals_of("scale", own, step, "channel scales")
            for state in self.states:
                state.measure_scale(self._originals[state.name])

    def _fix_scales(self) -> None:
        add_up(self.states, self.group, self.closed)
        for state in self.states:
            state.fix_scale()
            state.weights = self._from_first(state.weights)

    def _fitting(self, own: list[list[int]], block: list[int]) -> Callable[[int], None]:
        def do(step: int) -> None:
            if step == 0:
                self._precede_fit(block)
            number, place = divmod(step, len(block))
            if number < len(own):
                self._originals_of("fit", own, number, "fit: original")
                self._fit_one(block[place], own[number])

        return do

    def _fit_one(self, which: int, batch: list[int]) -> None:
        move = self.moves[which]
        canvas = self.look.inputs.transformed(self._source, move)
        own = self.look(canvas, batch, f"fit: {move}")
        moved = self._stitched(own, move, batch, f"fit: {move}")
        undone: dict[str, Tensor] | None = None
        if self.options.ledger:
            undone = own
            if not move.is_identity:
                back = self.look.inputs.undone(canvas, move)
                undone = self.look(back, batch, f"fit: {move} undone")
        folds = [self._folds[index] for index in batch]
        for state in self.states:
            name = state.name
            realigned = None if undone is None else undone[name]
            state.fit(which, moved[name], realigned, self._originals[name], folds)

    def _precede_fit(self, block: list[int]) -> None:
        """Show the image before this process' part: its first image is paired with that one."""
        before = self._before(self.fit)
        if before is None or not self.options.ledger:
            return
        self._originals_of("before", [before], 0, "fit: original")
        for which in block:
            self._fit_one(which, before)
        clear(self.states, self.closed)

    def _share_sums(self) -> None:
        add_up(self.states, self.group, self.closed)

    def _searching(self, tasks: list[tuple[int, int]]) -> Callable[[int], None]:
        def do(step: int) -> None:
            number = step * self.group.world + self.group.rank
            if number >= len(tasks):
                return
            layer, which = tasks[number]
            state = self.states[layer]
            self.look.meter.tell(f"search {self.moves[which]} in {state.name}")
            state.search(which)
            self.outcomes[layer, which] = taken(state)
            self.look.meter.add(1, f"search {self.moves[which]} in {state.name}")

        return do

    def _sharing_outcomes(self, tasks: list[tuple[int, int]]) -> Callable[[], None]:
        def end() -> None:
            found: dict[tuple[int, int], Outcome] = {}
            for outcomes in self.group.objects(self.outcomes):
                found |= outcomes
            for layer, which in tasks:
                put(self.states[layer], found[layer, which])
                release(self.states[layer], which)
            self.outcomes = {}

        return end

    def _evaluate(self, step: int) -> None:
        own = self._batches(self.evaluation)
        before = self._before(self.evaluation) if self.options.ledger else None
        if step == 0 and before is not None:
            self._originals_of("before", [before], 0, "evaluate: original")
            for state in self.states:
                state.start_batch(self._originals[state.name])
            clear(self.states, self.closed)
        number, which = divmod(step, len(self.moves))
        if number >= len(own):
            return
        self._originals_of("evaluate", own, number, "evaluate: original")
        if which == 0:
            for state in self.states:
                state.start_batch(self._originals[state.name])
        move, batch = self.moves[which], own[number]
        inputs = self.look.inputs
        canvas = inputs.transformed(self._source, move)
        undone = self.look(canvas, batch, f"evaluate: {move}")
        moved = self._stitched(undone, move, batch, f"evaluate: {move}")
        if not move.is_identity:  # else the same image: one pass tells whether its maps are too
            undone = self.look(inputs.undone(canvas, move), batch, f"evaluate: {move} undone")
        for state in self.states:
            name = state.name
            state.evaluate(which, moved[name], undone[name], self._finer[name])

    def _end_evaluation(self) -> None:
        add_up(self.states, self.group, self.closed)

    # -- what the phases share --------------------------------------------------------------------

    def _guarded(self, do: Callable[[int], None], step: int) -> None:
        """One step, after which all processes go the same way."""
        error: Exception | None = None
        try:
            do(step)
        except Exception as caught:
            if self.group.world == 1:
                raise
            error = caught
        self.step = step + 1
        stop = self.stop is not None and self.stop()
        due = self.unfinished is not None and self.unfinished.due()
        failed, stopped, saving = self.group.highest([error is not None, stop, due])
        if failed:
            self.group.agree(error)
        if self.unfinished is not None and (saving or stopped):
            self.unfinished.save(self.state())
            self.look.meter.begin(self.look.meter.kind)
        if stopped:
            saved = "" if self.unfinished is None else f"; saved in {self.unfinished.folder}"
            raise KeyboardInterrupt(f"asked to stop{saved}")

    def _originals_of(self, phase: str, own: list[list[int]], number: int, text: str) -> None:
        """The untransformed images of a batch, loaded once for all its transformations."""
        if self._shown != (phase, number):
            inputs = self.look.inputs
            self._source = inputs.load(own[number])
            self._originals = self.look(inputs.original(self._source), own[number], text)
            self._finer = self._originals
            if phase == "evaluate":
                self._finer = self._stitched(self._originals, identity(), own[number], text)
            self._shown = (phase, number)

    def _stitched(
        self, own: dict[str, Tensor], move: Transform, batch: list[int], text: str
    ) -> dict[str, Tensor]:
        """The maps of the images under a transformation on the grids that are moved back."""

        def show(shift: Transform, layers: list[str]) -> dict[str, Tensor]:
            # One transformation: the image is interpolated once, wherever its content goes.
            canvas = self.look.inputs.transformed(self._source, shift @ move)
            return self.look(canvas, batch, f"{text}, between cells", layers)

        return self.stitching(own, show)

    def _batches(self, half: list[int]) -> list[list[int]]:
        return list(batches(self.group.share(half), int(self.options.batch_size)))

    def _most(self, half: list[int]) -> int:
        """Batches of the process that has most: the first."""
        first = len(Group(0, self.group.world).share(half))
        return -(-first // int(self.options.batch_size))

    def _before(self, half: list[int]) -> list[int] | None:
        """The image before this process' part, if there is one."""
        own = self.group.share(half)
        first = sum(len(Group(r, self.group.world).share(half)) for r in range(self.group.rank))
        return half[first - 1 : first] if own and first else None

    def _count(self) -> None:
        """Tell the meter how much there is to do here."""
        moving = sum(not move.is_identity for move in self.moves)
        fit, evaluation = len(self.group.share(self.fit)), len(self.group.share(self.evaluation))
        meter = self.look.meter
        if self.options.weighting == "channel":
            meter.plan("scale", fit)
        undone, passes = moving if self.options.ledger else 0, self.stitching.passes
        meter.plan("fit", fit * (len(self.blocks) + passes * len(self.moves) + undone))
        for block in self.blocks:
            tasks = range(len(self.states) * len(block))
            meter.plan("search", len(tasks[self.group.rank :: self.group.world]))
        meter.plan("evaluate", evaluation * (passes * (1 + len(self.moves)) + moving))

    def _from_first(self, value: Tensor | None) -> Tensor | None:
        """A tensor of the first process, on this one's device."""
        if self.group.world == 1 or value is None:
            return value
        return self.group.from_one(value.cpu()).to(value.device)
