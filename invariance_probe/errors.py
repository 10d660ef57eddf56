"""The errors that bad input raises: one line that names the thing and the remedy."""

from __future__ import annotations

LONGEST = 480
"""Characters of the line that the command line shows of an error."""


_LONGEST_OF_ALL = 2000


class ProbeError(ValueError):
    """Input that cannot be measured, in one line: what is wrong with what, and what to do.

    The command line prints the message without a traceback and exits with code 2. What is quoted in
    it, names above all, is shortened where the line would have more than 2,000 characters.
    """

    def __init__(self, message: object = "") -> None:
        text = str(message)
        whole = len(text) <= _LONGEST_OF_ALL and text.isprintable()
        super().__init__(text if whole else one_line(text, _LONGEST_OF_ALL))


class ForwardError(ProbeError):
    """A network that cannot take the images that it is shown."""


def is_of_memory(error: BaseException | None) -> bool:
    """Whether an error says that memory is full, of the machine or of a device.

    PyTorch has a class for devices alone: on a CPU it raises RuntimeError, known by its words.

    >>> is_of_memory(RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory"))
    True
    """
    words = ("can't allocate memory", "DefaultCPUAllocator: not enough memory")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(word in str(error) for word in words))
    )


def one_line(text: object, most: int = LONGEST) -> str:
    r"""A message as one printable line of at most `most` characters.

    Endless words, which are quoted input, lose their middle first; what to do stands at the end
    and stays.

    >>> one_line("no\nfolder " + 9000 * "a" + "; give another", 60)
    'no folder aaaaaaaaaaaaa...aaaaaaaaaaaa; give another'
    """
    words = "".join(c if c.isprintable() or c.isspace() else repr(c)[1:-1] for c in str(text))
    line = " ".join(words.split())
    for longest in (240, 120, 60, 30):
        if len(line) <= most:
            return line
        line = " ".join(_without_middle(word, longest) for word in line.split(" "))
    return _without_middle(line, most)


def _without_middle(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    kept = (most - 3) // 2
    return f"{text[:kept]}...{text[-kept:]}"
