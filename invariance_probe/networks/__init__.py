"""Networks: activations of named layers, measured frames, safe checkpoints, networks by name."""

from .activations import Activations, check_finite
from .build import Network, build_network
from .checkpoints import load_checkpoint, load_state
from .classifiers import MnistCNN
from .frames import LayerFrame, measure_frames, nearest_aligned_size
from .layers import LayerInfo, list_layers, select_layers

__all__ = [
    "Activations",
    "LayerFrame",
    "LayerInfo",
    "MnistCNN",
    "Network",
    "build_network",
    "check_finite",
    "list_layers",
    "load_checkpoint",
    "load_state",
    "measure_frames",
    "nearest_aligned_size",
    "select_layers",
]
