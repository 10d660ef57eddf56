"""Settings of the whole suite."""

from __future__ import annotations

from hypothesis import settings

# Examples are quick, but a busy machine must not fail them for taking 200 ms.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
