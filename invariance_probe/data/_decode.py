"""One photograph: what its header says, and its pixels resized and cropped to a common size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .._foreign import HEAD, foreign
from ..errors import ProbeError
from ._sizes import Size

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width

# The content decides the format, not the name, and not every reader of Pillow is harmless: the one
# of PostScript starts another program. HEIF is there where a plugin has registered it.
_FORMATS = (
    *("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF"),
    "TGA",  # last: it has no mark of its own
)

Opener = Callable[[], BinaryIO]


class Damaged(ProbeError):
    """An image that cannot be decoded, however often it is tried; `reason` in few words."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Header:
    """What a file says about its image before the pixels are decoded."""

    size: Size  # upright (rows, columns)
    channels: int  # 1 for grey modes, 3 for all others (palettes included)


def read_header(opener: Opener, shown: str, home: str = "folder") -> Header:
    """Return size and channel count without decoding.

    Raises Damaged, naming the image as `shown` in its `home`, or ProbeError where the file itself
    cannot be read.
    """
    with _named(shown, home), opener() as stream, _opened(stream) as image:
        columns, rows = image.size
        # PNG's own method decodes the whole image first, in search of a late chunk.
        late = image.format == "PNG"
        exif = Image.Image.getexif(image) if late else image.getexif()
        turned = exif.get(_ORIENTATION) in _TURNED
        grey = image.mode in _GREY
    return Header((columns, rows) if turned else (rows, columns), 1 if grey else 3)


def read_pixels(
    opener: Opener, shown: str, size: Size, channels: int, home: str = "folder"
) -> np.ndarray:
    """Return (C, rows, columns) uint8: upright, without alpha, resized to cover, centre-cropped."""
    with _named(shown, home):
        with opener() as stream, _opened(stream) as image:
            upright = _eight_bit(ImageOps.exif_transpose(image), image.format)
        flat = _on_white(upright).convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(_cover(flat, size))
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def plain(text: str) -> str:
    """Return a text on one line: what cannot be printed (line ends, escapes, raw bytes) escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def damage(error: Exception) -> str:
    """What is wrong with an image, in few words: Pillow's readers raise nearly any exception."""
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "no known image format" if "cannot identify image file" in detail else plain(detail)


def unreadable(shown: str, error: Exception) -> ProbeError:
    """The error for an image file that cannot be decoded."""
    return ProbeError(
        f"'{plain(shown)}' cannot be read as an image ({damage(error)}); repair it, or take it out "
        "of the folder"
    )


@contextmanager
def _named(shown: str, home: str) -> Iterator[None]:
    """Any error in decoding becomes the line that names the image."""
    try:
        yield
    except MemoryError:
        raise
    # Pillow's readers raise nearly any exception on damaged files.
    except Exception as error:
        reason = damage(error)
        if isinstance(error, OSError) and error.errno is not None:
            reason = error.strerror or reason
        begun = f"'{plain(shown)}' cannot be read as an image ({reason}); "
        # A missing file or a failing disk is no damaged picture: never left out silently.
        if isinstance(error, OSError) and error.errno is not None:
            raise ProbeError(f"{begun}restore it, or take it out of the {home}") from error
        raise Damaged(
            f"{begun}repair it, or take it out of the {home} "
            "(a probe leaves such files out with --skip-damaged)",
            reason,
        ) from error


@contextmanager
def _opened(stream: BinaryIO) -> Iterator[Image.Image]:
    """The image of a stream: of harmless formats, and of no more pixels than Pillow allows."""
    Image.init()
    known = [name for name in _FORMATS if name in Image.OPEN]
    with _identified(stream, known) as image:
        number, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
        # Pillow itself only warns up to twice its limit.
        if most is not None and number > most:
            raise ValueError(f"Image size ({number} pixels) exceeds limit of {most} pixels")
        yield image


def _identified(stream: BinaryIO, formats: list[str]) -> Image.Image:
    try:
        return Image.open(stream, formats=formats)
    except UnidentifiedImageError as error:
        stream.seek(0)
        if what := foreign(stream.read(HEAD)):
            raise ValueError(what) from error
        raise


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
