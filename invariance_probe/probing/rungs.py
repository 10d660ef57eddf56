"""The rungs of the ladder: what is done to maps before they are compared, what that is called, and
how it is drawn. Options, tables, figures, the report, the viewer and the console read it here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

# Okabe & Ito, Color Universal Design (2008): told apart with every common colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#777777"


@dataclass(frozen=True)
class Style:
    """Label, colour, marker and line of what a figure shows; the marks alone tell things apart.

    Where no line is drawn `spot` marks those whose line has no marker.
    """

    label: str
    colour: str
    marker: str
    line: Any
    alone: str = ""

    @property
    def spot(self) -> str:
        """The marker of a single value."""
        return self.marker or self.alone or "d"


@dataclass(frozen=True)
class Rung(Style):
    """A rung of the ladder.

    Attributes
    ----------
    meaning : what is done to the maps, in one line.
    group : "spatial", "channel" or "control".
    fitted : on what its parameters are fitted, "" where it has none.
    head : its label in a narrow column.
    """

    meaning: str = ""
    group: Literal["spatial", "channel", "control"] = "spatial"
    fitted: str = ""
    head: str = ""

    @property
    def treatment(self) -> str:
        """The label without the end of the ladder that it is: what is done to maps or images."""
        return self.label.partition(" (")[0]


_HALF = "the fit half"
RUNG = {
    "unaligned": Rung(
        "unaligned", BLACK, "o", "-", head="un-\naligned",
        meaning="the transformed image's maps as they are: what a plain network sees",
    ),
    "inverse": Rung(
        "inverse h⁻¹", VERMILLION, "s", "-",
        meaning="moved back by h⁻¹, the only movement the theory allows: a perfect spatial "
        "transformer at this layer",
    ),
    "best": Rung(
        "best found", BLUE, "^", (0, (5, 1.5)), fitted=_HALF,
        meaning="one movement for all images, searched on other images: whether any beats h⁻¹",
    ),
    "best_per_image": Rung(
        "best per image", BLUE, "v", ":", fitted="each image itself",
        meaning="an own movement for every image: the most that an aligner could do",
    ),
    "spatial_bound": Rung(
        "bound, all spatial maps", GREY, "", (0, (8, 2)), "p", fitted=_HALF,
        meaning="any linear operator on positions, regularised: kernels and blurs of all shapes "
        "included",
    ),
    # One hue for the channel maps: told apart by marker and line.
    "inverse_permuted": Rung(
        "h⁻¹, channels permuted", ORANGE, "D", (0, (1, 1)), group="channel", fitted=_HALF,
        head="permuted", meaning="moved back, and channels exchanged: the pure channel shift",
    ),
    "inverse_orthogonal": Rung(
        "h⁻¹, orthogonal map", ORANGE, "P", (0, (3, 1, 1, 1)), group="channel", fitted=_HALF,
        head="orthogonal", meaning="moved back, and an orthogonal map among channels",
    ),
    "inverse_linear": Rung(
        "h⁻¹, linear map", ORANGE, "X", "-", group="channel", fitted=_HALF, head="linear",
        meaning="moved back, and a linear map among channels, fitted on other images",
    ),
    "input_aligned": Rung(
        "input aligned (floor)", GREEN, "", "-", "d", group="control",
        meaning="the image moved back before the network: what interpolation and borders cost "
        "anyway",
    ),
    "resampling_floor": Rung(
        "resampling floor", SKY, "", ":", "<", group="control", head="resam-\npling\nfloor",
        meaning="the original's maps moved there and back: what moving costs on this grid",
    ),
    "other_image": Rung(
        "other image (ceiling)", PURPLE, "", "--", "*", group="control",
        meaning="the maps of another image: what unrelated features give",
    ),
}  # fmt: skip
"""Every rung by name, in the order of tables."""

RUNGS = tuple(RUNG)
"""Rungs of the ladder: what is done to the map of the transformed image before comparing."""

CHANNEL_RUNGS = tuple(name for name, rung in RUNG.items() if rung.group == "channel")
FLOOR, CEILING = "input_aligned", "other_image"

_SEARCH = "search over all places, either way round, with a least coverage"
RECIPES = {
    "best": _SEARCH,
    "best_per_image": _SEARCH,
    CEILING: "mean over all pairs of images",
    "inverse_linear": "ridge by cross-validation over images",
}
"""How rungs are made that were made otherwise in earlier versions; results say which they hold."""

TELLING = ("unaligned", "inverse", "best", "inverse_linear", FLOOR)
"""The rungs that tell most, which are shown where there is no room or time for all."""

_SPARE = tuple(
    (colour, marker, line)
    for line in ((0, (5, 1, 1, 1)), (0, (10, 2)), (0, (2, 2)))
    for colour, marker in ((GREY, "D"), (YELLOW, "v"), (SKY, "P"), (GREEN, "X"))
)


def rung_of(name: str, among: tuple[str, ...] = ()) -> Rung:
    """The rung of a name; one that is unknown takes a spare look by its place `among` the shown.

    >>> rung_of("best").label, rung_of("my_own").label
    ('best found', 'my own')
    """
    if name in RUNG:
        return RUNG[name]
    others = [other for other in among if other not in RUNG]
    colour, marker, line = _SPARE[(others.index(name) if name in others else 0) % len(_SPARE)]
    return Rung(name.replace("_", " "), colour, marker, line)
