"""What the classes of published weights are called, where an installed library knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import nn

from ..network import Network


def plain_name(name: str) -> str:
    """Return a name as it is compared: "African_elephant" is "african elephant"."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def class_names(network: nn.Module | Network, classes: int) -> list[dict[str, int]]:
    """Return the lists of names that the network's classes may go by, each as name to number.

    Of torchvision's classifiers the categories of their published weights; of timm's, and of
    torchvision's with the same 1,000, the WordNet numbers ("n01440764") and words, where timm is
    installed. Names that stand for several classes are left out. Empty where nothing is known, and
    for a network with another number of classes.
    """
    if not isinstance(network, Network):
        return []
    name = network.name.removeprefix("symmetrised:")
    if network.description.startswith("torchvision "):
        from torchvision import models  # seconds, which other networks need not wait for

        for weights in models.get_model_weights(name.removeprefix("torchvision:")):
            categories = weights.meta.get("categories", ())
            if len(categories) == classes:
                return [_numbered(categories), *_wordnet("imagenet-1k", classes)]
    if name.startswith("timm:"):
        config = getattr(network.module, "pretrained_cfg", None)
        if config is not None and config.get("num_classes") == classes:
            subset = import_module("timm.data").infer_imagenet_subset({"num_classes": classes})
            return [] if subset is None else _wordnet(subset, classes)
    return []


def _wordnet(subset: str, classes: int) -> list[dict[str, int]]:
    """Return numbers and words of a part of ImageNet, as timm has them."""
    try:
        info: Any = import_module("timm.data").ImageNetInfo(subset)
    except ImportError:
        return []
    if info.num_classes() != classes:
        return []
    numbers = [info.index_to_label_name(i) for i in range(classes)]
    words = [info.index_to_description(i).partition(",")[0] for i in range(classes)]
    return [_numbered(numbers), _numbered(words)]


def _numbered(names: Sequence[str]) -> dict[str, int]:
    plain = [plain_name(name) for name in names]
    often = Counter(plain)
    return {name: i for i, name in enumerate(plain) if often[name] == 1}


__all__ = ["class_names", "plain_name"]
