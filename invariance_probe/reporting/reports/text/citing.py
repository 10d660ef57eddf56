"""How to cite: the package, the theory it measures, and what a run used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ....errors import ProbeError
from .bibliography import ARCHITECTURES, DATA, METHODS, THEORY, TIMM, TOOL, Entry


def cite(style: str = "text") -> str:
    """How to cite this package and the theory it measures, as "text" or "bibtex".

    Raises ProbeError for another style.

    >>> "invariance_probe developers" in cite() and "@misc{invariance_probe," in cite("bibtex")
    True
    """
    if style not in ("text", "bibtex"):
        raise ProbeError(f"style={style!r} is not known; use 'text' or 'bibtex'")
    return as_bibtex((TOOL, *THEORY)) if style == "bibtex" else as_text((TOOL, *THEORY))


def as_bibtex(entries: Iterable[Entry]) -> str:
    """Entries as the content of a .bib file."""
    return "\n\n".join(entry.bibtex for entry in entries) + "\n"


def as_text(entries: Iterable[Entry]) -> str:
    """Entries as lines of text with their addresses."""
    return "".join(f"{entry.text} {entry.url}".rstrip() + "\n" for entry in entries)


def used(provenances: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """The package, the theory, and the works that the runs of these provenances used."""
    entries = [TOOL, *THEORY, METHODS["jackknife"], METHODS["wilson"], METHODS["pytorch"]]
    for provenance in provenances:
        options = _mapping(provenance.get("options"))
        if options.get("channels", True):
            entries += [METHODS["hungarian"], METHODS["procrustes"]]
        if "bicubic" in (options.get("map_interpolation"), options.get("image_interpolation")):
            entries.append(METHODS["bicubic"])
        entries += _of_network(provenance)
        entries += _of_images(provenance)
    return _unique(entries)


def _unique(entries: Iterable[Entry]) -> list[Entry]:
    return list({entry.key: entry for entry in entries}.values())


def _of_network(provenance: Mapping[str, Any]) -> list[Entry]:
    config = _mapping(provenance.get("config"))
    network = _mapping(provenance.get("network"))
    asked = str(config.get("network") or network.get("name") or "").lower()
    library, colon, name = asked.partition(":")
    name = name if colon else asked
    found = [TIMM] if library == "timm" and colon else []
    if library not in ("", "timm", asked):  # a factory of the user's: its name says nothing
        return found
    return found + [entry for word, entry in ARCHITECTURES.items() if name.startswith(word)]


def _of_images(provenance: Mapping[str, Any]) -> list[Entry]:
    config = _mapping(provenance.get("config"))
    images = _mapping(provenance.get("images"))
    said = f"{images.get('description', '')} {config.get('images', '')}".lower()
    # Fashion-MNIST and the like are other people's work.
    words = said.replace("fashion-mnist", "").replace("fashionmnist", "").replace("kmnist", "")
    words = words.replace("qmnist", "").replace("emnist", "")
    return [entry for word, entry in DATA.items() if word in words]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
