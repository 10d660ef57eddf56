"""Networks by name: the embedded one, torchvision's, or a factory of the user's."""

from __future__ import annotations

import difflib
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ProbeError
from .checkpoints import file_sha256, load_checkpoint, read_metadata
from .classifiers import MnistCNN

EMBEDDED = Path(__file__).parent / "weights" / "mnist_cnn.safetensors"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LARGER = {"inception_v3": 299, "efficientnet_b1": 240, "efficientnet_b2": 288}


@dataclass(frozen=True, eq=False)
class Network:
    """A network in evaluation mode with what it expects to see.

    `canvas` is (rows, columns) of its input, `mean` and `std` normalise each of its `channels`
    after warping. `description` says where the weights come from; `checkpoint_sha256` is the hash
    of their file.
    """

    module: nn.Module
    name: str
    description: str
    channels: int
    canvas: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checkpoint_sha256: str | None = None


def build_network(
    spec: str, checkpoint: str | Path | None = None, *, seed: int = 0, **arguments: Any
) -> Network:
    """Build a network by name and load its weights.

    `spec` is "mnist_cnn" (the package's own, with its trained weights unless a checkpoint is
    given), a torchvision classification model such as "resnet18" ("torchvision:resnet18" also),
    or "package.module:factory", called with `arguments`; the current folder is importable. Without
    a checkpoint torchvision models and factories keep the random weights that `seed` draws:
    nothing is ever downloaded.

    Raises ProbeError for unknown names, factories that fail, and checkpoints that do not fit.
    """
    torch_state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        if spec == "mnist_cnn":
            network = _embedded(checkpoint, arguments)
        elif ":" in spec and not spec.startswith("torchvision:"):
            network = _from_factory(spec, arguments)
        else:
            network = _from_torchvision(spec.removeprefix("torchvision:"), arguments, seed)
    finally:
        torch.set_rng_state(torch_state)
    if checkpoint is None:
        return network
    load_checkpoint(network.module, checkpoint)
    return Network(
        module=network.module, name=network.name,
        description=f"weights of {Path(checkpoint).name}", channels=network.channels,
        canvas=network.canvas, mean=network.mean, std=network.std,
        checkpoint_sha256=file_sha256(checkpoint),
    )  # fmt: skip


def _embedded(checkpoint: str | Path | None, arguments: dict[str, Any]) -> Network:
    module = _call("mnist_cnn", MnistCNN, arguments).eval()
    about = read_metadata(EMBEDDED)
    mean, std = (float(json.loads(about[name])) for name in ("mean", "std"))
    sha256, description = None, ""
    if checkpoint is None:
        load_checkpoint(module, EMBEDDED)
        sha256 = file_sha256(EMBEDDED)
        accuracy = 100 * float(about["test_accuracy"])
        description = f"trained on upright MNIST, {accuracy:.2f} % test accuracy"
    return Network(
        module=module, name="mnist_cnn", description=description, channels=1, canvas=(28, 28),
        mean=(mean,), std=(std,), checkpoint_sha256=sha256,
    )  # fmt: skip


def _from_torchvision(name: str, arguments: dict[str, Any], seed: int) -> Network:
    from torchvision import models

    known = [m for m in models.list_models() if "/" not in m]
    known = [m for m in known if not m.startswith(("quantized_", "raft", "mc3", "mvit", "r2plus1d",
                                                   "r3d", "s3d", "swin3d"))]  # fmt: skip
    if name not in known:
        near = difflib.get_close_matches(name, [*known, "mnist_cnn"], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "give a torchvision model name"
        raise ProbeError(
            f"unknown network {name!r}; {hint} Others go as 'package.module:factory'"
        )
    settings = {"weights": None, "init_weights": True, **arguments}
    if name not in ("googlenet", "inception_v3"):  # these warn when it is not given
        settings.pop("init_weights")
        settings.update(arguments)

    def build(**given: Any) -> nn.Module:
        return models.get_model(name, **given)

    module = _call(name, build, settings).eval()
    side = _LARGER.get(name, 224)
    return Network(
        module=module, name=name, description=f"random weights (seed {seed})", channels=3,
        canvas=(side, side), mean=_IMAGENET_MEAN, std=_IMAGENET_STD,
    )  # fmt: skip


def _from_factory(spec: str, arguments: dict[str, Any]) -> Network:
    module_name, _, attribute = spec.partition(":")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        home = importlib.import_module(module_name)
    except ImportError as error:
        raise ProbeError(
            f"network {spec!r}: cannot import {module_name!r} ({error}); run from the folder that "
            "holds it, or install it"
        ) from None
    finally:
        if added:
            sys.path.remove(here)
    factory = getattr(home, attribute, None)
    if not callable(factory):
        near = difflib.get_close_matches(attribute, dir(home), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ProbeError(f"network {spec!r}: {module_name} has no callable {attribute!r}{hint}")
    built = _call(spec, factory, arguments)
    if isinstance(built, Network):
        return built
    if not isinstance(built, nn.Module):
        raise ProbeError(f"network {spec!r} gave {type(built).__name__}; return a torch.nn.Module")
    first = next((m for m in built.modules() if isinstance(m, nn.Conv2d)), None)
    channels = 3 if first is None else first.in_channels
    side = 28 if channels == 1 else 224
    return Network(
        module=built.eval(), name=spec, description="weights of the factory", channels=channels,
        canvas=(side, side), mean=(0.0,) * channels, std=(1.0,) * channels,
    )  # fmt: skip


def _call(name: str, factory: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        return factory(**arguments)
    except Exception as error:  # a user's factory may raise anything; its name is what helps
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ProbeError(
            f"network {name!r} could not be built with ({given}): {type(error).__name__}: {error}"
        ) from error
