"""Fetch a data set: download a file, check its hash and unpack it. Nothing unfinished ever has its final name."""

import bz2
import gzip
import lzma
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
from pathlib import Path
from typing import BinaryIO

from musicai.storage import atomic_write, temporary_path

__all__ = ["DataError", "download", "extract"]

BLOCK = 1 << 18  # bytes read at a time
TIMEOUT = 30.0  # seconds without a byte
# identity: a server that compresses an archive again would change its bytes, and so its hash
HEADERS = {"User-Agent": "musicai", "Accept-Encoding": "identity"}
LONGEST_HEADER = 1 << 20  # tarfile reads a header in one go: a gigabyte of "comment" must not fill the memory
MAX_RATIO, SPARE_BYTES = 100, 16 << 20  # an archive may unpack to 100 times its size, plus 16 MiB
MAX_MEMBERS = 1_000_000  # files and folders
# names that Windows cannot hold or misreads, and names that are not UTF-8
UNPORTABLE = re.compile(r"[\x00-\x1f\\:\ud800-\udfff]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class DataError(ValueError):
    """A data set is damaged or cannot be fetched; the message names the file and the row, and says what to do.

    >>> raise DataError("groove/info.csv, row 3: bpm is 'fast'")
    Traceback (most recent call last):
    musicai.data.transport.DataError: groove/info.csv, row 3: bpm is 'fast'

    Chapter 1.
    """

    def __str__(self) -> str:
        """The message, with the bytes of file names that are not UTF-8 escaped so that it can be printed."""
        return super().__str__().encode("utf-8", "backslashreplace").decode()


def download(url: str, path: str | Path, *, known_hash: str | None = None, progress: bool = True) -> Path:
    """Fetch a file, unless it is already there with the right hash.

    The file appears under its name only once it is complete and its hash has been checked; after an error or
    Ctrl-C nothing is left of it, and an older file at `path` stays as it was. An interrupted download starts again from
    the beginning, so for the largest sets you may prefer a tool that can resume, such as `curl -C - -O`.

    >>> groove = "https://storage.googleapis.com/magentadata/datasets/groove/groove-v1.0.0-midionly.zip"
    >>> download(groove, "data/groove.zip")  # doctest: +SKIP
    PosixPath('data/groove.zip')

    Args:
        url: the address, http or https.
        path: the file to write; its folder is created if needed.
        known_hash: the published hash in hexadecimal, as in pooch: "sha256:..." or "md5:...". None skips the check.
        progress: whether to show a progress bar.

    Returns: `path`.

    Raises:
        DataError: if the file cannot be fetched or written, or its hash differs; the message says where and why.

    Source: pooch does the downloading and hashing (Uieda et al. 2020, JOSS 5(45)).

    Chapter 1.
    """
    from pooch import HTTPDownloader
    from pooch.hashes import hash_matches

    path = Path(os.path.expanduser(path))
    try:
        if path.is_file() and hash_matches(path, known_hash):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            HTTPDownloader(progress, chunk_size=BLOCK, timeout=TIMEOUT, headers=HEADERS)(url, file, None)
            file.flush()
            hash_matches(file.name, known_hash, strict=True, source=url)
    except (OSError, ValueError) as error:  # the errors of requests are OSErrors
        raise DataError(f"cannot download {url} to {path}: {error}; nothing was kept") from error
    return path


def extract(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a tar (plain, gzip, bzip2 or xz) or zip archive into a new folder, completely or not at all.

    The archive need not be trusted: tarfile's "data" filter and zipfile do the unpacking, and the name, kind and size
    of each member are checked before it is written. Everything goes to a temporary folder, which is renamed at the end.
    If all members are in one folder that is also called `folder`, it becomes `folder`, so there is no `groove/groove`.

    >>> extract("groove-v1.0.0-midionly.zip", "data/groove")  # doctest: +SKIP
    PosixPath('data/groove')

    Args:
        archive: the file; its format is identified by its content, not its name.
        folder: where to put the members; it must not exist yet.

    Returns: `folder`.

    Raises:
        DataError: if `folder` exists, the disk is full, or the archive is damaged, truncated, encrypted or too large
            (over a million members, or over 100 times its own size plus 16 MiB), or holds a link, a device, a sparse
            file, or a name that is absolute, leaves the folder, appears twice (upper and lower case count as one) or
            cannot exist on every system. Nothing is left behind in that case.

    Chapter 1.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        if os.path.lexists(folder):
            raise DataError(f"{folder} already exists; move it away or unpack into another folder")
        nearest = next(parent for parent in folder.absolute().parents if parent.exists())
        with temporary_path(nearest) as new:
            new.mkdir()
            _unpack(archive, new)
            inside = list(new.iterdir())
            folder.parent.mkdir(parents=True, exist_ok=True)
            (inside[0] if [path.name for path in inside] == [folder.name] else new).rename(folder)
    except Exception as error:  # a hostile archive can make the readers raise anything
        reason = error if str(error) else type(error).__name__
        raise DataError(f"cannot unpack {archive} into {folder}: {reason}") from error
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    members = _Members(MAX_RATIO * archive.stat().st_size + SPARE_BYTES)
    with archive.open("rb") as file:
        magic = file.read(5)
        file.seek(0)
        if magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            _unpack_zip(file, folder, members)
        else:
            opener = next((opener for start, opener in OPENERS.items() if magic.startswith(start)), None)
            _unpack_tar(opener(file) if opener else file, folder, members)


def _unpack_zip(file: BinaryIO, folder: Path, members: "_Members") -> None:
    with zipfile.ZipFile(file) as packed:
        for member in packed.infolist():
            is_plain = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
            is_plain &= member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            name = member.orig_filename  # `filename` stops at a NUL
            members.check(name, member.file_size, member.is_dir(), is_plain)
            packed.extract(member, folder)


def _unpack_tar(file: BinaryIO, folder: Path, members: "_Members") -> None:
    stream = _TarStream(file, members.most_bytes + 4096 * MAX_MEMBERS)
    with tarfile.TarFile(fileobj=stream, encoding="utf-8") as packed:
        for member in iter(packed.next, None):
            packed.members = []  # tarfile remembers every member, and ten million of them would fill the memory
            is_plain = member.isdir() or (member.isreg() and not member.issparse())
            members.check(member.name, member.size, member.isdir(), is_plain)
            packed.extract(member, folder, filter="data")
    if len(stream.last) < 512 or stream.last.strip(b"\0"):  # tarfile mistakes a broken header for the end
        raise DataError("it is truncated or damaged: there is no end-of-archive block")
    while stream.read(BLOCK):  # read to the very end, where gzip, bzip2 and xz keep their checksums
        pass


class _TarStream:
    """An uncompressed tar with limits on its length and on how much is read at once."""

    def __init__(self, file: BinaryIO, longest: int):
        self.file, self.longest, self.last = file, longest, b""
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int) -> bytes:
        """Read `size` bytes, as a file does."""
        if not 0 <= size <= LONGEST_HEADER:
            raise DataError(f"it has a header of {size:,} bytes (at most {LONGEST_HEADER:,})")
        self.last = self.file.read(size)
        if self.tell() > self.longest:
            raise DataError(f"it unpacks to more than {self.longest:,} bytes")
        return self.last


class _Members:
    """The members so far, and the checks that each must pass before it is written."""

    def __init__(self, most_bytes: int):
        self.most_bytes, self.bytes, self.seen = most_bytes, 0, {}

    def check(self, name: str, size: int, is_folder: bool, is_plain: bool) -> None:
        """Raise DataError unless the member may be unpacked."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        self.bytes += size
        reasons = {
            "it leads out of the folder": name.startswith("/") or ".." in parts,
            "not every system can hold that name": any(map(UNPORTABLE.search, parts)),
            "it is too long": len(name) > 1024 or len(parts) > 32 or any(len(os.fsencode(p)) > 255 for p in parts),
            "only folders and plain files, stored or deflated, are unpacked": not is_plain,
            "it is a file without a name": not parts and not is_folder,
            f"the archive unpacks to more than {self.most_bytes:,} bytes": size < 0 or self.bytes > self.most_bytes,
            "its name appears twice (upper and lower case count as one)": not self._is_new(parts, is_folder),
            f"it is one of more than {MAX_MEMBERS:,} members": len(self.seen) > MAX_MEMBERS,
        }
        for reason, holds in reasons.items():
            if holds:
                raise DataError(f"member {name[:200]!r}: {reason}")

    def _is_new(self, parts: list[str], is_folder: bool) -> bool:
        """Whether the name is free even on systems that ignore case or normalise letters. Folders may repeat."""
        for depth in range(1, len(parts) + 1):
            entry = ("/".join(parts[:depth]), depth < len(parts) or is_folder)
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", entry[0]).casefold())
            known = self.seen.setdefault(folded, entry)
            if known != entry or (known is not entry and not known[1]):
                return False
        return True
