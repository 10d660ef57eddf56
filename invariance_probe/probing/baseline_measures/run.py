"""The baselines of other papers on a network's activations: one streaming pass, one table."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn

from ...data import AnyImages
from ...errors import ProbeError
from ...geometry import Transform
from ...networks import Activations, Network, check_finite, framed_layers
from ...networks.layers.replacement import as_logits
from ...networks.network import resolved
from ...running.devices import find_device
from ..bench.batch_size import with_batch_size
from ..bench.borders import with_margins
from ..bench.inputs import Inputs
from ..bench.look import Looker, Meter
from ..bench.notebooks import listener
from ..bench.plan import images_for
from ..bench.purity import check_purity
from ..ladder.layer_state import LayerState
from ..options import Options, takes_options
from ..provenance import describe_run
from ..run import Progress, as_transforms, batches, check_channels, measuring, split
from .lie import GENERATORS, flow, moved_input, step_of
from .state import LayerBaselines, OutputBaselines
from .table import assemble_baselines
from .variance import AGGREGATIONS, Aggregation

MEASURES = ("variance", "distance", "psnr", "cka", "lie")
"""Families of baselines; our residuals are always in the table."""

_WIDE = (torch.float32, torch.float64)


@takes_options
def baselines(
    network: nn.Module | Network,
    layers: str | Sequence[str],
    transforms: str | Transform | Iterable[str | Transform],
    images: AnyImages,
    *,
    measures: str | Sequence[str] = MEASURES,
    aggregation: Aggregation | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    options: Options | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> pd.DataFrame:
    """Measure invariance and equivariance as other papers do, beside our residuals.

    Network, layers, transformations, images and options are those of `probe`, and everything is
    taken on its evaluation half and its compared cells: the rungs in this table are the numbers
    that `probe` gives. One row per layer, measure and transformation, with columns `layer`,
    `measure`, `transform`, `kind`, `parameter`, `value`, interval `low` and `high` (bootstrap over
    images; NaN for measures that are no statistic of sums per image), `images`.

    `measures` chooses families: "variance" (rows `normalised_variance`, `same_equivariance`, both
    with the share of units that are `_infinite`), "distance" (`same_equivariance_distance`),
    "psnr" (`eq_psnr`), "cka" (`cka_unaligned`, `cka_inverse`) and "lie" (`lie_derivative`,
    `lie_derivative_relative`). The rows `unaligned`, `inverse`, `input_aligned`, `other_image` and
    `recovered` are always there. `aggregation` ("mean", "sum", "max") aggregates variances over a
    channel's cells before they are divided; by default each cell is a unit of its own.

    `transform` is a transformation's text, "all" for a measure over all of them (means; of the
    normalised variance the set itself, with the original as a member), or a generator's name in
    rows of Lie derivatives, which belong to no finite transformation. Those have rows of the layer
    "output" too where the network gives logits. The identity has no rows. `attrs["provenance"]`
    says what was measured on what.

    Sums stream: memory grows with transformations, cells and channels (2·T·C·784 numbers for
    variances, 4·T·C² for CKA), not with images; no number depends on the batch size.

    Convention: transformations act on image coordinates (origin at the centre, pixels, y down,
    degrees counter-clockwise); maps are moved in the frame measured on the network.

    Raises ProbeError as `probe` does, for unknown measures and aggregations, and where nothing but
    the identity is asked for. Definitions and deviations from the papers in docs/baselines.md.
    """
    chosen = Options.from_dict({**(options or Options()).to_dict(), **changes})
    asked = _measures(measures)
    if aggregation not in AGGREGATIONS:
        known = ", ".join(map(repr, AGGREGATIONS))
        raise ProbeError(f"aggregation={aggregation!r} is not known; use one of {known}")
    module, mean, std = resolved(network, mean, std)
    image_set = images_for(network, images)
    moves = [move for move in as_transforms(transforms) if not move.is_identity]
    if not moves:
        raise ProbeError("the identity moves nothing; give transformations that do")
    fit, evaluation = split(len(image_set), chosen.seed)
    place = find_device(device)
    module = module.to(place)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    inputs = Inputs(image_set, mean, std, chosen.image_interpolation, place, dtype)
    with measuring(module):
        example = inputs.normalise(inputs.original(inputs.load(fit[:1])))
        check_channels(module, example)
        chosen = with_batch_size(chosen, module, example, place)
        frames, left_out = framed_layers(module, layers, example)
        with Activations(module, list(frames)) as activations, torch.inference_mode():
            impure = check_purity(activations, module, inputs, fit, chosen)
            look = Looker(activations, inputs, place, chosen, Meter(None, 0))
            borders = with_margins(frames, look, fit, moves, chosen)
        states = [
            LayerBaselines(name, frame, moves, image_set.canvas, chosen, asked)
            for name, frame in borders.frames.items()
        ]
        run = _Pass(module, inputs, states, moves, chosen, listener(progress))
        with torch.inference_mode():
            run.count(len(fit), len(evaluation), "lie" in asked and dtype in _WIDE, example)
            run.fit(fit)
            for batch in batches(evaluation, int(chosen.batch_size)):
                run.evaluate(batch)
    table = assemble_baselines(
        states, run.output, moves, len(evaluation), chosen, asked, aggregation
    )
    table.attrs["provenance"] = describe_run(
        network,
        image_set,
        inputs,
        cast("Sequence[LayerState]", states),  # of which it reads name, frame and cells
        moves,
        chosen,
        place,
        (len(fit), len(evaluation)),
        config,
    ) | {"baselines": {"measures": list(asked), "aggregation": aggregation}}
    warnings = table.attrs["provenance"]["warnings"]
    table.attrs["provenance"]["warnings"] = [*impure, *warnings, *borders.notes]
    table.attrs["provenance"]["warnings"] += [f"left out: {reason}" for reason in left_out]
    return table


class _Pass:
    """Passes of images through the network, and whom they are shown to."""

    def __init__(
        self,
        module: nn.Module,
        inputs: Inputs,
        states: Sequence[LayerBaselines],
        moves: Sequence[Transform],
        options: Options,
        progress: Progress | None,
    ) -> None:
        self.inputs, self.states, self.moves = inputs, states, moves
        self.options, self.progress = options, progress
        self.activations = Activations(module, [state.name for state in states])
        self.output: OutputBaselines | None = None
        self.done = self.total = 0
        self.derivatives = False

    def count(self, fitted: int, evaluated: int, derivatives: bool, example: Tensor) -> None:
        """Fix how many single-image passes there will be, and whether logits come out of them."""
        self.derivatives = derivatives
        each = 1 + 2 * len(self.moves) + 2 * len(GENERATORS) * derivatives
        self.total = evaluated * each + fitted
        if derivatives:
            try:
                as_logits(self.activations(example, outputs=True)[1], len(example))
            except ProbeError:
                return  # no classifier, or none that is cut off before its layers end
            self.output = OutputBaselines()

    def fit(self, fit: list[int]) -> None:
        """Mean maps, and channel scales, on the fit half."""
        for batch in batches(fit, int(self.options.batch_size)):
            canvas = self.inputs.original(self.inputs.load(batch))
            maps, _ = self._look(canvas, batch, "fit")
            for state in self.states:
                state.fit(maps[state.name])
        for state in self.states:
            state.fix_scale()

    def evaluate(self, batch: list[int]) -> None:
        """Everything of one batch of the evaluation half."""
        source = self.inputs.load(batch)
        canvas = self.inputs.original(source)
        originals, logits = self._look(canvas, batch, "original", self.output is not None)
        for state in self.states:
            state.start(originals[state.name])
        for which, move in enumerate(self.moves):
            canvas = self.inputs.transformed(source, move)
            moved, _ = self._look(canvas, batch, f"{move}")
            realigned, _ = self._look(self.inputs.undone(canvas, move), batch, f"{move} undone")
            for state in self.states:
                name = state.name
                state.add(which, moved[name], realigned[name], originals[name])
        for state in self.states:
            state.end()
        if self.output is not None and logits is not None:
            self.output.start(logits)
        if self.derivatives:
            for generator in GENERATORS:
                self._differentiate(generator, source, batch)

    def _differentiate(self, generator: str, source: Tensor, batch: list[int]) -> None:
        canvas = self.inputs.images.canvas
        step = step_of(generator, canvas)
        ahead = flow(generator, step, canvas)
        found = []
        for move in (ahead, flow(generator, -step, canvas)):
            shown = moved_input(source, move, canvas, self.inputs.beyond, self.inputs.fill)
            text = f"derivative: {generator}"
            found.append(self._look(shown, batch, text, self.output is not None))
        (forward, logits), (backward, other) = found
        for state in self.states:
            name = state.name
            state.differentiate(generator, forward[name], backward[name], step, ahead)
        if self.output is not None and logits is not None and other is not None:
            self.output.differentiate(generator, logits, other, step)

    def _look(
        self, canvas: Tensor, batch: list[int], text: str, outputs: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Maps of all layers, and logits if asked for, of images that are not normalised yet."""
        shown = self.inputs.normalise(canvas)
        logits = None
        if outputs:
            maps, output = self.activations(shown, outputs=True)
            logits = as_logits(output, len(batch))
        else:
            maps = self.activations(shown)
        seen = maps if logits is None else {**maps, "output": logits}
        check_finite(seen, [self.inputs.images.names[i] for i in batch], text)
        self.done += len(batch)
        if self.progress is not None:
            self.progress(self.done, self.total, text)
        # Squares of half precision overflow, or vanish, before they reach a float64 sum.
        return {
            name: value if value.dtype in _WIDE else value.float() for name, value in maps.items()
        }, logits


def _measures(asked: str | Sequence[str]) -> tuple[str, ...]:
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in MEASURES:
            near = difflib.get_close_matches(str(name), MEASURES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(MEASURES)}"
            raise ProbeError(f"unknown measure {name!r}; {hint}")
    return tuple(name for name in MEASURES if name in names)
