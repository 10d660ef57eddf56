"""What the rungs of the ladder are called in a report, and what each means in one line."""

from __future__ import annotations

RUNGS = {
    "unaligned": (
        "nothing done",
        "the transformed image's maps as they are: what a plain network sees",
    ),
    "inverse": (
        "moved back by h⁻¹",
        "the only movement the theory allows: a perfect spatial transformer at this layer",
    ),
    "best": (
        "moved by the best found",
        "one movement for all images, searched on other images: whether any beats h⁻¹",
    ),
    "best_per_image": (
        "moved, best per image",
        "an own movement for every image: the most that an aligner could do",
    ),
    "spatial_bound": (
        "best spatial operator",
        "any linear operator on positions, regularised: kernels and blurs of all shapes included",
    ),
    "inverse_permuted": (
        "h⁻¹, channels permuted",
        "moved back, and channels exchanged: the pure channel shift",
    ),
    "inverse_orthogonal": (
        "h⁻¹, channels rotated",
        "moved back, and an orthogonal map among channels",
    ),
    "inverse_linear": (
        "h⁻¹, channels mixed",
        "moved back, and a linear map among channels, fitted on other images",
    ),
    "input_aligned": (
        "input aligned (floor)",
        "the image moved back before the network: what interpolation and borders cost anyway",
    ),
    "resampling_floor": (
        "resampling floor",
        "the original's maps moved there and back: what moving costs on this grid",
    ),
    "other_image": (
        "another image (ceiling)",
        "the maps of another image: what unrelated features give",
    ),
    "recovered": (
        "gap closed by h⁻¹",
        "share of the way from ceiling to floor that moving the maps back covers; above 1 where "
        "moving maps costs less than moving the image",
    ),
}


def title(rung: str) -> str:
    """What a rung is called; one that is not known by its own name."""
    return RUNGS.get(rung, (rung.replace("_", " "), ""))[0]


def meaning(rung: str) -> str:
    """What a rung means, in one line."""
    return RUNGS.get(rung, ("", ""))[1]
