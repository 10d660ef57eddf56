"""Is a network a function of the one image? Without that no residual says anything of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ProbeError
from ...networks import check_finite
from ...networks.keeping import keeping, streams
from ..options import Options
from .inputs import Inputs
from .plan import batches

Show = Callable[[Tensor], Mapping[str, Tensor]]
Maps = dict[str, Tensor]

_IMAGES = 2  # that are compared; as many again are shown before and beside them
# Of the deviation of a map: an error of that size changes residuals by its square, 1e-6. Batches of
# other sizes change float32 maps by 6e-6 at most (seven torchvision networks, all layers).
_TOLERANCE = 1e-3
_ROUNDING = 16  # units of rounding of a map's size: in half precision they outgrow the tolerance
_NAMED = 3  # modules in a line


def check_purity(
    show: Show, module: nn.Module, inputs: Inputs, indices: Sequence[int], options: Options
) -> list[str]:
    """Warn of a network whose maps of an image depend on more than that image.

    A few images are shown twice, after others, among others and alone, as the passes would show
    them: at most `batch_size` at a time. All their maps must agree to rounding. What the network
    remembers and the random streams are put back. `show` takes images as `inputs.normalise` gives
    them.

    Raises ProbeError for maps that are not finite, and instead of warning with `impure="refuse"`.
    """
    said = _Showing(show, module, inputs, indices[: 2 * _IMAGES], options).said()
    if said and options.impure == "refuse":
        raise ProbeError(f"{said}; to measure it as it is, give impure='warn'")
    return [f"purity: {said}"] if said else []


class _Showing:
    """The compared images, shown in every way in which their maps must not differ."""

    def __init__(
        self,
        show: Show,
        module: nn.Module,
        inputs: Inputs,
        indices: Sequence[int],
        options: Options,
    ) -> None:
        self.show, self.module, self.options = show, module, options
        self.names = [inputs.images.names[index] for index in indices]
        self.images = inputs.normalise(inputs.original(inputs.load(indices)))
        half = max(1, len(indices) // 2)
        self.own = list(range(half))
        # Of one image alone the other is itself: whether its maps repeat can still be told.
        self.others = list(range(half, 2 * half)) if len(indices) > 1 else self.own

    def said(self) -> str:
        """What the maps depend on besides the image, and the remedy; "" where nothing."""
        own, others = self.own, self.others
        with keeping(self.module):
            before = _held(self.module)
            first, again, _, later = (self._maps(shown) for shown in (own, own, others, own))
            changed = _changed(before, _held(self.module))
            among, alone = self._maps([*others, *own]), self._maps(own[:1])
        with keeping(self.module):  # what is made from the first images is made from others here
            _, after = self._maps(others), self._maps(own)
        if told := self._apart(first, [again, later, after]):
            # Few draws may agree by chance; what was made from the first images is no draw.
            if self._apart(first, [again, later]) and self._repeats_with_its_draws():
                return f"{told} when the same images are shown again: {_random(self.module)}"
            return f"{told} with what was shown before: {_memory(changed)}"
        last = {name: maps[len(others) :] for name, maps in among.items()}
        if told := self._apart(first, [last, alone]):
            return f"{told} with the other images of the batch: {_batch(self.module)}"
        return ""

    def _maps(self, shown: Sequence[int]) -> Maps:
        parts = []
        for batch in batches(list(shown), int(self.options.batch_size)):
            # A copy: a network may change its input in place.
            maps = self.show(self.images[batch].clone())
            check_finite(maps, [self.names[place] for place in batch], "trying the network")
            parts.append(maps)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _repeats_with_its_draws(self) -> bool:
        """Whether maps agree as soon as the same random numbers are drawn for them."""
        draws, shown = streams(), []
        with keeping(self.module):
            for images in (self.own, self.own, self.others, self.own):
                for put, state in draws:
                    put(state)
                shown.append(self._maps(images))
        return not self._apart(shown[0], [shown[1], shown[3]])

    def _apart(self, first: Maps, others: Sequence[Maps]) -> str:
        """The layers whose maps differ, and by how much, in words; "" if none does."""
        found: dict[str, float] = {}
        for name, maps in first.items():
            worst = max(self._distance(maps, other[name]) for other in others)
            if worst > 0:
                found[name] = worst
        if not found:
            return ""
        name, size = next(iter(found.items()))
        others_too = len(found) - 1
        more = f" (and at {others_too} other layer{'s' * (others_too > 1)})" * (others_too > 0)
        return (
            f"the network is no function of the one image: its maps at {name!r}{more} change by "
            f"{size:.2g} of their deviation"
        )

    def _distance(self, maps: Tensor, other: Tensor) -> float:
        """Root mean square difference over deviation; 0 for what rounding explains."""
        maps, again = maps[: len(other)].double(), other.double()
        if maps.shape != again.shape:
            return float("inf")
        axes = (0, *range(2, maps.ndim))
        deviation = _root_mean_square(maps - maps.mean(dim=axes, keepdim=True))
        distance = _root_mean_square(maps - again)
        rounding = _ROUNDING * self._unit(other.dtype) * _root_mean_square(maps)
        if distance <= _TOLERANCE * deviation + rounding:
            return 0.0
        return distance / deviation if deviation > 0 else float("inf")

    def _unit(self, dtype: torch.dtype) -> float:
        """The unit of rounding: that of the coarsest numbers that a map went through."""
        asked: torch.dtype = getattr(torch, self.options.precision)
        return max(torch.finfo(kind).eps for kind in (asked, dtype) if kind.is_floating_point)


def _random(module: nn.Module) -> str:
    drop = nn.modules.dropout._DropoutNd
    left = [
        repr(n) for n, part in module.named_modules() if isinstance(part, drop) and part.training
    ]
    if left:
        return f"dropout stays in training mode at {_few(left)}; let eval() switch it off"
    return (
        "its forward pass draws random numbers; let dropout follow the mode "
        "(F.dropout(x, p, training=self.training)) and draw nothing in evaluation mode"
    )


def _memory(changed: Sequence[str]) -> str:
    what = f"what it keeps from one call to the next ({_few(changed)})" if changed else "its state"
    return f"reset {what} at the start of forward, or settle it on images before measuring"


def _batch(module: nn.Module) -> str:
    norm = nn.modules.batchnorm._BatchNorm
    parts = [(n, part) for n, part in module.named_modules() if isinstance(part, norm)]
    bare = [repr(name) for name, part in parts if part.running_mean is None]
    left = [repr(name) for name, part in parts if part.training and part.running_mean is not None]
    if left:
        cause = f"batch norm stays in training mode at {_few(left)}; let eval() switch it"
    elif bare:
        cause = f"batch norm has no running statistics at {_few(bare)}; give it some by training "
        cause += "with track_running_stats=True"
    else:
        cause = "it computes across the batch; make each image stand alone"
    return f"{cause}, or measure with batch_size=1"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" * (len(names) > _NAMED)
    return ", ".join(names[:_NAMED]) + more


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


Held = dict[tuple[str, str, str], tuple[Any, int]]


def _held(module: nn.Module) -> Held:
    """The attributes and buffers of every module, each with its version where it has one."""
    return {
        (name, type(part).__name__, key): (value, _version(value))
        for name, part in module.named_modules()
        for key, value in {**vars(part), **part._buffers}.items()
        if key not in _HOOKS
    }


_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def _version(value: Any) -> int:
    return -1 if not isinstance(value, Tensor) or value.is_inference() else value._version


def _changed(before: Held, after: Held) -> list[str]:
    """The modules that hold something else now, with the names of what they hold."""
    none = (None, -1)
    return [
        f"{key!r} of {name or kind!r} ({kind})"
        for name, kind, key in dict.fromkeys([*before, *after])
        if (one := before.get((name, kind, key), none))[0]
        is not (other := after.get((name, kind, key), none))[0]
        or one[1] != other[1]
    ]
