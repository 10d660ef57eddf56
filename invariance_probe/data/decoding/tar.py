"""The members of a tar archive, read where they lie."""

from __future__ import annotations

import io
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import ProbeError
from .photograph import plain

_BLOCK = 512
_BEFORE = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
           tarfile.GNUTYPE_LONGLINK)  # fmt: skip
_DIGITS = 300  # in a row; a name has at most 255 bytes


@dataclass(frozen=True)
class Member:
    """A piece of an archive."""

    shard: Path
    start: int
    size: int
    name: str


class Header(tarfile.TarInfo):
    """A member, before whose name and times are read it is seen that they are of honest length.

    tarfile looks for a record in a time that grows with the square of the digits in a row.
    """

    longest = 16_384  # bytes
    seen_before = True  # whether the archive can be read ahead

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """What tarfile calls for every header, and lets others replace."""
        if self.type in _BEFORE:
            if self.size > self.longest:
                raise tarfile.ReadError(f"names or times of {self.size:,} bytes")
            if self.seen_before and archive.fileobj is not None:
                place = archive.fileobj.tell()
                runs = re.findall(rb"\d+", archive.fileobj.read(self.size))
                archive.fileobj.seek(place)
                if max(map(len, runs), default=0) > _DIGITS:
                    raise tarfile.ReadError(f"a number of more than {_DIGITS} digits")
        return super()._proc_member(archive)  # type: ignore[misc]


class StreamedHeader(Header):
    """The same of a stream, which cannot be read ahead."""

    longest = 2_048
    seen_before = False


class Piece(io.RawIOBase):
    """The bytes of one member as a file of their own."""

    def __init__(self, member: Member) -> None:
        self.member, self.place = member, 0
        self.stream = member.shard.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.member.size}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self.place = base + offset
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        left = max(0, self.member.size - self.place)
        view = memoryview(buffer)[:left]
        self.stream.seek(self.member.start + self.place)
        number = self.stream.readinto(view) if left else 0
        self.place += number
        return number

    def close(self) -> None:
        self.stream.close()
        super().close()


def members_of(shard: Path) -> Iterator[Member]:
    """Yield the files of an archive; ProbeError for what no honest one holds."""
    shown = plain(str(shard))
    try:
        if not stat.S_ISREG((found := shard.stat()).st_mode):
            raise ProbeError(f"'{shown}' is no file; give a tar archive")
        end, seen = 0, set()
        with shard.open("rb") as stream:
            packed = stream.read(6)
            if packed.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
                raise ProbeError(
                    f"'{shown}' is compressed, and images are read from it in any order; "
                    "unpack it to a plain .tar"
                )
            stream.seek(0)
            with tarfile.open(fileobj=stream, mode="r:", tarinfo=Header) as archive:
                for member in archive:
                    end = member.offset_data + -(-max(member.size, 0) // _BLOCK) * _BLOCK
                    if not member.isfile():
                        end = member.offset_data
                    _check(member, shown, found.st_size)
                    if not member.isreg():
                        continue
                    if member.name in seen:
                        raise ProbeError(
                            f"'{shown}' holds '{plain(member.name)}' twice; write it again"
                        )
                    seen.add(member.name)
                    yield Member(shard, member.offset_data, member.size, member.name)
            # tarfile takes a damaged header for the end.
            stream.seek(end)
            if stream.read(_BLOCK).strip(b"\0"):
                raise tarfile.ReadError(f"damaged {end:,} bytes from its beginning")
    except FileNotFoundError:
        raise ProbeError(f"no archive '{shown}'; check the path") from None
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        if isinstance(error, ProbeError):
            raise
        detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ProbeError(
            f"'{shown}' cannot be read as a tar archive "
            f"({plain((detail or type(error).__name__).splitlines()[0])}); write it again"
        ) from error


def _check(member: tarfile.TarInfo, shown: str, size: int) -> None:
    path, refused = PurePosixPath(member.name), None
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        refused = "a path outside its archive"
    elif not (member.isdir() or member.isreg()) or member.issparse():
        refused = "a link or a device, not a file"
    elif member.size < 0 or (member.isreg() and member.offset_data + member.size > size):
        refused = "cut off, or of a size that is not true"
    if refused is not None:
        raise ProbeError(f"'{shown}' holds '{plain(member.name)}': {refused}; write it again")


__all__ = ["Header", "Member", "Piece", "StreamedHeader", "members_of"]
