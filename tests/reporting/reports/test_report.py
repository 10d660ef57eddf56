"""The page, the Markdown and the paper's files: what they hold, and that they hold no more."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from invariance_probe import ProbeError
from invariance_probe.probing import Result
from invariance_probe.reporting import report, to_latex
from invariance_probe.reporting.reports.contents import as_json, content
from invariance_probe.reporting.reports.runs import as_runs
from invariance_probe.reporting.reports.text.methods import as_latex, paragraphs, summary

HOSTILE = "<script>alert('x')</script>&\"$\\frac{1}{0}$_"


@pytest.fixture(scope="module")
def folder(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reports") / "report"
    assert report([runs], place, paper=True) == place / "report.html"
    return place


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bad(probed: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a result whose names are markup."""
    return report(hostile(probed), tmp_path_factory.mktemp("bad") / "report").parent


@pytest.fixture(scope="module")
def small(make_result: Callable[..., Result]) -> Result:
    """A result with few tables and hardly any provenance."""
    return make_result("rotation:90", layers=("conv1",))


def hostile(result: Result) -> Result:
    """The same result, whose first layer and first image have names that are markup."""
    first = result.axes["layer"][0]
    swap = {first: HOSTILE}
    tables = {}
    for name in ("residuals", "summary", "alignments", "landscape", "layers", "channels",
                 "tuning", "composition", "bounds"):  # fmt: skip
        table = getattr(result, name)
        tables[name] = table.assign(layer=table["layer"].replace(swap)) if len(table) else table
    images = (f"{HOSTILE}.png", *result.axes["image"][1:])
    axes = dict(result.axes) | {"image": images}
    axes["layer"] = tuple(swap.get(name, name) for name in result.axes["layer"])
    extra = {
        name.replace(f"/{first}", f"/{HOSTILE}"): value for name, value in result.extra.items()
    }
    provenance = dict(result.provenance)
    provenance["network"] = dict(provenance["network"], name=HOSTILE, description=HOSTILE)
    provenance["warnings"] = [f"grid of {HOSTILE}: off"]
    return replace(result, **tables, axes=axes, extra=extra, provenance=provenance)


# --- the page -----------------------------------------------------------------------------------


def test_the_page_is_well_formed(page: str, read_tags: Any) -> None:
    tags = read_tags()
    tags.feed(page)
    assert not tags.wrong and not tags.open
    assert page.startswith("<!DOCTYPE html>")
    assert next(tags.named("html"))["lang"] == "en"


def test_headings_come_in_order(page: str, read_tags: Any) -> None:
    tags = read_tags()
    tags.feed(page)
    levels = [int(name[1]) for name, _ in tags.tags if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_ids_are_unique_and_every_reference_has_its_target(page: str, read_tags: Any) -> None:
    tags = read_tags()
    tags.feed(page)
    ids = [attributes["id"] for _, attributes in tags.tags if "id" in attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    wanted = set(re.findall(r"url\(#([^)]+)\)", page))
    for _, attributes in tags.tags:
        href = attributes.get("href") or ""
        if href.startswith("#"):
            wanted.add(href[1:])
        wanted |= set((attributes.get("aria-labelledby") or "").split())
    assert wanted <= set(ids)


def test_nothing_is_loaded_from_anywhere(page: str, read_tags: Any) -> None:
    tags = read_tags()
    tags.feed(page)
    assert not list(tags.named("link")) and not list(tags.named("iframe"))
    for name, attributes in tags.tags:
        for key, value in attributes.items():
            if key in ("src", "srcset", "data", "poster", "action", "xlink:href") or (
                key == "href" and name != "a"
            ):
                assert value and value.startswith(("data:", "#")), (name, key, value)
    links = [attributes["href"] or "" for attributes in tags.named("a")]
    outside = [link for link in links if not link.startswith(("#", "data:"))]
    assert outside
    assert all(re.match(r"https://(doi\.org|arxiv\.org/abs)/", link) for link in outside)
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.S))
    assert "url(" not in styles and "@import" not in styles


def test_the_page_keeps_to_its_own_policy(page: str, read_tags: Any) -> None:
    tags = read_tags()
    tags.feed(page)
    policy = next(a["content"] or "" for a in tags.named("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    for kind in ("style", "script"):
        for text in re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.S):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    for name, attributes in tags.tags:
        assert "style" not in attributes, name
        assert not [key for key in attributes if key.startswith("on")], name
        assert not str(attributes.get("href", "")).lower().startswith("javascript:")


def test_tables_have_scopes_and_figures_have_words(page: str, read_tags: Any) -> None:
    tags = read_tags()
    tags.feed(page)
    assert all(a.get("scope") in ("col", "row") for a in tags.named("th"))
    pictures = [a for a in tags.named("svg") if a.get("role") == "img"]
    assert len(pictures) >= 8
    assert all(len(a.get("aria-label") or "") > 20 for a in pictures)
    hidden = [a for a in tags.named("svg") if a.get("role") != "img"]
    assert all(a.get("aria-hidden") == "true" for a in hidden)


def test_text_in_figures_stays_text(page: str) -> None:
    assert re.search(r"<text[^>]*>conv2</text>", page)


def test_every_figure_carries_its_data(page: str, folder: Path) -> None:
    links = dict(re.findall(r'download="([^"]+)\.csv" href="data:[^,]+,([^"]+)"', page))
    shown = re.findall(r'<figure id="figure-([^"]+)"', page)
    assert set(links) == set(shown)
    ladder = pd.read_csv(io.BytesIO(base64.b64decode(links["probe_ladder"])))
    stored = pd.read_csv(folder / "paper" / "probe_ladder.csv")
    assert list(ladder.columns) == list(stored.columns)
    assert ladder["residual"].to_numpy() == pytest.approx(stored["residual"].to_numpy(), rel=1e-5)


def test_the_page_says_what_was_measured_on_what(page: str, probed: Result) -> None:
    said = re.sub(r"<[^>]+>", "", page)
    assert re.search(r"60 of \d+, seen at 28×28 pixels; 30 served", said)
    assert probed.provenance["network"]["state_sha256"] in said
    assert "Under a scaling by 1.5" in said
    assert "only the inverse movement" in said
    assert "MNIST" in said and "10.1109/5.726791" in said


def test_the_page_is_small(page: str) -> None:
    assert len(page.encode()) < 10_000_000


def test_hostile_names_are_shown_and_not_run(bad: Path, read_tags: Any) -> None:
    text = (bad / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text.lower()
    tags = read_tags()
    tags.feed(text)
    assert not tags.wrong and not tags.open
    assert len(list(tags.named("script"))) == 2
    assert any(HOSTILE in piece for piece in tags.texts)
    block = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S)
    assert block and "<" not in block[1] and "&" not in block[1]
    data = json.loads(block[1])
    assert HOSTILE in data["ladders"][0]["residuals"]
    markdown = (bad / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown


# --- JSON, Markdown, paper ----------------------------------------------------------------------


def test_the_same_results_give_the_same_bytes(small: Result, tmp_path: Path) -> None:
    first = report(small, tmp_path / "first", paper=True).parent
    second = report(small, tmp_path / "second", paper=True).parent
    files = [path for path in sorted(first.rglob("*")) if path.is_file()]
    assert len(files) > 15
    for path in files:
        assert (second / path.relative_to(first)).read_bytes() == path.read_bytes(), path.name


def test_the_order_in_which_results_are_given_does_not_matter(runs: Path) -> None:
    one, other = (as_runs(names) for names in ([runs], [runs / "oracle", runs / "probe"]))
    assert one.content_hash == other.content_hash
    assert [run.name for run in one.all] == [run.name for run in other.all] == ["probe", "oracle"]
    assert as_json(content(one)) == as_json(content(other))


def test_a_second_run_gives_the_same_tables_and_hash(
    config: Any, folder: Path, runs: Path, tmp_path: Path
) -> None:
    from invariance_probe.probing import run_config

    again = run_config(config)
    again.save(tmp_path / "probe")
    for path in sorted((runs / "probe").glob("*.csv")):
        assert (tmp_path / "probe" / path.name).read_bytes() == path.read_bytes(), path.name
    stored = json.loads((runs / "probe" / "hash.json").read_text())["content_hash"]
    assert again.content_hash == stored
    data = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert data["runs"]["probe"]["content_hash"] == stored


def test_nothing_in_the_files_tells_the_time(folder: Path) -> None:
    this_year = re.compile(r"20[2-9]\d-\d\d-\d\d|\d\d:\d\d:\d\d")
    for path in folder.rglob("*"):
        if path.suffix in (".html", ".md", ".json", ".tex", ".bib", ".csv"):
            text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", path.read_text(encoding="utf-8"))
            assert not this_year.search(text), path.name


def test_markdown_names_files_that_are_there(folder: Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert named and all((folder / name).is_file() for name in named)
    assert "## The answer" in text and "| inverse h⁻¹ |" in text


def test_every_figure_of_the_paper_comes_in_three_formats_with_data(folder: Path) -> None:
    paper = folder / "paper"
    with (paper / "figures.csv").open(encoding="utf-8") as file:
        listed = {row["name"]: float(row["width_mm"]) for row in csv.DictReader(file)}
    assert "probe_spread" in listed and "oracle" in listed
    for name, width in listed.items():
        assert width == 85
        with Image.open(paper / f"{name}.png") as pixels:  # 300 dots to an inch
            assert pixels.width == pytest.approx(85 / 25.4 * 300, abs=1)
        for suffix in ("pdf", "svg", "png", "csv"):
            assert (paper / f"{name}.{suffix}").stat().st_size > 0
    pdf = (paper / "probe_ladder.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf.replace(b"/Subtype /Type3", b"/Type3")


def test_latex_is_balanced_and_escaped(probed: Result) -> None:
    runs = as_runs(hostile(probed))
    tables = [to_latex(result, "rotation:90") for _, result in runs.probes]
    for source in (*tables, as_latex(paragraphs(runs)), as_latex(summary(runs))):
        text = re.sub(r"\\cite\{[^}]*\}|\\providecommand.*", "", source)
        text.encode("latin-1")
        bare = re.sub(r"\\.", "", re.sub(r"%.*", "", text.replace(r"\%", "")))
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0 and "_" not in bare and "#" not in bare
        if source in tables:
            rows = [line for line in text.splitlines() if line.endswith(r" \\")]
            assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
            assert r"\toprule" in text and r"\bottomrule" in text


def test_the_methods_name_every_setting_that_matters(folder: Path, probed: Result) -> None:
    text = (folder / "paper" / "methods.md").read_text(encoding="utf-8")
    assert re.search(r"60 of \d+, split once at random \(seed 0\) into 30", text)
    for wanted in ("28×28", "rotation:45", "bilinear",
                   "Student intervals", "95", "float32", "TF32 off", "nearest cell",
                   "a constant (0)", "[@miller1974jackknife]", "0.1307"):  # fmt: skip
        assert wanted in text, wanted
    assert json.loads((folder / "report.json").read_text())["content_hash"] in text
    tex = (folder / "paper" / "methods.tex").read_text(encoding="utf-8")
    keys = {key for group in re.findall(r"\\cite\{([^}]+)\}", tex) for key in group.split(",")}
    bib = (folder / "paper" / "references.bib").read_text(encoding="utf-8")
    assert keys and keys <= set(re.findall(r"@\w+\{([^,]+),", bib))


# --- what is refused ----------------------------------------------------------------------------


def test_a_folder_with_other_things_is_left_alone(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(ProbeError, match="holds files that are no result"):
        report(runs, tmp_path / "mine", overwrite=True)


def test_an_older_report_is_kept_unless_told(small: Result, tmp_path: Path) -> None:
    page = report(small, tmp_path / "report")
    first = page.read_bytes()
    with pytest.raises(ProbeError, match="is kept"):
        report(small, tmp_path / "report")
    page.write_text("an older one")
    assert report(small, tmp_path / "report", overwrite=True).read_bytes() == first
    assert b"no statement is made" not in first and b"12 evaluation images" in first


def test_nothing_but_the_identity_is_refused(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    with pytest.raises(ProbeError, match="nothing but the identity"):
        report(make_result("identity"), tmp_path / "report")


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="holds no result of a probe or an oracle"):
        report(tmp_path, tmp_path / "report")
    with pytest.raises(ProbeError, match="is no folder"):
        report(tmp_path / "nowhere", tmp_path / "report")
    with pytest.raises(ProbeError, match="no result to report on"):
        report([], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_the_same_result_twice_is_refused(runs: Path, probed: Result, tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="are the same result; give each once"):
        report([runs / "probe", probed], tmp_path / "report")


@pytest.mark.parametrize("part", ["", "probe", "oracle"])
def test_every_link_within_the_page_has_a_place(
    runs: Path, tmp_path: Path, read_tags: Any, part: str
) -> None:
    tags = read_tags()
    written = report(runs / part, tmp_path / "report", viewer=False)
    tags.feed(written.read_text(encoding="utf-8"))
    places = {held["id"] for tag in ("section", "div") for held in tags.named(tag) if "id" in held}
    links = {held["href"] or "" for held in tags.named("a")}
    within = {link.removeprefix("#") for link in links if link.startswith("#")}
    assert within and within <= places
