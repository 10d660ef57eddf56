"""A classifier with spatial transformers as one description, from which it is built."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..._limits import SIDE, is_real, quoted
from ...errors import ProbeError
from .backbones import backbone as find_backbone
from .heads import check_head
from .warps import warp_family

_NAME = re.compile(
    r"(?:STN-(?P<kind>C|SL|DL)(?P<depths>\d{1,20}(?:\.\d{1,3})*)|(?P<fcn>ST-FCN))"
    r"(?:x(?P<iterations>\d))?"
)
_COUNTS = {
    "channels": 4096,
    "classes": 1_000_000,
    "positions": 1000,
    "reduction": 1024,
    "parallel": 64,
}
_WIDEST = 64  # times the filters of a backbone
_EXAMPLES = "CNN, FCN, STN-C0, STN-C1, STN-SL1, STN-DL1, STN-SL1x2, STN-C0123"


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes a classifier's layers.

    Attributes
    ----------
    name : "CNN" or "FCN" (no transformer), or "STN-" with how it localises, after how many blocks,
        and how many alignments. C warps the map after X blocks by what it reads from that map; SL
        reads the same features but warps the input and applies the shared blocks again; DL reads
        its own copy of the blocks and warps the input. STN-C0123 has a transformer before each of
        the first three blocks and one after them (depths of two digits: STN-C2.10); STN-SL1x2
        aligns twice with the same localisation network. ST-FCN is STN-C0 on the FCN.
    backbone : "mnist", "fcn", "svhn", "plankton" or "deep".
    canvas : size (rows, columns) of the images in pixels.
    positions : labels per image; above 1 the logits are (N, positions, classes).
    family : warps to choose from, see `warp_family`.
    head : localisation network, see `localisation_head`; "auto" takes the papers' for the canvas.
    reduction : the last warp of the first transformer gives 1/reduction of its cells per axis.
    beyond : outside of the input lies its edge ("nearest") or the background ("fill"); maps always
        go on with their edge, because a map's background is not 0.
    fill : normalised background, one value per channel, for beyond="fill".
    parallel : transformers side by side on the input, outputs stacked as channels (C0 only).
    width : fraction of the filters and units of the backbone.
    dropout : share of values that are dropped where the backbone has dropout; None takes its own
        (svhn and plankton: 0.5, much for few filters or a short training).

    Raises ProbeError for what cannot be built.

    >>> Architecture("STN-SL1x2").depths, Architecture("STN-SL1x2").iterations
    ((1,), 2)
    """

    name: str = "CNN"
    backbone: str = "mnist"
    canvas: tuple[int, int] = (28, 28)
    channels: int = 1
    classes: int = 10
    positions: int = 1
    family: str = "affine"
    head: str = "auto"
    reduction: int = 1
    beyond: str = "nearest"
    fill: tuple[float, ...] = (0.0,)
    parallel: int = 1
    width: float = 1.0
    dropout: float | None = None

    def __post_init__(self) -> None:
        self._check_texts()
        kind, depths, iterations, fcn = _parsed(self.name)
        if fcn:
            object.__setattr__(self, "backbone", "fcn")
        find_backbone(self.backbone)
        warp_family(self.family)
        check_head(self.head)
        self._check_numbers()
        if self.backbone == "fcn" and any(depth > 0 for depth in depths):
            raise ProbeError(
                f"'{self.name}': the fcn has no blocks to put a spatial transformer after"
            )
        if self.family == "tps" and (iterations > 1 or (kind != "C" and len(depths) > 1)):
            raise ProbeError(
                f"'{self.name}' with thin plate splines: their warps cannot be composed; "
                "take another family, or one alignment"
            )
        if self.parallel > 1 and (kind != "C" or depths != (0,) or iterations > 1):
            raise ProbeError(
                f"'{self.name}' with {self.parallel} transformers in parallel; only STN-C0 has them"
            )

    def _check_texts(self) -> None:
        for what in ("name", "backbone", "family", "head", "beyond"):
            value = getattr(self, what)
            if not isinstance(value, str):
                raise ProbeError(f"{what} {value!r}; give a name, as text")

    def _check_numbers(self) -> None:
        for what, most in _COUNTS.items():
            value = getattr(self, what)
            if not _is_count(value, most):
                raise ProbeError(
                    f"{what} {quoted(value)}; give a whole number of at least 1 and at most {most}"
                )
        canvas: Any = self.canvas  # as a file may hold it
        if not isinstance(canvas, tuple) or len(canvas) != 2 or not all(map(_is_count, canvas)):
            raise ProbeError(f"canvas {quoted(canvas)}; give (rows, columns) in pixels")
        if not is_real(self.width, 0, _WIDEST) or self.width <= 0:
            raise ProbeError(
                f"width {quoted(self.width)}; give a positive fraction of the filters, below "
                f"{_WIDEST}"
            )
        if self.dropout is not None and not is_real(self.dropout, 0, 1):
            raise ProbeError(
                f"dropout {quoted(self.dropout)}; give a share from 0 up to, not with, 1"
            )
        if self.beyond not in ("nearest", "fill"):
            raise ProbeError(f"beyond={self.beyond!r}; give 'fill' or 'nearest'")
        fill: Any = self.fill
        if not isinstance(fill, tuple) or not all(
            is_real(value, -math.inf, math.inf) for value in fill
        ):
            raise ProbeError(f"fill {quoted(fill)}; give a tuple of finite numbers, one a channel")
        if len(fill) not in (1, self.channels):
            raise ProbeError(
                f"fill {self.fill!r} for {self.channels} channels; give one value, or one each"
            )

    @property
    def kind(self) -> str | None:
        """How the transformers localise and what they warp: "C", "SL", "DL"; None without any."""
        return _parsed(self.name)[0]

    @property
    def depths(self) -> tuple[int, ...]:
        """After how many blocks each transformer localises."""
        return _parsed(self.name)[1]

    @property
    def iterations(self) -> int:
        """How many times each transformer aligns."""
        return _parsed(self.name)[2]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Return the architecture of `as_dict`; ProbeError for fields it does not know."""
        if not isinstance(values, Mapping):
            raise ProbeError(f"architecture={quoted(values)}: give its fields by name")
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ProbeError(
                f"an architecture has no field '{unknown[0]}'; its fields are "
                f"{', '.join(sorted(known))}"
            )
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**given)


def parse_architecture(name: str, /, backbone: str = "mnist", **given: Any) -> Architecture:
    """Return the architecture of a name such as "STN-SL1", with other fields by keyword.

    Raises ProbeError for a name that is none and for fields that do not fit.

    >>> parse_architecture("stn-c1", canvas=(60, 60), reduction=2).name
    'STN-C1'
    """
    if "name" in given:
        raise ProbeError(f"two names, '{name}' and {quoted(given['name'])}; give one of them")
    return Architecture.from_dict({"name": _canonical(name), "backbone": backbone, **given})


def _is_count(value: object, most: int = SIDE) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _canonical(name: str) -> str:
    upper = re.sub(r"(?<=[\dN])X(\d)$", r"x\1", name.strip().upper())
    return "STN-C0" if upper == "ST-CNN" else upper


def _parsed(name: str) -> tuple[str | None, tuple[int, ...], int, bool]:
    if name in ("CNN", "FCN"):
        return None, (), 1, name == "FCN"
    found = _NAME.fullmatch(name)
    if found is None:
        near = difflib.get_close_matches(name, _EXAMPLES.split(", "), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ProbeError(f"no classifier named '{name}'; {hint}Give one such as {_EXAMPLES}")
    digits = found["depths"] or "0"
    parts = digits.split(".") if "." in digits else ([digits] if digits == "10" else list(digits))
    depths = tuple(int(part) for part in parts)
    if list(depths) != sorted(set(depths)):
        raise ProbeError(
            f"'{name}': depths must rise; for several alignments at one depth write "
            f"'STN-{found['kind'] or 'C'}{depths[0]}x{len(depths)}'"
        )
    iterations = int(found["iterations"] or 1)
    if iterations < 1:
        raise ProbeError(f"'{name}' aligns no time; give x1 or more")
    return found["kind"] or "C", depths, iterations, bool(found["fcn"])
