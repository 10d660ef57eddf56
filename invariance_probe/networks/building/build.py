"""Networks by name: the embedded one, torchvision's, and those of a user's own factory."""

from __future__ import annotations

import difflib
import inspect
import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..._limits import quoted
from ..._memory import bytes_text, free_bytes
from ...errors import ProbeError
from .._words import few, shown
from ..mnist_cnn import MnistCNN
from ..network import Network, Preset
from ..stn.architecture import parse_architecture
from ..stn.classifier import Classifier, build_classifier
from ..stn.trained import is_trained, trained_classifier
from ..weights.load import Fit, checkpoint_sha256, file_sha256, load_checkpoint, metadata
from ..weights.room import Room, most_of_file
from ..zoo import (
    IMAGENET,
    channels_of,
    first_planes,
    from_timm,
    from_torchvision,
    of_published,
    random_weights,
    takes_others,
)
from .factories import WEIGHT_FILES, find_factory
from .siblings import siblings

_MNIST = ((0.1307,), (0.3081,))
_TEXT = 10_000  # letters of the metadata's longest number or list
_CONTROLS = ("gaussian_derivatives", "orbit_bank", "oriented_bank", "pointwise")


def build_network(
    spec: str,
    checkpoint: str | Path | None = None,
    *,
    seed: int = 0,
    allow_partial: bool = False,
    checkpoint_entry: str | None = None,
    checkpoint_prefix: str | None = None,
    by_order: bool = False,
    **kwargs: Any,
) -> Network:
    """Build a network in eval mode from its name; nothing is ever downloaded.

    `spec` is "mnist_cnn" (the embedded network, by default with its trained weights), a
    torchvision classifier ("resnet18" or "torchvision:resnet18"), "timm:NAME" where timm is
    installed, or "package.module:factory", a callable that returns a module or a Network; the
    current folder is importable.
    A path to the model.safetensors of a training run is that trained classifier, and
    "classifier:STN-SL1" an untrained one (`kwargs` as for parse_architecture).
    "controls:NAME" is a control network (gaussian_derivatives, orbit_bank, oriented_bank,
    pointwise), "symmetrised:SPEC" the fourfold twin of any of these networks. `kwargs` go to the
    factory, or to the constructor. Without `checkpoint` torchvision networks have random
    weights, drawn from `seed` and called so in the description. `allow_partial` loads the part of
    a checkpoint that fits, `checkpoint_entry` names the one to take of several state dicts in the
    file ("state_dict_ema"), `checkpoint_prefix` the weights to take where the network is found
    under several prefixes ("module.encoder_q."), `by_order` matches weights in their order where a
    file names them otherwise than the network; the result's `fit` says what was done.

    Archives of TorchScript and torch.export give their weights, as a checkpoint, to a network
    built from Python code. They are no networks here: their own code is never run, and what is in
    them is one flat program, whose layers have no modules that could be observed.

    Raises ProbeError for unknown names (with near matches), factories that cannot be imported
    or fail, and checkpoints that cannot be loaded or do not fit.

    >>> build_network("resnet18", seed=1).description
    'torchvision resnet18, random weights (seed 1)'
    """
    if spec.startswith("symmetrised:"):
        from ..symmetry import symmetrised

        own = build_network(
            spec.partition(":")[2],
            checkpoint,
            seed=seed,
            allow_partial=allow_partial,
            checkpoint_entry=checkpoint_entry,
            checkpoint_prefix=checkpoint_prefix,
            by_order=by_order,
            **kwargs,
        )
        # What the checkpoint is stays in the description; its hash is not that of the twin.
        return replace(symmetrised(own), name=spec)
    if spec.endswith(".safetensors"):
        return _trained(spec, checkpoint, kwargs)
    if spec.endswith(WEIGHT_FILES):
        raise ProbeError(
            f"{shown(spec)} holds weights but no layers that can be observed (nor is code of a "
            "TorchScript or torch.export archive ever run); give the network they are of, a name "
            "or package.module:factory, and this file as its checkpoint"
        )
    if spec == "mnist_cnn" and checkpoint is None:
        checkpoint = _embedded(spec)
    kind, _, factory = spec.rpartition(":")
    # A private stream of random numbers: building a network does not disturb the caller's.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.startswith("timm:") or kind in ("", "torchvision", "classifier", "controls"):
            with _room(spec, None if allow_partial else checkpoint):
                network = _named(spec, seed, kwargs)
        else:
            network = _from_factory(kind, factory, seed, kwargs)
    if checkpoint is not None:
        network = _with_weights(
            network, Path(checkpoint), kwargs, allow_partial=allow_partial,
            entry=checkpoint_entry, prefix=checkpoint_prefix, by_order=by_order,
        )  # fmt: skip
    network.module.eval()
    return network


_OWN = frozenset(inspect.signature(build_network).parameters) - {"kwargs"}


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse what is no dictionary, and arguments named as what the package says itself."""
    if not isinstance(arguments, Mapping):
        raise ProbeError(f"arguments={quoted(arguments)} must be a dictionary of arguments")
    if taken := sorted(_OWN & set(arguments)):
        raise ProbeError(
            f"a factory gets no argument {taken[0]!r} from here, which says something else: name "
            "it otherwise in the factory, or use the option of that name"
        )


def _named(spec: str, seed: int, kwargs: dict[str, Any]) -> Network:
    kind, _, name = spec.rpartition(":")
    if spec == "mnist_cnn":
        return _mnist_cnn(kwargs)
    if spec.startswith("timm:"):
        name = spec.partition(":")[2]
        return from_timm(name, seed, lambda make: _called(spec, make, {}), kwargs)
    if kind == "classifier":
        return _classifier(name, seed, kwargs)
    if kind == "controls":
        return _control(name, seed, kwargs)
    return _torchvision(name, seed, kwargs)


def network_names() -> list[str]:
    """Every name build_network knows besides factories and twins, the embedded one first."""
    from torchvision import models

    controls = (f"controls:{name}" for name in _CONTROLS)
    return ["mnist_cnn", *controls, *models.list_models(module=models)]


def _with_weights(network: Network, path: Path, kwargs: dict[str, Any], **how: Any) -> Network:
    if not isinstance(network.module, Classifier) and is_trained(path):
        raise ProbeError(
            f"'{path}' is a classifier of a training run and brings its network along; give it as "
            f"the network, not as a checkpoint of {network.name}"
        )
    fit = load_checkpoint(network.module, path, **how)
    if how["by_order"]:  # also where the names are its own: a sibling may have the same
        fit = _with_siblings(fit, siblings(network.name, network.module, kwargs))
    if network.fixed_channels is None:  # lazy modules know now
        network = replace(network, **_guesses(network.module))
    network = of_published(network, path)
    digest = checkpoint_sha256(path)
    known = metadata(path)
    mean, std = _normalisation(known, network.channels)
    embedded = path == _embedded(network.name)
    source = "embedded weights" if embedded else f"weights of {shown(path.name)}"
    if not fit.complete:
        source = f"{fit.loaded} weights of {shown(path.name)}, the others as built"
    accuracy = _numbers(known.get("test_accuracy"))
    tested = f", test accuracy {accuracy[0]:.2%}" if accuracy else ""
    what = network.description.partition(", ")[0]
    preset = network.preset
    stated = [name for name, values in (("mean", mean), ("std", std)) if values]
    if stated:
        origin = "the checkpoint's metadata"
        preset = (
            replace(preset, origin=f"{preset.origin} and {origin}") if preset else Preset(origin)
        )
    return replace(
        network,
        description=f"{what}, {source} (sha256 {digest[:12]}{tested})",
        mean=mean or network.mean,
        std=std or network.std,
        checkpoint_sha256=digest,
        fit=fit,
        preset=preset,
        drawn="" if fit.complete else network.drawn and f"{network.drawn} where none were loaded",
        guessed=tuple(name for name in network.guessed if name not in stated),
    )


def _with_siblings(fit: Fit, others: tuple[str, ...]) -> Fit:
    """The fit of weights matched in their order, which other architectures take as well."""
    if not others:
        return fit
    named = few(map(shown, others), most=6)
    return replace(fit, doubts=(*fit.doubts, f"these weights fit {named} as well, in their order"))


def _normalisation(
    known: Mapping[str, str], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of a checkpoint's metadata, () for those that cannot be meant."""
    mean, std = (_numbers(known.get(name)) for name in ("mean", "std"))
    mean, std = (values if len(values) in (1, channels) else () for values in (mean, std))
    return mean, std if all(value > 0 for value in std) else ()


def _numbers(text: str | None) -> tuple[float, ...]:
    """A number or a list of finite ones as a checkpoint's metadata has it, in JSON."""
    if text is None or len(text) > _TEXT:
        return ()
    try:
        value = json.loads(text)
        values = tuple(float(v) for v in (value if isinstance(value, list) else [value]))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return ()
    return values if all(map(math.isfinite, values)) else ()


def _room(spec: str, checkpoint: str | Path | None) -> Room:
    """Half of the free memory, as a network is kept a second time while it is measured; less where
    its weights come from a file.
    """
    free = free_bytes() // 2
    shards = str(checkpoint).endswith(".json")
    if checkpoint and not shards and (most := most_of_file(Path(checkpoint))) < free:
        return Room(most, lambda takes: (
            f"{shown(spec)} takes {takes} or more with these arguments, which is no network of "
            f"{shown(checkpoint)}; give other arguments or another checkpoint"
        ))  # fmt: skip
    return Room(free, lambda takes: (
        f"{shown(spec)} takes {takes} or more, and {bytes_text(2 * free)} of memory are free, half "
        "of them for what a measurement keeps; make it smaller, or free memory"
    ))  # fmt: skip


def _embedded(name: str) -> Path:
    return Path(str(resources.files("invariance_probe.networks") / "files" / f"{name}.safetensors"))


def _trained(path: str, checkpoint: str | Path | None, kwargs: dict[str, Any]) -> Network:
    if checkpoint is not None or kwargs:
        raise ProbeError(f"'{path}' is network and weights in one; give no checkpoint or arguments")
    module, about = trained_classifier(path)
    chosen, digest = module.architecture, file_sha256(path)
    mean, std = _normalisation(about, chosen.channels)
    text = f"{chosen.name} trained on {shown(about.get('data', 'unnamed data'))}"
    description = f"{text}, weights of {Path(path).name} (sha256 {digest[:12]})"
    return Network(
        module, chosen.name, description, chosen.channels, chosen.canvas, mean or (0.0,),
        std or (1.0,), digest,
    )  # fmt: skip


def _classifier(name: str, seed: int, kwargs: dict[str, Any]) -> Network:
    chosen = parse_architecture(name, **kwargs)
    drawn = random_weights(seed)
    spec, text = f"classifier:{chosen.name}", f"{chosen.name}, {drawn}"
    mean, std = _MNIST if chosen.channels == 1 else ((0.0,), (1.0,))
    network = build_classifier(chosen, seed)
    return Network(network, spec, text, chosen.channels, chosen.canvas, mean, std, drawn=drawn)


def _mnist_cnn(kwargs: dict[str, Any]) -> Network:
    module = _called("mnist_cnn", MnistCNN, kwargs)
    canvas = int(kwargs.get("canvas", 28))
    channels = int(kwargs.get("channels", 1))
    return Network(module, "mnist_cnn", "MNIST CNN", channels, (canvas, canvas), *_MNIST)


def _torchvision(name: str, seed: int, kwargs: dict[str, Any]) -> Network:
    from torchvision import models

    if name not in models.list_models(module=models):
        raise _unknown(name)
    return from_torchvision(name, seed, lambda make: _called(name, make, {}), kwargs)


def _control(name: str, seed: int, kwargs: dict[str, Any]) -> Network:
    from .. import controls

    if name not in _CONTROLS:
        raise _unknown(f"controls:{name}")
    drawn = name in ("orbit_bank", "pointwise")
    given = {"seed": seed, **kwargs} if drawn else kwargs
    module = _called(f"controls:{name}", getattr(controls, name), given)
    text = f"control {name}, " + (random_weights(seed) if drawn else "closed form")
    channels = first_planes(module)
    canvas = (28, 28) if channels == 1 else (224, 224)
    return Network(module, f"controls:{name}", text, channels, canvas, (0.0,), (1.0,))


def _unknown(name: str) -> ProbeError:
    names = network_names()
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(close)}?" if close else "."
    return ProbeError(
        f"no network named {name!r}{hint} Give mnist_cnn, a torchvision classifier such as "
        "resnet18, classifier:STN-C1, the model.safetensors of a training run, controls:pointwise, "
        "symmetrised:NAME, or package.module:factory"
    )


def _from_factory(module_name: str, attribute: str, seed: int, kwargs: dict[str, Any]) -> Network:
    spec = f"{module_name}:{attribute}"
    with _importing_from_here():
        factory = find_factory(_imported(module_name), module_name, attribute)
        before = torch.get_rng_state()
        with _room(spec, None):  # a user's own may hold more than its checkpoint
            built = _called(spec, factory, kwargs)
        drew = not torch.equal(before, torch.get_rng_state())
    if isinstance(built, Network):
        return built
    if not isinstance(built, nn.Module):
        raise ProbeError(
            f"factory {spec} returned a {type(built).__name__}; it must return a torch.nn.Module"
        )
    text = f"{spec}, weights as the factory makes them (seed {seed})"
    drawn = f"random weights (seed {seed}) unless {spec} loads others" if drew else ""
    return Network(built, spec, text, drawn=drawn, **_guesses(built))


def _guesses(module: nn.Module) -> dict[str, Any]:
    """What nobody has stated of the images of a network."""
    channels = channels_of(module)
    several = takes_others(module, channels)
    mean, std = IMAGENET if channels == 3 and not several else ((0.0,), (1.0,))
    return {
        "channels": channels, "canvas": (28, 28) if channels == 1 else (224, 224),
        "mean": mean, "std": std,
        "guessed": ("canvas", *["channels"] * several, "mean", "std"),
    }  # fmt: skip


def _called(spec: str, factory: Any, kwargs: dict[str, Any]) -> Any:
    try:
        return factory(**kwargs)
    except (ProbeError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit, whose number must not look like success
        raise ProbeError(f"building {shown(spec)} raised {_text(error)}") from error


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise ProbeError(
                f"no module {error.name!r} in {Path.cwd()} or among the installed packages"
            ) from error
        raise ProbeError(f"importing {name!r} raised {_text(error)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ProbeError(f"importing {name!r} raised {_text(error)}") from error


def _text(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def _importing_from_here() -> Iterator[None]:
    """The current folder is importable, as with `python -m`."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
