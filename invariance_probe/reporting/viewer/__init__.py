"""The interactive viewer of pictures: a piece of a page, a page, and animations as files."""

from .animation import animation_frames, write_animation
from .fragment import Fragment, viewer_fragment, viewer_page
from .panels import contact_sheet

__all__ = [
    "Fragment",
    "animation_frames",
    "contact_sheet",
    "viewer_fragment",
    "viewer_page",
    "write_animation",
]
