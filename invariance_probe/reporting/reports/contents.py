"""What a report says, before it is set: the same content for page, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..._version import __version__
from ...errors import ProbeError
from ...probing import OracleResult, Result
from ...probing.ladder.shares import OF_INVERSE, described
from ...probing.options import stored_level
from ...probing.rungs import CEILING, FLOOR
from ..tables.ladder import ladder_table
from ..tables.oracle import TREATMENTS, main_measure, oracle_table
from .runs import Runs
from .text.bibliography import Entry
from .text.citing import used
from .text.headline import headline
from .text.methods import as_text, kinds_phrases, onto_canvas, paragraphs
from .text.numbers import Estimate, KindNumbers, OracleNumbers, kind_numbers, oracle_numbers
from .text.pitfalls import Pitfall, pitfalls
from .text.story import (
    answer,
    caveats,
    channel_sentence,
    oracle_sentence,
    search_sentence,
)
from .text.wording import joined, plural

Numbers = TypeVar("Numbers", KindNumbers, OracleNumbers)


@dataclass(frozen=True)
class LadderRow:
    """A rung over the layers of a ladder."""

    rung: str
    title: str
    meaning: str
    cells: tuple[Estimate, ...]


@dataclass(frozen=True)
class Ladder:
    """The rungs (rows) of every layer under one kind of transformation."""

    over: str
    run: str
    layers: tuple[str, ...]
    rows: tuple[LadderRow, ...]

    def band(self, place: int) -> tuple[float, float]:
        """Floor and ceiling of a layer, NaN where there are none."""
        ends = {row.rung: row.cells[place].value for row in self.rows}
        return ends.get(FLOOR, float("nan")), ends.get(CEILING, float("nan"))

    @property
    def top(self) -> float:
        """The largest residual, for bars."""
        values = [
            cell.value for row in self.rows if row.rung not in OF_INVERSE for cell in row.cells
            if np.isfinite(cell.value)
        ]  # fmt: skip
        return max(values, default=1.0) or 1.0


@dataclass(frozen=True)
class Treatments:
    """An oracle's measure: treatments (columns) of layers (rows) under one kind."""

    over: str
    run: str
    measure: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Estimate, ...]], ...]


@dataclass(frozen=True)
class Part:
    """What one run stands on: name, facts as (what, value), full provenance as JSON text."""

    name: str
    kind: str
    content_hash: str
    facts: tuple[tuple[str, str], ...]
    provenance: str


@dataclass(frozen=True)
class Content:
    """Everything that a report says."""

    title: str
    version: str
    what: tuple[str, ...]
    headline: str
    answer: tuple[str, ...]
    caveats: tuple[str, ...]
    kinds: tuple[KindNumbers, ...]
    oracles: tuple[OracleNumbers, ...]
    ladders: tuple[Ladder, ...]
    search: tuple[str, ...]
    channels: tuple[str, ...]
    treatments: tuple[Treatments, ...]
    treated: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    pitfalls: tuple[Pitfall, ...]
    parts: tuple[Part, ...]
    methods: str
    references: tuple[Entry, ...]
    content_hash: str
    hash_note: str


def content(runs: Runs) -> Content:
    """What there is to say about the results of a report.

    Raises ProbeError where nothing but the identity was measured.
    """
    by_run = [(name, result, kind_numbers(result)) for name, result in runs.probes]
    kinds = _told_apart([(name, numbers) for name, _, found in by_run for numbers in found])
    oracles = _told_apart(
        [(name, numbers) for name, result in runs.oracles for numbers in oracle_numbers(result)]
    )
    if not kinds and not oracles:
        raise ProbeError(
            "these results hold nothing but the identity, under which there is nothing to report; "
            "probe other transformations"
        )
    measured: list[KindNumbers | OracleNumbers] = [*kinds, *oracles]
    provenances = [run.result.provenance for run in runs.all]
    levels = [stored_level(p) for p in provenances]
    images = [numbers.images for numbers in measured]
    name = joined(list(dict.fromkeys(_network(p) for p in provenances)))
    found = [plural(numbers.kind) for numbers in measured]
    return Content(
        title=f"Alignment of feature maps: {name} under {joined(list(dict.fromkeys(found)))}",
        version=__version__,
        what=tuple(_what(runs)),
        headline=headline(kinds, oracles),
        answer=tuple(answer(kinds, oracles)),
        caveats=tuple(caveats(kinds, levels, images)),
        kinds=tuple(kinds),
        oracles=tuple(oracles),
        ladders=tuple(
            ladder for run, result, some in by_run if some for ladder in _ladders(run, result)
        ),
        search=tuple(filter(None, map(search_sentence, kinds))),
        channels=tuple(filter(None, map(channel_sentence, kinds))),
        treatments=tuple(t for run, result in runs.oracles for t in _treatments(run, result)),
        treated=tuple(map(oracle_sentence, oracles)),
        refused=tuple(
            (str(row["layer"]), str(row["reason"]))
            for _, result in runs.oracles
            for _, row in result.inadmissible.iterrows()
        ),
        pitfalls=tuple(pitfalls([(run.name, run.result) for run in runs.all], kinds)),
        parts=tuple(
            Part(
                run.name,
                "oracle" if isinstance(run.result, OracleResult) else "probe",
                run.content_hash,
                tuple(_facts(run.result.provenance)),
                json.dumps(dict(run.result.provenance), indent=2, sort_keys=True,
                           ensure_ascii=False),
            )
            for run in runs.all
        ),
        methods=as_text(paragraphs(runs)),
        references=tuple(used(provenances)),
        content_hash=runs.content_hash,
        hash_note=runs.hash_note,
    )  # fmt: skip


def _told_apart(named: Sequence[tuple[str, Numbers]]) -> list[Numbers]:
    """Numbers that say which run they are of, where several runs hold a kind."""
    held = [numbers.kind for _, numbers in named]
    several = len(set(held)) < len(held)
    return [replace(numbers, where=f"“{name}”") if several else numbers for name, numbers in named]


def _what(runs: Runs) -> list[str]:
    """What was measured on what, in plain sentences; said once where all runs agree."""
    said: dict[str, None] = {}
    phrases: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for run in runs.all:
        provenance = run.result.provenance
        network, images = _part(provenance, "network"), _part(provenance, "images")
        layers = [name for name in dict.fromkeys(run.result.axes["layer"]) if name != "input"]
        told = f": {network['description']}" if network.get("description") else ""
        size = network.get("parameters")
        size_said = f"; {size:,} parameters" if isinstance(size, int) else ""
        weights = str(network.get("state_sha256") or "")[:12]
        hash_said = f", SHA-256 of the weights begins with {weights}" if weights else ""
        said[f"The network is {_network(provenance)}{told}{size_said}{hash_said}."] = None
        canvas = images.get("canvas")
        seen = f", seen at {canvas[0]}×{canvas[1]} pixels" if canvas else ""
        halves = f"{images.get('fit', '?')} served to find alignments and to fit maps, and every "
        halves += f"number reported is of the other {len(run.result.axes['image'])}"
        described = images.get("description", "images that the result does not describe")
        said[f"The images are {described}: {_count(images)}{seen}; {halves}."] = None
        if brought := onto_canvas(images):
            said[brought] = None
        oracle = isinstance(run.result, OracleResult)
        phrases.setdefault((oracle, tuple(layers)), []).extend(kinds_phrases(run.result))
    for (oracle, names), moves in phrases.items():
        what = "The classifier was tried under" if oracle else "Features were compared under"
        where = f"{len(names)} layers" if len(names) > 1 else "one layer"
        said[f"{what} {joined(moves)}, at {where}: {joined(names)}."] = None
    return list(said)


def _ladders(run: str, result: Result) -> list[Ladder]:
    table = ladder_table(result)
    return [
        Ladder(
            str(over),
            run,
            tuple(result.axes["layer"]),
            tuple(
                LadderRow(rung, *described(rung), _cells(rows, rung, result))
                for rung in dict.fromkeys(rows["rung"])
            ),
        )
        for over, rows in table.groupby("over", sort=False)
    ]


def _cells(rows: pd.DataFrame, rung: str, result: Result) -> tuple[Estimate, ...]:
    own = rows[rows["rung"] == rung].set_index("layer")[["residual", "low", "high"]]
    return tuple(Estimate(*map(float, own.loc[layer])) for layer in result.axes["layer"])


def _treatments(run: str, result: OracleResult) -> list[Treatments]:
    measure = main_measure(result)
    table = oracle_table(result)
    table = table[table["measure"] == measure]
    layers = [name for name in dict.fromkeys(result.axes["layer"]) if name != "input"]
    out = []
    for over, rows in table.groupby("over", sort=False):
        own = rows.set_index(["layer", "treatment"])[["value", "low", "high"]]
        values = zip(own.index, own.to_numpy(), strict=True)
        cells = {key: Estimate(*map(float, ends)) for key, ends in values}
        out.append(
            Treatments(
                str(over), run, measure, tuple(TREATMENTS.values()),
                tuple(
                    (
                        layer,
                        tuple(
                            cells.get((layer, name), cells.get(("input", name), _MISSING))
                            for name in TREATMENTS
                        ),
                    )
                    for layer in layers
                ),
            )
        )  # fmt: skip
    return out


_MISSING = Estimate(float("nan"), float("nan"), float("nan"))


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The provenance that a reader looks for first."""
    network, images = _part(provenance, "network"), _part(provenance, "images")
    options, numerics = _part(provenance, "options"), _part(provenance, "numerics")
    versions, software = _part(provenance, "versions"), _part(provenance, "software")
    moves = [str(text) for text in provenance.get("transforms", [])]
    shown = ", ".join(moves) if len(moves) <= 6 else f"{moves[0]} … {moves[-1]} ({len(moves)})"
    family = options.get("family") or "smallest that holds the inverse"
    facts = [
        ("network", f"{network.get('name', '?')}; {network.get('description', '')}".rstrip("; ")),
        ("weights, SHA-256", str(network.get("state_sha256") or "not recorded")),
        ("checkpoint, SHA-256", str(network.get("checkpoint_sha256") or "none")),
        ("images", f"{images.get('description', '?')}: {_count(images)} "
                   f"({images.get('fit', '?')} fit, {images.get('evaluation', '?')} evaluation)"),
        ("images, SHA-256", str(images.get("sha256") or "not recorded")),
        ("transformations", shown),
        ("canvas, beyond it", f"{images.get('canvas', '?')}, {images.get('beyond_source', '?')}"),
        ("interpolation", f"images {options.get('image_interpolation', '?')}, maps "
                          f"{options.get('map_interpolation', '?')}"),
        ("weighting, family", f"{options.get('weighting', '?')}, {family}"),
        ("level, seed", f"{options.get('level', '?')}, {options.get('seed', '?')}"),
        ("device", f"{numerics.get('device', '?')} ({numerics.get('device_name', '?')}), "
                   f"{numerics.get('dtype', '?')}, TF32 {'on' if numerics.get('tf32') else 'off'}"),
        ("versions", ", ".join(f"{name} {value}" for name, value in
                               [("invariance_probe", software.get("version", "?")),
                                *sorted(versions.items())])),
    ]  # fmt: skip
    return [(what, value) for what, value in facts]


def _count(images: Mapping[str, Any]) -> str:
    """How many images were used, of how many, where it was not all."""
    number, there = images.get("number", "?"), images.get("available")
    return f"{number} of {there}" if there not in (None, number) else str(number)


def _network(provenance: Mapping[str, Any]) -> str:
    return str(_part(provenance, "network").get("name") or "the network")


def _part(provenance: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = provenance.get(name)
    return value if isinstance(value, Mapping) else {}


def as_json(said: Content) -> str:
    """The report for machines: answer, numbers and hashes, the same bytes for the same results."""
    values = {
        "title": said.title,
        "content_hash": said.content_hash,
        "runs": {part.name: {"kind": part.kind, "content_hash": part.content_hash}
                 for part in said.parts},
        "what": said.what,
        "headline": said.headline,
        "answer": said.answer,
        "caveats": said.caveats,
        "ladders": [_ladder_json(ladder) for ladder in said.ladders],
        "oracle": [_treatments_json(one) for one in said.treatments],
        "pitfalls": [{"title": one.title, "seen": one.seen} for one in said.pitfalls],
        "methods": said.methods,
        "software": {"name": "invariance_probe", "version": said.version},
    }  # fmt: skip
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _ladder_json(ladder: Ladder) -> dict[str, Any]:
    return {
        "run": ladder.run,
        "transformations": ladder.over,
        "residuals": {
            layer: {row.rung: _ends(row.cells[number]) for row in ladder.rows}
            for number, layer in enumerate(ladder.layers)
        },
        "floor": FLOOR,
        "ceiling": CEILING,
    }


def _treatments_json(one: Treatments) -> dict[str, Any]:
    return {
        "run": one.run,
        "transformations": one.over,
        "measure": one.measure,
        "values": {
            layer: dict(zip(TREATMENTS, map(_ends, cells), strict=True))
            for layer, cells in one.rows
        },
    }


def _ends(estimate: Estimate) -> list[float | None]:
    values: Sequence[float] = (estimate.value, estimate.low, estimate.high)
    return [value if np.isfinite(value) else None for value in values]
