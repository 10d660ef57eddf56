"""Street View House Numbers, read from the published files; nothing is ever downloaded."""

from .examples import svhn_digits, svhn_examples

__all__ = ["svhn_digits", "svhn_examples"]
