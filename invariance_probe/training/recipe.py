"""How a classifier is trained: every choice that changes the outcome, as one checked value."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from .._limits import BATCH, COUNT, SEED, check_whole, is_real, quoted
from ..errors import ProbeError

_PURPOSES = ("draw", "step", "pass")
_CHOICES = {
    "optimizer": ("sgd", "adam"),
    "schedule": ("onecycle", "step", "constant"),
    "precision": ("float32", "bfloat16"),
}
_COUNTS = ("epochs", "iterations", "batch_size", "switch_after", "report_every", "validate_every")
_OPTIONAL = ("epochs", "iterations", "switch_after", "report_every", "validate_every", "clip")
_NUMBERS = ("learning_rate", "momentum", "weight_decay", "localisation_factor", "clip")
_SWITCHES = ("compile", "fast")


@dataclass(frozen=True)
class Recipe:
    """How to train: everything that changes the outcome, besides network and examples.

    Attributes
    ----------
    epochs, iterations : how long, in passes over the examples or in batches: one of the two.
        Without either it is 10 epochs.
    batch_size : over all processes together.
    optimizer : "sgd" (Nesterov where momentum > 0) or "adam" (momentum is its beta 1).
    learning_rate : the highest value of the schedule.
    schedule : "onecycle" (linear rise over the first quarter, cosine fall to 0), "step" (divided by
        10 every `switch_after` iterations; without that after each third) or "constant".
    localisation_factor : what the learning rate of `network.localisation_parameters()` is
        multiplied by; 0 keeps these parameters as they are.
    seed : order and transformations of the examples and randomness inside the network (dropout).
    clip : the largest norm of the gradient of all parameters together; None does not clip.
    precision : "float32", or "bfloat16" for mixed precision: weights, loss and optimizer stay
        float32.
    compile : run the network through torch.compile.
    fast : train by faster ways that round differently: images and weights channel by channel in
        memory (on the CPU and in bfloat16), and on the CPU the convolutions of `fast_convolutions`.
    report_every : iterations per row of the history; None makes it one row per epoch.
    validate_every : iterations between two looks at the test set; None looks at the end only.

    Raises ProbeError for values that cannot be meant.
    """

    epochs: int | None = None
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 0.0005
    schedule: str = "onecycle"
    seed: int = 0
    iterations: int | None = None
    switch_after: int | None = None
    localisation_factor: float = 1.0
    clip: float | None = None
    precision: str = "float32"
    compile: bool = False
    fast: bool = False
    report_every: int | None = None
    validate_every: int | None = None

    def __post_init__(self) -> None:
        for name in (*_COUNTS, *_NUMBERS, *_SWITCHES, "seed"):
            self._check_type(name)
        if self.epochs is None and self.iterations is None:
            object.__setattr__(self, "epochs", 10)
        if self.epochs is not None and self.iterations is not None:
            raise ProbeError(
                f"{self.epochs} epochs and {self.iterations} iterations; give one of the two"
            )
        for name in _COUNTS:
            value = getattr(self, name)
            most = BATCH if name == "batch_size" else COUNT
            if value is not None:
                check_whole(name, value, 1, most)
        check_whole("seed", self.seed, -SEED // 2, SEED)
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                listed = " or ".join((", ".join(map(repr, known[:-1])), repr(known[-1])))
                raise ProbeError(f"unknown {name} '{getattr(self, name)}'; give {listed}")
        rate, factor, clip = self.learning_rate, self.localisation_factor, self.clip
        if not (
            0 < rate < math.inf and 0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf
        ):
            raise ProbeError(
                f"learning rate {rate}, momentum {self.momentum}, weight decay "
                f"{self.weight_decay}; give a rate > 0, a momentum in [0, 1) and a decay >= 0"
            )
        if not (0 <= factor < math.inf) or (clip is not None and not clip > 0):
            raise ProbeError(
                f"localisation factor {factor}, clip {clip}; give a factor >= 0 and a clip > 0"
            )
        if self.switch_after is not None and self.schedule != "step":
            raise ProbeError(
                f"switch_after {self.switch_after} has no meaning in the schedule "
                f"'{self.schedule}'; give schedule 'step', or omit it"
            )

    def _check_type(self, name: str) -> None:
        value = getattr(self, name)
        if value is None and name in _OPTIONAL:
            return
        if name in _SWITCHES:
            good, what = isinstance(value, bool), "true or false"
        elif name in _NUMBERS:
            good = isinstance(value, float) or is_real(value, -math.inf, math.inf)
            what = "a number"
        else:
            good, what = isinstance(value, int) and not isinstance(value, bool), "a whole number"
        if not good:
            raise ProbeError(f"{name}={quoted(value)} must be {what}")

    def steps(self, number: int) -> int:
        """Return how many iterations a run over that many examples takes."""
        if self.iterations is not None:
            return self.iterations
        return (self.epochs or 0) * self.per_epoch(number)

    def per_epoch(self, number: int) -> int:
        """Return how many iterations see each of that many examples once; the last may be small."""
        return math.ceil(number / self.batch_size)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of one step (0 ... steps - 1).

        >>> [round(Recipe(schedule="step", learning_rate=1).rate(s, 6), 3) for s in range(6)]
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
        """
        done = (step + 0.5) / steps
        if self.schedule == "onecycle":
            rise = 0.25
            part = (
                done / rise
                if done < rise
                else 0.5 + 0.5 * math.cos(math.pi * (done - rise) / (1 - rise))
            )
        elif self.schedule == "step":
            falls = int(3 * done) if self.switch_after is None else step // self.switch_after
            part = 10.0**-falls
        else:
            part = 1.0
        return self.learning_rate * part

    def changed(self, changes: Mapping[str, Any]) -> Recipe:
        """Return the recipe with some fields replaced; a new length takes the place of the old one.

        A new schedule other than "step" drops `switch_after`. Raises ProbeError for a field that a
        recipe does not have, with the nearest name.

        >>> Recipe(iterations=100).changed({"epochs": 3}).iterations is None
        True
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean '{near[0]}'?" if near else f"give one of {', '.join(known)}"
                raise ProbeError(f"a recipe has no field '{name}'; {hint}")
        dropped: dict[str, Any] = {}
        for one, other in (("epochs", "iterations"), ("iterations", "epochs")):
            if changes.get(one) is not None:
                dropped[other] = None
        if changes.get("schedule", "step") != "step":
            dropped["switch_after"] = None
        return replace(self, **dropped | dict(changes))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Recipe:
        """Return the recipe of `as_dict`; ProbeError for other fields or values."""
        if not isinstance(values, Mapping):
            raise ProbeError(f"recipe={quoted(values)}: give its fields by name")
        return Recipe().changed({"epochs": None, "iterations": None, **values})


def seed_for(purpose: str, seed: int, number: int, rank: int = 0) -> int:
    """Return the seed of one draw, step or test pass of a run; all differ, in a fixed way."""
    # Negative seeds are allowed to users, not to NumPy.
    words = (_PURPOSES.index(purpose), seed % 2**64, number, rank)
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
