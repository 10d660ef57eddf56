"""Pitfalls that applied to a run: what was seen, what it means for the numbers, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ....probing import OracleResult, Result
from .numbers import KindNumbers
from .story import SMALL
from .wording import joined, plural


@dataclass(frozen=True)
class Pitfall:
    """One thing that a reader of the numbers must know."""

    title: str
    seen: tuple[str, ...]
    means: str
    remedy: str


_NOTED = "images noted"  # of a folder: damaged files, labels; not of borders or links
_LINKED = "images linked"
_BORDERS, _LINK = ("beyond the source", "the source is "), "behind links"

# Title, what it means, what to do; by how the warning of a result begins.
_KNOWN = {
    "purity": (
        "The network is not a function of the one image",
        "The same image has other maps when it is shown again, after other images or beside "
        "others. Residuals contain that difference, also where nothing moved: the identity and "
        "quarter turns of the aligned input, which are 0 otherwise, show some of it.",
        "Do what the remark says and probe again; where the randomness is meant, read every "
        "number against its floor and the identity.",
    ),
    "preprocessing": (
        "Canvas or normalisation guessed",
        "Nobody said how the network's images were made, so usual values stood in. At another size "
        "or normalisation than in its training a network answers otherwise, and so do all numbers.",
        "Give what the network was trained with: --canvas, --mean and --std, or a factory that "
        "returns a Network with them.",
    ),
    "images": (
        "Borders: no real content beyond the image",
        "Turned or shrunk images need content from outside the frame. What was put there is not "
        "content. Numbers are taken only on cells that stay inside under all transformations, as "
        "far from the edge as each layer was found to show it.",
        "Use images with a margin (larger than the network's canvas); read every number against "
        "its floor.",
    ),
    _NOTED: (
        "Remarks on the images",
        "Some images were left out, or changed before they were measured, as the remark says.",
        "See that what was left out or changed was meant to be; the hash below names the images "
        "that were measured.",
    ),
    _LINKED: (
        "Images behind links",
        "Links in the folder lead to files elsewhere. They were measured like the others.",
        "Nothing, if you made the links; whoever repeats the measurement needs those files too.",
    ),
    "borders": (
        "Borders: padding is seen in compared cells",
        "What a layer makes of padding and of the images' end does not move with the content. So "
        "far from the edge that this is gone, too few cells were left to compare; a part of these "
        "residuals comes from the border, not from the network's features.",
        "Use a larger canvas or images with a margin where the network takes them, milder "
        "transformations or an earlier layer.",
    ),
    "grid": (
        "Grid offset: the map's centre is not the image's",
        "Turning such a map about its own centre would move it. The frame measured on the network "
        "corrects for that, but cells no longer fall on cells, so interpolation costs more.",
        "Choose the input size named in the remark; it puts the centres onto each other.",
    ),
    "frame": (
        "Frame estimated",
        "Where the cells sit in the image is known only to the error that is named, and one of "
        "that size raises the residual of every moved map.",
        "Compare with a neighbouring layer whose frame is exact before reading small differences.",
    ),
    "cells": (
        "Few cells compared",
        "Only a small part of the map stays inside the image under all transformations, so the "
        "numbers speak of the image's middle.",
        "Use milder transformations, images with a margin, or an earlier layer.",
    ),
    "sample": (
        "Few images",
        "Intervals are wide, and rough themselves: few images say little about their own spread.",
        "Use at least 60 images (30 on each side of the split); a few hundred are better.",
    ),
    "channels": (
        "Channels that never vary",
        "Such channels carry nothing in these images and have no part in any number.",
        "Nothing, unless they are many: then see whether images and normalisation suit the "
        "network.",
    ),
    "channel maps": (
        "Channel maps not determined",
        "With no more samples than channels a fitted map would explain noise. No number is shown.",
        "Use more images, or a layer with more compared cells.",
    ),
    "few samples": (
        "Channel maps from few samples",
        "Below twenty samples for each channel a fitted map follows these images as much as the "
        "network: the linear rung stands higher than it would with more of them.",
        "Use more images, or read the permutation, which needs the fewest.",
    ),
    "bounds": (
        "Bounds from few samples",
        "With hardly more samples than positions the best operator in-sample fits these images' "
        "own chance, and the bound is lower than it would be with more of them.",
        "Use more images, or read the held-out rung.",
    ),
    "weights": (
        "Random weights",
        "Nothing was learned by this network: the numbers speak of its architecture under random "
        "filters, not of any trained network.",
        "Give the file of trained weights with --checkpoint, unless random ones are meant.",
    ),
    "files": (
        "Altered since it was measured",
        "The numbers are not, or cannot be shown to be, those that the measurement wrote.",
        "Ask whoever gave the result for the files as they were written, or probe again; "
        "invariance-probe verify measures anew.",
    ),
    "checkpoint": (
        "Remarks on the checkpoint",
        "The weights did not meet the network in every respect.",
        "See that the differences are meant; the hash below names the weights that were measured.",
    ),
}  # fmt: skip
_SAMPLES = 20  # for each channel
_OTHER = ("Other remarks", "", "")  # they speak for themselves


def pitfalls(
    results: Sequence[tuple[str, Result | OracleResult]], kinds: Sequence[KindNumbers]
) -> list[Pitfall]:
    """Every pitfall that applied, once, with what was seen in which result."""
    seen: dict[str, list[str]] = {}
    several = len(results) > 1
    said_by: dict[tuple[str, str], list[str]] = {}
    for name, result in results:
        for warning in result.warnings:
            kind = warning.kind if warning.kind in _KNOWN else ""
            # The title says what a remark on all layers is about.
            text = (kind and not warning.layer and warning.said) or warning
            if kind == "images" and not any(said in warning for said in _BORDERS):
                kind = _LINKED if _LINK in warning else _NOTED
            said_by.setdefault((kind, text), []).append(name)
    for (kind, text), names in said_by.items():
        where = f" ({joined(names)})" if several and len(names) < len(results) else ""
        seen.setdefault(kind, []).append(text + where)
    for name, result in results:
        if isinstance(result, Result):
            where = f" ({name})" if several else ""
            for line in _undetermined(result):
                seen.setdefault("channel maps", []).append(line + where)
            for line in _few_samples(result):
                seen.setdefault("few samples", []).append(line + where)
    found = [
        Pitfall(title, tuple(seen[kind]), means, remedy)
        for kind, (title, means, remedy) in (_KNOWN | {"": _OTHER}).items()
        if kind in seen
    ]
    if "sample" not in seen and any(numbers.images < SMALL for numbers in kinds):
        title, means, remedy = _KNOWN["sample"]
        images = min(numbers.images for numbers in kinds)
        found.append(Pitfall(title, (f"{images} evaluation images",), means, remedy))
    for name, result in results:
        if isinstance(result, Result):
            found += _of_search(result, f" ({name})" if several else "")
    return _merged([*found, *_better_than_inverse(kinds)])


def _merged(found: Sequence[Pitfall]) -> list[Pitfall]:
    """One pitfall per title, with everything that was seen of it."""
    by_title: dict[str, Pitfall] = {}
    for one in found:
        held = by_title.get(one.title)
        by_title[one.title] = one if held is None else replace(held, seen=held.seen + one.seen)
    return list(by_title.values())


def _undetermined(result: Result) -> list[str]:
    table = result.channels
    if "determined" not in table or table.empty:
        return []
    rows = table[~table["determined"].astype(bool)]
    out = []
    for layer, own in rows.groupby("layer", sort=False):
        samples = int(own["samples"].max()) if "samples" in own else 0
        out.append(f"{layer}: {samples} samples (cells × images) under {len(own)} transformations")
    return out


def _few_samples(result: Result) -> list[str]:
    """Layers whose channel maps are determined, by fewer than twenty samples a channel."""
    table = result.channels
    if not {"determined", "samples"} <= set(table) or "channels" not in result.layers:
        return []
    channels = result.layers.set_index("layer")["channels"]
    samples = table[table["determined"].astype(bool)].groupby("layer", sort=False)["samples"].min()
    return [
        f"{layer}: {int(number)} samples (cells × images) for {int(channels[layer])} channels"
        for layer, number in samples.items()
        if layer in channels.index and number < _SAMPLES * channels[layer]
    ]


def _of_search(result: Result, where: str) -> list[Pitfall]:
    table = result.alignments
    if not {"status", "coverage"} <= set(table):
        return []
    rows = table[~table["identity"].astype(bool)]
    out = []
    low = rows[rows["coverage"].to_numpy(dtype=float) < 0.5]
    if len(low):
        layers = joined(list(dict.fromkeys(low["layer"])))
        out.append(
            Pitfall(
                "Best alignments that look past the map's edge",
                (f"{layers}: {len(low)} of {len(rows)} searches{where}",),
                "Where less than half of the compared cells are read from inside the map, the "
                "found movement compares repeated border cells.",
                "Do not read the angle or scale found there; read h⁻¹ and the floor.",
            )
        )
    stopped = rows[~rows["status"].isin(["converged"])]
    if len(stopped):
        kinds = stopped["status"].value_counts()
        said = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))
        out.append(
            Pitfall(
                "Searches that ended without a clear minimum",
                (f"{len(stopped)} of {len(rows)} searches: {said}{where}",),
                "The best found may be beaten by another movement that the search did not reach: "
                "“bound” is the limit of scale, “edge” that of coverage, “flat” has no curvature, "
                "“iterations” was stopped.",
                "Read “best” there as what was found, not as the least possible.",
            )
        )
    ambiguous = _ambiguous(rows)
    if ambiguous:
        out.append(
            Pitfall(
                "The best alignment is not unique",
                (f"{joined(ambiguous)}: another movement is about as good{where}",),
                "Symmetric content or indifferent features let different movements do equally "
                "well. That does not affect residuals; it does affect the angle or scale found.",
                "Read nothing into the distance from h⁻¹ at these layers.",
            )
        )
    return out


def _ambiguous(table: pd.DataFrame) -> list[str]:
    if not {"fit_residual", "runner_up_residual"} <= set(table):
        return []
    found = table["fit_residual"].to_numpy(dtype=float)
    other = table["runner_up_residual"].to_numpy(dtype=float)
    close = np.isfinite(other) & (other - found < 0.02 * np.maximum(found, 1e-12))
    share = pd.Series(close, index=table["layer"]).groupby(level=0, sort=False).mean()
    return [str(name) for name, value in share.items() if value > 0.25]


def _better_than_inverse(kinds: Sequence[KindNumbers]) -> list[Pitfall]:
    found = [
        f"{layer.layer} under {plural(numbers.kind)}"
        for numbers in kinds
        for layer in numbers.layers
        if layer.searched.positive and layer.searched.value > 0.05
    ]
    if not found:
        return []
    return [
        Pitfall(
            "A movement other than h⁻¹ comes nearer",
            tuple(found),
            "A least-squares residual can be lowered without aligning anything: shrinking a map "
            "or smearing it towards the mean brings unrelated maps nearer too. It does not "
            "contradict the theory, which speaks of exact alignment.",
            "Look at the movement found (table of alignments), at its coverage, and at whether its "
            "residual comes anywhere near the floor.",
        )
    ]
