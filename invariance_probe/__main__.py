"""Run the command line with ``python -m invariance_probe``."""

from invariance_probe.cli import main

if __name__ == "__main__":
    main()
