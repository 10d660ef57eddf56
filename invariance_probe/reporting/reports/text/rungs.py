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
        "h⁻¹, orthogonal channel map",
        "moved back, and an orthogonal map among channels",
    ),
    "inverse_linear": (
        "h⁻¹, linear channel map",
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
    "gain": (
        "gain by h⁻¹",
        "moving the maps back wins this share of what aligning the input wins over nothing done",
    ),
    "excess": (
        "excess over the floor",
        "by this part of their variance moved maps lie farther off than those of the aligned input",
    ),
    "attribution": (
        "instrument's share",
        "of what is left after moving back, what interpolation alone would leave as well",
    ),
    "recovered": (
        "gap closed by h⁻¹",
        "share of the way from another image's maps to the floor, of which nothing done covers "
        "some as well; above 1 where moving maps costs less than moving the image",
    ),
}


def title(rung: str) -> str:
    """What a rung is called; one that is not known by its own name."""
    return RUNGS.get(rung, (rung.replace("_", " "), ""))[0]


def meaning(rung: str) -> str:
    """What a rung means, in one line."""
    return RUNGS.get(rung, ("", ""))[1]
