"""How far features remain misaligned after what a spatial transformer learned to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from ...data import ImageSet
from ...errors import ProbeError
from ...networks import Classifier, Network, still_transformers
from ..result import Result
from ..run import Progress, probe
from .result import OracleResult
from .run import oracle

LEARNED = "learned"


@dataclass(frozen=True)
class LearnedAlignment:
    """Probe and oracle of a classifier at its own layer, without and with what it learned.

    `held` and `held_oracle` have the transformers at the identity, `working` and `working_oracle`
    let them align. `layer` is that of the residuals, `warped` the one whose maps the oracles align.
    The rung "unaligned" of `working` and the treatment "nothing" of `working_oracle` are what the
    network's own alignment leaves.
    """

    layer: str
    warped: str
    held: Result
    working: Result
    held_oracle: OracleResult
    working_oracle: OracleResult

    @property
    def warps_maps(self) -> bool:
        """Whether the oracle at work aligns what the network then aligns itself.

        Where the network warps its input, the layer comes after that: `working_oracle` would align
        a second time what is aligned already, and its treatments at the layer mean nothing.
        """
        return self.warped != self.layer


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


def warped_layer(network: Classifier) -> str:
    """Return the layer at which an oracle does what a classifier's transformer could do.

    For a network that warps maps, the map that its last transformer reads and warps; else that of
    `aligned_layer`, and errors as there.
    """
    layer = aligned_layer(network)
    maps = layer.startswith("aligned.")
    return f"blocks.{network.architecture.depths[-1] - 1}" if maps else layer


def learned_alignment(
    network: Network,
    transforms: str,
    images: ImageSet,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> LearnedAlignment:
    """Probe a trained classifier at its own layer, and let an oracle align there, each twice.

    Once with its transformers held at the identity and once with them at work. `options` are those
    of `probe`. Raises ProbeError for a network that is no classifier with a transformer and as
    `probe` and `oracle` do.

    Where the transformer halves what it warps (`reduction`), residuals are those of the halved
    maps, also with it at the identity, and the oracle aligns the map before it is halved.

    Source of the question: Finnveden, Jansson & Lindeberg 2021, section 5.
    """
    module = _checked(network)
    layer, warped = aligned_layer(module), warped_layer(module)
    with still_transformers(module):
        held = probe(network, [layer], transforms, images, progress=progress, **options)
        held_oracle = oracle(network, [warped], transforms, images, progress=progress, **options)
    working = _working(network, layer, transforms, images, progress, options)
    own_oracle = oracle(network, [warped], transforms, images, progress=progress, **options)
    return LearnedAlignment(layer, warped, held, working, held_oracle, own_oracle)


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
    (the rungs of `probe`) and with the transformers at work, where what remains without further
    alignment is the rung "learned": the features of the transformed image after the transformation
    the network chose, against those of the original after the one it chose for that. Both in units
    of the variance of their own originals' features.

    One row per transformation and rung: layer, transform, kind, parameter, rung, residual, low,
    high. `options` are those of `probe`. Raises ProbeError for a network that is no classifier with
    a transformer and as `probe` does.

    Convention: as `probe`. Source of the question: Finnveden, Jansson & Lindeberg 2021, section 5.
    """
    module = _checked(network)
    layer = aligned_layer(module)
    with still_transformers(module):
        held = probe(network, [layer], transforms, images, progress=progress, **options)
    working = _working(network, layer, transforms, images, progress, options)
    return merged_residuals(held, working, module.architecture.name)


def merged_residuals(held: Result, working: Result, network: str) -> pd.DataFrame:
    """Return the rows of `learned_residuals` from probes with transformers held and at work."""
    own = working.residuals
    learned = own[own["rung"] == "unaligned"].assign(rung=LEARNED)
    return pd.concat([held.residuals, learned], ignore_index=True).assign(network=network)


def _checked(network: Network) -> Classifier:
    if not isinstance(network.module, Classifier):
        raise ProbeError(
            f"'{network.name}' is no spatial transformer classifier of this package; give the "
            "model.safetensors of a training run"
        )
    return network.module


def _working(
    network: Network,
    layer: str,
    transforms: str,
    images: ImageSet,
    progress: Progress | None,
    options: dict[str, Any],
) -> Result:
    # What remains after the network's own alignment needs no search and no channel maps.
    least = {**options, "channels": False, "family": "rotation"}
    return probe(network, [layer], transforms, images, progress=progress, **least)


_ALONG_X = ("-15,0", "-10,0", "-5,0", "5,0", "10,0", "15,0")
_ALONG_Y = ("0,-15", "0,-10", "0,-5", "0,5", "0,10", "0,15")
_DEFAULTS = {
    "r": "rotation:-90:90:15",
    # No common multiple of a map's cells: shifts by whole cells are undone exactly.
    "t": " ".join(["identity", *(f"translation:{shift}" for shift in (*_ALONG_X, *_ALONG_Y))]),
    "s": "scaling:0.5:4:7",
}
_DEFAULTS |= {"tc": _DEFAULTS["t"], "rts": "rotation:-45:45:15 scaling:0.7:1.2:5"}


def default_transforms(data: str) -> str:
    """Return, as text, transformations over the range of a data set such as "mnist-r".

    Rotations by up to 90 degrees for -r, shifts along x and along y by up to 15 px for -t and -tc,
    factors 0.5 to 4 in half octaves for -s, rotations and factors for -rts. Raises ProbeError for
    other data.

    >>> default_transforms("mnist-s")
    'scaling:0.5:4:7'
    """
    variant = data.lower().rpartition("-")[2]
    if variant not in _DEFAULTS:
        raise ProbeError(
            f"no transformations are known for networks trained on '{data}'; give some, such as "
            "--transforms rotation:-90:90:15"
        )
    return _DEFAULTS[variant]
