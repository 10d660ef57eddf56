"""One photograph: what its header says, and its pixels resized and cropped to a common size."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..._foreign import HEAD, foreign
from ...errors import ProbeError
from ..sizes import Size
from .budget import grows_too_much

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_ORIENTATION, _WIDTH, _HEIGHT, _PHOTOMETRIC = 0x0112, 0x0100, 0x0101, 0x0106
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width

# The content decides the format, not the name, and not every reader of Pillow is harmless: the one
# of PostScript starts another program. HEIF is there where a plugin has registered it.
_FORMATS = (
    *("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF"),
    "TGA",  # last: it has no mark of its own
)

_DEEPEST = 65535  # of 16 bits
_MOST_CHUNKS, _LONGEST_EXIF = 100_000, 1 << 20
_BAND = 1 << 22  # pixels that are put on white at a time

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
    deep: bool = False  # grey of 16 bits, whose full range counts
    reduced: bool = False  # 16 bits a channel, of which Pillow gives the upper 8


def read_header(opener: Opener, shown: str, home: str = "folder") -> Header:
    """Return size and channel count without decoding.

    Raises Damaged, naming the image as `shown` in its `home`, or ProbeError where the file itself
    cannot be read.
    """
    with _named(shown, home), opener() as stream, opened(stream) as image:
        size = _upright_size(image, stream)
        deep = _is_deep(image)
        raw = "".join(str(part) for tile in getattr(image, "tile", ()) for part in tile)
        # LA, RGB and RGBA with raw modes such as "RGB;16B".
        reduced = not deep and image.mode not in ("I", "F") and ";16" in raw
        grey = image.mode in _GREY
    return Header(size, 1 if grey else 3, deep, reduced)


def read_pixels(
    opener: Opener, shown: str, size: Size, channels: int, home: str = "folder"
) -> np.ndarray:
    """Return (C, rows, columns): upright, without alpha, resized to cover, centre-cropped.

    uint8, or float32 in [0, 1] of grey images with more bits.
    """
    with _named(shown, home):
        with opener() as stream, opened(stream) as image:
            full = _full_range(image)
            if full:
                flat = _grey_values(image)
            else:
                ImageOps.exif_transpose(image, in_place=True)
                flat = _on_white(image)
        mode = "F" if full else "L" if channels == 1 else "RGB"
        cut = _cover(flat if flat.mode == mode else flat.convert(mode), size)
        pixels = np.asarray(cut)
        if full:
            pixels = (pixels / np.float32(full)).clip(0, 1)
            return np.repeat(pixels[None], channels, axis=0)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_brightest(opener: Opener, shown: str, home: str = "folder") -> int:
    """Return the largest value of a grey image of 16 bits, of 65535, or of any other, of 255."""
    with _named(shown, home), opener() as stream, opened(stream) as image:
        return int(np.asarray(image if _is_deep(image) else image.convert("RGB")).max())


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
def opened(stream: BinaryIO) -> Iterator[Image.Image]:
    """The image of a stream: of harmless formats, and of no more pixels than Pillow allows."""
    Image.init()
    known = [name for name in _FORMATS if name in Image.OPEN]
    stored = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    with _identified(stream, known) as image:
        number, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
        if grows_too_much(number * len(image.getbands()), stored):
            raise ValueError(f"{stored:,} bytes that would become {number:,} pixels")
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


def _is_deep(image: Image.Image) -> bool:
    """Whether it is grey of 16 bits; what Pillow calls I is, but in TIFF, where it is 32 bits."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format != "TIFF")


def _full_range(image: Image.Image) -> int:
    """Return what is white in an image of more than 8 bits, and 0 for the others."""
    if _is_deep(image):
        return _DEEPEST
    if image.mode == "I":
        raise ValueError("mode I: its range is not known; save it with 8 or 16 bits")
    return 1 if image.mode == "F" else 0


def _grey_values(image: Image.Image) -> Image.Image:
    """Return the upright values of a deep grey image in mode F, on white where transparent."""
    clear = image.info.get("transparency")
    # Pillow turns white-is-zero around for 8 bits only.
    inverted = _is_deep(image) and _tiff_tag(image, _PHOTOMETRIC) == 0
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F":
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # also true for NaN
            raise ValueError(
                f"mode F: values from {low:g} to {high:g}; save floats in [0, 1], or 8 or 16 bits"
            )
        return image.copy()
    grey = image.convert("F")
    if inverted:
        grey = Image.fromarray(_DEEPEST - np.asarray(grey))
    if isinstance(clear, int):
        values = np.array(grey)
        values[values == clear] = _DEEPEST
        grey = Image.fromarray(values)
    return grey


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    """The value of a tag, None where there is none."""
    return getattr(image, "tag_v2", {}).get(tag)


def _upright_size(image: Image.Image, stream: BinaryIO) -> Size:
    """Return (rows, columns) after the turn that the image's orientation asks for."""
    columns, rows = image.size
    if image.format == "TIFF":
        # Newer versions of Pillow have exchanged these already.
        columns, rows = (_tiff_tag(image, tag) or side for tag, side in
                         ((_WIDTH, columns), (_HEIGHT, rows)))  # fmt: skip
    if image.format == "PNG":
        # PNG's own method decodes the whole image first, in search of a late chunk.
        turn = Image.Image.getexif(image).get(_ORIENTATION) or _late_orientation(stream)
    else:
        turn = image.getexif().get(_ORIENTATION)
    return (columns, rows) if turn in _TURNED else (rows, columns)


def _late_orientation(stream: BinaryIO) -> int | None:
    """Return the orientation in a chunk eXIf of a PNG, found without decoding the pixels."""
    place = stream.tell()
    try:
        stream.seek(8)
        for _ in range(_MOST_CHUNKS):
            head = stream.read(8)
            if len(head) < 8 or head[4:] == b"IEND":
                break
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf" and length <= _LONGEST_EXIF:
                exif = Image.Exif()
                exif.load(b"Exif\0\0" + stream.read(length))
                return exif.get(_ORIENTATION)
            stream.seek(length + 4, io.SEEK_CUR)
    finally:
        stream.seek(place)
    return None


def _on_white(image: Image.Image) -> Image.Image:
    """Put transparent images on white, as a page would show them."""
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image.copy()
    # Pillow has no direct way from these two to RGBA.
    through = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    flat = Image.new("RGB", image.size)
    step = max(1, _BAND // image.width)
    for top in range(0, image.height, step):  # the whole would take five times its memory
        part = image.crop((0, top, image.width, min(top + step, image.height)))
        layered = (part.convert(through) if through else part).convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        flat.paste(Image.alpha_composite(white, layered).convert("RGB"), (0, top))
    return flat


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
