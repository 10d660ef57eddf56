"""Figures as SVG inside a page: no style attributes, no foreign ids, words for screen readers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(source: bytes, name: str, label: str) -> str:
    """An SVG file as an element of a page.

    `name` begins every id, so that several figures in one page do not share any. Styles become
    attributes, which a strict content security policy allows. `label` is what the picture says.
    """
    root = ET.fromstring(source)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style", "script"):
                parent.remove(child)
    for element in root.iter():
        _plain_style(element)
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key.rpartition("}")[2] == "href" and value.startswith("#"):
                del element.attrib[key]
                element.set("href", f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))
            elif key == f"{{{_XLINK}}}href":
                del element.attrib[key]
                element.set("href", value)
    # What matplotlib's removed style sheet said of all elements.
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    width = root.attrib.pop("width", "0").removesuffix("pt")
    root.attrib.pop("height", None)
    root.attrib |= {"role": "img", "aria-label": label, "width": f"{float(width) * 4 / 3:.0f}"}
    ET.register_namespace("", _SVG)
    return _without_namespaces(ET.tostring(root, encoding="unicode"))


def _plain_style(element: ET.Element) -> None:
    """Declarations of a style attribute as attributes of their own."""
    style = element.attrib.pop("style", "")
    for declaration in re.split(r";(?![^(]*\))", style):
        key, _, value = declaration.partition(":")
        key, value = key.strip(), value.strip()
        if key == "font":  # the shorthand has no attribute: "8px 'DejaVu Sans', sans-serif"
            found = re.search(r"(\S+px)\s+(.+)", value)
            if found:
                element.set("font-size", found[1])
                element.set("font-family", found[2])
        elif key and key not in ("-webkit-transform", "image-rendering"):
            element.set(key, value)


def _without_namespaces(text: str) -> str:
    """HTML knows the namespace of svg by itself."""
    return re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", re.sub(r"</?(\w+):", _tag, text))


def _tag(match: re.Match[str]) -> str:
    return match[0].replace(f"{match[1]}:", "")
