"""Poses that spatial transformers give to images, beside those applied."""
