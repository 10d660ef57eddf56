"""Notes that count images, and count again in a smaller set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class CountedNote(str):
    """A sentence "3 of 8 images ... (such as 'b.png')" that knows which images it is about.

    `members` maps the number of an image in its source to its name, in order.
    """

    members: dict[int, str]
    total: int
    text: str

    def __new__(cls, members: dict[int, str], total: int, text: str) -> CountedNote:
        """`text` is what is said of them, in plural, without the example."""
        example = next(iter(members.values()))
        made = super().__new__(
            cls, f"{len(members)} of {total} images {text} (such as '{example}')"
        )
        made.members, made.total, made.text = members, total, text
        return made

    def __getnewargs__(self) -> tuple[dict[int, str], int, str]:  # type: ignore[override]
        return self.members, self.total, self.text


def notes_of(notes: Iterable[str], chosen: Sequence[int] | np.ndarray) -> tuple[str, ...]:
    """Return the notes as they hold for the chosen images: counted again, or left out."""
    asked = [int(i) for i in chosen]
    kept: list[str] = []
    for note in notes:
        if isinstance(note, CountedNote):
            members = {i: note.members[i] for i in asked if i in note.members}
            if members:
                kept.append(CountedNote(members, len(asked), note.text))
        else:
            kept.append(note)
    return tuple(kept)


__all__ = ["CountedNote", "notes_of"]
