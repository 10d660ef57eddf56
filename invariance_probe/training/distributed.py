"""Training in several processes, as torchrun starts them: one batch shared, gradients averaged.

The group is the one that probes share too.
"""

from ..probing.distributed import Group, current_group, processes

__all__ = ["Group", "current_group", "processes"]
