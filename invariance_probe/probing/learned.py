"""How far features remain misaligned after what a spatial transformer learned to do about it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..data import ImageSet
from ..errors import ProbeError
from ..networks import Classifier, Network, still_transformers
from .run import Progress, probe

LEARNED = "learned"
_PLAIN = ("unaligned", "inverse", "best", "input_aligned", "other_image")


def aligned_layer(network: Classifier) -> str:
    """Return the layer at which a classifier's alignment shows.

    For a network that warps maps, the warped map of its last transformer; for one that warps its
    input, the map at the depth where it localises (after the first block where that is the input),
    as it is computed from the warped image. Raises ProbeError for a classifier without transformer
    and one without maps.
    """
    chosen = network.architecture
    if not network.has_transformer:
        raise ProbeError(f"'{chosen.name}' has no transformer whose alignment could be measured")
    if len(network.blocks) == 0:
        raise ProbeError(f"'{chosen.name}' on the {chosen.backbone} backbone has no feature maps")
    depth = chosen.depths[-1]
    if depth == 0:
        return "blocks.0"
    if chosen.kind == "C":
        return f"aligned.{len(chosen.depths) - 1}"
    # With shared blocks each localisation has run this block before; the last run is counted.
    calls = chosen.iterations + 1 if chosen.kind == "SL" else 1
    return f"blocks.{depth - 1}" + (f"#{calls}" if calls > 1 else "")


def learned_residuals(
    network: Network,
    transforms: str,
    images: ImageSet,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Return residuals before and after a trained classifier's own alignment, at its own layer.

    The same layer of the same network is probed twice: with its transformers held at the identity
    (rungs unaligned, inverse, best, input_aligned, other_image) and with the transformers at work,
    where what remains without further alignment is the rung "learned": the features of the
    transformed image after the transformation the network chose, against those of the original
    after the one it chose for that. Both in units of the variance of their own originals' features.

    One row per transformation and rung: layer, transform, kind, parameter, rung, residual, low,
    high. `options` are those of `probe`. Raises ProbeError for a network that is no classifier with
    a transformer and as `probe` does.

    Convention: as `probe`. Source of the question: Finnveden, Jansson & Lindeberg 2021, section 5.
    """
    module = network.module
    if not isinstance(module, Classifier):
        raise ProbeError(
            f"'{network.name}' is no spatial transformer classifier of this package; give the "
            "model.safetensors of a training run"
        )
    layer = aligned_layer(module)
    with still_transformers(module):
        before = probe(network, [layer], transforms, images, progress=progress, **options)
    after = probe(
        network, [layer], transforms, images, progress=progress,
        **{**options, "channels": False},
    )  # fmt: skip
    plain, own = before.residuals, after.residuals
    rungs = [plain[plain["rung"].isin(_PLAIN)]]
    rungs.append(own[own["rung"] == "unaligned"].assign(rung=LEARNED))
    table = pd.concat(rungs, ignore_index=True)
    return table.assign(network=module.architecture.name)
