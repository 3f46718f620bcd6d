"""Unpack tar and zip files from strangers: nothing is ever written outside the folder asked for.

`extract` is our own because the standard library's `extractall` is made for archives one trusts. Here every name is
checked, links and devices are refused, bytes are counted while they are written (a header may lie), and the folder
appears whole or not at all.
"""

import bz2
import contextlib
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import DataError

CHUNK = 1 << 16
LONGEST_HEADER = 1 << 20  # a tar header is read into memory in one go: a gigabyte of "comment" must not be
MAX_RATIO, FREE_BYTES = 100, 16 << 20  # default limit: 100 times the archive, and 16 MiB for the smallest
MAX_PART, MAX_NAME, MAX_DEPTH = 255, 1024, 32
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
READ_ERRORS = (
    *(tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, IndexError, OverflowError, RecursionError, NotImplementedError, RuntimeError),
)


class ArchiveError(DataError):
    """An archive is damaged, hostile or too large; the message names the archive and the member."""


def extract(
    archive: str | Path, folder: str | Path, *, max_bytes: int | None = None, max_files: int = 1_000_000
) -> Path:
    """Unpack a tar (plain, gzip, bzip2, xz) or zip `archive` into `folder`, wholly or not at all.

    >>> extract("groove-v1.0.0-midionly.zip", "data")  # doctest: +SKIP
    PosixPath('data')

    Members go to a temporary folder beside `folder` first and are moved in when all of them are good. A `folder` that
    exists is added to, but no file in it is ever replaced, and nothing goes through a link in it. Permissions, owners
    and times in the archive are ignored.

    Args:
        archive: the file; its type is told by its content, not by its name.
        folder: where the members go; made if missing.
        max_bytes: the most bytes to write (default: 100 times the archive's size, plus 16 MiB).
        max_files: the most members, folders included.

    Raises:
        ArchiveError: for absolute paths, "..", drive letters, backslashes, names Windows cannot hold or that clash
            when case is ignored, links, devices, FIFOs, sparse or encrypted members, overwritten files, too many
            members or bytes, truncated or damaged archives, a full disk. `folder` is then as it was.
    """
    archive, folder = Path(archive), Path(folder)
    made = _make_parents(archive, folder)
    try:
        with _temporary_beside(folder) as temporary:
            _unpack(archive, temporary, _limit(archive, max_bytes), max_files)
            _move_in(archive, temporary, folder)
    except READ_ERRORS as error:
        if isinstance(error, ArchiveError):
            raise
        raise ArchiveError(f"{archive}: cannot unpack into {folder}: {error or type(error).__name__}") from error
    finally:
        for parent in made:  # those that are still empty: the unpacking failed
            with contextlib.suppress(OSError):
                parent.rmdir()
    return folder


def safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a relative path from outside, e.g. ``("2018", "a.wav")``; ArchiveError where it is unsafe."""
    reason = _why_unsafe(name)
    parts = tuple(part for part in name.split("/") if part not in ("", ".")) if not reason else ()
    reason = reason or next((why for why in map(_why_unsafe_part, parts) if why), None)
    if reason or len(parts) > MAX_DEPTH:
        raise ArchiveError(f"unsafe path {name[:200]!r}: {reason or f'more than {MAX_DEPTH} folders deep'}")
    return parts


def _why_unsafe(name: str) -> str | None:
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        return "it has control characters or is not UTF-8"
    if name.startswith("/"):
        return "it is absolute"
    if "\\" in name or ":" in name:
        return "it has a backslash, a drive letter or a colon"
    return f"it is longer than {MAX_NAME} bytes" if len(name.encode()) > MAX_NAME else None


def _why_unsafe_part(part: str) -> str | None:
    if part == "..":
        return "it leaves its folder"
    if part.endswith((".", " ")) or RESERVED.fullmatch(part):
        return "Windows cannot hold that name"
    return f"a part is longer than {MAX_PART} bytes" if len(part.encode()) > MAX_PART else None


def _make_parents(archive: Path, folder: Path) -> list[Path]:
    """Make the folders above `folder`; return those made, the deepest first."""
    missing = [parent for parent in folder.parents if not os.path.lexists(parent)]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveError(f"{archive}: cannot make {folder.parent}: {error}") from error
    return missing


@contextlib.contextmanager
def _temporary_beside(folder: Path) -> Iterator[Path]:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".tmp", dir=folder.parent))
    try:
        (temporary / "new").mkdir()  # `mkdtemp` makes a private folder; a data set is not
        yield temporary / "new"
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _limit(archive: Path, max_bytes: int | None) -> int:
    return MAX_RATIO * archive.stat().st_size + FREE_BYTES if max_bytes is None else max_bytes


def _unpack(archive: Path, folder: Path, max_bytes: int, max_files: int) -> None:
    writer = _Writer(archive, folder, max_bytes, max_files)
    with archive.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        if magic[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            _unpack_zip(file, writer)
        elif magic[:2] == b"\x1f\x8b":
            _unpack_tar(gzip.GzipFile(fileobj=file), writer)
        elif magic[:3] == b"BZh":
            _unpack_tar(bz2.BZ2File(file), writer)
        elif magic == b"\xfd7zXZ\x00":
            _unpack_tar(lzma.LZMAFile(file), writer)  # noqa: SIM115
        else:
            _unpack_tar(file, writer)


def _unpack_zip(file: BinaryIO, writer: "_Writer") -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            name = member.orig_filename  # `filename` is already cut at a NUL
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise writer.error(name, "it is a link or a device")
            if member.flag_bits & 0x1:
                raise writer.error(name, "it is encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise writer.error(name, f"it is compressed by method {member.compress_type}, not stored or deflated")
            if name.endswith("/") or kind == stat.S_IFDIR:
                writer.folder(name)
            else:
                with archive.open(member) as source:
                    writer.file(name, source, member.file_size)


def _unpack_tar(file: BinaryIO, writer: "_Writer") -> None:
    metered = _Metered(file, writer)
    with tarfile.TarFile(fileobj=metered, mode="r", encoding="utf-8") as archive:
        for member in iter(archive.next, None):
            archive.members = []  # tarfile remembers each member: 10 million of them would fill the memory
            if member.isdir():
                writer.folder(member.name)
            elif member.isreg() and not member.issparse():
                writer.file(member.name, archive.extractfile(member), member.size)
            else:
                raise writer.error(member.name, "it is a link, a device, a FIFO or a sparse file")
    if len(metered.last) < 512 or metered.last.strip(b"\0"):  # tarfile takes a broken header for the end
        raise ArchiveError(f"{writer.archive}: truncated or damaged: no end-of-archive block")
    while metered.read(CHUNK):  # to the end, where gzip, bzip2 and xz keep their checksums
        pass


class _Metered:
    """The uncompressed tar stream: bounded in length and in what is read at once."""

    def __init__(self, file: BinaryIO, writer: "_Writer"):
        self.file, self.archive, self.last = file, writer.archive, b""
        self.longest = writer.max_bytes + 4096 * min(writer.max_files, writer.max_bytes // 512 + 64) + LONGEST_HEADER

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST_HEADER:
            raise ArchiveError(f"{self.archive}: a header of {size} bytes (at most {LONGEST_HEADER})")
        self.last = self.file.read(size)
        self.tell()
        return self.last

    def seek(self, position: int) -> int:
        while position - self.tell() > CHUNK:  # in steps: skipping a bomb would unpack it all
            self.file.seek(CHUNK, os.SEEK_CUR)
        return self.file.seek(position)

    def tell(self) -> int:
        position = self.file.tell()
        if position > self.longest:
            raise ArchiveError(f"{self.archive}: unpacks to more than {self.longest} bytes")
        return position


class _Writer:
    """Writes checked members under one fresh folder and counts them and their bytes."""

    def __init__(self, archive: Path, folder: Path, max_bytes: int, max_files: int):
        self.archive, self.root = archive, folder
        self.max_bytes, self.max_files = max_bytes, max_files
        self.bytes_left, self.members, self.seen = max_bytes, 0, {}

    def error(self, name: str, reason: str) -> ArchiveError:
        return ArchiveError(f"{self.archive}: member {name[:200]!r}: {reason}")

    def folder(self, name: str) -> None:
        self._claim(name, is_folder=True).mkdir(parents=True, exist_ok=True)

    def file(self, name: str, source: BinaryIO, size: int) -> None:
        target = self._claim(name, is_folder=False)
        if not 0 <= size <= self.bytes_left:
            raise self.error(name, f"the archive unpacks to more than {self.max_bytes} bytes")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for block in iter(lambda: source.read(CHUNK), b""):
                self.bytes_left -= len(block)
                if self.bytes_left < 0:
                    raise self.error(name, f"the archive unpacks to more than {self.max_bytes} bytes")
                file.write(block)
        if target.stat().st_size != size:
            raise self.error(name, f"truncated: {target.stat().st_size} of {size} bytes")

    def _claim(self, name: str, *, is_folder: bool) -> Path:
        """The path of a new member; its name and those of its folders must be safe and free."""
        try:
            parts = safe_parts(name)
        except ArchiveError as error:
            raise ArchiveError(f"{self.archive}: {error}") from None
        if not parts and not is_folder:
            raise self.error(name, "a file without a name")
        for depth in range(1, len(parts) + 1):
            entry = ("/".join(parts[:depth]), depth < len(parts) or is_folder)  # (spelling, is it a folder?)
            known = self.seen.setdefault(_key(entry[0]), entry)
            if known != entry or (known is not entry and not known[1]):
                raise self.error(name, f"its name is taken by {known[0]!r} (upper and lower case count as one)")
        self.members += 1
        if max(self.members, len(self.seen)) > self.max_files:
            raise self.error(name, f"the archive has more than {self.max_files} members")
        return self.root.joinpath(*parts)


def _key(name: str) -> str:
    """Equal for names that are one file on Windows or macOS."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _move_in(archive: Path, source: Path, folder: Path) -> None:
    """Move what is in `source` into `folder`: all of it, or (where a name is taken) nothing."""
    if not os.path.lexists(folder):
        source.rename(folder)
        return
    moves = list(_moves(archive, source, folder))  # looks at everything before anything moves
    done = []
    try:
        for old, new in moves:
            old.rename(new)
            done.append((old, new))
    except BaseException:
        for old, new in reversed(done):
            new.rename(old)
        raise


def _moves(archive: Path, source: Path, folder: Path) -> Iterator[tuple[Path, Path]]:
    if not folder.is_dir():
        raise ArchiveError(f"{archive}: {folder} is not a folder")
    taken = {_key(entry.name): entry for entry in folder.iterdir()}
    for old in sorted(source.iterdir()):
        there = taken.get(_key(old.name))
        if there is None:
            yield old, folder / old.name
        elif there.name == old.name and old.is_dir() and there.is_dir() and not there.is_symlink():
            yield from _moves(archive, old, there)
        else:
            raise ArchiveError(f"{archive}: {there} exists already; move it away or unpack into another folder")
