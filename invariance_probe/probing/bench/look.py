"""Showing images to the network: precision, what comes out, and how long everything will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ..._allocator import keep_freed_memory
from ...errors import ProbeError
from ...networks import Activations, check_finite
from ...running.devices import home_of
from ..options import Options
from .inputs import Inputs

Progress = Callable[[int, int, str], None]
"""Called with work done, work in all (counted in forward passes), and what is being done."""

_PIXELS = 400_000  # of one forward pass on a CPU: more outgrow its caches
_SEARCH_SECONDS = 0.2  # a search, until one has been measured


def half_warnings(options: Options) -> list[str]:
    """What a reader of features in half precision must know."""
    if options.precision == "float32":
        return []
    eps = torch.finfo(getattr(torch, options.precision)).eps
    return [
        f"precision: features were computed in {options.precision} (mixed precision), rounded to "
        f"about {eps:.1g} of each value; residuals of about {eps**2:.0e} are rounding"
    ]


class Looker:
    """Shows images to the network and checks what comes out.

    Maps come back in float32 or float64, on the device where they are compared. Where a GPU's
    memory is too small for a batch, the batch is shown in halves from then on.
    """

    def __init__(
        self,
        activations: Activations,
        inputs: Inputs,
        place: torch.device,
        options: Options,
        meter: Meter,
    ) -> None:
        self.activations, self.inputs, self.place = activations, inputs, place
        self.options, self.meter = options, meter
        self.home = home_of(place)
        self._some: dict[tuple[str, ...], Activations] = {}
        self.most = 0  # images at a time where a whole batch was too much; 0: no limit
        self.channels_last = place.type == "cpu"  # how a CPU convolves fastest
        if place.type == "cpu":
            keep_freed_memory()

    def __call__(
        self, canvas: Tensor, indices: Sequence[int], text: str, layers: Sequence[str] = ()
    ) -> dict[str, Tensor]:
        """Maps of all layers, or of some, in which case the pass ends with the last of them."""
        features = self.maps(self.inputs.normalise(canvas), layers)
        check_finite(features, [self.inputs.images.names[i] for i in indices], text)
        self.meter.add(len(indices), text)
        # Squares of half precision overflow, or vanish, before they reach a float64 sum.
        return {
            name: (maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps).to(
                self.home
            )
            for name, maps in features.items()
        }

    def maps(self, images: Tensor, layers: Sequence[str] = ()) -> dict[str, Tensor]:
        """Maps of all (or some) layers for normalised images, in as many passes as fit."""
        images, activations = images.to(self.place), self._of(tuple(layers))
        while True:
            step = min(self.most or len(images), len(images))
            if self.place.type == "cpu":
                step = min(step, max(1, _PIXELS // images[0, 0].numel()))
            try:
                with forward_precision(self.options, self.place):
                    parts = [self._shown(part, activations) for part in images.split(step)]
            except torch.cuda.OutOfMemoryError:
                if step == 1:
                    raise
                self.most = step // 2
                torch.cuda.empty_cache()
                continue
            if len(parts) == 1:
                return parts[0]
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _of(self, layers: tuple[str, ...]) -> Activations:
        if not layers or layers == self.activations.layers:
            return self.activations
        if layers not in self._some:
            self._some[layers] = Activations(self.activations.network, layers)
        return self._some[layers]

    def _shown(self, images: Tensor, activations: Activations) -> dict[str, Tensor]:
        """Maps of one forward pass, laid out channel by channel."""
        if self.channels_last:
            try:
                maps = activations(images.contiguous(memory_format=torch.channels_last))
                return {name: value.contiguous() for name, value in maps.items()}
            except (ProbeError, RuntimeError):  # a network that takes views of its maps
                self.channels_last = False
        return {name: value.contiguous() for name, value in activations(images).items()}


def forward_precision(options: Options, place: torch.device) -> AbstractContextManager[object]:
    """Mixed precision for the forward passes in the block, where it is asked for.

    Raises ProbeError where a device has none.
    """
    if options.precision == "float32":
        return nullcontext()
    try:
        return torch.autocast(place.type, getattr(torch, options.precision))
    except RuntimeError as error:
        raise ProbeError(
            f"precision={options.precision!r} is not there on {place.type} "
            f"({str(error).splitlines()[0]}); use 'float32'"
        ) from error


class Meter:
    """How far a run is, in units of forward passes, measured in time.

    A search or a pass of the evaluation half takes longer than one of the fit half. Work done is
    therefore the share of the time that it took of all the time it will take, by what each kind
    of work has taken so far. It never goes back, and the total never changes.
    """

    def __init__(self, progress: Progress | None, passes: int) -> None:
        self.progress, self.passes, self.shown = progress, passes, 0
        self.planned: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.spent: dict[str, float] = {}
        self.kind = ""
        self._last = time.monotonic()

    def plan(self, kind: str, number: int) -> None:
        """Say how much of a kind of work there will be."""
        self.planned[kind] = self.planned.get(kind, 0) + number

    def begin(self, kind: str) -> None:
        """Begin a kind of work."""
        self.kind, self._last = kind, time.monotonic()

    def add(self, number: int, text: str) -> None:
        """Count work of the kind that was begun last, and tell."""
        now, kind = time.monotonic(), self.kind
        self.spent[kind] = self.spent.get(kind, 0.0) + now - self._last
        self.done[kind] = self.done.get(kind, 0) + number
        self._last = now
        self.tell(text)

    def tell(self, text: str) -> None:
        """Tell the caller how far it is."""
        if self.progress is None:
            return
        left = self.seconds_left()
        spent = sum(self.spent.values())
        share = spent / (spent + left) if left > 0 else 1.0
        self.shown = max(self.shown, min(int(share * self.passes), self.passes - (left > 0)))
        self.progress(self.shown, self.passes, text)

    def seconds_left(self) -> float:
        """Estimated from what each kind of work has taken; 0 when all is done."""
        passes = [k for k in self.planned if k != "search" and self.done.get(k)]
        own = sum(self.spent[k] for k in passes) / max(1, sum(self.done[k] for k in passes))
        left = 0.0
        for kind, number in self.planned.items():
            done = self.done.get(kind, 0)
            guess = _SEARCH_SECONDS if kind == "search" else own
            each = self.spent[kind] / done if done else guess
            left += max(0, number - done) * max(each, 1e-9)
        return left
