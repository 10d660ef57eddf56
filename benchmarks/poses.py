"""Accuracy and time on analytic scenes of known pose, beside kornia and OpenCV."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from invariance_probe.alignment import SpatialMoments, best_alignment
from invariance_probe.geometry import (
    Frame,
    Transform,
    identity,
    image_frame,
    rotation,
    rotations,
    scaling,
    valid_cells,
)

SIDE = 128
BLOCK = 4  # moments of 32 x 32 block means, as the probe does with large maps
POSES = (
    *(rotation(angle) for angle in (10, 20, 30, 45, 60, 90, 135, 180)),
    scaling(1.2),
    rotation(20) @ scaling(1.2),
    rotation(60) @ scaling(0.8),
    rotation(135) @ scaling(1.25),
)
ROTATIONS_ONLY = "kornia ImageRegistrator, rotation, lr=1"
FOUND = 1.0  # pixels at the corners of the compared region: the pose counts as found below this

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


def compare(scenes: int) -> dict[str, Any]:
    """Corner error and time of every method on every pose; the median over some scenes.

    A method sees the moved and the original image (128 x 128, float32) and nothing of the pose.
    It returns the map by which the moved image has to be read, in centred pixels.
    """
    methods = available()
    rows = []
    for h in POSES:
        for name, method in methods.items():
            if name == ROTATIONS_ONLY and h.kind != "rotation":
                continue
            errors, times, failures = [], [], []
            for seed in range(scenes):
                moved, original = render(seed, h), render(seed, identity())
                start = time.perf_counter()
                try:
                    read = method(moved, original)
                except Exception as error:  # a peer that gives up is a result
                    failures.append(type(error).__name__)
                    continue
                finally:
                    times.append(time.perf_counter() - start)
                errors.append(corner_error(read, h))
            rows.append(
                {
                    "pose": f"{h.angle:.0f} deg x {h.scale:.2f}",
                    "method": name,
                    "corner_error_px": statistics.median(errors) if errors else None,
                    "found": sum(error < FOUND for error in errors),
                    "scenes": scenes,
                    "exceptions": failures,
                    "time_ms": 1e3 * statistics.median(times),
                }
            )
    return {"image": f"{SIDE}x{SIDE}", "found_below_px": FOUND, "rows": rows}


def available() -> dict[str, Method]:
    """Ours, and the peers that are installed; each warmed up once."""
    methods: dict[str, Method] = {"invariance_probe": ours}
    try:
        import cv2

        methods["cv2.findTransformECC"] = ecc
        if hasattr(cv2, "findTransformECCMultiScale"):
            methods["cv2.findTransformECCMultiScale"] = ecc_multiscale
    except ImportError:
        pass
    try:
        import kornia.geometry  # noqa: F401

        methods["kornia ImageRegistrator, similarity, defaults"] = kornia_registrator()
        # One rate for degrees and factors: what turns far makes the similarity model diverge.
        methods[ROTATIONS_ONLY] = kornia_registrator(
            "rotation", lr=1.0, pyramid_levels=4, tolerance=1e-7
        )
    except ImportError:
        pass
    example = render(0, rotation(5)), render(0, identity())
    for method in methods.values():
        method(*example)
    return methods


def render(seed: int, h: Transform) -> np.ndarray:
    """T_h of a sum of Gaussians at least 4 pixels wide, by its definition f(h⁻¹ x)."""
    random = np.random.default_rng(seed)
    centres, widths = random.uniform(-40, 40, (40, 2)), random.uniform(4, 10, 40)
    heights = random.normal(size=40)
    matrix = np.linalg.inv(h.matrix)
    points = image_frame(SIDE, SIDE).positions() @ matrix[:2, :2].T + matrix[:2, 2]
    squares = ((points[:, None] - centres) ** 2).sum(-1)
    values = np.exp(-squares / 2 / widths**2) @ heights
    return values.reshape(SIDE, SIDE).astype(np.float32)


def corner_error(read: np.ndarray, h: Transform) -> float:
    """Root mean square distance in pixels at four corners well inside the image."""
    reach = SIDE / 4
    corners = np.array([[x, y, 1.0] for x in (-reach, reach) for y in (-reach, reach)]).T
    apart = (read @ corners - h.matrix @ corners)[:2]
    return float(np.sqrt(np.square(apart).sum(0).mean()))


def ours(moved: np.ndarray, original: np.ndarray) -> np.ndarray:
    frame: Frame = image_frame(SIDE, SIDE).pooled(BLOCK)
    cells = valid_cells(frame, rotations(-180, 180, step=15), (SIDE, SIDE))
    blocks = [
        F.avg_pool2d(torch.from_numpy(image)[None, None], BLOCK) for image in (moved, original)
    ]
    moments = SpatialMoments(frame, cells)
    moments.update(*blocks)
    return best_alignment(moments, identity()).transform.inverse().matrix


def ecc(moved: np.ndarray, original: np.ndarray) -> np.ndarray:
    import cv2

    found = cv2.findTransformECC(
        original, moved, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, _CRITERIA, _disc(), 5
    )[1]
    return _centred(found)


def ecc_multiscale(moved: np.ndarray, original: np.ndarray) -> np.ndarray:
    import cv2

    start = np.eye(2, 3, dtype=np.float32)
    parameters = cv2.ECCParameters() if hasattr(cv2, "ECCParameters") else None
    if parameters is None:
        found = cv2.findTransformECCMultiScale(original, moved, start)[1]
    else:
        parameters.motionType = cv2.MOTION_AFFINE
        found = cv2.findTransformECCMultiScale(original, moved, start, parameters)[1]
    return _centred(found)


_CRITERIA = (3, 200, 1e-7)  # by iterations and by precision


def _disc() -> np.ndarray:
    """The region that no rotation moves out of the image, as ours compares."""
    points = image_frame(SIDE, SIDE).positions()
    inside = np.hypot(*points.T) <= SIDE / 2
    return (255 * inside).astype(np.uint8).reshape(SIDE, SIDE)


def _centred(warp: np.ndarray) -> np.ndarray:
    """OpenCV's 2 x 3 map between pixel indices, in centred pixels."""
    full = np.eye(3)
    full[:2] = warp[:2]
    shift = np.eye(3)
    shift[:2, 2] = (SIDE - 1) / 2
    return np.linalg.inv(shift) @ full @ shift


def kornia_registrator(model: str = "similarity", **options: Any) -> Method:
    from kornia.geometry.transform import ImageRegistrator

    def method(moved: np.ndarray, original: np.ndarray) -> np.ndarray:
        registrator = ImageRegistrator(model, **options)
        source, target = (torch.from_numpy(image)[None, None] for image in (moved, original))
        read = registrator.register(source, target).detach().double().numpy()[0]
        unit = np.diag([SIDE / 2, SIDE / 2, 1.0])  # from [-1, 1] to centred pixels
        return unit @ read @ np.linalg.inv(unit)

    return method
