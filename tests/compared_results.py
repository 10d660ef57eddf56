"""Results made of given sums, for tests that compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from invariance_probe.geometry import parse_transforms
from invariance_probe.probing import Options, Result

RUNGS = (
    "unaligned", "inverse", "best", "spatial_bound", "inverse_permuted", "inverse_orthogonal",
    "inverse_linear", "input_aligned", "resampling_floor", "other_image",
)  # fmt: skip
LEVELS = (1.2, 0.9, 0.8, 0.5, 0.6, 0.5, 0.3, 0.05, 0.04, 1.9)
TURNS = "rotation:0:90:45"


def made_result(
    *,
    network: str = "net",
    layers: Sequence[str] = ("conv1", "conv2"),
    transforms: str = TURNS,
    rungs: Sequence[str] = RUNGS,
    images: int = 40,
    seed: int = 0,
    factor: float = 1.0,
    noise: float = 0.3,
    **options: Any,
) -> Result:
    """Residuals of about LEVELS · factor at every layer and transform, ceiling and floor fixed.

    The images' sums share a spread (the same for every seed), and `noise` is each result's own.
    """
    moves = parse_transforms(transforms)
    shared, own = np.random.default_rng(99), np.random.default_rng(seed)
    common = shared.uniform(0.5, 1.5, images)
    shape = (len(layers), len(moves), len(rungs), images)
    levels = np.array([dict(zip(RUNGS, LEVELS, strict=True))[rung] for rung in rungs])
    levels[[rung not in ("input_aligned", "other_image") for rung in rungs]] *= factor
    errors = levels[:, None] * common * (1 + noise * own.uniform(-1, 1, shape))
    for which, move in enumerate(moves):
        if move.is_identity:
            errors[:, which, [rung != "other_image" for rung in rungs]] = 0.0
    variance = common * (1 + noise * own.uniform(-1, 1, (len(layers), images)))
    head = [
        {
            "layer": layer, "transform": move.text, "kind": move.kind,
            "parameter": move.parameter, "identity": move.is_identity,
        }
        for layer in layers
        for move in moves
    ]  # fmt: skip
    empty = pd.DataFrame(columns=["layer"])
    measured = [
        {
            **row, "rung": rung, "residual": errors[at][number].sum() / variance[at[0]].sum(),
            "low": np.nan, "high": np.nan, "images": images,
        }
        for at, row in zip(np.ndindex(*shape[:2]), head, strict=True)
        for number, rung in enumerate(rungs)
    ]  # fmt: skip
    summary = pd.DataFrame([{**row, "recovered": 0.5, "low": 0.4, "high": 0.6} for row in head])
    placed = {
        "channels": 8, "rows": 7, "columns": 7, "jump_x": 4.0, "jump_y": 4.0, "start_x": -12.0,
        "start_y": -12.0, "offset_x": 0.0, "offset_y": 0.0, "compared_cells": 25, "cell_step": 1,
        "dead_channels": 0,
    }  # fmt: skip
    chosen = Options.from_dict({"resamples": 200, **options})
    return Result(
        residuals=pd.DataFrame(measured), summary=summary, alignments=empty, landscape=empty,
        layers=pd.DataFrame({"layer": list(layers), **placed}),
        errors=errors, variance=variance,
        axes={
            "layer": tuple(layers), "transform": tuple(move.text for move in moves),
            "rung": tuple(rungs), "image": tuple(f"image {n}" for n in range(images)),
        },
        provenance={
            "network": {"name": network},
            "images": {"sha256": "ab" * 32, "canvas": [28, 28], "mean": [0.1]},
            "options": chosen.to_dict(), "warnings": [],
        },
    )  # fmt: skip


def with_changes(result: Result, part: str, **values: Any) -> Result:
    """A result whose provenance says something else."""
    changed = {**result.provenance, part: {**result.provenance[part], **values}}
    return replace(result, provenance=changed)
