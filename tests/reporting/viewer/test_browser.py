"""The viewer in a real browser, from disk: it draws, slides, plays, and says nothing to the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import CHROMIUM, FLAGS, MARKS

from invariance_probe.reporting.viewer import viewer_fragment, viewer_page

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here")
pytestmark = MARKS


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        held = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield held
        held.close()


class Viewer:
    """An open page and what it said."""

    def __init__(self, browser: sync_api.Browser, path: Path, **context: object) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 900, "height": 900}, **context})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append("a dialog opened"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("[data-ipv-shown]")

    def shown(self, wanted: str) -> None:
        """Wait until "image layer channel transformation" are drawn."""
        self.page.wait_for_selector(f'[data-ipv-shown="{wanted}"]', timeout=5000)

    def pixels(self, panel: str) -> str:
        return self.page.eval_on_selector(
            f'[data-ipv-panel="{panel}"] .ipv-picture', "canvas => canvas.toDataURL()"
        )

    def value(self) -> str:
        return self.page.text_content(".ipv-value")

    def end(self) -> None:
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:"))] == []
        self.context.close()


@pytest.fixture
def opened(browser, tmp_path, pictures) -> Iterator[Viewer]:
    path = tmp_path / "viewer.html"
    path.write_text(viewer_page(pictures, autoplay=False), encoding="utf-8")
    viewer = Viewer(browser, path)
    yield viewer
    viewer.end()


def test_the_slider_moves_the_pictures(opened):
    page = opened.page
    slider = page.locator(".ipv-slider")
    assert opened.value() == "45°"
    names = ("input", "moved", "back", "difference", "original", "image")
    before = {name: opened.pixels(name) for name in names}
    slider.fill("6")
    opened.shown("0 0 0 6")
    assert opened.value() == "90°"
    assert slider.get_attribute("aria-valuetext") == "90 degrees counter-clockwise"
    after = {name: opened.pixels(name) for name in names}
    changed = {name for name in names if before[name] != after[name]}
    assert changed == {"input", "moved", "back", "difference"}
    slider.fill("4")
    opened.shown("0 0 0 4")
    middle = """canvas => [...canvas.getContext("2d").getImageData(
        canvas.width / 2, canvas.height / 2, 1, 1).data]"""
    colours = [
        page.eval_on_selector(f'[data-ipv-panel="{name}"] .ipv-picture', middle)
        for name in ("back", "original")
    ]
    assert colours[0] == colours[1]  # nothing moved


def test_keys_move_and_play(opened):
    page = opened.page
    page.focus(".ipv-slider")
    for key, wanted in (("ArrowRight", 6), ("ArrowLeft", 5), ("End", 7), ("ArrowRight", 0)):
        page.keyboard.press(key)
        opened.shown(f"0 0 0 {wanted}")  # a full turn has no end
    page.keyboard.press("End")
    opened.shown("0 0 0 7")
    page.keyboard.press("Home")
    opened.shown("0 0 0 0")
    page.keyboard.press("Space")
    assert page.text_content(".ipv-play") == "Pause"
    opened.shown("0 0 0 2")
    page.keyboard.press("Space")
    assert page.text_content(".ipv-play") == "Play"
    still = opened.value()
    page.wait_for_timeout(400)
    assert opened.value() == still
    page.focus(".ipv-play")
    page.keyboard.press("Space")  # the button's own key, once
    assert page.text_content(".ipv-play") == "Pause"
    page.click(".ipv-play")
    assert page.text_content(".ipv-play") == "Play"


def test_choices_and_numbers(opened, pictures):
    page = opened.page
    page.select_option('[data-ipv-choice="image"] select', "1")
    page.select_option('[data-ipv-choice="layer"] select', label="conv2")
    page.select_option('[data-ipv-choice="channel"] select', label="4 (of 0 to 63)")
    opened.shown("1 1 1 5")
    residuals = pictures.layers[1].residuals[1, 5]
    for rung, name in enumerate(("unaligned", "inverse", "input_aligned")):
        cells = page.locator(f'[data-ipv-rung="{name}"] td').all_text_contents()
        assert cells == [f"{residuals[0, rung]:.2f}", f"{residuals[2, rung]:.2f}"]
    worst = pictures.layers[1].residuals[1, :, 0, 1]
    assert f"reaches {worst.max():.2f} over" in page.text_content(".ipv-caption")
    page.locator(".ipv-slider").fill("0")
    assert page.locator('[data-ipv-rung="inverse"] td').all_text_contents()[1] == "–"
    page.wait_for_selector(".ipv-live:has-text('residual')", state="attached")
    label = page.get_attribute('[data-ipv-panel="back"] .ipv-picture', "aria-label")
    assert label == "map moved back: conv2, channel 4, 180 degrees clockwise"


def test_dragging_turns(opened):
    box = opened.page.locator(".ipv-panels").bounding_box()
    y = box["y"] + 60
    opened.page.mouse.move(box["x"] + 20, y)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 20 + box["width"] / 4, y, steps=4)
    opened.shown("0 0 0 7")
    opened.page.mouse.up()
    opened.page.mouse.move(box["x"] + 20, y)
    assert opened.value() == "135°"


def test_it_plays_from_the_start_unless_less_motion_is_asked_for(browser, tmp_path, pictures):
    path = tmp_path / "viewer.html"
    path.write_text(viewer_page(pictures), encoding="utf-8")
    for motion, label in (("no-preference", "Pause"), ("reduce", "Play")):
        viewer = Viewer(browser, path, reduced_motion=motion)
        assert viewer.page.text_content(".ipv-play") == label
        viewer.end()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_telephone(browser, tmp_path, hostile, scheme):
    path = tmp_path / "viewer.html"
    path.write_text(viewer_page(hostile, autoplay=False), encoding="utf-8")
    viewer = Viewer(browser, path, viewport={"width": 360, "height": 700}, color_scheme=scheme)
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 360
    back = viewer.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}[scheme]
    names = viewer.page.locator('[data-ipv-choice="layer"] option').all_text_contents()
    assert names == [hostile.layers[0].layer]  # shown, not executed
    viewer.page.select_option('[data-ipv-choice="turn"] select', label="reflection")
    viewer.shown("0 0 0 7")
    assert viewer.page.is_disabled(".ipv-slider") and viewer.page.is_disabled(".ipv-play")
    viewer.end()


def test_two_viewers_share_a_page(browser, tmp_path, pictures, hostile):
    first, second = viewer_fragment(pictures), viewer_fragment(hostile)
    assert first.js == second.js and first.css == second.css
    path = tmp_path / "both.html"
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><style>{first.css}</style>'
        f"<script>{first.js}</script>{first.html}{second.html}",
        encoding="utf-8",
    )
    viewer = Viewer(browser, path)
    page = viewer.page
    page.locator(".ipv-slider").nth(1).fill("1")
    page.wait_for_selector('[data-ipv]:nth-of-type(2)[data-ipv-shown="0 0 0 1"]')
    assert page.locator(".ipv-value").all_text_contents() == ["45°", "30°"]
    viewer.end()


def test_without_scripts_the_figure_stands_there(browser, tmp_path, pictures):
    path = tmp_path / "viewer.html"
    path.write_text(viewer_page(pictures), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.is_visible(".ipv-still") and not page.is_visible(".ipv-slider")
    context.close()


def test_a_click_on_the_curve_goes_there(opened):
    box = opened.page.locator(".ipv-curve").bounding_box()
    for share, wanted in ((0.99, 7), (24 / 260, 0), ((24 + 230 * 3 / 7) / 260, 3)):
        opened.page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        opened.shown(f"0 0 0 {wanted}")


def test_a_view_has_an_address_that_leads_back_to_it(opened, browser, tmp_path):
    opened.page.locator(".ipv-slider").fill("6")
    opened.shown("0 0 0 6")
    layers = opened.page.locator('[data-ipv-choice="layer"] select')
    layers.select_option(index=1)
    opened.shown("0 1 0 6")
    address = opened.page.url
    assert "image=1&layer=" in address and address.endswith("angle=90")
    other = browser.new_page()
    other.goto(address)
    other.wait_for_selector('[data-ipv-shown="0 1 0 6"]', timeout=5000)
    assert other.locator('[data-ipv-choice="layer"] select').input_value() == "1"
    other.goto(address.replace("angle=90", "angle=-90"))
    other.wait_for_selector('[data-ipv-shown="0 1 0 2"]', timeout=5000)
    other.goto(address.partition("#")[0] + "#image=99&layer=nobody&angle=1e9")
    other.wait_for_selector('[data-ipv-shown^="0 0 0"]', timeout=5000)  # what there is
    other.close()
