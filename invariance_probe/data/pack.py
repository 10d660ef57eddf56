"""Rebuild the digit files of the package: `python -m invariance_probe.data.pack ROOT`.

ROOT is a torchvision-style folder with MNIST/raw, or the folder of the four original files.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import ProbeError
from .images.digits import FILES, IMAGES, LABELS
from .images.torchvision import mnist_file

PACKED = (IMAGES, LABELS)

# MD5 of the unpacked originals, as published with the data.
PUBLISHED_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def unpacked(path: Path) -> bytes:
    """Return the bytes of a file, decompressed when its name ends in .gz."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def checked_bytes(path: Path) -> bytes:
    """Return the unpacked bytes of an original MNIST file; ProbeError if they are not those."""
    content = unpacked(path)
    name = path.name.removesuffix(".gz")
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != PUBLISHED_MD5[name]:
        raise ProbeError(
            f"'{path}' is not the original {name} (MD5 {found}, published "
            f"{PUBLISHED_MD5[name]}); fetch the file again"
        )
    return content


def pack(root: str | Path, out: str | Path = FILES) -> list[Path]:
    """Write the test images and labels under `out` as reproducible gzip files; return the paths."""
    written = []
    for name in PACKED:
        content = checked_bytes(mnist_file(root, name.removesuffix(".gz")))
        packed = io.BytesIO()
        # No name and no time in the header: the same input gives the same bytes.
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
            stream.write(content)
        target = Path(out) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{name}.part")
        part.write_bytes(packed.getvalue())
        os.replace(part, target)
        written.append(target)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m invariance_probe.data.pack")
    parser.description = "Rebuild the MNIST test digits of the package from the original files."
    parser.add_argument("root", help="folder that holds MNIST/raw")
    parser.add_argument("--out", default=FILES, type=Path, help="where to write (default: package)")
    options = parser.parse_args(arguments)
    try:
        written = pack(options.root, options.out)
    except ProbeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for path in written:
        sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
