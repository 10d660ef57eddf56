"""CITATION.cff follows version 1.2.0 of its format, and says what the package says.

The format's schema lists what is required and allowed; the part of it that the file uses is written
out here, since the validators on PyPI pin old releases of what they stand on.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import invariance_probe

ROOT = Path(__file__).resolve().parents[1]
DOI = r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-\.\(\)\[\]\\]+"

REQUIRED = {"authors", "cff-version", "message", "title"}
ALLOWED = REQUIRED | {
    "abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license",
    "license-url", "preferred-citation", "references", "repository", "repository-artifact",
    "repository-code", "type", "url", "version",
}  # fmt: skip
PERSON = {
    "address", "affiliation", "alias", "city", "country", "email", "family-names", "fax",
    "given-names", "name-particle", "name-suffix", "orcid", "post-code", "region", "tel", "website",
}  # fmt: skip
ENTITY = {
    "address", "alias", "city", "country", "date-end", "date-start", "email", "fax", "location",
    "name", "orcid", "post-code", "region", "tel", "website",
}  # fmt: skip
REFERENCE_TYPES = {
    "art", "article", "audiovisual", "bill", "blog", "book", "catalogue", "conference",
    "conference-paper", "data", "database", "dictionary", "edited-work", "encyclopedia",
    "film-broadcast", "generic", "government-document", "grant", "hearing", "historical-work",
    "legal-case", "legal-rule", "magazine-article", "manual", "map", "multimedia", "music",
    "newspaper-article", "pamphlet", "patent", "personal-communication", "proceedings", "report",
    "serial", "slides", "software", "software-code", "software-container", "software-executable",
    "software-virtual-machine", "sound-recording", "standard", "statute", "thesis", "unpublished",
    "video", "website",
}  # fmt: skip
REFERENCE = {
    "abbreviation", "abstract", "authors", "collection-title", "conference", "copyright",
    "data-type", "database", "date-accessed", "date-published", "date-released", "department",
    "doi", "edition",
    "editors", "end", "entry", "identifiers", "institution", "isbn", "issn", "issue", "journal",
    "keywords", "languages", "license", "loc-end", "loc-start", "location", "medium", "month",
    "notes", "number", "pages", "pmcid", "publisher", "repository", "repository-code", "scope",
    "section", "start", "status", "term", "thesis-type", "title", "type", "url", "version",
    "volume", "year",
}  # fmt: skip
MONTHS_YEARS = {"month": range(1, 13), "year": range(1000, 3000)}


def problems(page: dict[str, Any], version: str) -> list[str]:
    """What in a citation file is against the format, one line each; empty for a valid file."""
    return [*_head(page, version), *_body(page, "the file")] + [
        line
        for place, reference in enumerate(_references(page), start=1)
        for line in [*_reference(reference, f"reference {place}")]
    ]


def _references(page: dict[str, Any]) -> list[Any]:
    preferred = page.get("preferred-citation")
    return [*page.get("references", []), *([preferred] if preferred else [])]


def _head(page: dict[str, Any], version: str) -> Iterator[str]:
    for key in sorted(REQUIRED - page.keys()):
        yield f"the file lacks {key}"
    for key in sorted(page.keys() - ALLOWED):
        yield f"the file has {key!r}, which the format does not know"
    if page.get("cff-version") != "1.2.0":
        yield f"cff-version is {page.get('cff-version')!r}, not '1.2.0' as text"
    if str(page.get("version")) != version:
        yield f"version is {page.get('version')!r}, the package's is {version!r}"
    if page.get("type", "software") not in ("software", "dataset"):
        yield f"type is {page['type']!r}, not software or dataset"


def _reference(reference: dict[str, Any], where: str) -> Iterator[str]:
    for key in sorted({"authors", "title", "type"} - reference.keys()):
        yield f"{where} lacks {key}"
    for key in sorted(reference.keys() - REFERENCE):
        yield f"{where} has {key!r}, which the format does not know"
    if reference.get("type") not in REFERENCE_TYPES:
        yield f"{where} has the type {reference.get('type')!r}"
    for key, allowed in MONTHS_YEARS.items():
        if key in reference and reference[key] not in allowed:
            yield f"{where} has {key} {reference[key]!r}"
    yield from _body(reference, where)


def _body(part: dict[str, Any], where: str) -> Iterator[str]:
    """What the file as a whole and a reference have in common."""
    for key in ("title", "message", "abstract", "license", "journal", "notes"):
        if key in part and not (isinstance(part[key], str) and part[key].strip()):
            yield f"{where}: {key} is {part[key]!r}, not text"
    authors = part.get("authors")
    if "authors" in part and not (isinstance(authors, list) and authors):
        yield f"{where}: authors are {authors!r}, not a list"
    elif authors:
        for author in authors:
            known = ENTITY if "name" in author else PERSON
            if not author or author.keys() - known:
                yield f"{where}: author {author!r} is neither a person nor an entity"
            orcid = author.get("orcid", "https://orcid.org/0000-0000-0000-0000")
            if not re.fullmatch(r"https://orcid\.org/(\d{4}-){3}\d{3}[\dX]", orcid):
                yield f"{where}: orcid {orcid!r}"
    for key in ("date-released", "date-published", "date-accessed"):
        if key in part and type(part[key]) is not datetime.date:
            yield f"{where}: {key} is {part[key]!r}, not a date YYYY-MM-DD"
    if "doi" in part and not re.fullmatch(DOI, str(part["doi"])):
        yield f"{where}: doi {part['doi']!r} is not of the form 10.NNNN/..."
    for key in ("url", "repository", "repository-code", "repository-artifact", "license-url"):
        if key in part and not re.fullmatch(r"(https?|s?ftp)://[^\s/]+\.\S+", str(part[key])):
            yield f"{where}: {key} {part[key]!r} is no URL"
    words = part.get("keywords", [""])
    if len(set(words)) != len(words):
        yield f"{where}: keywords repeat"
    for identifier in part.get("identifiers", []):
        kind, value = identifier.get("type"), str(identifier.get("value", ""))
        extra = identifier.keys() - {"type", "value", "description"}
        if kind not in ("doi", "url", "swh", "other") or not value or extra:
            yield f"{where}: identifier {identifier!r}"
        if kind == "doi" and not re.fullmatch(DOI, value):
            yield f"{where}: identifier {value!r} is no DOI"
        if value.startswith("arXiv:") and not re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", value):
            yield f"{where}: identifier {value!r} is no number of arXiv"


@pytest.fixture()
def page() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_file_is_valid(page: dict[str, Any]) -> None:
    assert problems(page, invariance_probe.__version__) == []


def test_the_license_is_the_package_s(page: dict[str, Any]) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'license = "{page["license"]}"' in project


def test_arxiv_numbers_and_links_agree(page: dict[str, Any]) -> None:
    for reference in page["references"]:
        for identifier in reference.get("identifiers", []):
            if identifier["value"].startswith("arXiv:"):
                number = identifier["value"].removeprefix("arXiv:")
                assert reference["url"] == f"https://arxiv.org/abs/{number}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cff-version": 1.2}, "cff-version is 1.2"),
        ({"message": None}, "message is None"),
        ({"titel": "x"}, "'titel'"),
        ({"version": "9.9.9"}, "the package's is"),
        ({"date-released": "2026-02-30"}, "not a date YYYY-MM-DD"),
        ({"authors": []}, "not a list"),
        ({"authors": [{"name": "A", "family-names": "B"}]}, "neither a person nor an entity"),
        ({"doi": "https://doi.org/10.5281/zenodo.1"}, "not of the form"),
        ({"url": "arxiv.org/abs/1"}, "is no URL"),
        ({"keywords": ["a", "a"]}, "keywords repeat"),
        ({"references": [{"type": "paper", "title": "T", "authors": [{"name": "A"}]}]}, "type"),
        ({"references": [{"type": "article", "title": "T"}]}, "reference 1 lacks authors"),
        ({"identifiers": [{"type": "other", "value": "arXiv:20041.1"}]}, "no number of arXiv"),
    ],
)
def test_a_mistake_is_found(page: dict[str, Any], change: dict[str, Any], said: str) -> None:
    found = problems({**page, **change}, invariance_probe.__version__)
    assert any(said in line for line in found), found
