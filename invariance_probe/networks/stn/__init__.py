"""Spatial transformer networks: warps, localisation heads, backbones, classifiers."""
