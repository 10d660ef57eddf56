"""Settings of the whole suite."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

# Helpers that several rooms' tests share are modules beside this file.
sys.path.insert(0, str(Path(__file__).parent))

# Examples are quick, but a busy machine must not fail them for taking 200 ms.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
