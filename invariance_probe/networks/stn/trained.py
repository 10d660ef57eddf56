"""Classifiers of a training run, rebuilt from their checkpoint alone."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from ..._memory import bytes_text
from ...errors import ProbeError
from .._words import first_line, shown
from ..weights.load import load_checkpoint, metadata
from ..weights.room import Room, most_of_file
from .architecture import Architecture
from .classifier import Classifier, build_classifier

KIND = "invariance_probe classifier"


def is_trained(path: str | Path) -> bool:
    """Whether a file is the checkpoint of a training run, which says what network it is of."""
    return metadata(path).get("kind") == KIND


def trained_classifier(path: str | Path) -> tuple[Classifier, dict[str, str]]:
    """Return the classifier of a training run's checkpoint in eval mode, and its metadata.

    Raises ProbeError for a file that is no such checkpoint and one whose weights and description
    do not fit.
    """
    about = metadata(path)
    if about.get("kind") != KIND:
        raise ProbeError(
            f"{shown(path)} does not say what network it is of; give the model.safetensors of a "
            "training run, or the network's name and the file as its checkpoint"
        )
    try:
        stated = json.loads(about.get("architecture", ""))
        architecture = Architecture.from_dict(stated)
        with Room(most_of_file(Path(path)), partial(_too_large, Path(path))):
            network = build_classifier(architecture)
    except ProbeError:
        raise
    except Exception as error:  # whatever the fields of a damaged file make of it
        raise ProbeError(
            f"the network that {shown(path)} describes cannot be built ({first_line(error)}); "
            "train it again"
        ) from error
    load_checkpoint(network, path)
    return network.eval(), about


def _too_large(path: Path, takes: str) -> str:
    held = bytes_text(path.stat().st_size)
    return (
        f"{shown(path)} describes a network of {takes} or more in a file of {held}; train it again"
    )
