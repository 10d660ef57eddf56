"""The methods paragraph: every setting that matters, in the words of a paper."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...._limits import is_real
from ....probing import OracleResult, Result
from ....probing.options import stored_level
from ...select import kinds_of
from ...tables.escaping import markdown_text, one_row
from ...tables.latex import latex
from ..runs import Runs
from .bibliography import EVERY
from .wording import joined, moves_phrase

_FAMILIES = {
    "rotation": "rotations",
    "similarity": "similarities",
    "affine": "affine transformations",
}
# Marks that no name of a network or of images holds.
_OPEN, _CLOSE = "\ue000", "\ue001"
_CITATION = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_BREAK = "\n\n"  # between paragraphs, and in no sentence
_NAMES = {entry.key: entry.names for entry in EVERY}


def as_markdown(text: str) -> str:
    """`paragraphs` or `summary` in Markdown, with citations as pandoc reads them: [@key]."""
    return _cited_as(text, lambda keys: "[" + "; ".join(f"@{k}" for k in keys) + "]", markdown_text)


def as_latex(text: str) -> str:
    r"""`paragraphs` or `summary` in LaTeX, with \cite, set loosely enough for narrow columns."""
    body = _cited_as(text, lambda keys: rf"\cite{{{','.join(keys)}}}", latex)
    return f"\\begin{{sloppypar}}\n{body}\\end{{sloppypar}}\n"


def as_text(text: str) -> str:
    """`paragraphs` or `summary` with authors and years, where no list of works stands below."""
    return _cited_as(text, lambda keys: f"({'; '.join(_NAMES[key] for key in keys)})", str)


def _cited_as(text: str, cite: Callable[[list[str]], str], escaped: Callable[[str], str]) -> str:
    shown = [
        cite([key.strip() for key in part.split(",")])
        if place % 2
        else _each_paragraph(part, escaped)
        for place, part in enumerate(_CITATION.split(text))
    ]
    return "".join(shown).rstrip() + "\n"


def _each_paragraph(text: str, escaped: Callable[[str], str]) -> str:
    return _BREAK.join(map(escaped, text.split(_BREAK)))


def paragraphs(runs: Runs) -> str:
    """Every setting that matters, with marks where works are cited; see `as_text` and others."""
    out: list[str] = []
    for sentences in _grouped(runs):
        out.append(one_row(" ".join(sentences)))
    note = f", {runs.hash_note}" if runs.hash_note else ""
    tail = (
        f"The content hash of these results (SHA-256) is {runs.content_hash}{note}; "
        "a stored result is checked and replayed by invariance-probe verify."
    )
    return _BREAK.join([*out, tail]) + "\n"


def summary(runs: Runs) -> str:
    """What a paper has room for: one paragraph of about 120 words, without settings as code."""
    provenances = [run.result.provenance for run in runs.all]
    networks = joined(_each(_part(p, "network").get("name") or "the network" for p in provenances))
    pictures = [_part(p, "images") for p in provenances]
    known = [i for i in pictures if i.get("description") and i.get("number")]
    images = joined(_each(f"{_described(i)} ({i['number']})" for i in known))
    probed, oracles = (
        _each(phrase for _, result in results for phrase in kinds_phrases(result))
        for results in (runs.probes, runs.oracles)
    )
    moves = joined(probed or oracles or ["the identity"])
    options = [_part(p, "options") for p in provenances]
    levels = joined(_each(f"{100 * stored_level(p):g}" for p in provenances))
    out = [
        f"Following the theory of spatial transformers "
        f"{_cited('finnveden2021understanding', 'jansson2020inability')}, we measured with "
        f"invariance_probe {_cited('invariance_probe')} whether moving the feature maps of "
        f"{networks} can undo {moves} of the input.",
        f"The images{images and f', {images},'} were split at random for fitting and evaluation.",
    ]
    if runs.probes:
        out += [
            "A layer's residual is the squared difference between the transformed image's maps, "
            "moved back by the inverse, and the original's, relative to their variance, over the "
            "evaluation images and the cells that stay inside under all transformations.",
            "It is read between a floor, the image moved back before the network, and a ceiling, "
            "another image.",
        ]
        fitted = any(o.get("channels", True) for o in options)
        maps = f"Maps between channels {_cited('kuhn1955hungarian', 'schonemann1966procrustes')}"
        out.append(
            f"{maps} and the best movement were fitted on the other images."
            if fitted
            else "The best movement was searched on the other images."
        )
    if runs.oracles:
        out.append("An oracle moved one layer's maps back before the classifier went on.")
    out.append(f"Intervals ({levels} %) are over images {_cited('miller1974jackknife')}.")
    return one_row(" ".join(out)) + "\n"


def kinds_phrases(result: Result | OracleResult) -> list[str]:
    """What a result's transformations are called, a phrase for each kind but the identity."""
    if isinstance(result, OracleResult):
        moves = result.accuracy.drop_duplicates("transform")
        kinds = list(dict.fromkeys(moves["kind"]))
    else:
        moves = result.summary.drop_duplicates("transform")
        kinds = kinds_of(result)
    moves = moves[~moves["identity"].astype(bool)]
    out = []
    for kind in kinds:
        own = moves[moves["kind"] == kind]
        if len(own):
            phrase = moves_phrase(
                kind, list(own["transform"]), [float(v) for v in own["parameter"]]
            )
            out.append(phrase.replace("mean over ", ""))
    return out


def onto_canvas(images: Mapping[str, Any]) -> str:
    """How images came to the canvas, in a sentence; "" where nothing was done, or is not known."""
    source, canvas = images.get("source"), images.get("canvas")
    if not source or not canvas:
        return ""
    whole = f"{source[0]}×{source[1]} pixels"
    inner = f"; the canvas is the middle {canvas[0]}×{canvas[1]} of it" if source != canvas else ""
    if images.get("resized"):
        around = ", and what lies around that comes in where images turn" if inner else ""
        return (
            f"Each was resized, anti-aliased and in proportion, until it covered {whole}, and "
            f"cropped to its centre{inner}{around}."
        )
    return f"Each has {whole}{inner}." if inner else ""


def _each(words: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(map(str, words)))


def _grouped(runs: Runs) -> list[list[str]]:
    """One paragraph per different set-up; the transformations of all that share one together."""
    groups: dict[str, tuple[list[str], int, Mapping[str, Any], list[str], bool, bool]] = {}
    for run in runs.all:
        provenance = run.result.provenance
        head = " ".join(_setup(provenance))
        entry = groups.setdefault(head, ([], 0, provenance, [], False, False))
        axis = run.result.axes["transform"]
        moves = joined(_moves(provenance) or list(axis))
        layers = [name for name in dict.fromkeys(run.result.axes["layer"]) if name != "input"]
        oracle = isinstance(run.result, OracleResult)
        groups[head] = (
            [*entry[0], f"{moves} ({'oracle' if oracle else 'probe'})"],
            entry[1] + len(axis),
            provenance,
            list(dict.fromkeys([*entry[3], *layers])),
            entry[4] or not oracle,
            entry[5] or oracle,
        )
    return [
        [
            head,
            _counted("The transformation", moves, number)
            + _counted("; the layer", layers, len(layers))
            + ".",
            *(_probe_methods(provenance) if probed else []),
            *(_oracle_methods() if classified else []),
            *_numerics(provenance),
        ]
        for head, (moves, number, provenance, layers, probed, classified) in groups.items()
    ]


def _counted(noun: str, names: list[str], number: int) -> str:
    """A clause that names one thing or several."""
    verb = (" was" if number == 1 else "s were") if noun.startswith("The") else "s" * (number != 1)
    return f"{noun}{verb} {joined(names)}"


def _moves(provenance: Mapping[str, Any]) -> list[str]:
    config = provenance.get("config") or {}
    if isinstance(config, Mapping) and config.get("transforms"):
        return str(config["transforms"]).replace(";", " ").split()
    texts = [str(text) for text in provenance.get("transforms") or []]
    return texts if len(texts) <= 6 else [f"{texts[0]} to {texts[-1]} ({len(texts)} in all)"]


def _setup(provenance: Mapping[str, Any]) -> list[str]:
    network, images = _part(provenance, "network"), _part(provenance, "images")
    options, software = _part(provenance, "options"), _part(provenance, "software")
    name = f" was {network['name']}" if network.get("name") else ", whose name is not recorded, was"
    told = f" ({_described(network)})" if network.get("description") else ""
    known = "," if network.get("name") else ""
    weights = str(network.get("state_sha256") or "")[:16]
    version = f" {software['version']}" if software.get("version") else ""
    out = [
        "Whether a spatial transformation of feature maps can undo an image transformation h was "
        f"measured with invariance_probe{version} "
        f"{_cited('invariance_probe')}, following the theory of spatial transformers "
        f"{_cited('finnveden2021understanding', 'jansson2020inability')}.",
        f"The network{name}{told}{known} evaluated without training it further; the SHA-256 of its "
        f"weights {f'begins with {weights}' if weights else 'is not recorded'}.",
    ]
    out.append(_pictures(images, options))
    beyond = images.get("beyond_source")
    if beyond == "fill":
        fill = ", ".join(f"{float(value):g}" for value in images.get("fill") or [])
        out.append(f"Beyond the images' edge lay a constant ({fill}), set before normalisation.")
    elif beyond:
        out.append("Beyond the images' edge lay their reflection.")
    mean, std = (", ".join(f"{v:.4g}" for v in images.get(k) or []) for k in ("mean", "std"))
    if mean and std:
        out.append(f"After warping, images were normalised by mean {mean} and deviation {std}.")
    kernel = options.get("image_interpolation", "bilinear")
    cubic = f" {_cited('keys1981cubic')}" if kernel == "bicubic" else ""
    out.append(
        f"Images were warped by {kernel} interpolation{cubic}, anti-aliased when they shrink."
    )
    return out


def _pictures(images: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Which images, how split and how large, as far as the result says."""
    number, there = images.get("number"), images.get("available")
    if number and there not in (None, number):
        number = f"{number} of {there}"
    said = f"The images were {_described(images) or 'not described'}" + (
        f": {number}" if number else ""
    )
    if images.get("fit") and images.get("evaluation"):
        seed = f" (seed {options['seed']})" if "seed" in options else ""
        said += (
            f", split once at random{seed} into {images['fit']} for fitting and "
            f"{images['evaluation']} for evaluation"
        )
    if canvas := images.get("canvas"):
        said += f", seen on a canvas of {canvas[0]}×{canvas[1]} pixels"
    return f"{said}."


def _described(part: Mapping[str, Any]) -> str:
    """A description that stands within a sentence."""
    return str(part.get("description") or "").rstrip(". ")


def _margin(erode: object) -> str:
    if erode == "auto":
        return (
            ", as far from its edge as the layer's maps were found to change when images were "
            "shifted under it"
        )
    return f", {erode:g} pixels or more from its edge" if isinstance(erode, float) and erode else ""


def _left(provenance: Mapping[str, Any]) -> str:
    """How many cells that leaves, layer by layer."""
    said = []
    for name, one in _part(_part(provenance, "conventions"), "cells").items():
        valid, whole, margin = (
            _number(_part({"": one}, ""), k) for k in ("valid", "all", "margin")
        )
        said.append(f"{valid} of {whole} of {name}" + f" ({margin} pixels)" * (margin != "0"))
    return f": {joined(said)}" if said else ""


def _finer(provenance: Mapping[str, Any]) -> list[str]:
    """On which grids maps were taken that were moved, where not on the layers' own."""
    held = _part(_part(provenance, "conventions"), "dense")
    factors = {name: _number(_part(held, name), "factor") for name in held}
    said = [f"{factor} times finer at {name}" for name, factor in factors.items() if factor != "1"]
    if not said:
        return []
    return [
        f"Maps that were moved were taken on a finer grid ({joined(said)}), by showing the network "
        "the images shifted by fractions of the distance of neighbouring cells; the search used "
        "the layers' own."
    ]


def _number(part: Mapping[str, Any], key: str) -> str:
    value = part.get(key)
    return f"{value:g}" if is_real(value, -math.inf, math.inf) else "?"


def _probe_methods(provenance: Mapping[str, Any]) -> list[str]:
    options = _part(provenance, "options")
    kernel = options.get("map_interpolation", "bilinear")
    family = _FAMILIES.get(
        str(options.get("family")),
        "the smallest of similarities and affine transformations that holds the inverse",
    )
    margin = _margin(options.get("erode"))
    out = [
        f"Feature maps were warped in the grid frame measured on the network, by {kernel} "
        "interpolation without anti-aliasing, the nearest cell standing in beyond the edge, and "
        "compared with those of the original on the cells that stay inside the image under all "
        f"transformations of the run{margin}{_left(provenance)}.",
        *_finer(provenance),
        "The residual is the sum of squared differences over the evaluation images, divided by the "
        "original's sum of squares about the channel means.",
    ]
    if options.get("weighting") == "channel":
        out.append("Each channel was divided by its deviation on the fit half first.")
    out.append(
        "It is read between a floor, the maps of the image aligned before the network, and a "
        "ceiling, the maps of another image."
    )
    out.append(
        "The best alignment is one for all images, searched on the fit half over "
        f"{family}{_covered(options)}; the best of them were refined to second order on the maps' "
        "second moments."
    )
    if options.get("per_image"):
        out.append("A best alignment of every evaluation image by itself was searched as well.")
    if options.get("channels", True):
        out.append(
            "After alignment by the inverse, channels were matched by the best permutation "
            f"{_cited('kuhn1955hungarian')}, the best orthogonal map "
            f"{_cited('schonemann1966procrustes')} and a "
            "linear map (ridge about the orthogonal one), all fitted on the fit half."
        )
    return out


def _covered(options: Mapping[str, Any]) -> str:
    """Where the search began, and which alignments counted in it."""
    least: Any = options.get("least_coverage")
    if not is_real(least, 0, math.inf):  # of a version that tried no places
        return ": a coarse grid of angles and scales, the identity and the inverse"
    return (
        f" that read at least {100 * least:g} % of the compared cells on the map: a coarse grid of "
        "angles, scales and places, either way round, the identity and the inverse"
    )


def _oracle_methods() -> list[str]:
    return [
        "For the oracle, the classifier saw the transformed image while one layer's maps were "
        "replaced by those moved back by the known inverse, and by those with their channels "
        "mapped too."
    ]


def _numerics(provenance: Mapping[str, Any]) -> list[str]:
    numerics = _part(provenance, "numerics")
    versions = _part(provenance, "versions")
    level = 100 * stored_level(provenance)
    packages = [f"{name} {versions[name]}" for name in ("python", "torch", "numpy", "scipy")
                if versions.get(name)]  # fmt: skip
    out = [
        f"Intervals are {level:g} % Student intervals over the evaluation images from jackknife "
        f"pseudo-values {_cited('miller1974jackknife')}; of proportions they are Wilson's "
        f"{_cited('wilson1927')}."
    ]
    if numerics:
        out.append(
            f"Forward passes ran in {numerics.get('dtype', '?')} on {numerics.get('device', '?')} "
            f"with TF32 {'on' if numerics.get('tf32') else 'off'}; sums in "
            f"{numerics.get('sums', 'float64')}."
        )
    if packages:
        out.append(f"Versions: {', '.join(packages)} {_cited('paszke2019pytorch')}.")
    return out


def _part(provenance: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = provenance.get(name)
    return value if isinstance(value, Mapping) else {}


def _cited(*keys: str) -> str:
    return f"{_OPEN}{', '.join(keys)}{_CLOSE}"
