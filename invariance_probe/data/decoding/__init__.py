"""Bytes of image files as pixels: checked before they are believed."""
