"""Where numbers come from: configuration, versions, hashes, device, and what to be wary of."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn

from .. import __version__
from ..data import ImageSet
from ..data.sizes import size_text
from ..geometry import Transform
from ..networks import LayerFrame, Network, nearest_aligned_sizes
from .bench.inputs import Inputs
from .ladder.layer_state import LayerState
from .options import Options
from .rungs import RECIPES

_FEW = 9  # compared cells: fewer are hardly an average
_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas")


def describe_run(
    network: nn.Module | Network,
    images: ImageSet,
    inputs: Inputs,
    states: Sequence[LayerState],
    moves: Sequence[Transform],
    options: Options,
    device: torch.device,
    halves: tuple[int, int],
    config: dict[str, Any] | None,
) -> dict[str, Any]:
    """Plain values for JSON that say what was measured on what, and how.

    `config` is the description from which the run can be replayed, if there is one.
    """
    module = network.module if isinstance(network, Network) else network
    preprocessing, guesses, canvas_guessed = "", list[str](), False
    if isinstance(network, Network):
        given = _given(network, images, inputs, config)
        preprocessing, guesses = _preprocessing(network, given)
        canvas_guessed = "canvas" in network.guessed and "canvas" not in given
    return {
        "software": {"name": "invariance_probe", "version": __version__},
        "config": config,
        "network": {
            "name": network.name if isinstance(network, Network) else type(module).__name__,
            "description": network.description if isinstance(network, Network) else "",
            "parameters": sum(p.numel() for p in module.parameters()),
            "state_sha256": state_sha256(module),
            "checkpoint_sha256": getattr(network, "checkpoint_sha256", None),
            "checkpoint": _checkpoint_notes(network),
            "preprocessing": preprocessing,
        },
        "images": {
            "description": images.description,
            "number": len(images),
            "available": len(images) if images.available is None else images.available,
            "fit": halves[0],
            "evaluation": halves[1],
            "canvas": list(images.canvas),
            "source": list(images.source_size),
            "resized": images.resized,
            "beyond_source": inputs.beyond,
            "fill": list(images.background) if inputs.beyond == "fill" else None,
            "mean": inputs.mean.flatten().tolist(),
            "std": inputs.std.flatten().tolist(),
            "sha256": images.sha256,
            "notes": list(images.notes),
        },
        "transforms": [move.text for move in moves],
        "options": options.to_dict(),
        "conventions": {
            "align_corners": False,
            "angles": "degrees, counter-clockwise on the screen",
            "image_antialias": True,
            "map_antialias": False,
            "beyond_map": "nearest cell",
            "recipes": dict(RECIPES),
            "cells": {
                state.name: {
                    "valid": int(state.cells.sum()),
                    "all": int(state.cells.size),
                    "margin": float(state.frame.margin),
                }
                for state in states
            },
            "frames": {state.name: getattr(state.frame, "method", "given") for state in states},
        },
        "numerics": {
            "device": str(device),
            "device_name": _device_name(device),
            "dtype": str(inputs.dtype).removeprefix("torch."),
            "sums": "float64",
            "tf32": False,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "threads": torch.get_num_threads(),
        },
        "versions": software_versions(),
        "warnings": [
            *(network.warnings if isinstance(network, Network) else ()),
            *guesses,
            *_warnings(module, images, states, moves, halves[1], advise_size=not canvas_guessed),
        ],
    }


def environment(device: str = "cpu") -> dict[str, Any]:
    """Return on what computations run here: device and its name, cores of the CPU, and versions."""
    return {
        "device": device,
        "device_name": _device_name(torch.device(device)),
        "cores": os.cpu_count(),
        "versions": software_versions(),
    }


def state_sha256(module: nn.Module) -> str:
    """Hash of all parameters, buffers and extra states, by name and value."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous()
            digest.update(f"{name} {flat.dtype} {tuple(flat.shape)}".encode())
            digest.update(flat.reshape(-1).view(torch.uint8).numpy().tobytes())
        else:  # what get_extra_state gave
            digest.update(f"{name} {_written(value)}".encode())
    return digest.hexdigest()


def _written(value: object) -> str:
    """Plain values as JSON, tensors among them by all their numbers, others by their kind."""
    try:
        return json.dumps(
            value,
            default=lambda v: v.tolist() if isinstance(v, torch.Tensor) else type(v).__name__,
            skipkeys=True,
        )
    except (ValueError, RecursionError):  # it holds itself
        return type(value).__name__


def _given(
    network: Network, images: ImageSet, inputs: Inputs, config: dict[str, Any] | None
) -> dict[str, Any]:
    """Canvas, mean and std that were given, or are others than the network's own.

    The channels too where the images decide on them.
    """
    # Without a configuration the images were made by the caller, on a canvas of his choice.
    chosen = {"canvas": images.canvas} if config is None else config
    used = {"canvas": images.canvas}
    other = {"canvas": images.canvas != network.canvas}
    for name in ("mean", "std"):
        values = getattr(inputs, name).flatten()
        own = values.new_tensor(getattr(network, name))
        other[name] = bool((values != own).any()) if len(own) in (1, len(values)) else True
        used[name] = values.tolist() if other[name] else getattr(network, name)
    found = {name: used[name] for name in used if other[name] or chosen.get(name) is not None}
    return found if network.fixed_channels else {**found, "channels": images.channels}


def _preprocessing(network: Network, given: dict[str, Any]) -> tuple[str, list[str]]:
    """How the images came to the network, in words, and a warning of what nobody stated."""
    left = [name for name in network.guessed if name not in given]
    if not left:
        return network.preprocessing_with(**given), []
    values = {"canvas": size_text(network.canvas)}
    values |= {n: " ".join(f"{v:g}" for v in getattr(network, n)) for n in ("mean", "std")}
    said = ", ".join(f"{name} {values[name]}" for name in left)
    return network.preprocessing_with(**given), [
        f"preprocessing: {said} guessed, because the factory states none; give the network's own "
        "(--canvas, --mean, --std), or return a Network from the factory"
    ]


def _checkpoint_notes(network: nn.Module | Network) -> list[str]:
    """What is to be said of how a checkpoint met the network, where one did."""
    fit = network.fit if isinstance(network, Network) else None
    return [] if fit is None else list(fit.notes)


def _warnings(
    module: nn.Module,
    images: ImageSet,
    states: Sequence[LayerState],
    moves: Sequence[Transform],
    evaluated: int,
    *,
    advise_size: bool,
) -> list[str]:
    found = [f"images: {note}" for note in images.notes]
    turned = any(move.kind not in ("identity", "translation") for move in moves)
    off = {
        state.name: state.frame
        for state in states
        if turned and max(map(abs, state.frame.centre_offset)) > 1e-3
    }
    sizes: Mapping[str, tuple[int, int] | None] = {}
    if off and advise_size:  # one pixel more than a guess is no advice
        sizes = nearest_aligned_sizes(module, list(off), images.canvas, images.channels, off)
    for state in states:
        dx, dy = state.frame.centre_offset
        if state.name in off:
            size = sizes.get(state.name)
            remedy = f"; input {size[0]}x{size[1]} removes it" if size else ""
            found.append(
                f"grid of {state.name}: the map's centre lies ({dx:g}, {dy:g}) px off the image's "
                "centre; the measured frame corrects for that, but cells no longer fall on cells "
                f"at 90° and border cells have no counterpart{remedy}"
            )
        if isinstance(state.frame, LayerFrame) and state.frame.estimated:
            frame = state.frame
            how = "from gradients" if frame.method == "gradient" else "two ways disagree"
            found.append(
                f"frame of {state.name}: estimated ({how}), good to about {frame.error:.2g} px"
            )
        number, margin = int(state.cells.sum()), state.frame.margin
        where = f"{margin:g} px inside the image's edge" if margin else "inside the image"
        if number < state.cells.size / 4:
            found.append(
                f"cells of {state.name}: only {number} of {state.cells.size} stay {where} under "
                "all transformations"
            )
        elif number < _FEW:
            found.append(f"cells of {state.name}: {number} are compared, few to average over")
    if evaluated < 30:
        found.append(f"sample: {evaluated} evaluation images; intervals are rough below about 30")
    return found


def software_versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        **{name: _version(name) for name in _PACKAGES},
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
