"""Images to measure on: the digits of the package, folders, arrays, data sets on disk."""

from .arrays import array_images
from .datasets import torchvision_images
from .digits import embedded_digits
from .folders import image_folder
from .images import ImageSet

__all__ = ["ImageSet", "array_images", "embedded_digits", "image_folder", "torchvision_images"]
