"""A training run as plain values, from which it can be made again."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..._limits import COUNT, SEED, check_canvas, check_whole, quoted
from ...data.catalogue import example_names
from ...data.distortions import movement
from ...data.examples.examples import Examples
from ...errors import ProbeError
from ...networks.stn.architecture import Architecture, parse_architecture
from ..presets import kind_of_data
from ..recipe import Recipe

# Where the papers halve the resolution behind a transformer: clutter around a small digit.
_HALVED = ("t", "tc")


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run needs: data by name, network, recipe and seeds.

    Attributes
    ----------
    data : a name that `load_examples` knows, or a folder; `data_root` is where its files are.
    architecture : the network, one per seed.
    recipe : how each is trained; its own seed is not used.
    seeds : of the initial weights, the transformations and the order, one run each.
    preset : the name that the recipe came from, for the reader.
    number : how many training examples, drawn; None takes all.
    transform : how upright images are moved in every pass, such as "rotation:90"; None shows them
        as they are.
    canvas : (rows, columns) of photographs of a folder, in pixels; None is `load_examples`' own.
    """

    data: str
    architecture: Architecture
    recipe: Recipe = field(default_factory=Recipe)
    seeds: tuple[int, ...] = (0,)
    preset: str | None = None
    data_root: str | None = None
    number: int | None = None
    transform: str | None = None
    canvas: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("data", "preset", "data_root", "transform"):
            value: Any = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name == "data"):
                raise ProbeError(f"{name} of a training run must be a text; give a name or folder")
        seeds: Any = self.seeds
        if not isinstance(seeds, list | tuple):
            raise ProbeError(f"seeds={quoted(seeds)}: give a list of whole numbers, such as 0,1,2")
        for seed in seeds:
            check_whole("seed", seed, 0, SEED)
        if not seeds or len(set(seeds)) < len(seeds):
            raise ProbeError(
                f"seeds {', '.join(map(str, seeds)) or '(none)'}; give different ones from 0 "
                "on, such as 0,1,2"
            )
        object.__setattr__(self, "seeds", tuple(seeds))
        if self.number is not None:
            check_whole("number of training examples", self.number, 1, COUNT)

        if self.transform is not None:
            movement(self.transform)
        if self.canvas is not None:
            sides: Any = self.canvas
            if not isinstance(sides, list | tuple) or len(sides) != 2:
                raise ProbeError(f"canvas={quoted(sides)}: give rows and columns in pixels")
            object.__setattr__(self, "canvas", check_canvas(*sides))

    @property
    def files(self) -> tuple[str, ...]:
        """The files and folders outside the package that the data are read from."""
        named = self.data.lower() in example_names()
        return (*(() if named else (self.data,)), *((self.data_root,) if self.data_root else ()))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {
            "data": self.data,
            "data_root": self.data_root,
            "number": self.number,
            "transform": self.transform,
            "canvas": None if self.canvas is None else list(self.canvas),
            "architecture": self.architecture.as_dict(),
            "preset": self.preset,
            "recipe": self.recipe.as_dict(),
            "seeds": list(self.seeds),
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration of `as_dict`; ProbeError for other fields or values."""
        if not isinstance(values, Mapping):
            raise ProbeError("the configuration of a training run is no object; train it again")
        known = [one.name for one in fields(TrainConfig)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"give {', '.join(known)}"
                raise ProbeError(f"a training run has no field '{name}'; {hint}")
        if not {"data", "architecture"} <= set(values):
            raise ProbeError("a training run needs its data and its architecture; give both")
        given = dict(values)
        given["architecture"] = Architecture.from_dict(values["architecture"])
        given["recipe"] = Recipe.from_dict(values.get("recipe", {}))
        return TrainConfig(**given)


def check_trusted_data(
    config: TrainConfig, trust: bool, where: object, root: object = None
) -> None:
    """Refuse files that the configuration in a run's folder names, unless they are trusted.

    `root` takes the place of the folder of the data. Raises ProbeError that says what would have
    been read.
    """
    read = [one for one in config.files if root is None or one != config.data_root]
    if read and not trust:
        raise ProbeError(
            f"the run in {where} would read {' and '.join(map(repr, read))}; if you know it, name "
            "the data again (evaluate: --data, --data-root; train: the whole command), or give "
            "--trust"
        )


def architecture_for(name: str, data: str, examples: Examples, /, **given: Any) -> Architecture:
    """Return the architecture of a name such as "STN-SL1" as the papers use it on a data set.

    Canvas, channels, classes, positions and background are those of the examples, the backbone that
    of the data. Behind a transformer the image is halved for translated and cluttered digits, and
    beyond its edge is the edge again, but the background for SVHN. `given` fields come first.
    Source: papers' programs (Finnveden, Jansson & Lindeberg 2021). Raises ProbeError for fields
    that do not fit.
    """
    kind = kind_of_data(data)
    fitted: dict[str, Any] = {
        "canvas": tuple(examples.canvas),
        "channels": examples.channels,
        "classes": examples.classes,
        "positions": examples.positions,
        "fill": tuple(examples.background),
        "beyond": "fill" if kind == "svhn" else "nearest",
        "reduction": 1,
    }
    if name.strip().upper().startswith("ST") and Path(data).name.rpartition("-")[2] in _HALVED:
        fitted["reduction"] = 2
    chosen = {name: value for name, value in given.items() if value is not None}
    return parse_architecture(name, **{"backbone": kind, **fitted, **chosen})
