"""The viewer of feature maps as a section of the report."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from ...errors import ProbeError
from ...probing import Untrusted, pictures_of
from ...probing.verification.trust import Trust
from ..viewer import viewer_fragment
from .page import Extra
from .runs import Runs

_NAME, _TITLE = "viewer", "See for yourself"
UNSEEN = "no pictures of "
"""How a notice of pictures that lack for want of trust begins."""


def viewer(
    runs: Runs,
    progress: Callable[[str], None] | None = None,
    trust: Trust = False,
    notice: Callable[[str], None] | None = None,
) -> Extra | None:
    """One viewer per probe, from pictures taken by running its network again.

    Where that is not possible (Python objects, files that are gone, names of others' code and files
    that `trust` does not allow) the section says why, and `notice` is called with the last of
    these. None without any probe.
    """
    pieces: list[Markup] = []
    style = script = ""
    for name, result in runs.probes:
        if len(runs.probes) > 1:
            pieces.append(Markup("<h3>{}</h3>").format(name))
        if progress is not None:
            progress(f"pictures of {name}")
        try:
            pictures = pictures_of(result, trust=trust)
            fragment = viewer_fragment(pictures, label=f"Viewer of feature maps: {name}")
        except ProbeError as error:
            if notice is not None and isinstance(error, Untrusted):
                notice(f"{UNSEEN}{name}: {error}")
            pieces.append(Markup("<p>There are no pictures of this run: {}.</p>").format(error))
            continue
        pieces.append(Markup(fragment.html))  # names in it are escaped where it is made
        style, script = fragment.css, fragment.js
    if not pieces:
        return None
    return Extra(_NAME, _TITLE, Markup("\n").join(pieces), style, script)
