"""A network that is left as it came: what its modules hold, before and after others' passes."""

from .held import Kept
from .passes import after_pass, evaluating, keeping, keeping_each
from .putting_back import streams

__all__ = ["Kept", "after_pass", "evaluating", "keeping", "keeping_each", "streams"]
