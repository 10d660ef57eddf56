"""The probe: one streaming pass over the images, from network and transformations to a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import ImageSet, array_images
from ..errors import ProbeError
from ..geometry import Transform, parse_transforms
from ..networks import Activations, Network, check_finite, measure_frames, select_layers
from ..networks._capture import evaluating
from .assemble import assemble
from .inputs import Inputs
from .layer_state import LayerState
from .options import Options
from .provenance import describe_run
from .result import Result

Progress = Callable[[int, int, str], None]
"""Called with forward passes done, forward passes in all, and what is being done."""


def probe(
    network: nn.Module | Network,
    layers: str | Sequence[str],
    transforms: str | Transform | Iterable[str | Transform],
    images: ImageSet | Tensor | np.ndarray[Any, Any],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    options: Options | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """Measure, per layer and transformation, what remains after the best spatial alignment.

    Images are split once into a fit half, on whose feature maps the best alignment is searched,
    and an evaluation half, on which every reported residual is taken. Each image passes the
    network once per transformation (evaluation images once more, for the aligned input).

    `layers` are names or glob patterns; `transforms` are values or their text form; `images` are
    an `ImageSet`, or an array (N, C, H, W) with values in [0, 1]. `mean` and `std` normalise after
    warping; by default they are the network's own. `changes` set single fields of `options`,
    for example ``seed=1``. `progress` is called as (done, total, text).

    The network is moved to `device` and stays there; modes and gradients are left as they were.

    Convention: transformations act on image coordinates (origin at the centre, pixels, y down,
    degrees counter-clockwise); maps are warped in the frame measured on the network.

    Raises ProbeError for unknown layers, layers without spatial output, too few images, empty
    valid regions, and activations that are not finite. Source of the measured claim: Finnveden,
    Jansson and Lindeberg, arXiv 2004.11678; definitions in docs/measures.md.
    """
    chosen = Options.from_dict({**(options or Options()).to_dict(), **changes})
    module = network.module if isinstance(network, Network) else network
    if isinstance(network, Network):
        mean = network.mean if mean is None else mean
        std = network.std if std is None else std
    image_set = images if isinstance(images, ImageSet) else array_images(images)
    moves = as_transforms(transforms)
    fit, evaluation = split(len(image_set), chosen.seed)
    place = _device(device)
    module = module.to(place)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    inputs = Inputs(image_set, mean, std, chosen.image_interpolation, place, dtype)
    with measuring(module):
        example = inputs.normalise(inputs.original(inputs.load(fit[:1])))
        try:
            names = select_layers(module, [layers] if isinstance(layers, str) else layers, example)
        except ProbeError as error:
            if "cannot take images" in str(error):
                check_channels(module, example)
            raise
        frames = measure_frames(module, names, canvas=image_set.canvas, channels=image_set.channels)
        states = [LayerState(n, frames[n], moves, image_set.canvas, chosen) for n in names]
        moving = sum(not move.is_identity for move in moves)
        scales = 1 if chosen.weighting == "channel" else 0
        counter = _Counter(
            progress, len(fit) * (1 + moving + scales) + len(evaluation) * (1 + 2 * moving)
        )
        with Activations(module, names) as activations, torch.inference_mode():
            look = _Looker(activations, inputs, image_set.names, counter)
            if chosen.weighting == "channel":
                _measure_scales(look, states, fit, chosen.batch_size)
            _fit(look, states, moves, fit, chosen.batch_size)
            for which, move in enumerate(moves):
                counter.say(f"search {move}")
                for state in states:
                    state.search(which)
            _evaluate(look, states, moves, evaluation, chosen.batch_size)
    provenance = describe_run(
        network,
        image_set,
        inputs,
        states,
        moves,
        chosen,
        place,
        (len(fit), len(evaluation)),
        config,
    )
    return assemble(states, moves, [image_set.names[i] for i in evaluation], chosen, provenance)


def split(number: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the fit half and of the evaluation half, drawn once from the seed.

    Raises ProbeError for fewer than 4 images: 2 to compare with another one, 2 to fit.
    """
    if number < 4:
        raise ProbeError(
            f"{number} image{'s' * (number != 1)} cannot be split into a fit half and an "
            "evaluation half of at least 2 each; give 4 or more"
        )
    order = np.random.default_rng(seed).permutation(number).tolist()
    # The evaluation half stays in drawn order: neighbours, compared for the ceiling, are unrelated
    # even where a folder is sorted by class.
    return sorted(order[: number // 2]), order[number // 2 :]


class _Counter:
    """Counts single-image forward passes and tells the caller."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def add(self, number: int, text: str) -> None:
        self.done += number
        if self.progress is not None:
            self.progress(self.done, self.total, text)

    def say(self, text: str) -> None:
        self.add(0, text)


class _Looker:
    """Shows images to the network and checks what comes out."""

    def __init__(
        self, activations: Activations, inputs: Inputs, names: Sequence[str], counter: _Counter
    ) -> None:
        self.activations, self.inputs, self.names, self.counter = (
            activations,
            inputs,
            names,
            counter,
        )

    def __call__(self, canvas: Tensor, indices: Sequence[int], text: str) -> dict[str, Tensor]:
        features = self.activations(self.inputs.normalise(canvas))
        check_finite(features, [self.names[i] for i in indices])
        self.counter.add(len(indices), text)
        # Squares of half precision overflow, or vanish, before they reach a float64 sum.
        return {
            name: maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps
            for name, maps in features.items()
        }


def batches(indices: list[int], size: int) -> Iterator[list[int]]:
    for first in range(0, len(indices), size):
        yield indices[first : first + size]


def _measure_scales(look: _Looker, states: list[LayerState], fit: list[int], size: int) -> None:
    for batch in batches(fit, size):
        canvas = look.inputs.original(look.inputs.load(batch))
        features = look(canvas, batch, "channel scales")
        for state in states:
            state.measure_scale(features[state.name])
    for state in states:
        state.fix_scale()


def _fit(
    look: _Looker, states: list[LayerState], moves: Sequence[Transform], fit: list[int], size: int
) -> None:
    for batch in batches(fit, size):
        source = look.inputs.load(batch)
        originals = look(look.inputs.original(source), batch, "fit: original")
        for which, move in enumerate(moves):
            moved = originals
            if not move.is_identity:
                moved = look(look.inputs.transformed(source, move), batch, f"fit: {move}")
            for state in states:
                state.fit(which, moved[state.name], originals[state.name])


def _evaluate(
    look: _Looker,
    states: list[LayerState],
    moves: Sequence[Transform],
    chosen: list[int],
    size: int,
) -> None:
    for batch in batches(chosen, size):
        source = look.inputs.load(batch)
        originals = look(look.inputs.original(source), batch, "evaluate: original")
        for state in states:
            state.start_batch(originals[state.name])
        for which, move in enumerate(moves):
            if move.is_identity:  # exactly 0, whatever the backend's rounding
                for state in states:
                    same = originals[state.name]
                    state.evaluate(which, same, same, same)
                continue
            canvas = look.inputs.transformed(source, move)
            moved = look(canvas, batch, f"evaluate: {move}")
            realigned = look(look.inputs.undone(canvas, move), batch, f"evaluate: {move} undone")
            for state in states:
                name = state.name
                state.evaluate(which, moved[name], realigned[name], originals[name])


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError:
        raise ProbeError(f"there is no device {name!r}; use 'cpu' or 'cuda'") from None


def as_transforms(given: str | Transform | Iterable[str | Transform]) -> tuple[Transform, ...]:
    moves: list[Transform] = []
    for one in [given] if isinstance(given, (str, Transform)) else given:
        moves += parse_transforms(one) if isinstance(one, str) else [one]
    if not moves or not all(isinstance(move, Transform) for move in moves):
        raise ProbeError(
            "no transformations to probe; give for example rotations(-180, 180, step=15)"
        )
    return tuple(dict.fromkeys(moves))


def check_channels(module: nn.Module, example: Tensor) -> None:
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None and first.in_channels != example.shape[1]:
        raise ProbeError(
            f"the network takes {first.in_channels} channels, the images have {example.shape[1]}; "
            f"load them with channels={first.in_channels}"
        )


@contextmanager
def measuring(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and full float32 precision, restored afterwards."""
    tf32 = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with evaluating(module):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
