"""Run the command line with ``python -m invariance_probe``."""

from invariance_probe._console.signals import run as main

if __name__ == "__main__":
    main()
