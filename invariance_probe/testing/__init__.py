"""Assertions for other test suites: whether a layer's maps can be aligned, and if not, why not.

Each measures with `probe` and raises AssertionError when the network does not behave as said. The
message splits the residual into what resampling, the border, the position of the grid, and the
network itself contribute, and says what to change. PyTorch is imported on the first call.
"""

from .assertions import (
    assert_alignable,
    assert_aligned_by_permutation,
    assert_not_alignable,
    assert_translation_covariant,
)

__all__ = [
    "assert_alignable",
    "assert_aligned_by_permutation",
    "assert_not_alignable",
    "assert_translation_covariant",
]


def __dir__() -> list[str]:
    return sorted(__all__)
