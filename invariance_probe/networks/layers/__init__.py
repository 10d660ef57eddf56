"""Layers: their list, their maps from one forward pass, and runs with one of them replaced."""
