"""Images to measure on and to train on: digits of the package, folders, arrays, data sets."""

from .catalogue import example_names, load_examples
from .distortions import AddedDigits, DistortedDigits
from .examples.examples import Batch, Draw, Examples
from .examples.fixed import FixedExamples
from .examples.upright import folder_examples, upright_examples
from .images.arrays import array_images
from .images.digits import embedded_digits
from .images.folders import image_folder
from .images.hdf5 import hdf5_images
from .images.image_set import ImageSet
from .images.npz import npz_images
from .images.opening import AnyImages, as_images, is_stored, open_images
from .images.shards import shard_images
from .images.torchvision import torchvision_images

__all__ = [
    "AddedDigits",
    "AnyImages",
    "Batch",
    "DistortedDigits",
    "Draw",
    "Examples",
    "FixedExamples",
    "ImageSet",
    "array_images",
    "as_images",
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


def __dir__() -> list[str]:
    return sorted(__all__)
