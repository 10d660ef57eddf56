"""The oracle spatial transformer: what perfect alignment at one layer is worth to a classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...alignment import Variance
from ...data import AnyImages
from ...errors import ProbeError
from ...geometry import Transform
from ...networks import Activations, Network, check_finite, framed_layers
from ...networks.layers.replacement import all_paths_pass, as_logits, run_replaced
from ...networks.network import resolved
from ...running.devices import find_device
from ..bench.batch_size import with_batch_size
from ..bench.borders import with_margins
from ..bench.inputs import Inputs
from ..bench.labels import check_labels, doubted_labels, network_labels
from ..bench.look import Looker, Meter, forward_precision, half_warnings
from ..bench.notebooks import listener
from ..bench.plan import images_for
from ..bench.purity import check_purity
from ..ladder.layer_state import LayerState
from ..options import Options, takes_options
from ..provenance import describe_run
from ..run import Progress, as_transforms, batches, check_channels, measuring, split
from .layer import OracleLayer
from .result import AT_LAYER, ON_INPUT, OracleResult, assemble_oracle

_EXAMPLES = 8  # images on which it is tried whether all paths pass through a layer


@takes_options
def oracle(
    network: nn.Module | Network,
    layers: str | Sequence[str],
    transforms: str | Transform | Iterable[Transform],
    images: AnyImages,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    options: Options | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> OracleResult:
    """Classify transformed images while one layer's maps are aligned by the known h⁻¹.

    This is a spatial transformer at that layer which localises perfectly, in any eager network
    and without training. Per transformation h the classifier sees T_h f with nothing done
    ("nothing"), T_h⁻¹ T_h f ("input_aligned"), and T_h f with the layer's maps replaced by T_h⁻¹
    of them ("inverse"), by those with channels permuted ("inverse_permuted") or mixed by a linear
    map ("inverse_linear"). Both channel maps are fitted to maps of the fit half, at the cells that
    stay inside the image under all transformations, and applied at all cells; where these are
    too few for the layer's channels there is no number. All numbers are of the evaluation half.

    Arguments are those of `probe`; labels of the images are optional. Options of the search,
    the ladder's rungs, dense maps and the weighting have no part in this. Layers around which a
    path leads to the logits are left out and listed, with the reason, in the result's table
    `inadmissible`.

    Convention: transformations act on image coordinates (origin at the centre, pixels, y down,
    degrees counter-clockwise); maps are sampled in the frame measured on the network, without
    smoothing, and continue beyond their edge as the nearest cell.

    Raises ProbeError as `probe` does, for an output that is not logits (N, classes), for labels
    that these do not have, and when none of the layers is admissible. Definitions in
    docs/measures.md; the theorem: Finnveden, Jansson and Lindeberg, arXiv 2004.11678.
    """
    chosen = Options.from_dict({**(options or Options()).to_dict(), **changes})
    module, mean, std = resolved(network, mean, std)
    image_set = images_for(network, images)
    moves = as_transforms(transforms)
    fit, evaluation = split(len(image_set), chosen.seed)
    place = find_device(device)
    module = module.to(place)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    inputs = Inputs(image_set, mean, std, chosen.image_interpolation, place, dtype)
    # No inference mode: a network may change its input in place, which it forbids.
    with measuring(module), torch.no_grad():
        example = inputs.normalise(inputs.original(inputs.load(fit[:_EXAMPLES])))
        check_channels(module, example)
        chosen = with_batch_size(chosen, module, example[:1], place)
        frames, left_out = framed_layers(module, layers, example)
        names = list(frames)

        def shown(images: Tensor) -> dict[str, Tensor]:
            with forward_precision(chosen, place):
                maps, output = Activations(module, names)(images, outputs=True)
            return {**maps, "output": as_logits(output, len(images))}

        impure = check_purity(shown, module, inputs, fit, chosen)
        maps, output = Activations(module, names)(example.clone(), outputs=True)
        logits = as_logits(output, len(example))
        check_finite({**maps, "output": logits}, [image_set.names[i] for i in fit], "first images")
        labels, said_of_labels = network_labels(image_set, network, logits.shape[1])
        check_labels(image_set, labels, evaluation, logits.shape[1])
        refused = {}
        for name in names:
            admitted, reason = all_paths_pass(module, name, example)
            if not admitted:
                refused[name] = reason
        names = [name for name in names if name not in refused]
        if not names:
            why = impure or list(refused.values())
            raise ProbeError(f"no layer to align at: {why[0]}")
        with Activations(module, names) as activations:
            look = Looker(activations, inputs, place, chosen, Meter(None, 0))
            admissible = {name: frames[name] for name in names}
            borders = with_margins(admissible, look, fit, moves, chosen)
        held = [
            OracleLayer(n, borders.frames[n], moves, image_set.canvas, chosen, place) for n in names
        ]
        run = _Run(module, inputs, held, moves, chosen, listener(progress))
        run.count(len(fit), len(evaluation))
        run.fit(fit)
        run.evaluate(evaluation)
    provenance = describe_run(
        network,
        image_set,
        inputs,
        cast("Sequence[LayerState]", held),  # of which it reads name, frame and cells
        moves,
        chosen,
        place,
        (len(fit), len(evaluation)),
        config,
    )
    provenance["numerics"]["precision"] = chosen.precision
    provenance["conventions"]["ridges"] = {layer.name: layer.ridges for layer in held}
    found = run.finish()
    if labels is not None and not said_of_labels:
        right = int((found[1] == labels[evaluation]).sum())
        said_of_labels = doubted_labels(right, len(evaluation), logits.shape[1])
    provenance["warnings"] = [*impure, *provenance["warnings"], *said_of_labels]
    provenance["warnings"] += [*borders.notes, *half_warnings(chosen)]
    provenance["warnings"] += [f"left out: {reason}" for reason in left_out]
    provenance["warnings"] += [note for layer in held for note in layer.notes]
    return assemble_oracle(
        names,
        moves,
        [image_set.names[i] for i in evaluation],
        None if labels is None else labels[evaluation],
        *found,
        refused,
        chosen,
        provenance,
    )


@dataclass
class _Run:
    """Passes of one run and what they leave of each image: top-1 class and squared error."""

    module: nn.Module
    inputs: Inputs
    layers: list[OracleLayer]
    moves: Sequence[Transform]
    options: Options
    progress: Progress | None
    done: int = 0
    total: int = 0
    originals: list[Tensor] = field(default_factory=list)
    predictions: list[Tensor] = field(default_factory=list)
    errors: list[Tensor] = field(default_factory=list)
    variance: Variance | None = None

    def __post_init__(self) -> None:
        self.activations = Activations(self.module, [layer.name for layer in self.layers])

    def count(self, fitted: int, evaluated: int) -> None:
        """Fix how many single-image passes there will be, at most."""
        turned = sum(not move.is_identity for move in self.moves)
        still = len(self.moves) - turned
        per_image = 1 + still + turned * (len(ON_INPUT) + len(AT_LAYER) * len(self.layers))
        self.total = fitted * (1 + turned) + evaluated * per_image

    def fit(self, indices: list[int]) -> None:
        """Channel maps of all layers and transformations, from one streaming pass."""
        fitted = [layer for layer in self.layers if layer.moments]
        if not fitted:
            return
        for batch in batches(indices, int(self.options.batch_size)):
            source = self.inputs.load(batch)
            originals, _ = self._look(self.inputs.original(source), batch, "fit: original")
            for move in fitted[0].moments:
                moved = self.inputs.transformed(source, move)
                maps, _ = self._look(moved, batch, f"fit: {move}")
                for layer in fitted:
                    aligned = layer.aligned(maps[layer.name], move)
                    layer.moments[move].update(aligned, originals[layer.name])
        for layer in fitted:
            layer.fix(originals[layer.name])

    def evaluate(self, indices: list[int]) -> None:
        """Logits under every treatment, image by image against those of the original."""
        rows = len(ON_INPUT) + len(AT_LAYER) * len(self.layers)
        for batch in batches(indices, int(self.options.batch_size)):
            source = self.inputs.load(batch)
            _, logits = self._look(self.inputs.original(source), batch, "evaluate: original")
            original = logits.double()
            if self.variance is None:
                self.variance = Variance(original[0])
            self.variance.update(original[:, :, None, None], original.new_ones(1, 1))
            self.originals.append(original.argmax(1).cpu())
            shape = (len(self.moves), rows, len(batch))
            predictions = torch.full(shape, -1, dtype=torch.int32)
            errors = torch.full(shape, torch.nan, dtype=torch.float64)
            for which, move in enumerate(self.moves):
                moved = self.inputs.transformed(source, move)
                for row, logits in self._treatments(moved, batch, move):
                    predictions[which, row] = logits.argmax(1).int().cpu()
                    errors[which, row] = (logits.double() - original).square().sum(1).cpu()
            self.predictions.append(predictions)
            self.errors.append(errors)

    def _treatments(
        self, moved: Tensor, batch: list[int], move: Transform
    ) -> Iterator[tuple[int | slice, Tensor]]:
        """Row of the tables and logits, for every treatment that is determined."""
        maps, logits = self._look(moved, batch, f"evaluate: {move}")
        if move.is_identity:  # no treatment does anything: all show what a second pass shows
            yield slice(None), logits
            return
        yield 0, logits
        undone = self.inputs.undone(moved, move)
        yield 1, self._look(undone, batch, f"evaluate: {move} undone")[1]
        images = self.inputs.normalise(moved)
        layouts = self.activations.layouts(images)
        for number, layer in enumerate(self.layers):
            aligned = layer.aligned(maps[layer.name], move)
            for treatment, replacement in layer.treated(aligned, move).items():
                with forward_precision(self.options, self.inputs.device):
                    logits = run_replaced(
                        self.module, layer.name, images, _always(replacement),
                        layouts.get(layer.name),
                    )  # fmt: skip
                what = f"{layer.name} {treatment}"
                self._seen({f"output ({what})": logits}, batch, f"evaluate: {move} {what}")
                yield len(ON_INPUT) + number * len(AT_LAYER) + AT_LAYER.index(treatment), logits

    def _look(
        self, canvas: Tensor, batch: list[int], text: str
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Maps of all layers, and logits, of images that are not normalised yet."""
        with forward_precision(self.options, self.inputs.device):
            maps, output = self.activations(self.inputs.normalise(canvas), outputs=True)
        logits = as_logits(output, len(batch))
        if self.options.precision != "float32":
            maps = {name: values.float() for name, values in maps.items()}
        self._seen({**maps, "output": logits}, batch, text)
        return maps, logits

    def _seen(self, values: dict[str, Tensor], batch: list[int], text: str) -> None:
        check_finite(values, [self.inputs.images.names[i] for i in batch], text)
        self.done += len(batch)
        if self.progress is not None:
            self.progress(self.done, self.total, text)

    def finish(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Top-1 classes (transforms, rows, N), those of originals (N), errors, variance (N)."""
        if self.variance is None:
            raise ProbeError("no evaluation images were seen; give more images")
        return (
            torch.cat(self.predictions, dim=-1).numpy(),
            torch.cat(self.originals).numpy(),
            torch.cat(self.errors, dim=-1).numpy(),
            self.variance.compute()[0],
        )


def _always(replacement: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda _: replacement
