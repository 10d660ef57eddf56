"""The viewer as a piece of a page, and as a page of its own: no network, no inline handlers."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ...probing.pictures.values import Bytes, LayerPictures, Pictures
from .labels import PANELS, RUNGS, Turn, turns
from .panels import contact_sheet
from .scales import limits
from .sheets import DIFFERENCES, MAPS, colours, input_sheet, jpeg, map_sheet

_LEVELS = (256, 64, 32)  # of brightness, in the order in which they are tried
_ROOM = 5_000_000  # bytes of frames above which the first of them is not tried
_SHEETS = 3_700_000  # bytes of sheets of maps that a page may hold
_CHOICES = {"image": "image", "layer": "layer", "channel": "channel", "turn": "transformation"}


@dataclass(frozen=True)
class Fragment:
    """A part of a page: `html` for its body; `css` and `js`, the same for every viewer, once."""

    html: str
    css: str
    js: str


def viewer_fragment(
    pictures: Pictures, *, autoplay: bool = False, label: str = "Viewer of feature maps"
) -> Fragment:
    """The interactive viewer of some pictures, to be put into a page.

    `html` holds the pictures as data, and a still figure for readers without scripts. `css` and
    `js` do not depend on the pictures: a page with several viewers needs them once. Nothing is
    loaded from outside, there are no inline styles or handlers, and names become text only, so a
    strict Content-Security-Policy needs no more than the two hashes or a nonce, and data: images.
    With `autoplay` it moves from the start, unless the reader's system asks for reduced motion;
    `label` names it to those who hear the page, and differs from that of a second one.
    """
    held = json.dumps(_data(pictures), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark in "<>&\u2028\u2029":  # no text may end the script element
        held = held.replace(mark, f"\\u{ord(mark):04x}")
    choices = "".join(
        f'<label class="ipv-choice" data-ipv-choice="{name}"><span>{text}</span>'
        f"<select></select></label>"
        for name, text in _CHOICES.items()
    )
    panels = "".join(_panel(name, text) for name, text in PANELS.items())
    rows = "".join(
        f'<tr data-ipv-rung="{rung}"><th scope="row"><span class="ipv-mark"></span>{escape(text)}'
        "</th><td></td><td></td></tr>"
        for rung, text in RUNGS.items()
    )
    start = ' data-ipv-autoplay="yes"' if autoplay else ""
    html = f"""<section class="ipv" data-ipv{start} aria-label="{escape(label)}">
<div class="ipv-app" hidden>
<div class="ipv-choices">{choices}</div>
<div class="ipv-slide">
<button type="button" class="ipv-play">Play</button>
<input type="range" class="ipv-slider" min="0" step="1" aria-label="transformation">
<span class="ipv-value" aria-hidden="true"></span>
</div>
<div class="ipv-body">
<div class="ipv-panels">{panels}</div>
<div class="ipv-side">
<table class="ipv-numbers">
<caption>Residual of this image <span class="ipv-at"></span></caption>
<thead><tr><td></td><th scope="col">all channels</th><th scope="col">this one</th></tr></thead>
<tbody>{rows}</tbody>
</table>
<svg class="ipv-curve" viewBox="0 0 260 120" role="img" aria-label="residual curves"></svg>
<p class="ipv-key">0: equal to the original's map; 1: no closer to it than each channel's mean.
The difference is map moved back − original's map. Cells that are not compared, because they look
outside the image under some transformation, are pale in the map moved back and hatched in the
difference.</p>
</div>
</div>
<p class="ipv-caption"></p>
<p class="ipv-source"></p>
<p class="ipv-live" aria-live="polite"></p>
</div>
<noscript>{_still(pictures)}</noscript>
<script type="application/json" class="ipv-data">{held}</script>
</section>
"""
    return Fragment(html, _file("viewer.css"), _file("viewer.js"))


def viewer_page(pictures: Pictures, *, title: str | None = None, autoplay: bool = True) -> str:
    """The viewer as one HTML file that works from disk and lets nothing be loaded or injected."""
    part = viewer_fragment(pictures, autoplay=autoplay)
    css = part.css + _file("page.css")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(css)}; script-src {_hash(part.js)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = escape(title or f"Feature maps of {pictures.network.partition(':')[0]}")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{head}</title>
<link rel="icon" href="data:,">
<style>{css}</style>
</head>
<body>
<main>
<h1>{head}</h1>
{part.html}</main>
<script>{part.js}</script>
</body>
</html>
"""


def _panel(name: str, text: str) -> str:
    bar = '<canvas class="ipv-bar" width="256" height="1" aria-hidden="true"></canvas>'
    scale = "" if name in ("input", "image") else f"{bar}<span></span><span></span>"
    return (
        f'<figure class="ipv-panel" data-ipv-panel="{name}"><figcaption>{escape(text)}</figcaption>'
        f'<canvas class="ipv-picture" role="img" aria-label="{escape(text)}"></canvas>'
        f'<div class="ipv-scale">{scale}</div></figure>'
    )


def _data(pictures: Pictures) -> dict[str, Any]:
    levels, layers = _fitting(pictures)
    frames = zip(pictures.images, pictures.originals, pictures.inputs, strict=True)
    return {
        "network": pictures.network,
        "data": pictures.data,
        "notes": pictures.notes,
        "size": pictures.inputs.shape[2:4],
        "images": [
            {"name": name, "sheet": input_sheet(original, inputs)}
            for name, original, inputs in frames
        ],
        "turns": [_turn(turn) for turn in turns(pictures)],
        "moves": len(pictures.transforms),
        "levels": levels,
        "layers": layers,
        "rungs": RUNGS,
        "panels": PANELS,
        "maps": base64.b64encode(colours(MAPS).tobytes()).decode(),
        "differences": base64.b64encode(colours(DIFFERENCES).tobytes()).decode(),
    }


def _fitting(pictures: Pictures) -> tuple[int, list[dict[str, Any]]]:
    """The layers in as many levels as a page of about 4 MB holds."""
    for levels in _LEVELS[pictures.nbytes > _ROOM :]:
        layers = [_layer(one, levels) for one in pictures.layers]
        if sum(len(s) for one in layers for row in one["sheets"] for s in row) <= _SHEETS:
            break
    return levels, layers


def _turn(turn: Turn) -> dict[str, Any]:
    steps = [{"index": s.index, "label": s.label, "spoken": s.spoken} for s in turn.steps]
    return {"kind": turn.kind, "loops": turn.loops, "start": turn.start, "steps": steps}


def _layer(one: LayerPictures, levels: int) -> dict[str, Any]:
    original, moved, back = (_coarse(f, levels) for f in (one.original, one.moved, one.back))
    images, channels = one.original.shape[:2]
    return {
        "name": one.layer,
        "size": one.cells.shape,
        "extent": one.extent,
        "block": one.block,
        "width": one.width,
        "channels": one.channels,
        "low": [_digits(value) for value in one.low],
        "high": [_digits(value) for value in one.high],
        "limits": [asdict(limits(one, k, levels)) for k in range(channels)],
        "cells": "".join("01"[int(cell)] for cell in one.cells.ravel()),
        "residuals": [
            [[[_digits(value) for value in row] for row in move] for move in image]
            for image in one.residuals.tolist()
        ],
        "sheets": [
            [map_sheet(original[n, k], moved[n, :, k], back[n, :, k])
             for k in range(channels)]
            for n in range(images)
        ],
    }  # fmt: skip


def _coarse(frames: Bytes, levels: int) -> Bytes:
    """The frames in fewer levels, from 0 to 255 as before."""
    if levels == 256:
        return frames
    table = np.rint(np.rint(np.arange(256) / 255 * (levels - 1)) / (levels - 1) * 255)
    return table.astype(np.uint8)[frames]


def _digits(value: float) -> float | None:
    """Five digits that matter; None for what is no number."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _still(pictures: Pictures) -> str:
    one, turn = pictures.layers[0], turns(pictures)[0]
    text = (
        f"Maps of layer {one.layer}, channel {one.channels[0]}, for the image {pictures.images[0]} "
        f"under transformations of kind {turn.kind}: input, its map, the map moved back, and its "
        "difference to the original's map. The interactive viewer needs scripts."
    )
    sheet = jpeg(contact_sheet(pictures))
    return f'<img class="ipv-still" src="{sheet}" alt="{escape(text)}"><p>{escape(text)}</p>'


@cache
def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
