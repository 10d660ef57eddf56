"""What is said of 16-bit images that do not use their range."""

from __future__ import annotations

from ...errors import ProbeError

DEEPEST = 65535
FAINT = 31


def depth_notes(most: int, where: str, looked: str = "") -> list[str]:
    """Return the note on images of 16 bits whose largest value is `most`; none at half of white.

    `where` names the images in the message, `looked` says in which of them the value was met.
    Raises ProbeError where 8 bits would do: such images would be all but black.
    """
    if 0 < most <= 255:
        raise ProbeError(
            f"{where}images of 16 bits have values up to {most} only; give uint8 (8 bits)"
        )
    if most == 0 or most > DEEPEST // 2:
        return []
    bits = most.bit_length()
    return [
        f"values up to {most} of {DEEPEST}{looked} use little of the range: the images are shown "
        f"at {100 * most / DEEPEST:.2g} % of full brightness; if they are of {bits} bits, multiply "
        f"them by {1 << (16 - bits)} before"
    ]


def faint_notes(most: int, where: str) -> list[str]:
    """Return the note on images of 8 bits whose largest value `most` is that of 5 bits or fewer.

    Masks of 0 and 1, digits of 0 to 16 and the like: nearly black as they are.
    """
    if not 0 < most <= FAINT:
        return []
    return [
        f"{where}values up to {most} of 255: the images are shown at {100 * most / 255:.2g} % of "
        f"full brightness; if {most} is white, multiply them by {255 // most} before"
    ]


__all__ = ["DEEPEST", "FAINT", "depth_notes", "faint_notes"]
