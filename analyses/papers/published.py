"""Errors that Jaderberg, Simonyan, Zisserman and Kavukcuoglu (2015) published for distorted digits.

The numbers were read in independent public notes and a translation of the paper (arXiv 1506.02025
v3), which agree, and not in the paper itself. What could not be confirmed there has no number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pandas as pd

from invariance_probe.errors import ProbeError

SOURCE = "Jaderberg et al. 2015"
BUDGET = "SGD, 150,000 iterations of 256 images; networks of about equal size; mean of three seeds"
"""How the published networks were trained."""

FAMILIES = ("affine", "projective", "tps")
NO_FAMILY = ""
"""The family of a network without transformer."""


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes
    ----------
    source, place : the paper, and where in it.
    data : data set, as `load_examples` knows it.
    network : FCN, CNN, ST-FCN (transformer before the FCN), ST-CNN, 2xST-FCN (two in parallel).
    family : warps of the transformer; "" for a network without, None where it is not known.
    error : percent; None where there is one in the paper that could not be confirmed.
    note : what a reader must know about it.
    """

    source: str
    place: str
    data: str
    network: str
    family: str | None
    error: float | None
    note: str = ""

    @property
    def verified(self) -> bool:
        """Whether the number could be confirmed."""
        return self.error is not None


_TABLE_1 = {
    ("FCN", NO_FAMILY): (2.1, 5.2, 3.1, 3.2),
    ("CNN", NO_FAMILY): (1.2, 0.8, 1.5, 1.4),
    ("ST-FCN", "affine"): (1.2, 0.8, 1.5, 2.7),
    ("ST-FCN", "projective"): (1.3, 0.9, 1.4, 2.6),
    ("ST-FCN", "tps"): (1.1, 0.8, 1.4, 2.4),
    ("ST-CNN", "affine"): (0.7, 0.5, 0.8, 1.2),
    ("ST-CNN", "projective"): (0.8, 0.6, 0.8, 1.3),
    ("ST-CNN", "tps"): (0.7, 0.5, 0.8, 1.1),
}
_CLUTTERED = {
    ("FCN", NO_FAMILY): 13.2,
    ("CNN", NO_FAMILY): 3.5,
    ("ST-FCN", None): 2.0,
    ("ST-CNN", None): 1.7,
}
_TABLE_4 = {
    ("FCN", NO_FAMILY): 47.7,
    ("CNN", NO_FAMILY): 14.7,
    ("ST-FCN", "affine"): 22.6,
    ("ST-FCN", "projective"): 18.5,
    ("ST-FCN", "tps"): None,
    ("2xST-FCN", "affine"): 9.0,
    ("2xST-FCN", "projective"): 5.9,
    ("2xST-FCN", "tps"): 5.8,
}
UNVERIFIED = "a number was published, which could not be verified"
UNSTATED = "the family of the published transformer is not known"
_NOTES = {
    ("ST-FCN", "projective"): "confirmed as the best of the single transformers, not by its family",
    ("ST-FCN", "tps"): UNVERIFIED,
}


def _all() -> Iterator[Published]:
    for key, row in _TABLE_1.items():
        for variant, error in zip(("r", "rts", "p", "e"), row, strict=True):
            yield Published(SOURCE, "Table 1", f"mnist-{variant}", *key, error)
    for known, error in _CLUTTERED.items():
        note = UNSTATED if known[1] is None else ""
        yield Published(SOURCE, "cluttered digits", "mnist-tc", *known, error, note)
    for key, given in _TABLE_4.items():
        yield Published(SOURCE, "Table 4", "mnist-addition", *key, given, _NOTES.get(key, ""))


PUBLISHED = tuple(_all())
DATA = tuple(dict.fromkeys(one.data for one in PUBLISHED))
"""The data sets that there are numbers of."""


def published_networks(data: str) -> tuple[str, ...]:
    """Return the networks that there are numbers of on a data set.

    Raises ProbeError for a data set without any.

    >>> published_networks("mnist-addition")
    ('FCN', 'CNN', 'ST-FCN', '2xST-FCN')
    """
    found = tuple(dict.fromkeys(one.network for one in PUBLISHED if one.data == data))
    if not found:
        raise ProbeError(f"no published errors of '{data}'; there are those of {', '.join(DATA)}")
    return found


def published_error(data: str, network: str, family: str = NO_FAMILY) -> Published | None:
    """Return what was published for a network on a data set, or None.

    A number whose family is not known stands for every family; its note says so.

    >>> published_error("mnist-rts", "ST-CNN", "tps").error
    0.5
    """
    of = [one for one in PUBLISHED if one.data == data and one.network == network]
    exact = [one for one in of if one.family == family]
    unstated = [one for one in of if one.family is None and family != NO_FAMILY]
    return next(iter(exact or unstated), None)


def published_table() -> pd.DataFrame:
    """Return all published numbers, a row each: the fields of `Published` and `verified`."""
    return pd.DataFrame([asdict(one) | {"verified": one.verified} for one in PUBLISHED])
