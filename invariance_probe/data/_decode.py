"""One photograph: what its header says, and its pixels resized and cropped to a common size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..errors import ProbeError
from ._sizes import Size

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


@dataclass(frozen=True)
class Header:
    """What a file says about its image before the pixels are decoded."""

    size: Size  # upright (rows, columns)
    channels: int  # 1 for grey modes, 3 for all others (palettes included)


def read_header(path: Path, shown: str) -> Header:
    """Return size and channel count without decoding; ProbeError names the file as `shown`."""
    try:
        with Image.open(path) as image:
            columns, rows = image.size
            # PNG's own method decodes the whole image first, in search of a late chunk.
            late = image.format == "PNG"
            exif = Image.Image.getexif(image) if late else image.getexif()
            turned = exif.get(_ORIENTATION) in _TURNED
            grey = image.mode in _GREY
    except MemoryError:
        raise
    # Pillow's readers raise nearly any exception on damaged files.
    except Exception as error:
        raise unreadable(shown, error) from error
    return Header((columns, rows) if turned else (rows, columns), 1 if grey else 3)


def read_pixels(path: Path, shown: str, size: Size, channels: int) -> np.ndarray:
    """Return (C, rows, columns) uint8: upright, without alpha, resized to cover, centre-cropped."""
    try:
        with Image.open(path) as image:
            upright = _eight_bit(ImageOps.exif_transpose(image), image.format)
        flat = _on_white(upright).convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(_cover(flat, size))
    except MemoryError:
        raise
    except Exception as error:
        raise unreadable(shown, error) from error
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def damage(error: Exception) -> str:
    """What is wrong with an image, in few words: Pillow's readers raise nearly any exception."""
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "no known image format" if "cannot identify image file" in detail else detail


def unreadable(shown: str, error: Exception) -> ProbeError:
    """The error for an image file that cannot be decoded."""
    return ProbeError(
        f"'{shown}' cannot be read as an image ({damage(error)}); repair it, or take it out of the "
        "folder"
    )


def _eight_bit(image: Image.Image, kind: str | None) -> Image.Image:
    """Bring 16-bit grey images to 8 bits by their full range; Pillow's conversion clips them."""
    deep = image.mode.startswith("I;16") or (image.mode == "I" and kind != "TIFF")
    if deep:
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray(((values + 128) // 257).clip(0, 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}: its range is not known; save it with 8 or 16 bits")
    return image


def _on_white(image: Image.Image) -> Image.Image:
    """Put transparent images on white, as a page would show them."""
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image
    # Pillow has no direct way from these two to RGBA.
    through = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    layered = (image.convert(through) if through else image).convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _cover(image: Image.Image, size: Size) -> Image.Image:
    """Resize (anti-aliased) until the size is just covered, and cut its centre out."""
    rows, columns = size
    factor = max(rows / image.height, columns / image.width)
    if factor == 1:
        # Whole pixels, no resampling.
        left, top = (image.width - columns) // 2, (image.height - rows) // 2
        return image.crop((left, top, left + columns, top + rows))
    width = min(float(image.width), columns / factor)
    height = min(float(image.height), rows / factor)
    x, y = (image.width - width) / 2, (image.height - height) / 2
    # A box in source coordinates: resizing and cropping in one step, centred to the sub-pixel.
    box = (x, y, x + width, y + height)
    return image.resize((columns, rows), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
