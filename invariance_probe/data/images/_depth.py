"""What is said of 16-bit images that do not use their range."""

from __future__ import annotations

from ...errors import ProbeError

DEEPEST = 65535


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


__all__ = ["DEEPEST", "depth_notes"]
