"""Images to measure on and to train on: digits of the package, folders, arrays, data sets."""

from .arrays import array_images
from .catalogue import example_names, load_examples
from .datasets import torchvision_images
from .digits import embedded_digits
from .distortions import AddedDigits, DistortedDigits
from .examples import Batch, Draw, Examples
from .fixed import FixedExamples
from .folders import image_folder
from .images import ImageSet
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
    "image_folder",
    "load_examples",
    "torchvision_images",
    "upright_examples",
]
