"""Whether a network and examples belong together, found out before any training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.examples.examples import Examples
from ..errors import ProbeError, is_of_memory
from ..networks.keeping import evaluating
from .recipe import Recipe


def check_fits(network: nn.Module, examples: Examples) -> None:
    """Refuse examples that a network was not built for.

    Raises ProbeError, with the remedy, when the network cannot take images of this size or number
    of channels, and when its logits are not (n, classes), or (n, positions, classes) for examples
    with several positions.
    """
    logits = probing_pass(network, examples.draw(0).batch([0]).images, examples.description)
    wanted: tuple[int, ...] = (1, examples.classes)
    if examples.positions > 1:
        wanted = (1, examples.positions, examples.classes)
    shape = tuple(logits.shape)
    if shape == wanted:
        return
    if len(shape) != len(wanted):
        raise ProbeError(
            f"the network returns {shape} for one image, not the {wanted} that "
            f"{examples.description} needs; give a classifier of {_outputs(wanted)}"
        )
    raise ProbeError(
        f"the network has {_outputs(shape)} but {examples.description} has {_outputs(wanted)}; "
        f"build it with {_outputs(wanted)}, or give the data it was built for"
    )


def check_batches(network: nn.Module, recipe: Recipe, number: int, world: int = 1) -> None:
    """Refuse batches of one image where batch normalisation over images needs more.

    `number` examples leave a smaller batch at the end of an epoch; `world` processes share each.
    """
    if not any(isinstance(module, nn.BatchNorm1d) for module in network.modules()):
        return
    size = min(recipe.batch_size, number)
    for batch in {size, number % size or size}:
        if batch // world <= 1:
            shared = f", shared by {world} processes," if world > 1 else ""
            raise ProbeError(
                f"{number} examples in batches of {recipe.batch_size} leave a batch of {batch}"
                f"{shared} and batch normalisation needs 2 images at least; give another batch_size"
            )


def probing_pass(network: nn.Module, images: Tensor, description: str) -> Tensor:
    """Return the network's logits of some images, in evaluation mode, or raise ProbeError."""
    try:
        with evaluating(network), torch.no_grad():
            logits = network(images)
    except RuntimeError as error:
        if is_of_memory(error):
            raise
        size = f"{images.shape[1]} channel(s) of {images.shape[2]}x{images.shape[3]} px"
        reason = " ".join(str(error).split("\n")[0].split())
        raise ProbeError(
            f"the network does not take the images of {description}, {size} ({reason}); "
            "build it for that canvas and these channels"
        ) from error
    if not isinstance(logits, Tensor):
        kind = type(logits).__name__
        raise ProbeError(f"the network returns {kind}, not logits (n, classes); give a classifier")
    return logits


def _outputs(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return f"{shape[1]} positions of {shape[2]} classes"
    return f"{shape[-1]} classes"
