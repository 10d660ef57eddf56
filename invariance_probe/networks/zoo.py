"""Architectures of torchvision and timm by name, with the preprocessing of their weights."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ProbeError
from .keeping import keeping
from .layers.capture import run
from .marking.support import like
from .network import Network, Preset

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


_SIDES = (64, 224, 32, 28)  # pixels: of canvases that networks are tried on
_FEW = range(2, 17)  # planes of a stem that is not registered first, such as satellites' 4 and 13
_ENTERING = 8  # convolutions that may be the stem


def channels_of(module: nn.Module) -> int:
    """Input planes that a network takes.

    The network is run, and left as it came: what is registered first need not be called first.
    Where it runs on no canvas that is tried, the first convolution says it; 3 where there is none.
    """
    found = (taken(module, (side, side)) for side in _SIDES)
    return next(filter(None, found), first_planes(module))


def takes_others(module: nn.Module, planes: int) -> bool:
    """Whether a network that takes so many planes takes another number as well."""
    others = (1, 4) if planes == 3 else (planes + 1,)
    return any(takes(module, other, (side, side)) for side in _SIDES for other in others)


def taken(module: nn.Module, canvas: tuple[int, int]) -> int | None:
    """The first number of planes that a network runs on, None where it runs on none.

    3, 1, those of the convolution that is registered first, 2 to 16, and what a convolution takes
    that no other one gives.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    given = {layer.out_channels for layer in layers}
    entering = [layer.in_channels for layer in layers if layer.in_channels not in {0, *given}]
    likely = dict.fromkeys((3, 1, first_planes(module), *_FEW, *entering[:_ENTERING]))
    return next((planes for planes in likely if takes(module, planes, canvas)), None)


def first_planes(module: nn.Module) -> int:
    """Input planes of the convolution that is registered first, 3 where none has any."""
    convolutions = (layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    return next((layer.in_channels for layer in convolutions), 0) or 3


def takes(module: nn.Module, planes: int, canvas: tuple[int, int]) -> bool:
    """Whether a network runs on an image of so many planes; it is left as it came."""
    image = torch.zeros(1, planes, *canvas).to(like(module))
    with keeping(module):
        try:
            run(module, image, [], lambda *_: None, stop_early=False)
        except ProbeError:
            return False
    return True


def random_weights(seed: int) -> str:
    """The words for weights that were drawn, the same in every place."""
    return f"random weights (seed {seed})"


def from_torchvision(
    name: str, seed: int, build: Callable[[Callable[..., Any]], Any], kwargs: dict[str, Any]
) -> Network:
    """Return torchvision's classifier of this name with random weights.

    Size, normalisation and crop are those of its published weights, the first where there are
    several; `of_published` finds others by the name of their file. `build` calls a constructor.
    """
    from torchvision import models

    if name in ("googlenet", "inception_v3"):
        kwargs = {"init_weights": True, **kwargs}
    module = build(lambda: models.get_model(name, weights=None, **kwargs))
    drawn = random_weights(seed)
    text = f"torchvision {name}, {drawn}"
    network = Network(module, name, text, first_planes(module), (224, 224), *IMAGENET, drawn=drawn)
    weights = list(models.get_model_weights(name))
    if weights:
        network = _with_preset(network, weights[0])
    if isinstance(fixed := getattr(module, "image_size", None), int):
        network = replace(network, canvas=(fixed, fixed))
    return network


def of_published(network: Network, checkpoint: Path) -> Network:
    """The network with the preprocessing of those torchvision weights that the file is named as."""
    if not network.description.startswith("torchvision "):
        return network
    from torchvision import models  # seconds, which other networks need not wait for

    for weights in models.get_model_weights(network.name):
        if str(weights.url).rpartition("/")[2] == checkpoint.name:
            return _with_preset(network, weights)
    return network


def _with_preset(network: Network, weights: Any) -> Network:
    preset = weights.transforms()
    side, short = preset.crop_size[0], preset.resize_size[0]
    return replace(
        network,
        canvas=(side, side),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        preset=Preset(
            f"torchvision's {weights}",
            None if short == side else short,
            str(getattr(preset.interpolation, "value", preset.interpolation)),
        ),
    )


def from_timm(
    name: str, seed: int, build: Callable[[Callable[..., Any]], Any], kwargs: dict[str, Any]
) -> Network:
    """Return timm's model of this name ("resnet18", "resnet18.a1_in1k") with random weights.

    Size, normalisation and crop are those of timm's configuration of the name. Raises ProbeError
    without timm, for names it does not know and for arguments with which it would load weights.
    """
    try:
        timm: Any = import_module("timm")
    except ImportError as error:
        raise ProbeError(
            f"timm:{name} needs the package timm ({error}); install it with "
            "pip install 'invariance-probe[timm]'"
        ) from error
    for option in ("pretrained", "checkpoint_path"):
        if kwargs.get(option):
            raise ProbeError(
                f"{option}={kwargs[option]!r} would make timm fetch or unpickle weights; "
                "give their file as the checkpoint"
            )
    known = timm.list_models()
    # What is after the dot says which weights, so which preprocessing, are meant.
    if name.partition(".")[0] not in known or not timm.is_model(name):
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise ProbeError(f"timm has no model {name!r}{hint}")
    given = {key: value for key, value in kwargs.items() if key != "pretrained"}
    module = build(lambda: timm.create_model(name, pretrained=False, **given))
    config = timm.data.resolve_model_data_config(module)
    channels = int(kwargs.get("in_chans") or config["input_size"][0])
    mean, std = (tuple(map(float, config[part])) for part in ("mean", "std"))
    if channels != len(mean):  # timm's own rule for grey images
        mean, std = ((sum(values) / len(values),) for values in (mean, std))
    _, rows, columns = config["input_size"]
    if size := kwargs.get("img_size"):
        rows, columns = size if isinstance(size, (list, tuple)) else (size, size)
    share = float(config.get("crop_pct") or 1)
    short = int(min(rows, columns) / share)
    preset = Preset(
        f"timm's configuration of {name}",
        None if short == min(rows, columns) else short,
        str(config.get("interpolation", "")),
    )
    drawn = random_weights(seed)
    return Network(
        module, f"timm:{name}", f"timm {name}, {drawn}", channels, (rows, columns), mean, std,
        preset=preset, drawn=drawn,
    )  # fmt: skip
