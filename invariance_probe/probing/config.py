"""A probe as plain values, from which it can be run again: what the command line and JSON hold."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .._limits import COUNT, check_canvas, check_whole, is_real, quoted
from ..data import ImageSet, embedded_digits, is_stored, open_images, torchvision_images
from ..errors import ProbeError
from ..geometry import parse_transforms
from ..networks import Network, build_network
from ..networks.building.build import check_arguments
from ..running.processes import current_group
from ..running.resume import Unfinished
from .options import Options
from .result import Result
from .run import Progress, probe

_KINDS: dict[str, Any] = {
    "network": str,
    "transforms": str,
    "images": str,
    "device": str,
    "train": bool,
    "checkpoint_entry": (str, type(None)),
    "checkpoint_prefix": (str, type(None)),
    "allow_partial": bool,
    "by_order": bool,
    "number": (int, type(None)),
    "image_channels": (int, type(None)),
    "skip_damaged": bool,
    "workers": int,
    "data_root": (str, type(None)),
    "checkpoint": (str, type(None)),
}


@dataclass(frozen=True)
class ProbeConfig:
    """Everything a run needs, by name: network, layers, transformations, images, options.

    Attributes
    ----------
    network : "mnist_cnn", a torchvision name such as "resnet18", or "package.module:factory".
    layers : names or glob patterns.
    transforms : text that `parse_transforms` reads.
    images : "digits" (the package's own), a torchvision data set name with `data_root`, or a path:
        a folder of images, or a .npz, .npy, .h5 or .tar file as `open_images` reads them.
    number : how many images, drawn with the options' seed; None takes all.
    checkpoint : a file of weights; None takes the embedded or random ones.
    checkpoint_entry : the one to take of several state dicts in the file ("state_dict_ema").
    checkpoint_prefix : the weights to take where the network is found under several prefixes.
    allow_partial : whether a checkpoint may fit the network in part only.
    by_order : whether its weights meet the network's in their order, not by name.
    arguments : keyword arguments of a factory.
    image_channels : what the images of a folder are turned into, 1 or 3; None takes images that
        are all of one kind, and turns them into what the network takes.
    skip_damaged : whether photographs that cannot be decoded are left out, and named.
    workers : threads that decode photographs; the result does not depend on it.
    canvas : (rows, columns) that the network sees; None takes the network's own.
    mean, std : normalisation; None takes the network's own.
    """

    network: str = "mnist_cnn"
    layers: tuple[str, ...] = ("*",)
    transforms: str = "rotation:-180:180:15"
    images: str = "digits"
    number: int | None = None
    data_root: str | None = None
    train: bool = False
    checkpoint: str | None = None
    checkpoint_entry: str | None = None
    checkpoint_prefix: str | None = None
    allow_partial: bool = False
    by_order: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    image_channels: int | None = None
    skip_damaged: bool = False
    workers: int = 0
    canvas: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    device: str = "cpu"
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                known = {str: "a text", bool: "true or false", _KINDS["checkpoint_entry"]: "a text"}
                what = known.get(kind, "a whole number")
                raise ProbeError(f"{name}={quoted(value)} must be {what}")
        for name in ("layers", "canvas", "mean", "std"):
            value = getattr(self, name)
            if value is not None:
                plain = tuple(value) if isinstance(value, (list, tuple)) else (value,)
                object.__setattr__(self, name, plain)
        layers: tuple[object, ...] | None = self.layers  # a file may say null
        if layers is None or not all(isinstance(name, str) for name in layers):
            raise ProbeError("layers of a configuration must be texts: names or patterns")
        if self.canvas is not None:
            if len(self.canvas) != 2:
                raise ProbeError(f"canvas={self.canvas!r} must be two numbers: rows and columns")
            object.__setattr__(self, "canvas", check_canvas(*self.canvas))
        if self.number is not None:
            check_whole("number", self.number, 1, COUNT)
        for name in ("mean", "std"):
            for value in getattr(self, name) or ():
                if not is_real(value, -math.inf, math.inf):
                    raise ProbeError(f"{name} {quoted(value)} is no number; give one a channel")
        check_arguments(self.arguments)
        try:
            arguments = json.loads(json.dumps(dict(self.arguments)))
        except (TypeError, ValueError, RecursionError) as error:
            raise ProbeError(
                f"arguments={quoted(self.arguments)} cannot be stored with the result ({error}); "
                "give numbers, texts, lists and dictionaries"
            ) from None
        object.__setattr__(self, "arguments", arguments)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back equal."""
        values = asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProbeConfig:
        """The configuration that `to_dict` wrote; unknown names are refused."""
        known = {entry.name for entry in fields(cls)}
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ProbeError(f"unknown setting {name!r} in a probe's configuration{hint}")
        plain: dict[str, Any] = dict(values)
        options = plain.get("options", {})
        if not isinstance(options, Mapping):
            raise ProbeError(f"options={options!r} must be a dictionary of options")
        plain["options"] = Options.from_dict(dict(options))
        return cls(**plain)


def run_config(
    config: ProbeConfig,
    progress: Progress | None = None,
    *,
    network: Network | None = None,
    images: ImageSet | None = None,
    unfinished: str | Path | Unfinished | None = None,
    resume: bool = False,
    overwrite: bool = False,
    save_every: float = 60.0,
    stop: Callable[[], bool] | None = None,
) -> Result:
    """Build what the configuration names and probe it; the result carries the configuration.

    `network` and `images` are those that it names, where they are loaded already (`load_network`,
    `load_images`). `unfinished`, `resume`, `overwrite`, `save_every` and `stop` are those of
    `probe`.
    """
    parse_transforms(config.transforms)  # the cheapest check comes first
    with current_group().together():
        network = load_network(config) if network is None else network
        images = load_images(config, network) if images is None else images
    return probe(
        network,
        config.layers,
        config.transforms,
        images,
        mean=config.mean,
        std=config.std,
        options=config.options,
        device=config.device,
        progress=progress,
        config=config.to_dict(),
        unfinished=unfinished,
        resume=resume,
        overwrite=overwrite,
        save_every=save_every,
        stop=stop,
    )


def load_network(config: ProbeConfig) -> Network:
    """The network a configuration names, with its weights."""
    return build_network(
        config.network,
        checkpoint=config.checkpoint,
        checkpoint_entry=config.checkpoint_entry,
        checkpoint_prefix=config.checkpoint_prefix,
        allow_partial=config.allow_partial,
        by_order=config.by_order,
        seed=config.options.seed,
        **dict(config.arguments),
    )


def load_images(config: ProbeConfig, network: Network) -> ImageSet:
    """The images a configuration names, on the canvas the network sees."""
    canvas, channels = config.canvas or network.canvas, network.fixed_channels
    if config.images == "digits":
        images = embedded_digits(canvas=canvas, channels=channels or config.image_channels or 1)
    elif is_stored(config.images):
        images = open_images(
            config.images, canvas, config.image_channels, become=channels,
            skip_damaged=config.skip_damaged, workers=config.workers,
        )  # fmt: skip
    elif config.data_root is not None:
        images = torchvision_images(
            config.images,
            config.data_root,
            train=config.train,
            canvas=canvas,
            channels=channels or config.image_channels,
        )
    else:
        raise ProbeError(
            f"images {config.images!r}: no such folder; give 'digits', a folder of images, a .npz, "
            ".h5 or .tar file, or a torchvision data set name together with its --data-root"
        )
    return images if config.number is None else images.take(config.number, config.options.seed)
