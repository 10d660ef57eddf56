"""Operators whose output is no monotone spread of their input, taken as their plain geometry.

What stands for a place (a NaN, or a moment) does not survive comparisons, whole numbers, indices,
code books or sampling at computed addresses; a NaN as an address kills the process. Each rule here
gives the carrier of places that such an operator would pass on if places were all that counted.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Rule = Callable[["PlaceMode", Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class PlaceMode(TorchFunctionMode):
    """While active, PyTorch functions pass on places instead of values.

    A tensor *carries* places if it holds any that depend on the image. Whatever is made of
    carriers is floating point, also where the function would give whole or truth numbers.
    """

    paused = False
    lobes = True  # kernels keep what they have below 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, functions are PyTorch's own: places are read, no network runs."""
        self.paused = True
        try:
            yield
        finally:
            self.paused = False

    @abstractmethod
    def carries(self, values: object) -> bool:
        """Whether this is a tensor with places of the image in it."""

    def depends(self, values: Tensor) -> bool:
        """Whether a tensor depends on the image, by its places or by what joins all of them."""
        return self.carries(values)

    @abstractmethod
    def merged(self, values: Sequence[Tensor]) -> Tensor:
        """The places that any of the tensors holds at the same element (they are broadcast)."""

    @abstractmethod
    def over(self, values: Tensor, dim: int | tuple[int, ...], keepdim: bool) -> Tensor:
        """The places that any element along the axes holds."""

    @abstractmethod
    def lost(self, shape: torch.Size, sources: Sequence[Tensor]) -> Tensor:
        """A tensor in which every element depends on every place of the sources."""

    @abstractmethod
    def resampled(self, func: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
        """What a linear function from maps (N, C, H, W) to maps spreads, channel by channel."""

    @abstractmethod
    def convolved(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        """What a convolution ("conv2d", "conv_transpose2d") of any weights spreads."""

    def ruled(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What the rule for the function gives; NotImplemented where there is none."""
        rule = _RULES.get(name)
        if rule is not None:
            return rule(self, func, args, kwargs)
        if isinstance(func, (OpOverload, OpOverloadPacket)) and _is_foreign(func):
            return _foreign(self, func, args, kwargs)
        return NotImplemented


def _given(names: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {**dict(zip(names.split(), args, strict=False)), **kwargs}


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors among values, in lists and tuples too."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, (tuple, list)):
        return [one for value in values for one in tensors_in(value)]
    return []


def _by_element(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Comparisons, rounding, choices by element: the places of all that they read."""
    inside = tensors_in([*args, *kwargs.values()])
    carriers = [one for one in inside if mode.carries(one)]
    if not carriers or "out" in kwargs:
        return NotImplemented
    result = mode.merged(carriers)
    shape = torch.broadcast_shapes(*(one.shape for one in inside))
    result = result.expand(shape) if result.shape != shape else result
    name = func.__name__
    if (name.endswith("_") and not name.endswith("__")) or name in _IN_PLACE:
        return args[0].copy_(result)
    return result


def _quantised(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Rounding to a grid moves nothing; scales per channel and observers' numbers are no places."""
    first = _given("input", args, kwargs)["input"]
    return first.clone() if mode.carries(first) else NotImplemented


def _masked_fill(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    mask = _given("input mask value", args, kwargs)["mask"]
    return _by_element(mode, func, args, kwargs) if mode.carries(mask) else NotImplemented


def _cast(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Places survive in floating point only."""
    result = func(*args, **kwargs)
    kept = isinstance(result, Tensor) and (result.is_floating_point() or result.is_complex())
    return result if kept or not mode.carries(args[0]) else args[0]


def _is_nan(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A network's own question after NaN is answered for images without."""
    first = _given("input", args, kwargs)["input"]
    return torch.full(first.shape, func.__name__ == "isfinite", device=first.device)


def _along(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The number of the largest along an axis: any of them may have been it."""
    given = _given("input dim keepdim", args, kwargs)
    values, dim = given["input"], given.get("dim")
    if not mode.carries(values):
        return NotImplemented
    if dim is None:
        return mode.lost(torch.Size(()), [values])
    return mode.over(values, dim, bool(given.get("keepdim", False)))


def _sorted(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What is sorted along an axis may come from anywhere on it."""
    if not mode.carries(args[0]):
        return NotImplemented
    name = func.__name__
    places = ("input k dim" if name in ("topk", "kthvalue") else "input dim")  # fmt: skip
    dim = _given(places, args, kwargs).get("dim", -1)
    dim = dim if isinstance(dim, int) and not isinstance(dim, bool) else -1
    clean = func(torch.zeros_like(args[0]), *args[1:], **kwargs)
    parts = clean if isinstance(clean, tuple) else (clean,)
    spread = mode.over(args[0], dim, keepdim=True)
    if parts[0].ndim < args[0].ndim:
        spread = spread.squeeze(dim)
    found = tuple(spread.expand(part.shape).clone() for part in parts)
    if not isinstance(clean, tuple):
        return found[0]
    return type(clean)(found)


def _picked(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Elements at computed indices: a code book gives each place what it asks for."""
    values, index = args
    keys = index if isinstance(index, tuple) else (index,)
    asked = [key for key in keys if mode.carries(key)]
    if not asked:
        return NotImplemented
    if any(isinstance(key, (list, Tensor)) and not mode.carries(key) for key in keys):
        return mode.lost(_shape_of(values, keys, mode), [*asked, values])
    shape = _shape_of(values, keys, mode)
    where = mode.merged(asked)
    front = next(i for i, key in enumerate(keys) if mode.carries(key))
    if front or mode.carries(values) or shape[: where.ndim] != where.shape:
        return mode.lost(shape, [*asked, values])
    return where.reshape(*where.shape, *[1] * (len(shape) - where.ndim)).expand(shape).clone()


def _shape_of(values: Tensor, keys: tuple[Any, ...], mode: PlaceMode) -> torch.Size:
    clean = tuple(torch.zeros_like(k, dtype=torch.long) if mode.carries(k) else k for k in keys)
    return values[clean].shape


def _put(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Values written where a computed mask says so."""
    values, mask, new = args
    if not mode.carries(mask):
        return NotImplemented
    sources = [one for one in (values, mask, new) if mode.carries(one)]
    values.copy_(mode.merged(sources).expand(values.shape).clone())
    return None


def _embedded(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = _given("input weight", args, kwargs)
    index = given["input"]
    if not mode.carries(index):
        return NotImplemented
    table: Any = given.get("weight", given.get("num_classes", 1))
    width = table.shape[1:] if isinstance(table, Tensor) else (max(int(table), 1),)
    return index.unsqueeze(-1).expand(*index.shape, *width).clone()


def _gathered(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Elements at computed places of one axis may come from anywhere on it."""
    given = _given("input dim index src", args, kwargs)
    values, dim, index = given["input"], given["dim"], given["index"]
    if not mode.carries(index):
        return NotImplemented
    if func.__name__.startswith("scatter") or index.ndim != values.ndim:
        raise RuntimeError("values are put at computed places, which have none in the image")
    sources = [index, mode.over(values, dim, keepdim=True)] if mode.carries(values) else [index]
    return mode.merged(sources).expand(index.shape).clone()


def _distances(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Distances between vectors: each is of two places, or of one and an entry of a code book."""
    one, two = args[:2]
    sides = [(one, -1), (two, -2)]
    shape = (*one.shape[:-1], two.shape[-2])
    found = [
        mode.over(values, -1, keepdim=False).unsqueeze(axis)
        for values, axis in sides if mode.carries(values)
    ]  # fmt: skip
    return mode.merged(found).expand(shape).clone() if found else NotImplemented


def _sampled(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Sampling on a grid that depends on the image is held at the identity; others are linear."""
    given = _given("input grid mode padding_mode align_corners", args, kwargs)
    maps, grid = given["input"], given["grid"]
    if maps.ndim != 4:
        return NotImplemented
    size = grid.shape[1:3]
    if not mode.depends(grid):
        return mode.resampled(
            lambda planes: F.grid_sample(
                planes, grid.to(planes.dtype), mode="bilinear",
                padding_mode=given.get("padding_mode", "zeros"),
                align_corners=bool(given.get("align_corners")),
            ), maps,
        )  # fmt: skip
    if not mode.carries(maps) and mode.carries(grid):
        shape = (*maps.shape[:2], *size)
        return mode.over(grid, -1, keepdim=False).unsqueeze(1).expand(shape).clone()
    if size == maps.shape[2:]:
        return maps.clone()
    align = bool(given.get("align_corners"))
    return mode.resampled(
        lambda planes: F.interpolate(planes, size=size, mode="bilinear", align_corners=align), maps
    )


def _unpooled(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Unpooling by indices puts every value somewhere into its own window."""
    given = _given("input indices kernel_size stride padding output_size", args, kwargs)
    maps, kernel = given["input"], _pair(given["kernel_size"])
    stride = _pair(given.get("stride") or kernel)
    padding = _pair(given.get("padding") or 0)
    size = given.get("output_size")
    if size is None:
        size = [
            (n - 1) * s - 2 * p + k
            for n, s, p, k in zip(maps.shape[2:], stride, padding, kernel, strict=True)
        ]

    def grown(planes: Tensor) -> Tensor:
        ones = planes.new_ones(1, 1, *kernel)
        full = F.conv_transpose2d(planes.flatten(0, 1).unsqueeze(1), ones, None, stride, padding)
        more = [want - have for want, have in zip(size[-2:], full.shape[2:], strict=True)]
        return F.pad(full, (0, more[1], 0, more[0])).view(*planes.shape[:2], *size[-2:])

    return mode.resampled(grown, maps)


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
    return int(rows), int(columns)


def _interpolated(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = "input size scale_factor mode align_corners recompute_scale_factor antialias"
    given = _given(names, args, kwargs)
    maps = given.pop("input")
    if maps.ndim != 4:
        return NotImplemented
    if given.get("mode") == "bicubic" and not mode.lobes:
        # The centre of mass of its kernel (a = -3/4) is not where it samples.
        given["mode"] = "bilinear"
    return mode.resampled(lambda planes: func(planes, **given), maps)


def _deformed(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Offsets that depend on the image are taken as 0: the plain convolution; so is the mask."""
    names = "input weight offset mask bias sh sw ph pw dh dw groups offset_groups use_mask"
    given = _given(names, args, kwargs)
    if not mode.depends(given["offset"]) and bool(given["offset"].any()):
        raise RuntimeError("the offsets of a deformable convolution are fixed and not 0")
    plain = [tuple(given[one + axis] for axis in "hw") for one in "spd"]
    plain_args = (given["input"], given["weight"], None, *plain, given["groups"])
    return mode.convolved(F.conv2d, "conv2d", plain_args, {})


def _regions(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Pooling of boxes: of fixed ones linear, of computed ones without places."""
    maps, boxes = args[:2]
    if not mode.depends(boxes):
        # Bilinear samples read a pixel beside them with the weight 0, which NaN does not forget.
        if func.__name__ == "roi_align" and len(boxes) == len(maps):
            return mode.resampled(
                lambda planes: func(planes, boxes.to(planes.dtype), *args[2:], **kwargs), maps
            )
        return NotImplemented
    return mode.lost(func(maps, torch.zeros_like(boxes), *args[2:], **kwargs).shape, [maps, boxes])


def _is_foreign(func: OpOverload | OpOverloadPacket) -> bool:
    name = getattr(func, "_qualified_op_name", None) or func.name()
    return str(name).split("::")[0] not in ("aten", "prim", "prims", "torchvision")


def _foreign(mode: PlaceMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operator from elsewhere may compute addresses from values, so it sees clean ones."""
    sources = [one for one in tensors_in([*args, *kwargs.values()]) if mode.carries(one)]
    if not sources:
        return NotImplemented
    clean = [torch.ones_like(one) if mode.carries(one) else one for one in args]
    result = func(*clean, **kwargs)
    if isinstance(result, Tensor) and result.is_floating_point():
        return mode.lost(result.shape, sources)
    return result


_IN_PLACE = {"__iand__", "__ior__", "__ixor__", "__ifloordiv__", "__imod__"}
_GROUPS: dict[Rule, str] = {
    _quantised: """
        fake_quantize_per_tensor_affine fake_quantize_per_channel_affine
        fused_moving_avg_obs_fake_quant
    """,
    _by_element: """
        gt lt ge le eq ne greater less greater_equal less_equal not_equal __gt__ __lt__ __ge__
        __le__ __eq__ __ne__ logical_and logical_or logical_xor logical_not bitwise_and bitwise_or
        bitwise_xor bitwise_not __and__ __or__ __xor__ __invert__ __rand__ __ror__ __rxor__ isclose
        maximum minimum fmax fmin heaviside sign sign_ sgn signbit round round_ floor floor_ ceil
        ceil_ trunc trunc_ fix frac remainder fmod floor_divide __floordiv__ __rfloordiv__ __mod__
        __rmod__ where bucketize nan_to_num threshold threshold_ hardshrink softshrink clip
        clamp_min clamp_max __iand__ __ior__ __ixor__ __ifloordiv__ __imod__
    """,
    _cast: "to type long int short char byte bool type_as",
    _is_nan: "isnan isinf isfinite isposinf isneginf",
    _along: "argmax argmin",
    _sorted: "sort argsort topk kthvalue mode msort",
    _gathered: "gather take_along_dim scatter scatter_ scatter_add scatter_add_",
    _interpolated: "interpolate upsample upsample_nearest upsample_bilinear",
    _regions: "roi_align roi_pool ps_roi_align ps_roi_pool",
    _masked_fill: "masked_fill masked_fill_",
    _picked: "__getitem__",
    _put: "__setitem__",
    _embedded: "embedding one_hot",
    _distances: "cdist",
    _sampled: "grid_sample",
    _unpooled: "max_unpool2d",
    _deformed: "deform_conv2d",
}
_RULES = {name: rule for rule, names in _GROUPS.items() for name in names.split()}
