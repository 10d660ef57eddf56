"""Networks: built by name, loaded safely, their layers, maps and frames."""

from .activations import Activations, check_finite
from .architecture import Architecture, parse_architecture
from .build import build_network, network_names
from .checkpoints import Fit, State, file_sha256, load_checkpoint, load_state, read_state
from .choice import default_layers, framed_layers
from .classifiers import MnistCNN
from .controls import gaussian_derivatives, orbit_bank, oriented_bank, pointwise
from .frames import (
    LayerFrame,
    find_frames,
    measure_frames,
    nearest_aligned_size,
    nearest_aligned_sizes,
)
from .layers import LayerInfo, list_layers, select_layers
from .layouts import Layout, measure_layouts
from .network import Network, Preset
from .stn import Alignment, Classifier, build_classifier
from .symmetry import asymmetry, symmetrised, symmetry_path
from .transformer import SpatialTransformer, in_parallel, still_transformers
from .warps import WarpFamily, warp_family

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
