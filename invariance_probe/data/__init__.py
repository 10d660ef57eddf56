"""Images to measure on and to train on: digits of the package, folders, arrays, data sets."""

from .arrays import array_images
from .catalogue import example_names, load_examples
from .datasets import torchvision_images
from .digits import embedded_digits
from .distortions import AddedDigits, DistortedDigits
from .examples import Batch, Draw, Examples
from .fixed import FixedExamples
from .folders import image_folder
from .hdf5 import hdf5_images
from .images import ImageSet
from .npz import npz_images
from .opening import is_stored, open_images
from .shards import shard_images
from .upright import folder_examples, upright_examples

__all__ = [
    "AddedDigits",
    "Batch",
    "DistortedDigits",
    "Draw",
    "Examples",
    "FixedExamples",
    "ImageSet",
    "array_images",
    "embedded_digits",
    "example_names",
    "folder_examples",
    "hdf5_images",
    "image_folder",
    "is_stored",
    "load_examples",
    "npz_images",
    "open_images",
    "shard_images",
    "torchvision_images",
    "upright_examples",
]
