"""Several networks or checkpoints on one plan: paired differences with intervals."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ... import __version__
from ..._limits import is_formula
from ...errors import ProbeError
from ...running.plots import Plots, as_html
from ...running.storage import COMPARISON_TABLES, altered, read_folder, write_folder
from ..ladder.shares import READINGS, SHARES
from ..options import Options
from ..result import Result
from ..rungs import RUNGS
from .paired_differences import measure, moves_of
from .pairing import Layers, check_same_plan, pair_layers, pair_table

QUANTITIES = (
    "inverse", "best", "spatial_bound", "inverse_permuted", "inverse_linear", "input_aligned",
    "other_image", "gain", "recovered", "won_by_linear",
)  # fmt: skip
"""What is compared where nothing else is asked for, as far as the results have it."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What networks probed under one plan differ in, per layer, transformation and quantity.

    Attributes
    ----------
    table : one row per layer, transformation, quantity and network. `transform` is one, or the
        mean over all of a `kind` but the identity (`transforms` says how many); `value` with its
        interval `low`, `high`; `difference` = value − the baseline's on the same evaluation
        `images`, with its paired interval `difference_low`, `difference_high`, and whether that
        `excludes_zero`; `p_adjusted` corrects for looking at many rows (see `compare`). The
        baseline's own rows have no difference (NaN). `along` orders the networks, if it was given.
    pairs : one row per layer and network: the network's own layer, its `place` among the layers
        probed (`of` so many), channels, size and jump.
    provenance : what was compared and how, notes, the shared plan, the provenance of every result.
    """

    table: pd.DataFrame
    pairs: pd.DataFrame
    provenance: Mapping[str, Any]

    plot = Plots()
    """The figures of this comparison: ``plot.comparison()`` is ``plot_comparison(comparison)``."""

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks or checkpoints, in the order given."""
        return tuple(self.provenance["networks"])

    @property
    def baseline(self) -> str:
        """The network to which differences are taken."""
        return str(self.provenance["baseline"])

    @property
    def layers(self) -> tuple[str, ...]:
        """Labels of the layers compared."""
        return tuple(self.provenance["layers"])

    @property
    def quantities(self) -> tuple[str, ...]:
        """Rungs and shares compared."""
        return tuple(self.provenance["quantities"])

    @property
    def along(self) -> dict[str, float] | None:
        """The number that orders each network, such as its training step; None without."""
        given = self.provenance["along"]
        return None if given is None else dict(zip(self.networks, given, strict=True))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know: how layers were paired, what differs."""
        return tuple(self.provenance["notes"])

    def means(self) -> pd.DataFrame:
        """The rows of averages, and of kinds with a single transformation; no identity."""
        rows = self.table[~self.table["identity"]]
        counts = rows.groupby("kind")["transforms"].transform("max")
        return rows[rows["transforms"] == counts].reset_index(drop=True)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write tables (CSV) and provenance (JSON) to a folder, whole or not at all.

        Raises ProbeError when it already holds something and `overwrite` is off, or when the disk
        is full.
        """
        tables = {"comparison": self.table, "pairs": self.pairs}
        return write_folder(Path(folder), tables, {}, dict(self.provenance), overwrite=overwrite)

    def equals(self, other: Comparison) -> bool:
        """Whether both hold the same numbers and provenance, bit for bit."""
        return (
            self.table.equals(other.table)
            and self.pairs.equals(other.pairs)
            and dict(self.provenance) == dict(other.provenance)
        )

    def __repr__(self) -> str:
        return f"Comparison({' | '.join(self.networks)}: {len(self.layers)} layers)"

    def _repr_html_(self) -> str:
        columns = ["transform", "layer", "quantity", "network", "value", "difference", "p_adjusted"]
        said = f"Differences to {self.baseline}, paired by image."
        return as_html(self, said, lambda: self.means()[columns], "{:.3f}", self.notes)


def compare(
    results: Mapping[str, Result] | Sequence[Result],
    *,
    quantities: str | Iterable[str] | None = None,
    layers: Layers | None = None,
    baseline: str | None = None,
    along: Mapping[str, float] | Sequence[float] | None = None,
    level: float | None = None,
    resamples: int | None = None,
    seed: int | None = None,
) -> Comparison:
    """Compare networks or checkpoints that were probed under one plan, image by image.

    `results` by name, or in a sequence and named after their networks. Transformations, images,
    split and options must be the same; network, checkpoint, normalisation and layers may differ.
    `quantities` are rungs and the shares `gain`, `recovered`, `won_by_linear` and
    `won_by_permutation`.
    `layers` are names, or pairs ``{"early": {"a": "layer1", "b": "features.3"}}`` (also
    ``{"early": ("layer1", "features.3")}``, in the order of the results); by default layers of
    one name belong together, and where there are none, layers of one place. `baseline` is the
    result to which differences are taken, the first by default. `along` gives every result a
    number, such as its training step. `level` of the intervals, `resamples` and `seed` of the
    p-values are those of the first result unless given.

    A difference's interval is Student's over its pseudo-values, image by image, so it is that of
    the paired difference. `p_adjusted` is the single-step maxT p-value (Westfall and Young,
    Resampling-Based Multiple Testing, 1993): the share of `resamples` random sign flips, one for
    each image, under which any row of the same quantity, over all layers, transformations and
    networks, lies as many standard errors from 0 as this one does as measured. Rows where it is
    below α are wrong together in a share α of studies, however many rows there are;
    `excludes_zero` makes no such promise.

    Raises ProbeError where the results do not share one plan, for unknown names, and for layers
    that cannot be paired.
    """
    named = _named(results)
    names, first = list(named), next(iter(named.values()))
    notes = check_same_plan(named)
    notes += [f"{name}: {one}" for name, r in named.items() for one in altered(r.provenance)]
    notes += [
        f"{name}: {one}" for name, r in named.items() for one in r.warnings if one.kind == "purity"
    ]
    paired, how, said = pair_layers(named, layers)
    base = names[0] if baseline is None else _one_of("result", baseline, names)
    rungs, chosen, lacking = _quantities(named, quantities)
    steps = _along(along, names)
    stored = first.provenance.get("options", {})
    asked = {"level": level, "resamples": resamples, "seed": seed}
    asked |= {name: stored[name] for name in asked if asked[name] is None and name in stored}
    options = Options.from_dict({name: v for name, v in asked.items() if v is not None})
    drawing = {name: getattr(options, name) for name in asked}
    moves = moves_of(first)
    values = measure(named, paired, moves, rungs, chosen, names.index(base), drawing)
    table = _table(named, paired, moves, chosen, values, steps)
    provenance = {
        "software": {"name": "invariance_probe", "version": __version__},
        "networks": names,
        "baseline": base,
        "layers": list(paired),
        "pairing": how,
        "quantities": list(chosen),
        "along": steps,
        "bootstrap": drawing,
        "notes": [*said, *notes, *lacking],
        "parts": {name: dict(result.provenance) for name, result in named.items()},
    }
    return Comparison(table, pair_table(named, paired), provenance)


def load_comparison(folder: str | Path) -> Comparison:
    """Read a comparison that `Comparison.save` wrote; equal to the original.

    Raises ProbeError when the folder holds no comparison or a part of it is missing or damaged.
    """
    tables, _, provenance = read_folder(Path(folder), COMPARISON_TABLES, ())
    return Comparison(tables["comparison"], tables["pairs"], provenance)


def _table(
    named: Mapping[str, Result],
    paired: Mapping[str, Sequence[str]],
    moves: pd.DataFrame,
    quantities: Sequence[str],
    values: Mapping[str, np.ndarray],
    steps: list[float] | None,
) -> pd.DataFrame:
    """The tidy table from arrays (layers, transforms, quantities, networks) by column."""
    levels = (list(paired), range(len(moves)), list(quantities), list(named))
    heads = pd.MultiIndex.from_product(
        levels, names=["layer", "move", "quantity", "network"]
    ).to_frame(index=False)
    table = pd.DataFrame({"layer": heads["layer"]})
    which = heads.pop("move").to_numpy()
    for column in ("transform", "kind", "parameter", "identity", "transforms"):
        table[column] = moves[column].to_numpy()[which]
    table["quantity"], table["network"] = heads["quantity"], heads["network"]
    order = dict(zip(named, steps or [math.nan] * len(named), strict=True))
    table["along"] = heads["network"].map(order).astype(float)
    for column, array in values.items():
        table[column] = array.ravel()
    low, high = table["difference_low"], table["difference_high"]
    table["excludes_zero"] = (low > 0) | (high < 0)
    table["images"] = len(next(iter(named.values())).axes["image"])
    return table


def _named(results: Mapping[str, Result] | Sequence[Result]) -> dict[str, Result]:
    """Results by name; those of a sequence are called after their networks."""
    if isinstance(results, Result):
        raise ProbeError("one result has nothing to be compared with; give two or more")
    if isinstance(results, Mapping):
        named = {str(name): result for name, result in results.items()}
    else:
        named = {}
        for number, result in enumerate(results, start=1):
            about = getattr(result, "provenance", {}).get("network", {})
            name = str(about.get("name", "network"))
            named[f"{name} ({number})" if name in named else name] = result
    if len(named) < 2:
        raise ProbeError(
            f"{len(named)} result{'s' * (len(named) != 1)} to compare; give two or more"
        )
    for name, result in named.items():
        if is_formula(name):
            raise ProbeError(
                f"the name {name[:80]!r} would be a formula where a spreadsheet opens the tables; "
                "name the result otherwise"
            )
        if not isinstance(result, Result):
            raise ProbeError(
                f"{name!r} is a {type(result).__name__}; give what probe(...) or load_result(...) "
                "returned"
            )
    return named


def _one_of(what: str, name: str, there: Sequence[str]) -> str:
    if name in there:
        return name
    near = difflib.get_close_matches(name, there, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ProbeError(f"no {what} {name!r}; {hint or 'there are ' + ', '.join(there)}")


def _quantities(
    named: Mapping[str, Result], asked: str | Iterable[str] | None
) -> tuple[list[str], list[str], list[str]]:
    """The rungs that all results have, the quantities to compare, and what cannot be."""
    held = {name: set(result.axes["rung"]) for name, result in named.items()}
    order = [*RUNGS, *(r for result in named.values() for r in result.axes["rung"])]
    common = [rung for rung in dict.fromkeys(order) if all(rung in own for own in held.values())]

    def needs(quantity: str) -> set[str]:
        return set(READINGS[quantity].needs) if quantity in SHARES else {quantity}

    known = [*common, *(share for share in SHARES if needs(share) <= set(common))]
    if asked is None:
        wanted = [name for name in QUANTITIES if any(needs(name) <= own for own in held.values())]
        lost = [name for name in wanted if name not in known]
        notes = [f"not compared, since not every result has it: {', '.join(lost)}"] if lost else []
        return common, [name for name in wanted if name in known], notes
    chosen = list(dict.fromkeys([asked] if isinstance(asked, str) else asked))
    for name in chosen:
        _one_of("quantity", name, known)
    return common, chosen or known, []


def _along(
    along: Mapping[str, float] | Sequence[float] | None, names: Sequence[str]
) -> list[float] | None:
    """A number for every result."""
    if along is None:
        return None
    given: list[Any] = list(along)
    if isinstance(along, Mapping):
        given = [along.get(name) for name in names]
    if len(given) != len(names) or (isinstance(along, Mapping) and set(along) - set(names)):
        raise ProbeError(
            f"along has {len(along)} numbers for {len(names)} results; give one for each of "
            f"{', '.join(names)}"
        )
    for name, value in zip(names, given, strict=True):
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise ProbeError(f"along={value!r} of {name!r} must be a number, such as 1000")
    if len(set(given)) < len(given):
        raise ProbeError(f"along={given!r} repeats a number; give every result one of its own")
    return [float(value) for value in given]
