"""Which pose a spatial transformer gives an object, beside the transformation that was applied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...data.examples.examples import Batch, Examples
from ...errors import ProbeError
from ...networks.keeping import evaluating
from ...networks.stn.architecture import Architecture
from .._batches import device_of
from .._modes import batch_for_tests, testing_ways
from ..recipe import seed_for

Array = NDArray[np.float64]

PARTS = ("angle", "log2_scale", "dx", "dy")
"""What a pose is described by: degrees, octaves, input pixels (x right, y down)."""


def pose_parameters(transforms: Tensor | Array) -> Array:
    """Where content transforms (N, 3, 3) take the centre of an image, and how they turn it there.

    Returns (N, 4): angle in degrees in [-180, 180], log2 of the scale factor, dx and dy in pixels.
    The scale factor is the square root of |det| of the linear part, so that a doubling of lengths
    is 1 (log2 of the area is twice that). Rows are NaN where the matrix is singular or not finite.

    Convention: image coordinates (origin at the canvas centre, pixels, x right, y down); positive
    angles are counter-clockwise on the screen, those of the rotation in the polar decomposition.
    Of a projective transform the linear part is its derivative at the centre.

    >>> from invariance_probe.geometry import rotation, scaling, translation
    >>> h = translation(3, -2) @ scaling(2) @ rotation(30)
    >>> pose_parameters(h.matrix[None]).round(9).tolist()
    [[30.0, 1.0, 3.0, -2.0]]
    """
    matrices = _matrices(transforms)
    with np.errstate(all="ignore"):
        weight = matrices[:, 2, 2, None]
        shift = matrices[:, :2, 2] / weight
        linear = (matrices[:, :2, :2] - shift[:, :, None] * matrices[:, 2, None, :2]) / weight[
            ..., None
        ]
        (a, b), (c, d) = linear.transpose(1, 2, 0)
        found = np.stack(
            [
                np.degrees(np.arctan2(b - c, a + d)),
                0.5 * np.log2(np.abs(a * d - b * c)),
                *shift.T,
            ],
            axis=1,
        )
    found[~np.isfinite(found).all(axis=1)] = np.nan
    return found


def correction_parameters(transforms: Tensor | Array) -> Array:
    """How content transforms (N, 3, 3) correct an image, as `pose_parameters`: (N, 4).

    The translation is minus the input point that is brought to the centre, in input pixels, so
    that the inverse of a shift by (dx, dy) is (-dx, -dy) whatever else the transform does; angle
    and log2 scale are those of the transform. For every h the parameters of its inverse are minus
    `pose_parameters` of h.

    Convention: as `pose_parameters`. Source: the translation that STN-based alignment is judged by
    in Finnveden, Jansson & Lindeberg, ICPR 2020.

    >>> from invariance_probe.geometry import scaling, translation
    >>> h = translation(3, -2) @ scaling(2)
    >>> correction_parameters(h.inverse().matrix[None]).round(9).tolist()
    [[0.0, -1.0, -3.0, 2.0]]
    """
    matrices = _matrices(transforms)
    with np.errstate(all="ignore"):
        determinants = np.linalg.det(matrices)
    usable = np.isfinite(determinants) & (np.abs(determinants) > 1e-300)
    inverses = np.full_like(matrices, np.nan)
    inverses[usable] = np.linalg.inv(matrices[usable])
    found = -pose_parameters(inverses) + 0.0
    return found


def poses_known(built: Architecture, examples: Examples) -> bool:
    """Whether images are transformed, by how much is known, and the network's own poses are, too.

    Else `collect_poses` and `pose_statistics` refuse them, after all training.
    """
    if built.kind is None or built.family == "tps" or built.parallel > 1:
        return False
    batch = examples.draw(0).batch(range(min(8, len(examples))))
    if batch.transforms is None or batch.targets.ndim > 1:
        return False
    return bool((batch.transforms != batch.transforms[0]).any())


def collect_poses(
    network: nn.Module,
    examples: Examples,
    passes: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    step: int = -1,
) -> pd.DataFrame:
    """Applied, predicted and final pose of every example in every pass.

    `network` has a method ``align(images)`` that returns an object with `poses`, the (N, 3, 3)
    content transforms that its spatial transformers applied together, and `steps`, those after
    each of its alignments; `step` chooses one of these (0 the first, -1 the last). The passes are
    those of `evaluate_passes` with the same seed. The network runs in evaluation mode and gets its
    mode back.

    One row a sample: `pass` (from 1), `index` (of the example), `label`, and `applied_PART`,
    `predicted_PART`, `final_PART` with PART angle (degrees), log2_scale (octaves), dx and dy
    (input pixels). Final is the pose of the aligned object, ``pose @ applied``; for applied
    rotations, scalings and shifts its part is applied + predicted (angles up to whole turns). NaN
    in rows whose predicted transform cannot be inverted.

    Convention: applied parts as `pose_parameters`, the others as `correction_parameters`. Perfect
    alignment: final is the same for all samples of a class, predicted falls by 1 per 1 of applied.

    Raises ProbeError for a network that aligns nothing, for examples whose transformations are no
    3x3 matrices, and for images with several labels.
    """
    align = getattr(network, "align", None)
    if align is None:
        raise ProbeError(
            f"{type(network).__name__} has no spatial transformer: it aligns nothing; "
            "give a network with a method align(images)"
        )
    device = device_of(network)
    batch_size = batch_for_tests(passes, batch_size, device)
    fed = examples.to(device)
    parts: list[pd.DataFrame] = []
    with evaluating(network), testing_ways(network, device) as ordered, torch.inference_mode():
        for number in range(passes):
            draw = fed.draw(seed_for("pass", seed, number))
            for start in range(0, len(fed), batch_size):
                chosen = np.arange(start, min(start + batch_size, len(fed)))
                batch = draw.batch(torch.as_tensor(chosen))
                poses = _poses_of(align(ordered(batch.images)), step)
                rows = pose_table(_known(batch, fed.description), poses, single_labels(batch))
                rows.insert(0, "index", chosen)
                rows.insert(0, "pass", number + 1)
                parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def pose_table(
    applied: Tensor | Array, predicted: Tensor | Array, labels: Tensor | NDArray[Any]
) -> pd.DataFrame:
    """Poses as a table, from content transforms (N, 3, 3) and labels (N); see `collect_poses`."""
    given, found = _matrices(applied), _matrices(predicted)
    if len(given) != len(found) or len(labels) != len(given):
        raise ProbeError(
            f"{len(given)} applied and {len(found)} predicted poses with {len(labels)} labels; "
            "give one of each per sample"
        )
    table: dict[str, Any] = {"label": np.asarray(torch.as_tensor(labels).cpu())}
    with np.errstate(all="ignore"):
        values = {
            "applied": pose_parameters(given),
            "predicted": correction_parameters(found),
            "final": correction_parameters(found @ given),
        }
    for name, parameters in values.items():
        for part, column in zip(PARTS, parameters.T, strict=True):
            table[f"{name}_{part}"] = column
    return pd.DataFrame(table)


def _matrices(transforms: Tensor | Array) -> Array:
    if isinstance(transforms, Tensor):
        transforms = transforms.detach().cpu().numpy()
    matrices = np.asarray(transforms, dtype=np.float64)
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3):
        raise ProbeError(f"poses are (N, 3, 3) matrices, not of shape {matrices.shape}")
    return matrices


def _poses_of(alignment: Any, step: int) -> Tensor:
    steps = getattr(alignment, "steps", ()) or (alignment.poses,)
    if not -len(steps) <= step < len(steps):
        raise ProbeError(
            f"step={step}: this network aligns {len(steps)} times; give 0 to {len(steps) - 1}, "
            "or -1 for the last"
        )
    poses = steps[step]
    if poses is None:
        raise ProbeError(
            "the network's transformations are no 3x3 matrices (thin plate splines) and have no "
            "pose; give a network of another family"
        )
    return poses


def _known(batch: Batch, description: str) -> Tensor:
    if batch.transforms is None:
        raise ProbeError(
            f"the transformations of {description} are no 3x3 matrices, so that no pose is known; "
            "give data that are rotated, scaled or shifted, such as mnist-r"
        )
    return batch.transforms


def single_labels(batch: Batch) -> Tensor:
    """The labels (n) of a batch; ProbeError where images have several each."""
    if batch.targets.ndim != 1:
        raise ProbeError(
            f"these images have {batch.targets.shape[1]} labels each; poses are compared within a "
            "class, give images with one label"
        )
    return batch.targets
