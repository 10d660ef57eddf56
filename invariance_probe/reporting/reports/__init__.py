"""The citable report: one HTML page, Markdown, and files for a paper, from stored results."""

from .contents import Content, content
from .page import Extra
from .text.citing import cite
from .writing import report

__all__ = ["Content", "Extra", "cite", "content", "report"]
