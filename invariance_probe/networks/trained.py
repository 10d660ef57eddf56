"""Classifiers of a training run, rebuilt from their checkpoint alone."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import ProbeError
from .architecture import Architecture
from .checkpoints import load_checkpoint, metadata
from .stn import Classifier, build_classifier

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
            f"'{path}' does not say what network it is of; give the model.safetensors of a "
            "training run, or the network's name and the file as its checkpoint"
        )
    try:
        stated = json.loads(about.get("architecture", ""))
        architecture = Architecture.from_dict(stated)
    except (ValueError, TypeError, AttributeError) as error:
        raise ProbeError(
            f"the network that '{path}' describes cannot be built ({error}); train it again"
        ) from error
    network = build_classifier(architecture)
    load_checkpoint(network, path)
    return network.eval(), about
