"""What makes results comparable: one plan for all of them, and layers that belong together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import pandas as pd

from ...errors import ProbeError
from ..options import Options
from ..result import Result

Layers = str | Iterable[str] | Mapping[str, str | Sequence[str] | Mapping[str, str]]

_SHAPE = ("channels", "rows", "columns", "jump_x", "jump_y")
_IMAGES = ("fit", "evaluation", "canvas", "source", "beyond_source", "fill")
# Options that change no number of a rung, or only whether it is there.
_FREE = (
    "batch_size", "memory", "resamples", "level", "channels", "ledger", "per_image",
)  # fmt: skip
# What may differ and still deserves a word.
_TOLD = (("images", "mean"), ("images", "std"), ("numerics", "dtype"), ("conventions", "recipes"))


def check_same_plan(results: Mapping[str, Result]) -> list[str]:
    """Refuse results of different plans; returns notes on what may differ and does.

    Raises ProbeError in one line that names the two results, the setting and both values.
    """
    notes: dict[str, None] = {}
    (first, one), *others = results.items()
    for name, other in others:
        for setting, a, b in _settings(one, other):
            if a != b:
                raise ProbeError(
                    f"{first!r} and {name!r} were not probed under one plan: {setting} is "
                    f"{_short(a)} in the one and {_short(b)} in the other; probe both the same way"
                )
        for part, key in _TOLD:
            a, b = (result.provenance.get(part, {}).get(key) for result in (one, other))
            if a != b:
                notes[f"{key} of {name} is {_short(b)}, that of {first} {_short(a)}"] = None
    return list(notes)


def pair_layers(
    results: Mapping[str, Result], layers: Layers | None = None
) -> tuple[dict[str, tuple[str, ...]], str, list[str]]:
    """Which layers of the results belong together: {label: a layer per result}, how, and notes.

    `layers` as `compare` takes them. How is "by name", "by order" or "as given".

    Raises ProbeError for unknown layers, and where neither names nor numbers of layers agree.
    """
    names = list(results)
    there = {name: result.axes["layer"] for name, result in results.items()}
    if isinstance(layers, Mapping):
        given = {label: _given(label, entry, names) for label, entry in layers.items()}
        if not given:
            raise ProbeError("layers={} pairs nothing; give for example {'early': ('conv1', 'a')}")
        for entry in given.values():
            for name, layer in zip(names, entry, strict=True):
                _known(layer, there[name], name)
        return given, "as given", []
    if layers is not None:
        asked = [layers] if isinstance(layers, str) else list(layers)
        for layer in asked:
            for name in names:
                _known(layer, there[name], name)
        return {layer: (layer,) * len(names) for layer in asked}, "by name", []
    common = [layer for layer in there[names[0]] if all(layer in own for own in there.values())]
    if common:
        alone = {name: [one for one in own if one not in common] for name, own in there.items()}
        notes = [
            f"layers of {name} without a namesake in every other result are left out: "
            f"{', '.join(left)}"
            for name, left in alone.items()
            if left
        ]
        return {layer: (layer,) * len(names) for layer in common}, "by name", notes
    counts = {name: len(own) for name, own in there.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} in {name!r}" for name, count in counts.items())
        raise ProbeError(
            f"no layer has the same name in all results, and their numbers differ ({told}); say "
            "which belong together with layers={label: a layer per result} (--match "
            "label=layer,layer)"
        )
    rows = list(zip(*there.values(), strict=True))
    paired = {_label(place, row): row for place, row in enumerate(rows, start=1)}
    note = "no layer has the same name in all results: layers are paired by their order"
    return paired, "by order", [note]


def parse_pairs(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Pairs from their text form, a label and a layer per result.

    Raises ProbeError for a text of another form and for a label that stands twice.

    >>> parse_pairs(["early=layer1,features.3"])
    {'early': ('layer1', 'features.3')}
    """
    read: dict[str, tuple[str, ...]] = {}
    for pair in texts:
        label, _, text = pair.partition("=")
        layers = tuple(layer.strip() for layer in text.split(","))
        if not label or not all(layers):
            raise ProbeError(
                f"--match {pair}: write a label and a layer per result, such as "
                "early=layer1,features.3"
            )
        if label in read:
            raise ProbeError(f"--match {pair}: there already is a pair called {label!r}")
        read[label] = layers
    return read


def pair_table(results: Mapping[str, Result], paired: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row per label and result: the layer, its place among those probed, size and jump."""
    rows: list[dict[str, Any]] = []
    for label, entry in paired.items():
        for (name, result), layer in zip(results.items(), entry, strict=True):
            own = result.axes["layer"]
            about = result.layers[result.layers["layer"] == layer]
            rows.append(
                {
                    "layer": label, "network": name, "network_layer": layer,
                    "place": own.index(layer) + 1, "of": len(own),
                    **{key: about[key].iloc[0] for key in _SHAPE if key in about and len(about)},
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _settings(one: Result, other: Result) -> Iterator[tuple[str, Any, Any]]:
    """(setting, value in the one, value in the other) of all that both must share."""
    images = [result.provenance.get("images", {}) for result in (one, other)]
    yield "sha256 of the images", *(part.get("sha256") for part in images)
    for key in _IMAGES:
        yield f"{key.replace('_', ' ')} of the images", *(part.get(key) for part in images)
    # Results of versions that had fewer options were probed with the defaults of the others.
    options = [
        {**Options(erode=0.0).to_dict(), **r.provenance.get("options", {})} for r in (one, other)
    ]
    for key in dict.fromkeys([*options[0], *options[1]]):
        if key not in _FREE:
            yield f"the option {key}", options[0].get(key), options[1].get(key)
    for axis, what in (("transform", "transformation"), ("image", "evaluation image")):
        pairs = zip_longest(one.axes[axis], other.axes[axis])
        for number, (a, b) in enumerate(pairs, start=1):
            if a != b:
                yield f"{what} {number}", a, b


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return "none" if value is None else repr(value)


def _given(label: str, entry: str | Sequence[str] | Mapping[str, str], names: list[str]) -> Any:
    """A layer per result from one entry of `layers`."""
    if isinstance(entry, str):
        return (entry,) * len(names)
    if isinstance(entry, Mapping):
        if set(entry) != set(names):
            raise ProbeError(
                f"layers[{label!r}] names {', '.join(entry) or 'nothing'}; "
                f"give a layer for each of {', '.join(names)}"
            )
        return tuple(entry[name] for name in names)
    if len(entry) != len(names):
        raise ProbeError(
            f"{label!r} pairs {len(entry)} layers ({', '.join(entry)}) of {len(names)} results; "
            f"give one for each of {', '.join(names)}, in this order"
        )
    return tuple(entry)


def _known(layer: str, there: Sequence[str], name: str) -> None:
    if layer not in there:
        near = difflib.get_close_matches(layer, there, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
        hint = hint or f"there are {', '.join(there[:8])}{', ...' if len(there) > 8 else ''}"
        raise ProbeError(f"no layer {layer!r} in {name!r}; {hint}")


def _label(place: int, layers: Sequence[str]) -> str:
    """A name for layers paired by order."""
    same = all(a == b for a, b in pairwise(layers))
    if len(layers) > 2 and not same:
        return f"{place}: {layers[0]}, ..."
    return " / ".join(dict.fromkeys(layers))
