"""Seeds for the parts of a run: each a number of its own, so that a resumed run needs no state."""

from __future__ import annotations

import numpy as np

_PURPOSES = ("draw", "step", "pass")


def seed_for(purpose: str, seed: int, number: int, rank: int = 0) -> int:
    """Return the seed of one draw, step or test pass of a run; all differ, in a fixed way."""
    # Negative seeds are allowed to users, not to NumPy.
    words = (_PURPOSES.index(purpose), seed % 2**64, number, rank)
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
