"""Animations: a loop without a seam, whole files, and errors that say what there is."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from invariance_probe.errors import ProbeError
from invariance_probe.reporting.viewer import animation as module
from invariance_probe.reporting.viewer import animation_frames, contact_sheet, write_animation


def panels(frame: Image.Image, pictures) -> list[np.ndarray]:
    """The five panels of a 620 px frame: input, map, moved back, original's, difference."""
    gap, text = round(620 / 75), 620 / 50
    side = (620 - gap * 6) // 5
    top = round(3.6 * text) + round(1.5 * text)
    values = np.asarray(frame)
    lefts = [gap + column * (side + gap) for column in range(5)]
    return [values[top : top + side, left : left + side] for left in lefts]


def test_a_full_turn_goes_round_from_where_nothing_moves(pictures):
    frames = animation_frames(pictures, width=620)
    assert len(frames) == 8 and {frame.size for frame in frames} == {frames[0].size}
    _, _, back, original, difference = panels(frames[0], pictures)
    middle = slice(40, 70)
    assert np.array_equal(back[middle, middle], original[middle, middle])
    assert np.ptp(difference[middle, middle].astype(int)) <= 8  # one near-white: no difference
    _, _, back, again, _ = panels(frames[3], pictures)
    assert np.array_equal(again, original)
    assert not np.array_equal(back[middle, middle], original[middle, middle])


def test_other_runs_go_there_and_back(make_pictures):
    frames = animation_frames(make_pictures("scaling:0.5:2:5"), width=620)
    assert len(frames) == 8
    for there, back in ((1, 7), (2, 6), (3, 5)):
        assert frames[there].tobytes() == frames[back].tobytes()
    assert frames[0].tobytes() != frames[4].tobytes()


def test_what_is_chosen_is_shown(hostile):
    first = animation_frames(hostile, width=620)
    other = animation_frames(hostile, image=1, channel=4, kind="scaling", width=620)
    assert len(first) == 6 and len(other) == 4  # 0, 30, 60, 90, 60, 30; 0.5, 1, 2, 1
    assert len(animation_frames(hostile, kind="reflection", width=620)) == 1
    assert not np.array_equal(panels(first[0], hostile)[3], panels(other[0], hostile)[3])


def test_gif_repeats_and_is_the_same_every_time(tmp_path, pictures):
    frames = animation_frames(pictures, width=620)
    path = write_animation(tmp_path / "new" / "turn.gif", frames, seconds=0.2)
    with Image.open(path) as held:
        assert held.n_frames == 8 and held.info["loop"] == 0 and held.info["duration"] == 200
        held.seek(5)
        apart = np.abs(np.asarray(held.convert("RGB")).astype(int) - np.asarray(frames[5]))
    assert apart.mean() < 4  # 256 colours for all frames
    again = write_animation(tmp_path / "again.gif", frames, seconds=0.2)
    assert path.read_bytes() == again.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ["turn.gif"]


def test_mp4_where_ffmpeg_is(tmp_path, pictures):
    try:
        module.find_ffmpeg()
    except ProbeError:
        pytest.skip("no ffmpeg here")
    frames = animation_frames(pictures, width=620)
    path = write_animation(tmp_path / "turn.mp4", frames)
    content = path.read_bytes()
    assert content[4:8] == b"ftyp" and len(content) > 5000


def test_mp4_without_ffmpeg_says_what_to_install(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    frames = animation_frames(pictures, width=300)
    with pytest.raises(ProbeError, match=r"needs ffmpeg.*pip install 'invariance-probe\[video\]'"):
        write_animation(tmp_path / "turn.mp4", frames)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": 2}, "no image 2; the pictures hold 0 to 1"),
        ({"layer": "conv9"}, "no layer 'conv9' in the pictures, which hold conv1, conv2"),
        ({"channel": 0}, "no channel 0 of 'conv1' in the pictures, which hold 3, 4"),
        ({"kind": "scaling"}, "no transformation of kind 'scaling'"),
        ({"width": 100}, "width=100: five panels need 300 to 4000 pixels"),
    ],
)
def test_what_is_not_there_is_named(pictures, options, message):
    with pytest.raises(ProbeError, match=message):
        animation_frames(pictures, **options)


def test_what_cannot_be_written_is_named(tmp_path, pictures):
    frames = animation_frames(pictures, width=300)
    with pytest.raises(ProbeError, match=r"neither \.gif nor \.mp4"):
        write_animation(tmp_path / "turn.avi", frames)
    with pytest.raises(ProbeError, match="no frames"):
        write_animation(tmp_path / "turn.gif", [])
    with pytest.raises(ProbeError, match="0 seconds a frame"):
        write_animation(tmp_path / "turn.gif", frames, seconds=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match="cannot write the animation"):
        write_animation(tmp_path / "file" / "turn.gif", frames)


def test_maps_that_are_no_squares_keep_their_shape(make_pictures):
    wide = make_pictures(layers={"conv": (10, 20)}, canvas=(32, 64))
    sheet = contact_sheet(wide, side=80)
    assert sheet.shape[0] == 22 + 4 * (40 + 6)
    assert sheet.shape[1] == 92 + 9 * (80 + 6)
