"""Run the command line with ``python -m invariance_probe``."""

from __future__ import annotations

import sys

from invariance_probe.console.signals import listen


def main() -> None:
    """Run the command line, whose own import is stopped in one line too."""
    try:
        listen()
        from invariance_probe.cli import main as command_line

        command_line()
    except KeyboardInterrupt as stop:
        sys.stderr.write("stopped; nothing was written\n")
        sys.exit(getattr(stop, "code", 130))


if __name__ == "__main__":
    main()
