"""Digits as small grey pictures of one height: from fonts, and from MNIST."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..images.digits import embedded_digits

CELL = 32
INK_HEIGHT = 24

# Fonts that travel with matplotlib; those that an installation lacks are left out.
_FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)
_TRAINING_DIGITS = 8000


@dataclass(frozen=True, eq=False)
class Glyphs:
    """Digits whose ink is 24 pixels high, each in the middle of a cell of 32x32.

    Attributes
    ----------
    cells : (G, 1, 32, 32) float32 in [0, 1], 1 where ink is.
    widths : (G,) float32, width of the ink in pixels.
    fonts : (F, 10) int64, the cells of the digits 0 ... 9 of each font.
    written : ten index tensors, the handwritten cells of each digit.
    sha256 : hash of all this.
    """

    cells: Tensor
    widths: Tensor
    fonts: Tensor
    written: tuple[Tensor, ...]
    sha256: str


@lru_cache(maxsize=2)
def street_glyphs(train: bool) -> Glyphs:
    """Return the glyphs: the same fonts in both parts, but no handwritten digit in common.

    Training numbers use the first 8,000 digits of the package, test numbers the other 2,000.
    """
    drawn = [_font_digit(path, digit) for path in _font_files() for digit in range(10)]
    digits = embedded_digits()
    chosen = np.arange(len(digits))
    chosen = chosen[:_TRAINING_DIGITS] if train else chosen[_TRAINING_DIGITS:]
    pixels = (digits.batch(chosen)[:, 0] * 255).round().to(torch.uint8).numpy()
    cells, widths = zip(*(_cell(ink) for ink in [*drawn, *pixels]), strict=True)
    stack, wide = np.stack(cells), np.array(widths, dtype=np.float32)
    labels = torch.as_tensor(digits.labels)[chosen]
    return Glyphs(
        cells=torch.from_numpy(stack).float()[:, None] / 255,
        widths=torch.from_numpy(wide),
        fonts=torch.arange(len(drawn)).view(-1, 10),
        written=tuple(torch.nonzero(labels == d)[:, 0] + len(drawn) for d in range(10)),
        sha256=hashlib.sha256(stack.tobytes() + wide.tobytes()).hexdigest(),
    )


def _font_files() -> list[Path]:
    import matplotlib  # only for the place of its fonts

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = [folder / f"{name}.ttf" for name in _FONTS]
    return [file for file in files if file.is_file()]


def _font_digit(path: Path, digit: int) -> np.ndarray:
    # Drawn large and shrunk, so that hinting for small sizes plays no part.
    font = ImageFont.truetype(str(path), 96)
    image = Image.new("L", (192, 192))
    ImageDraw.Draw(image).text((48, 24), str(digit), fill=255, font=font)
    return np.asarray(image)


def _cell(ink: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the ink in the middle of a cell, its height made 24, and its width there."""
    rows, columns = (np.flatnonzero((ink > 32).any(axis=axis)) for axis in (1, 0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
    width = (box[2] - box[0]) * INK_HEIGHT / (box[3] - box[1])
    # Even, so that its centre is that of the cell.
    shown = min(max(2 * round(width / 2), 4), CELL - 2)
    # Handwritten digits that lie on their side are made as high as the others, no wider than fits.
    small = Image.fromarray(ink).resize((shown, INK_HEIGHT), Image.Resampling.BILINEAR, box=box)
    cell = Image.new("L", (CELL, CELL))
    cell.paste(small, ((CELL - shown) // 2, (CELL - INK_HEIGHT) // 2))
    return np.asarray(cell), float(shown)
