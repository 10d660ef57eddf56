"""The viewer's page: whole without the network, safe with any name, and small."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from invariance_probe.reporting.viewer import viewer_fragment, viewer_page
from invariance_probe.reporting.viewer.labels import turns


class Page(HTMLParser):
    """Elements with their attributes, and texts by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} is not nested well"

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


def data_of(html: str) -> dict:
    found = re.search(
        r'<script type="application/json" class="ipv-data">(.*?)</script>', html, re.S
    )
    return json.loads(found[1])


def decoded(uri: str) -> np.ndarray:
    head, _, content = uri.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(BytesIO(base64.b64decode(content))))


def test_nothing_comes_from_outside_and_nothing_is_inline(hostile):
    part = viewer_fragment(hostile)
    text = viewer_page(hostile)
    page = Page(text)
    for tag, given in page.elements:
        assert not [name for name in given if name.startswith("on") or name == "style"], tag
        for name in ("src", "href"):
            assert (given.get(name) or "data:").startswith("data:")
    outside = re.sub(r'"http://www\.w3\.org/2000/svg"', "", part.js + part.css + part.html)
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", outside)
    assert "innerHTML" not in part.js and "eval" not in part.js
    assert part.css == viewer_fragment(hostile, autoplay=True).css


def test_the_policy_names_exactly_the_script_and_the_style_of_the_page(pictures):
    text = viewer_page(pictures)
    page = Page(text)
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "content" in a)
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    scripts = [s for s in re.findall(r"<script>(.*?)</script>", text, re.S)]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.S)
    for content in (*scripts, style):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert len(scripts) == 1


def test_hostile_names_stay_text(hostile):
    part = viewer_fragment(hostile)
    page = Page(part.html)
    scripts = [given for tag, given in page.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "class": "ipv-data"}]
    assert [tag for tag, given in page.elements if tag == "img"] == ["img"]  # the still figure
    assert not any("onerror" in given for _, given in page.elements)
    data = data_of(part.html)
    assert data["layers"][0]["name"] == hostile.layers[0].layer
    assert [image["name"] for image in data["images"]] == list(hostile.images)
    assert "\u2028" not in part.html
    title = viewer_page(hostile, title="<b>&")
    assert "<title>&lt;b&gt;&amp;</title>" in title


def test_the_data_are_the_pictures(pictures):
    data = data_of(viewer_fragment(pictures).html)
    assert data["size"] == [28, 28] and data["moves"] == 8 and data["levels"] == 256
    one, held = pictures.layers[0], data["layers"][0]
    sheet = decoded(held["sheets"][1][0]).reshape(-1, 20, 20)
    assert np.array_equal(sheet[0], one.original[1, 0])
    assert np.array_equal(sheet[1:9], one.moved[1, :, 0])
    assert np.array_equal(sheet[9:], one.back[1, :, 0])
    shown = decoded(data["images"][1]["sheet"]).reshape(-1, 28, 28)
    assert np.array_equal(shown[1:], pictures.inputs[1, ..., 0])
    assert held["cells"] == "".join(str(int(cell)) for cell in one.cells.ravel())
    residuals = np.array(held["residuals"], dtype=float)
    np.testing.assert_allclose(residuals, one.residuals, rtol=1e-4)
    assert held["residuals"][-1][0][-1] == [None] * 3
    assert held["channels"] == [3, 4] and held["width"] == 64
    for limits, low, high in zip(held["limits"], held["low"], held["high"], strict=True):
        assert low < high and 0 <= limits["low"] < limits["high"] <= 255 and limits["span"] > 0


def test_colour_scales_leave_out_the_outermost_cells_and_say_so(make_pictures):
    pictures = make_pictures(images=("one",), channels=1)
    one = pictures.layers[0]
    one.original[0, 0, :] = 100
    one.back[0, :, 0] = 100
    one.back[0, 0, 0, 10, 10] = 255  # a single cell of 9 frames
    one.moved[0, :, 0] = 100
    limits = data_of(viewer_fragment(pictures).html)["layers"][0]["limits"][0]
    assert (limits["low"], limits["high"]) == (68, 132)
    assert limits["above"] and limits["beyond"] and not limits["below"]
    unit = (one.high[0] - one.low[0]) / 255
    assert limits["span"] == pytest.approx(255 / 8 * unit)


def test_transformations_are_sorted_and_named(hostile, make_pictures):
    kinds = {turn.kind: turn for turn in turns(hostile)}
    assert list(kinds) == ["rotation", "scaling", "reflection"]
    assert [step.label for step in kinds["rotation"].steps] == ["0°", "30°", "60°", "90°"]
    assert not kinds["rotation"].loops
    labels = [(step.label, step.spoken) for step in kinds["scaling"].steps]
    assert labels[0] == ("× 0.5 (log₂ −1)", "factor 0.5")
    assert kinds["reflection"].steps[0].label == "reflection:90"
    around = turns(make_pictures("rotation:90 rotation:-180:135:45"))[0]
    assert around.loops and [step.value for step in around.steps][:2] == [-180, -135]
    assert around.steps[0].spoken == "180 degrees clockwise"
    assert [pic.index for pic in around.steps].count(0) == 1  # 90° is there once, where it belongs


def test_the_page_of_a_default_run_on_photographs_stays_small(make_pictures):
    """3 images, 4 layers, 6 channels, 24 angles, thumbnails of 128 px in colour."""
    pictures = make_pictures(
        "rotation:-180:180:15",
        {"stem": (56, 56), "layer1": (56, 56), "layer2": (28, 28), "layer3": (14, 14)},
        ("a", "b", "c"), 6, (128, 128), 3,
    )  # fmt: skip
    text = viewer_page(pictures)
    assert len(text.encode()) < 4.4e6
    held = data_of(text)
    assert held["levels"] in (32, 64)
    sheet = decoded(held["layers"][0]["sheets"][0][0]).reshape(-1, 56, 56)
    apart = np.abs(sheet[0].astype(int) - pictures.layers[0].original[0, 0])
    step = 255 / (held["levels"] - 1)
    assert 0 < apart.max() <= step / 2 + 0.5 and len(np.unique(sheet)) <= held["levels"]


def test_readers_without_scripts_get_a_figure(pictures):
    page = Page(viewer_fragment(pictures).html)
    (still,) = [given for tag, given in page.elements if tag == "img"]
    assert decoded(still["src"]).shape[1] > 700
    assert "layer conv1, channel 3" in still["alt"]
    assert any("needs scripts" in text for text in page.texts["p"])
