"""Formulas of the site become MathML, whatever is between them stays."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("latex2mathml")
HOOK = Path(__file__).resolve().parents[1] / "docs" / "formulas.py"


def test_formulas_are_shown_without_a_script() -> None:
    spec = importlib.util.spec_from_file_location("formulas", HOOK)
    assert spec is not None and spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    page = r'<p>if <span class="arithmatex">\(a &lt; b\)</span>, <code>\(x\)</code></p>'
    page += r'<div class="arithmatex">\[\frac{1}{2}\]</div>'
    shown = hook.on_page_content(page)
    assert shown.count("<math") == 2 and 'display="block"' in shown
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in shown
    assert r"<code>\(x\)</code>" in shown and "arithmatex" not in shown
