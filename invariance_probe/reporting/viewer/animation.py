"""Animations as files: panels side by side while the transformation goes round, GIF or MP4."""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from ...errors import ProbeError
from ...probing.pictures.values import LayerPictures, Pictures
from ...probing.rungs import rung_of
from ...running.files import write_atomically
from ..tables.decimals import plain
from .labels import RUNGS, Turn, turns
from .panels import INK, PAPER, dial, font, gauge, panel

_NAMES = {
    "input": "input",
    "moved": "its map",
    "back": "moved back",
    "original": "original's map",
    "difference": "difference",
}
_LEAST = 4.0  # seconds of an MP4, which does not repeat by itself
SUFFIXES = (".gif", ".mp4")


def animation_frames(
    pictures: Pictures,
    *,
    image: int = 0,
    layer: str | None = None,
    channel: int | None = None,
    kind: str | None = None,
    width: int = 900,
) -> list[Image.Image]:
    """Draw the frames of an animation that ends where it began.

    Side by side stand the input, its map, that map moved back by h⁻¹, the original's map and the
    difference of the last two, hatched where cells are not compared; above, a dial with the angle
    or a ruler with the scale, below the residual of this image over all channels. `image` counts
    the pictures' images; `layer`, `channel` (its number in the network) and `kind` of
    transformation are the first by default. A full turn goes round, anything else there and back.

    Raises ProbeError for what is not in the pictures.
    """
    if not 0 <= image < len(pictures.images):
        raise ProbeError(f"no image {image}; the pictures hold 0 to {len(pictures.images) - 1}")
    check_shape(width)
    one = _named(pictures, layer)
    if channel is not None and channel not in one.channels:
        held = ", ".join(map(str, one.channels))
        raise ProbeError(
            f"no channel {channel} of {one.layer!r} in the pictures, which hold {held}"
        )
    place = 0 if channel is None else one.channels.index(channel)
    turn = _turn(pictures, kind)
    return [
        _frame(pictures, one, turn, image, place, step, width) for step in _there_and_back(turn)
    ]


def write_animation(path: str | Path, frames: list[Image.Image], *, seconds: float = 0.12) -> Path:
    """Write frames as a GIF that repeats for ever, or as an MP4; whole or not at all.

    `seconds` is how long a frame stays. An MP4 needs ffmpeg, on the path or from the package
    imageio-ffmpeg, and holds the frames often enough to last four seconds.

    Raises ProbeError for other suffixes, without ffmpeg, and where the file cannot be written.
    """
    place = Path(path)
    if place.suffix.lower() not in SUFFIXES:
        raise ProbeError(f"'{place}' is neither .gif nor .mp4; name the animation as one of them")
    check_shape(400, seconds)
    if not frames:
        raise ProbeError("no frames; make some with animation_frames")
    content = _gif(frames, seconds) if place.suffix.lower() == ".gif" else _mp4(frames, seconds)
    write_atomically(place, content, "the animation")
    return place


def check_shape(width: int, seconds: float = 0.12) -> None:
    """ProbeError for a width that leaves nothing to see, or a pace that no viewer keeps."""
    if not 300 <= width <= 4000:
        raise ProbeError(f"width={width}: five panels need 300 to 4000 pixels")
    if not 0.02 <= seconds <= 10:
        raise ProbeError(f"{seconds:g} seconds a frame: give 0.02 to 10")


def find_ffmpeg() -> str:
    """The ffmpeg program; ProbeError where there is none."""
    found = shutil.which("ffmpeg")
    if found is None:
        with suppress(ImportError, RuntimeError):
            from imageio_ffmpeg import get_ffmpeg_exe

            found = str(get_ffmpeg_exe())
    if found is None:
        raise ProbeError(
            "an MP4 needs ffmpeg, which is not here; install it, or pip install "
            "'invariance-probe[video]', or write a .gif"
        )
    return found


def _named(pictures: Pictures, layer: str | None) -> LayerPictures:
    if layer is None:
        return pictures.layers[0]
    for one in pictures.layers:
        if one.layer == layer:
            return one
    held = ", ".join(one.layer for one in pictures.layers)
    raise ProbeError(f"no layer {layer!r} in the pictures, which hold {held}")


def _turn(pictures: Pictures, kind: str | None) -> Turn:
    there = turns(pictures)
    if kind is None:
        return max(there, key=lambda turn: len(turn.steps))
    for turn in there:
        if turn.kind == kind:
            return turn
    held = ", ".join(turn.kind for turn in there)
    raise ProbeError(f"no transformation of kind {kind!r} in the pictures, which hold {held}")


def _there_and_back(turn: Turn) -> list[int]:
    """Places of the steps in an order whose end meets its beginning."""
    there = list(range(len(turn.steps)))
    if turn.loops:  # the first frame is what stands where nothing moves: nothing turned
        least = min(there, key=lambda place: abs(turn.steps[place].value))
        return there[least:] + there[:least]
    if len(there) < 3:
        return there
    return there + there[-2:0:-1]


def _frame(
    pictures: Pictures, one: LayerPictures, turn: Turn, image: int, channel: int, step: int,
    width: int,
) -> Image.Image:  # fmt: skip
    now = turn.steps[step]
    gap, text = round(width / 75), width / 50  # 12 px of text once shown at 600
    side = (width - gap * (len(_NAMES) + 1)) // len(_NAMES)
    drawn = {name: panel(pictures, one, name, image, channel, now.index, side) for name in _NAMES}
    top, line = round(3.6 * text), round(1.5 * text)
    deep = max(picture.height for picture in drawn.values())
    height = top + line + deep + round(2.2 * text)
    frame = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)
    draw = ImageDraw.Draw(frame)
    middle = top / 2
    numeric = turn.kind in ("rotation", "scaling") and ":" not in now.label
    x = float(gap)
    if turn.kind == "rotation":
        radius = 1.35 * text
        dial(draw, (x + radius, middle, radius), pictures.moves[now.index].parameter)
        x += 2 * radius + gap
    elif len(turn.steps) > 1:
        share = step / (len(turn.steps) - 1)
        gauge(draw, (x, middle, 6 * text, 1.4 * text), share)
        x += 6 * text + 2 * gap
    said = f"{turn.kind} {now.label}" if numeric else now.label
    draw.text((x, middle), said, INK, font(1.15 * text), anchor="lm")
    named = f"{_short(one.layer, 40)}, channel {one.channels[channel]}"
    draw.text((width - gap, middle), named, INK, font(1.15 * text), anchor="rm")
    for column, (name, label) in enumerate(_NAMES.items()):
        left = gap + column * (side + gap)
        draw.text((left, top + line / 2), label, INK, font(text), anchor="lm")
        frame.paste(drawn[name], (left, top + line))
    draw.text(
        (gap, top + line + deep + 1.1 * text), _numbers(one, image, now.index), INK, font(text),
        anchor="lm",
    )  # fmt: skip
    return frame


def _numbers(one: LayerPictures, image: int, move: int) -> str:
    values = dict(zip(RUNGS, one.residuals[image, move, 0], strict=True))
    if math.isnan(values["inverse"]):
        return "this layer does not vary on this image"
    told = ", ".join(f"{rung_of(rung).treatment} {plain(value)}" for rung, value in values.items())
    return f"residual, all channels: {told}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _gif(frames: list[Image.Image], seconds: float) -> bytes:
    # One palette for all frames, from a few of them: colours must not flicker.
    few = frames[:: max(1, len(frames) // 6)]
    montage = Image.new("RGB", (few[0].width, sum(frame.height for frame in few)))
    for row, frame in enumerate(few):
        montage.paste(frame, (0, row * frame.height))
    palette = montage.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = BytesIO()
    first.save(
        buffer, "GIF", save_all=True, append_images=rest, loop=0, disposal=1,
        duration=max(20, round(seconds * 1000)), optimize=False,
    )  # fmt: skip
    return buffer.getvalue()


def _mp4(frames: list[Image.Image], seconds: float) -> bytes:
    program = find_ffmpeg()
    times = max(1, -(-int(_LEAST / seconds) // len(frames)))
    width, height = frames[0].size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "animation.mp4"
        done = subprocess.run(
            [
                program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
                "-s", f"{width}x{height}", "-r", f"{1 / seconds:.4f}", "-i", "-",
                "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18",
                "-movflags", "+faststart", "-bitexact", str(path),
            ],
            input=b"".join(frame.tobytes() for frame in frames * times), capture_output=True,
            check=False,
        )  # fmt: skip
        if done.returncode or not path.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise ProbeError(
                f"ffmpeg wrote no MP4 ({said[-1] if said else done.returncode}); write a .gif"
            )
        return path.read_bytes()
