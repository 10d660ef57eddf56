"""Networks: built by name, loaded safely, their layers, maps and frames."""

from .building.build import build_network, network_names
from .controls import gaussian_derivatives, orbit_bank, oriented_bank, pointwise
from .frames.measure import (
    LayerFrame,
    find_frames,
    measure_frames,
    nearest_aligned_size,
    nearest_aligned_sizes,
)
from .layer_choice import default_layers, framed_layers
from .layers.activations import Activations, check_finite
from .layers.layouts import Layout, measure_layouts
from .layers.listing import LayerInfo, list_layers, select_layers
from .mnist_cnn import MnistCNN
from .network import Network, Preset
from .stn.architecture import Architecture, parse_architecture
from .stn.classifier import Alignment, Classifier, build_classifier
from .stn.transformer import SpatialTransformer, in_parallel, still_transformers
from .stn.warps import WarpFamily, warp_family
from .symmetry import asymmetry, symmetrised, symmetry_path
from .weights.load import Fit, State, file_sha256, load_checkpoint, load_state, read_state

__all__ = [
    "Activations",
    "Alignment",
    "Architecture",
    "Classifier",
    "Fit",
    "LayerFrame",
    "LayerInfo",
    "Layout",
    "MnistCNN",
    "Network",
    "Preset",
    "SpatialTransformer",
    "State",
    "WarpFamily",
    "asymmetry",
    "build_classifier",
    "build_network",
    "check_finite",
    "default_layers",
    "file_sha256",
    "find_frames",
    "framed_layers",
    "gaussian_derivatives",
    "in_parallel",
    "list_layers",
    "load_checkpoint",
    "load_state",
    "measure_frames",
    "measure_layouts",
    "nearest_aligned_size",
    "nearest_aligned_sizes",
    "network_names",
    "orbit_bank",
    "oriented_bank",
    "parse_architecture",
    "pointwise",
    "read_state",
    "select_layers",
    "still_transformers",
    "symmetrised",
    "symmetry_path",
    "warp_family",
]


def __dir__() -> list[str]:
    return sorted(__all__)
