"""The command animate: pictures of a run, or of what the options name, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ProbeError
from .. import ending, reading, talk, writing

if TYPE_CHECKING:
    from ...probing.pictures.values import Pictures


def animate(
    run: Path | None,
    out: Path | None,
    html: Path | None,
    *,
    image: str | None,
    channel: int | None,
    width: int,
    seconds: float,
    overwrite: bool,
    trust: bool,
    **given: Any,
) -> None:
    """Take pictures and write them as an animation, a page, or both.

    `given` are the fields of a configuration, None where nothing was asked for.
    """
    _check_targets(out, html, width, seconds, overwrite=overwrite)
    chosen: dict[str, Any] = {}
    if image is not None:
        number = reading.whole(image)
        chosen["number"] = [image if number is None or number < 0 else number]
    if channel is not None:
        chosen["channels"] = [channel]
    if out is not None:
        writing.check_apart(out, given["images"])
    with talk.progress("taking pictures") as chosen["progress"]:
        pictures = _pictures(run, given, chosen, trust)
    from ...reporting.viewer import animation_frames, viewer_page, write_animation
    from ...running.files import write_atomically

    if out is not None:
        with talk.progress("drawing"):
            frames = animation_frames(pictures, width=width)
            write_animation(out, frames, seconds=seconds)
        ending.written.append(out)
        talk.say(str(out))
    if html is not None:
        write_atomically(html, viewer_page(pictures).encode())
        ending.written.append(html)
        talk.say(str(html))


def _pictures(
    run: Path | None, given: dict[str, Any], chosen: dict[str, Any], trust: bool
) -> Pictures:
    from ...probing import load_result
    from ...probing.pictures.taking import pictures_of
    from ...probing.pictures.values import load_pictures
    from ...probing.verification.trust import is_repeated
    from ...running.storage import altered

    if run is None:
        config = reading.configured({}, given, {})
        reading.check_device(config.device)
        if not given.get("layers"):
            config = reading.with_layers(config)
        return pictures_of(config, **chosen)
    shown = {"layers": given.pop("layers"), "transforms": given.pop("transforms")}
    named = {name: value for name, value in given.items() if value is not None}
    if run.suffix == ".npz":
        _check_nothing_else(run, named)
        asked = [n for n, v in {**shown, **chosen}.items() if v is not None and n != "progress"]
        if asked:
            raise ProbeError(
                f"{run} holds pictures that were taken; to choose {asked[0]}, give the folder of "
                "a result"
            )
        return load_pictures(run)
    result = load_result(run)
    for line in altered(result.provenance):
        talk.hint(f"{run}: {line}")
    stored = result.provenance.get("config") or {}
    _check_nothing_else(run, {n: v for n, v in named.items() if not is_repeated(n, v, stored)})
    return pictures_of(result, trust=trust or named, **shown, **chosen)


def _check_nothing_else(run: Path, named: dict[str, Any]) -> None:
    """Refuse options that would say something else than the run."""
    for name in named:
        option = name.replace("_", "-")
        raise ProbeError(
            f"{run} already says which {name.replace('_', ' ')} to take; leave --{option} out, or "
            f"leave {run} out and name everything"
        )


def _check_targets(
    out: Path | None, html: Path | None, width: int, seconds: float, *, overwrite: bool
) -> None:
    """Refuse what cannot be written, before any work is done."""
    from ...running.folders import check_file

    targets: Sequence[Path] = [path for path in (out, html) if path is not None]
    if not targets:
        raise ProbeError("nothing to write; give --out FILE.gif, --out FILE.mp4 or --html FILE")
    for path in targets:
        check_file(path, overwrite=overwrite)
    from ...reporting.viewer.animation import SUFFIXES, check_shape, find_ffmpeg

    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise ProbeError(f"--out {out} is neither .gif nor .mp4; name the animation as one of them")
    check_shape(width, seconds)
    if out is not None and out.suffix.lower() == ".mp4":
        find_ffmpeg()
