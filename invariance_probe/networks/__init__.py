"""Networks: built by name, loaded safely, their layers, maps and frames."""

from .activations import Activations, check_finite
from .build import Network, build_network, network_names
from .checkpoints import Fit, file_sha256, load_checkpoint, load_state
from .classifiers import MnistCNN
from .controls import gaussian_derivatives, orbit_bank, oriented_bank, pointwise
from .frames import LayerFrame, measure_frames, nearest_aligned_size, nearest_aligned_sizes
from .layers import LayerInfo, default_layers, list_layers, select_layers
from .symmetry import asymmetry, symmetrised, symmetry_path

__all__ = [
    "Activations",
    "Fit",
    "LayerFrame",
    "LayerInfo",
    "MnistCNN",
    "Network",
    "asymmetry",
    "build_network",
    "check_finite",
    "default_layers",
    "file_sha256",
    "gaussian_derivatives",
    "list_layers",
    "load_checkpoint",
    "load_state",
    "measure_frames",
    "nearest_aligned_size",
    "nearest_aligned_sizes",
    "network_names",
    "orbit_bank",
    "oriented_bank",
    "pointwise",
    "select_layers",
    "symmetrised",
    "symmetry_path",
]
