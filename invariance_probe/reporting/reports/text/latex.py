"""Text for LaTeX: special characters escaped, the report's few symbols as commands."""

from __future__ import annotations

from ...tables.ladder import escape

_SYMBOLS = {
    "h⁻¹": "$h^{-1}$", "−": "$-$", "–": "--", "×": r"$\times$", "°": r"$^{\circ}$",
    "…": r"\ldots{}", "\u00a0": "~", "√": r"$\surd$", "“": "``", "”": "''", "Σ": r"$\Sigma$",
    "‖": r"$\Vert$", "μ": r"$\mu$", "²": "$^2$",
}  # fmt: skip


def latex(text: str) -> str:
    """Text as LaTeX; characters that no font of pdfTeX has are replaced by a question mark.

    >>> latex("conv_1 at 90° & 50 %")
    'conv\\\\_1 at 90$^{\\\\circ}$ \\\\& 50 \\\\%'
    """
    text = " ".join(escape(text).split(" "))
    for letters, command in _SYMBOLS.items():
        text = text.replace(letters, command)
    return "".join(
        letter
        if letter in "\n\t" or " " <= letter <= "~" or "\u00a1" <= letter <= "\u017f"
        else "?"
        for letter in text
    )
