"""The errors that bad input raises: one line that names the thing and the remedy."""


class ProbeError(ValueError):
    """Input that cannot be measured, in one line: what is wrong with what, and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """
