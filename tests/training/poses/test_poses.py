"""Poses of planted transformers: applied, predicted and final, in the units that are promised."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted_poses import Planted, PlantedExamples, by_class, half, idle, knows, turns
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import from_matrix, rotation, scaling, shear, translation
from invariance_probe.networks import MnistCNN
from invariance_probe.training.poses.poses import (
    PARTS,
    collect_poses,
    correction_parameters,
    pose_parameters,
    pose_table,
)
from invariance_probe.training.recipe import seed_for

angles, octaves = st.floats(-179, 179), st.floats(-3, 3)
pixels, slant = st.floats(-30, 30), st.floats(-0.8, 0.8)


@given(angles, octaves, pixels, pixels, slant)
def test_parameters_are_those_of_a_transform(
    angle: float, octave: float, x: float, y: float, k: float
) -> None:
    h = translation(x, y) @ rotation(angle) @ scaling(2**octave) @ shear(k)
    (found,) = pose_parameters(h.matrix[None])
    expected = [h.angle, np.log2(h.scale), x, y]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # What undoes h has minus the parameters of h, whatever h is.
    (undone,) = correction_parameters(h.inverse().matrix[None])
    np.testing.assert_allclose(undone, -found, atol=1e-7)


@given(angles, octaves, pixels, pixels, slant, angles, octaves, pixels)
def test_final_is_applied_and_predicted_for_each_law_whatever_the_network_does(
    angle: float, octave: float, x: float, y: float, k: float, a: float, s: float, t: float
) -> None:
    pose = translation(x, y) @ rotation(angle) @ scaling(2**octave) @ shear(k)
    laws = {
        "angle": rotation(a),
        "log2_scale": scaling(2**s),
        "dx": translation(t, 0),
        "dy": translation(3, t),
    }
    for part, h in laws.items():
        (row,) = pose_table(h.matrix[None], pose.matrix[None], np.zeros(1)).to_dict("records")
        total = row[f"applied_{part}"] + row[f"predicted_{part}"]
        off = row[f"final_{part}"] - total
        if part == "angle":
            off = (off + 180) % 360 - 180
        assert off == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_precisions_and_arrays_are_read(dtype: torch.dtype) -> None:
    h = (translation(3, -2) @ rotation(30)).matrix
    given_ = torch.tensor(h, dtype=dtype)[None]
    np.testing.assert_allclose(pose_parameters(given_), [[30, 0, 3, -2]], atol=1e-5)
    np.testing.assert_allclose(pose_parameters(given_), pose_parameters(given_.numpy()))


def test_of_a_projective_transform_the_derivative_counts() -> None:
    h = np.array([[1.0, 0.2, 3.0], [-0.1, 1.4, -5.0], [0.01, -0.02, 1.0]])

    def move(x: float, y: float) -> np.ndarray:
        p = h @ [x, y, 1]
        return p[:2] / p[2]

    e = 1e-6
    columns = [(move(e, 0) - move(-e, 0)) / (2 * e), (move(0, e) - move(0, -e)) / (2 * e)]
    linear = from_matrix(np.column_stack([*columns, move(0, 0)]))
    expected = [linear.angle, np.log2(linear.scale), 3, -5]
    np.testing.assert_allclose(pose_parameters(h[None])[0], expected, atol=1e-6)


def test_what_cannot_be_inverted_is_left_blank() -> None:
    poses = np.stack([np.eye(3), np.diag([0.0, 1, 1]), np.full((3, 3), np.nan)])
    found = correction_parameters(poses)
    assert np.isfinite(found[0]).all() and np.isnan(found[1:]).all()
    table = pose_table(np.stack([np.eye(3)] * 3), poses, torch.tensor([0, 1, 2]))
    assert table.filter(like="applied_").notna().all(axis=None)
    assert table["final_angle"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize("law", ["rotation", "scaling", "translation", "all"])
def test_perfect_alignment_by_class_leaves_one_pose_a_class(law: str) -> None:
    table = collect_poses(Planted(by_class), PlantedExamples(law), passes=2)
    spread = table.groupby("label")[[f"final_{part}" for part in PARTS]].std()
    assert spread.to_numpy().max() < 1e-4
    turned = table.groupby("label")["final_angle"].first()
    np.testing.assert_allclose(turned, [-30, 10, 50], atol=1e-4)


def test_a_row_a_sample_of_fresh_passes() -> None:
    examples = PlantedExamples("rotation", number=30)
    table = collect_poses(Planted(idle), examples, passes=2, seed=5, batch_size=7)
    assert table["index"].tolist() == [*range(30)] * 2
    assert table["pass"].tolist() == [1] * 30 + [2] * 30
    assert table["label"].tolist() == [n % 3 for n in range(30)] * 2
    seeds = [seed_for("pass", 5, number) for number in range(2)]  # as evaluate_passes has them
    expected = np.concatenate([pose_parameters(examples.transforms(s))[:, 0] for s in seeds])
    np.testing.assert_allclose(table["applied_angle"], expected)
    assert (table["predicted_angle"] == 0).all()
    np.testing.assert_allclose(table["final_angle"], expected)
    again = collect_poses(Planted(idle), examples, passes=2, seed=5, batch_size=30)
    assert again.equals(table)


def test_steps_of_several_alignments_are_chosen() -> None:
    network, examples = Planted(knows), PlantedExamples("rotation")
    first, last = (collect_poses(network, examples, step=s) for s in (0, -1))
    np.testing.assert_allclose(first["predicted_angle"], first["applied_angle"], atol=1e-4)
    np.testing.assert_allclose(last["predicted_angle"], -last["applied_angle"], atol=1e-4)
    with pytest.raises(ProbeError, match="step=2: this network aligns 2 times; give 0 to 1"):
        collect_poses(network, examples, step=2)


def test_the_networks_mode_comes_back() -> None:
    class Watched(Planted):
        def align(self, images: torch.Tensor) -> SimpleNamespace:
            assert not self.training and not self.part.training
            return super().align(images)

    network = Watched(half)
    network.part = nn.Dropout()
    network.train()
    collect_poses(network, PlantedExamples())
    assert network.training and network.part.training


def test_bad_input() -> None:
    with pytest.raises(ProbeError, match="MnistCNN has no spatial transformer"):
        collect_poses(MnistCNN(), PlantedExamples())
    with pytest.raises(ProbeError, match="0 passes"):
        collect_poses(Planted(idle), PlantedExamples(), passes=0)
    with pytest.raises(ProbeError, match=r"\(N, 3, 3\) matrices, not of shape \(2, 3\)"):
        pose_parameters(np.zeros((2, 3)))
    with pytest.raises(ProbeError, match="1 applied and 2 predicted poses with 1 labels"):
        pose_table(np.eye(3)[None], turns(torch.zeros(2)), np.zeros(1))

    class Spline(Planted):
        def align(self, images: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(images=images, poses=None)

    with pytest.raises(ProbeError, match="thin plate splines"):
        collect_poses(Spline(idle), PlantedExamples())


def test_data_without_one_pose_and_one_label_an_image_are_refused() -> None:
    class Changed(PlantedExamples):
        def draw(self, seed: int) -> SimpleNamespace:
            inner = super().draw(seed)

            def batch(indices: torch.Tensor) -> SimpleNamespace:
                return SimpleNamespace(**vars(inner.batch(indices)) | self.change)

            return SimpleNamespace(batch=batch)

    examples = Changed()
    examples.change = {"transforms": None}
    with pytest.raises(ProbeError, match="of planted glyphs are no 3x3 matrices"):
        collect_poses(Planted(idle), examples)
    examples.change = {"targets": torch.zeros(60, 5)}
    with pytest.raises(ProbeError, match="5 labels each"):
        collect_poses(Planted(idle), examples)
