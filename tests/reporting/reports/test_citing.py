"""Citations: the tool's own agree with CITATION.cff, and a run cites what it used and no more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import invariance_probe
from invariance_probe import ProbeError, __version__
from invariance_probe._version import __released__
from invariance_probe.reporting.reports.text.bibliography import (
    ARCHITECTURES,
    DATA,
    METHODS,
    THEORY,
)
from invariance_probe.reporting.reports.text.citing import as_bibtex, cite, used

CFF = (Path(__file__).resolve().parents[3] / "CITATION.cff").read_text(encoding="utf-8")
ALL = [*THEORY, *METHODS.values(), *DATA.values(), *ARCHITECTURES.values()]


def keys(**provenance: Any) -> set[str]:
    return {entry.key for entry in used([provenance])}


def test_the_citation_agrees_with_the_citation_file() -> None:
    text = cite()
    assert __version__ in text and f"version: {__version__}" in CFF
    for title in re.findall(r'(?m)^    title: "(.+)"$', CFF):
        assert title.lower() in text.lower().replace("{", "").replace("}", "")
    for arxiv in re.findall(r'"arXiv:([\d.]+)"', CFF):
        assert arxiv in cite("bibtex")
    for name in re.findall(r"family-names: (\w+)", CFF):
        assert name in text
    for number in re.findall(r"(?m)^    (?:start|end|volume): (\d+)$", CFF):
        assert number in cite("bibtex")
    for doi in re.findall(r'doi: "(.+)"', CFF):
        assert f"{{{doi}}}" in cite("bibtex")
    assert 'name: "The invariance_probe developers"' in CFF
    assert f"date-released: {__released__}\n" in CFF and __released__[:4] in cite("text")
    assert invariance_probe.cite("bibtex") == cite("bibtex")


def test_another_style_is_refused() -> None:
    with pytest.raises(ProbeError, match="style='ris' is not known; use 'text' or 'bibtex'"):
        cite("ris")


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.key)
def test_entries_are_well_formed(entry: Any) -> None:
    text = entry.bibtex
    assert re.match(r"@\w+\{\w+,\n", text) and text.endswith("\n}")
    assert text.count("{") == text.count("}")
    assert {"author", "title", "year"} <= set(entry.fields)
    assert re.match(r"https://(doi\.org/10\.\d{4,}/|arxiv\.org/abs/\d{4}\.\d{4,5}$)", entry.url)
    assert "\\" not in entry.text and "{" not in entry.text


def test_keys_are_unique() -> None:
    names = re.findall(r"@\w+\{(\w+),", as_bibtex(ALL))
    assert len(names) == len(set(names))


def test_the_theory_is_always_cited() -> None:
    assert {entry.key for entry in THEORY} <= keys()


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("resnet18", {"he2016deep"}),
        ("timm:convnext_tiny", {"liu2022convnet", "wightman2019timm"}),
        ("my_resnet.zoo:resnet", set()),
        ("mnist_cnn", set()),
    ],
)
def test_architectures_are_cited_when_used(network: str, expected: set[str]) -> None:
    known = {entry.key for entry in ARCHITECTURES.values()} | {"wightman2019timm"}
    assert keys(config={"network": network}) & known == expected


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("MNIST test digits", {"lecun1998gradient"}),
        ("FashionMNIST test images", set()),
        ("photographs", set()),
        ("ImageNet validation", {"russakovsky2015imagenet"}),
    ],
)
def test_data_are_cited_when_used(images: str, expected: set[str]) -> None:
    known = {entry.key for entry in DATA.values()}
    assert keys(images={"description": images}) & known == expected


def test_methods_are_cited_when_used() -> None:
    assert "keys1981cubic" not in keys(options={"map_interpolation": "bilinear"})
    assert "keys1981cubic" in keys(options={"map_interpolation": "bicubic"})
    assert "kuhn1955hungarian" not in keys(options={"channels": False})
    assert "kuhn1955hungarian" in keys(options={"channels": True})
