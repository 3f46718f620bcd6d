"""Fetch a file once: resumed after a broken connection, checked, and never left half-written under its own name."""

import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import DataError

try:
    import fcntl
except ImportError:  # Windows: without the lock two processes may both fetch, the later one wins with a whole file
    fcntl = None

CHUNK = 1 << 18
TIMEOUT = 30.0  # seconds without a byte
WAITS = (0.5, 1.0, 2.0, 4.0)  # seconds before each further try; the count starts anew when a try brought data
RETRIED = {408, 425, 429, 500, 502, 503, 504}


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    progress: bool = True,
) -> Path:
    """Fetch `url` (http, https or file) into the file `path`, unless it is already there and right.

    >>> download("https://example.org/groove.zip", "data/groove.zip", size=3260318)  # doctest: +SKIP
    PosixPath('data/groove.zip')

    The bytes go to `path` + ".part" (and what tells whether the server's file has changed to ".etag.part"); only a
    whole and checked file is moved to `path`. When the connection breaks, the disk is full or you press Ctrl-C, the
    parts stay and the next call goes on from there. A fetched file with a wrong hash or size is removed; a wrong file
    that was at `path` before stays until the right one replaces it. Several processes may ask for the same `path`:
    one fetches, the others wait.

    Args:
        url: where the file is.
        path: where it goes; its folder is made.
        sha256: its hash in hexadecimal, where one is published.
        md5: the same for sets with no better hash: it finds damage, not malice.
        size: its size in bytes, where published.
        progress: show a progress bar.

    Raises:
        DataError: when the file cannot be fetched or is not the one expected; names the address and the reason.
    """
    path, expected = Path(path), _Expected(sha256, md5, size)
    if not re.match(r"(https?|file)://", url, re.IGNORECASE):
        raise DataError(f"{url}: only http, https and file addresses can be downloaded")
    if path.is_dir():
        raise DataError(f"{url}: cannot download to {path}: it is a folder; give the name of a file")
    try:
        if path.exists() and not expected.problem(path):
            return path
        with _own_part(path) as part:
            if not path.exists() or expected.problem(path):  # else another process has just brought it
                _complete(_Transfer(url, part, expected, progress))
                part.tag_file.unlink(missing_ok=True)
                os.replace(part.file, path)
    except OSError as error:
        raise DataError(f"{url}: cannot write {path}: {error}; {_advice(error)}") from error
    return path


def cache_dir() -> Path:
    """The folder for downloads and parsed data: $MUSICAI_CACHE, or "musicai" in the platform's cache folder; made here.

    Raises:
        DataError: when it cannot be written to.
    """
    folder = Path(os.environ.get("MUSICAI_CACHE") or _platform_cache() / "musicai").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("it is read-only")
    except (OSError, RuntimeError) as error:
        advice = "set MUSICAI_CACHE to a folder you can write to"
        raise DataError(f"cannot use the cache folder {folder}: {error}; {advice}") from error
    return folder


def _platform_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    return Path("~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME") or "~/.cache")


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "choose a folder you can write to (for the cache: set MUSICAI_CACHE)"
    return "what has been fetched stays in its .part file; make room and call again to go on"


@dataclass(frozen=True)
class _Expected:
    sha256: str | None
    md5: str | None
    size: int | None

    @property
    def has_hash(self) -> bool:
        return self.sha256 is not None or self.md5 is not None

    def problem(self, path: Path) -> str | None:
        """Why the file is not the one expected, or None."""
        if self.size is not None and path.stat().st_size != self.size:
            return f"its size is {path.stat().st_size} bytes, not {self.size}"
        for name in ("sha256", "md5"):
            want = getattr(self, name)
            if want is not None and (got := _digest(path, name)) != want.lower():
                return f"its {name} is {got}, not {want.lower()}"
        return None


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()


class _Part:
    """The unfinished file and, beside it, the server's tag for the version it is a part of."""

    def __init__(self, path: Path):
        self.file = path.with_name(path.name + ".part")
        self.tag_file = path.with_name(path.name + ".etag.part")

    def tag(self, url: str) -> str | None:
        """The tag to send in If-Range; None where the part is of another address or the server gave no tag."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self.tag_file.read_text("utf-8"))
            return kept["tag"] if kept["url"] == url else None
        return None

    def keep_tag(self, url: str, tag: str | None) -> None:
        self.tag_file.write_text(json.dumps({"url": url, "tag": tag}), "utf-8")

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
        self.tag_file.unlink(missing_ok=True)


@contextlib.contextmanager
def _own_part(path: Path) -> Iterator[_Part]:
    """The part of `path`, locked against other processes; a lock ends with its process, however that dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(path)
    while True:
        with part.file.open("ab") as lock:
            if fcntl:
                with contextlib.suppress(OSError):  # a network file system without locks
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if not _same_file(lock, part.file):  # its owner finished (or gave up) while we waited
                    continue
            try:
                yield part
            finally:
                if part.file.exists() and part.file.stat().st_size == 0:
                    part.remove()
            return


def _same_file(file: BinaryIO, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _complete(transfer: "_Transfer") -> None:
    """Fetch until the part is whole and right; a resumed part that turns out wrong is fetched once more from zero."""
    resumed = transfer.part.file.stat().st_size > 0
    transfer.run()
    problem = transfer.expected.problem(transfer.part.file)
    if problem and resumed:
        transfer.restart()
        transfer.run()
        problem = transfer.expected.problem(transfer.part.file)
    if problem:
        transfer.part.remove()
        raise DataError(f"{transfer.url}: the file is not the one expected: {problem}; nothing was kept")


class _Retry(Exception):
    """This try failed; the next may not."""


@dataclass
class _Transfer:
    url: str
    part: _Part
    expected: _Expected
    progress: bool

    def run(self) -> None:
        """Try until the part is whole; give up when no byte arrives in `len(WAITS)` further tries."""
        waits = list(WAITS)
        while not self._is_whole():
            before = self._length()
            try:
                self._try()
                return
            except (_Retry, urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
                reason = self._reason(error)  # raises where trying again is no use
            if self._length() > before:
                waits = list(WAITS)
            if not waits:
                kept = f"{self._length()} bytes are kept in {self.part.file}, call again to go on"
                advice = kept if self._length() else "is the network there?"
                raise DataError(f"{self.url}: cannot download: {reason}; {advice}")
            time.sleep(waits.pop(0))

    def _reason(self, error: Exception) -> str:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            if error.code not in RETRIED:
                raise DataError(f"{self.url}: the server says {error.code} {error.reason}") from error
            return f"the server says {error.code} {error.reason}"
        if isinstance(getattr(error, "reason", None), FileNotFoundError | IsADirectoryError | PermissionError):
            raise DataError(f"{self.url}: {error.reason}") from error
        return str(getattr(error, "reason", error)) or type(error).__name__

    def _length(self) -> int:
        return self.part.file.stat().st_size

    def _is_whole(self) -> bool:
        return self.expected.size is not None and self._length() == self.expected.size

    def _try(self) -> None:
        start, tag = self._length(), self.part.tag(self.url)
        if start and not (tag or self.expected.has_hash):  # nothing would tell that the server's file has changed
            start = self.restart()
        if self.expected.size is not None and start > self.expected.size:
            start = self.restart()
        headers = {"User-Agent": "musicai", "Accept-Encoding": "identity"}
        headers |= {"Range": f"bytes={start}-"} if start else {}
        headers |= {"If-Range": tag} if start and tag else {}
        try:
            response = urllib.request.urlopen(urllib.request.Request(self.url, headers=headers), timeout=TIMEOUT)
        except (ValueError, http.client.InvalidURL) as error:
            raise DataError(f"{self.url}: not an address: {error}") from error
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            self._range_refused(start, error.headers.get("Content-Range", ""))
            return
        with response:
            self._receive(response, start)

    def _range_refused(self, start: int, content_range: str) -> None:
        """416: there is nothing after our last byte. Either we have it all, or the server's file is another one."""
        if content_range.strip() != f"bytes */{start}":
            self.restart()
            raise _Retry("the server refused to go on and must start afresh")

    def restart(self) -> int:
        os.truncate(self.part.file, 0)
        return 0

    def _receive(self, response: http.client.HTTPResponse, start: int) -> None:
        if start and not self._continues(response, start):  # the server ignores ranges, or the file has changed
            start = self.restart()
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        if None not in (total, self.expected.size) and total != self.expected.size:
            self.part.remove()
            raise DataError(f"{self.url}: the server's file has {total} bytes, not the {self.expected.size} expected")
        if start == 0:
            self.part.keep_tag(self.url, _tag(response.headers))
        self._check_space((total or 0) - start)
        self._copy(response, start, total)
        if total is not None and self._length() < total:
            raise _Retry(f"the connection broke after {self._length()} of {total} bytes")

    def _continues(self, response: http.client.HTTPResponse, start: int) -> bool:
        if response.status != 206:
            return False
        found = re.match(r"\s*bytes (\d+)-", response.headers.get("Content-Range", ""))
        known, now = self.part.tag(self.url), _tag(response.headers)
        if not found or int(found[1]) != start or (known and now and known != now):
            self.restart()
            raise _Retry("the server sent another range than asked for, or a part of another file")
        return True

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.part.file.parent).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"no space: {needed} more bytes are needed, {free} are free")

    def _copy(self, response: http.client.HTTPResponse, start: int, total: int | None) -> None:
        from tqdm.auto import tqdm

        limit = self.expected.size if self.expected.size is not None else sys.maxsize
        name = self.part.file.name.removesuffix(".part")
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=not self.progress)
        with bar, self.part.file.open("ab") as file:
            while block := _read(response):
                if file.tell() + len(block) > limit:
                    file.truncate(0)
                    raise DataError(f"{self.url}: the server sends more than the {limit} bytes expected")
                file.write(block)
                bar.update(len(block))


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:  # told apart here from an OSError while writing
        raise _Retry(f"the connection broke: {error or type(error).__name__}") from error


def _tag(headers: http.client.HTTPMessage) -> str | None:
    """What names this version of the file: a strong ETag, else the date of its last change."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")
