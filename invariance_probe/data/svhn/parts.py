"""The parts of SVHN as they are published: an archive of pictures, or its extracted folder."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ..._foreign import check_regular
from ...errors import ProbeError
from ..decoding.tar import StreamedHeader

URL = "http://ufldl.stanford.edu/housenumbers"
STRUCT = "digitStruct.mat"

_MOST_MEMBERS = 1_000_000
_LARGEST = {STRUCT: 2 << 30}
_LARGEST_PICTURE = 64 << 20  # bytes; the pictures of the set have less than one megabyte


@dataclass(frozen=True)
class Archive:
    """A .tar.gz, read from its beginning to its end; nothing is ever extracted to the disk."""

    path: Path

    @property
    def shown(self) -> str:
        return str(self.path)

    def key(self) -> str:
        """Return the SHA-256 of the file."""
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as stream:
                if stream.read(2) != b"\x1f\x8b":  # before the hash of what may be of any size
                    raise ProbeError(f"'{self.path}' is not compressed with gzip; fetch it again")
                stream.seek(0)
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return digest.hexdigest()

    def struct(self) -> bytes:
        """Return the bytes of digitStruct.mat."""
        for _, content in self._contents({STRUCT}):
            return content
        raise ProbeError(
            f"'{self.path}' holds no {STRUCT}; fetch {URL}/{self.path.name} again, "
            "the full numbers and not the cropped digits"
        )

    def pictures(self, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of the wanted pictures, in the order of the archive."""
        return self._contents(wanted)

    def _contents(self, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
        try:
            # Decompressed by gzip, which tells a file that ends too early from one that is whole.
            with (
                gzip.open(self.path) as raw,
                tarfile.open(fileobj=raw, mode="r|", tarinfo=StreamedHeader) as archive,
            ):
                for number, member in enumerate(archive):
                    if number >= _MOST_MEMBERS:
                        raise ProbeError(
                            f"'{self.path}' holds more than {_MOST_MEMBERS:,} entries; "
                            "this is not SVHN, fetch it again"
                        )
                    name = self._checked(member)
                    if name in wanted and (stream := archive.extractfile(member)) is not None:
                        yield name, _whole(stream, member)
        except ProbeError:
            raise
        except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
            raise _unreadable(self.path, error) from error

    def _checked(self, member: tarfile.TarInfo) -> str:
        """Return the plain name of a member; ProbeError for what no honest archive holds."""
        path, refused = PurePosixPath(member.name), None
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            refused = "a path outside its folder"
        elif not (member.isdir() or member.isreg()) or member.issparse():
            refused = "a link or a device, not a file"
        elif member.size > _LARGEST.get(path.name, _LARGEST_PICTURE):
            refused = f"{member.size / 2**20:,.0f} MB, far more than a picture of SVHN"
        if refused is not None:
            raise ProbeError(
                f"'{self.path}' holds '{member.name}': {refused}; do not use this file, "
                f"fetch {URL}/{self.path.name} again"
            )
        return path.name if member.isreg() else ""


@dataclass(frozen=True)
class Folder:
    """The extracted pictures with their digitStruct.mat."""

    path: Path

    @property
    def shown(self) -> str:
        return str(self.path)

    def key(self) -> str:
        """Return a SHA-256 over digitStruct.mat and the names and sizes of the pictures."""
        digest = hashlib.sha256(self.struct())
        try:
            for file in sorted(self.path.glob("*.png")):
                digest.update(f"\0{file.name}\0{file.stat().st_size}".encode())
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return digest.hexdigest()

    def struct(self) -> bytes:
        """Return the bytes of digitStruct.mat."""
        return self._read(STRUCT)

    def pictures(self, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of the wanted pictures that are there."""
        for file in sorted(self.path.glob("*.png")):
            if file.name in wanted:
                yield file.name, self._read(file.name)

    def _read(self, name: str) -> bytes:
        file = self.path / name
        try:
            check_regular(file)
            if file.stat().st_size > _LARGEST.get(name, _LARGEST_PICTURE):
                raise ProbeError(f"'{file}' is far larger than a file of SVHN; fetch it again")
            return file.read_bytes()
        except OSError as error:
            raise _unreadable(file, error) from error


Part = Archive | Folder


def find_part(root: Path, name: str) -> Part | None:
    """Return a part ("train", "test", "extra") under a root, the archive before the folder."""
    archive, folder = root / f"{name}.tar.gz", root / name
    if archive.is_file():
        return Archive(archive)
    return Folder(folder) if (folder / STRUCT).is_file() else None


def missing_part(root: Path, name: str) -> ProbeError:
    """Return the error that says what to download and where to put it."""
    return ProbeError(
        f"SVHN's full numbers ({name} part) are not under '{root}': expected '{name}.tar.gz' or "
        f"the folder '{name}' with {STRUCT}; download {URL}/{name}.tar.gz and put it there, "
        "or use the generated set: street"
    )


def _whole(stream: IO[bytes], member: tarfile.TarInfo) -> bytes:
    content = stream.read()
    if len(content) != member.size:
        raise EOFError(f"'{member.name}' ends too early")
    return content


def _unreadable(path: Path, error: Exception) -> ProbeError:
    detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ProbeError(
        f"'{path}' cannot be read ({(detail or type(error).__name__).splitlines()[0]}); "
        "fetch it again"
    )
