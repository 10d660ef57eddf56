"""The page in a real browser: it opens from the disk, says nothing to the console, can be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, FLAGS, MARKS

from invariance_probe.reporting import report

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with all that a page may hold: figures, tables, viewer."""
    return report(runs, tmp_path_factory.mktemp("browser") / "report", viewer=True).as_uri()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page and fails if anything was said to the console or asked of the network."""
    said: list[str] = []
    contexts = []

    def go(**options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda request: said.append(request.url[:90])
                if not request.url.startswith(("file:", "data:")) else None)  # fmt: skip
        page.goto(address)
        return page

    yield go
    for context in contexts:
        context.close()
    assert said == []


def background(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_the_theme_follows_the_system_and_the_button(opened: Callable[..., Any]) -> None:
    page = opened(color_scheme="light")
    light = background(page)
    assert page.inner_text("#theme") == "Dark theme"
    page.click("#theme")
    dark = background(page)
    assert dark != light and page.inner_text("#theme") == "Light theme"
    page.reload()
    assert background(page) == dark, "the choice is kept"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert background(page) == light, "reached and pressed by keyboard"
    assert background(opened(color_scheme="dark")) == dark


def test_the_data_of_a_figure_open_and_download(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(accept_downloads=True)
    figure = page.locator("#figure-probe_ladder")
    assert not figure.is_visible()  # all rungs are for experts
    page.locator(".experts > summary").click()
    assert figure.is_visible() and not figure.locator("table").is_visible()
    figure.locator("summary").click()
    assert figure.locator("table").is_visible()
    with page.expect_download() as waiting:
        figure.locator("a[download]").click()
    waiting.value.save_as(tmp_path / "data.csv")
    assert (tmp_path / "data.csv").read_text(encoding="utf-8").startswith("layer,kind,over")


def test_the_slider_moves_the_pictures_of_the_report(opened: Callable[..., Any]) -> None:
    page = opened()
    page.wait_for_selector("[data-ipv-shown]")
    canvas = """document.querySelector('[data-ipv-panel="back"] .ipv-picture').toDataURL()"""
    page.locator(".ipv-slider").first.focus()
    page.keyboard.press("Home")
    page.wait_for_selector('[data-ipv-shown="0 0 0 0"]')
    before = page.evaluate(canvas)
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('[data-ipv-shown="0 0 0 1"]')
    page.wait_for_function(f"before => {canvas} !== before", arg=before)


def test_text_of_figures_can_be_found(opened: Callable[..., Any]) -> None:
    assert opened().locator("svg text", has_text="input aligned (floor)").count() > 0


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_the_page_does_not_scroll_sideways(opened: Callable[..., Any], width: int) -> None:
    page = opened(viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_prints(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(color_scheme="dark")
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert background(page) == "rgb(255, 255, 255)"
    assert not page.locator("#theme").is_visible()
    ink = "getComputedStyle(document.querySelector('.ipv')).color"
    assert page.evaluate(ink) == "rgb(28, 28, 28)", "dark on paper, in the viewer too"


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_obstacle_to_anybody(opened: Callable[..., Any], scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core here")
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True)
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    page.wait_for_selector("[data-ipv-shown]")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []


def test_figures_are_dark_in_the_dark(opened: Callable[..., Any]) -> None:
    """What is drawn in black on white is seen in light on dark, but for pixels of maps."""
    filters = {}
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        seen = "getComputedStyle(document.querySelector('#answer .paper svg')).filter"
        filters[scheme] = page.evaluate(seen)
    assert filters["light"] == "none" and filters["dark"].startswith("invert")
