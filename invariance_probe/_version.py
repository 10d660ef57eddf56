"""The version of the package: the only place where it is written for the build."""

__version__ = "0.1.0"
__released__ = "2026-11-29"
