"""Write files completely or not at all, and find the one cache folder.

>>> with atomic_write("numbers.bin") as file:  # doctest: +SKIP
...     file.write(b"12345")

Every file that `musicai` writes is written this way. Preface.
"""

import os
import platform
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write", "cache_dir", "temporary_path"]

_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"  # process ids mean nothing to other machines on a shared disk
_numbers = count()


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing; it replaces `path` only if the block ends without an error.

    The bytes go to a hidden file in the same folder, which is flushed to disk and then renamed. After an error, Ctrl-C
    or a power cut, the old file is still there, unchanged. To replace several files together, open them all in one
    `contextlib.ExitStack`.

    >>> with atomic_write("numbers.bin") as file:  # doctest: +SKIP
    ...     file.write(b"12345")

    Args:
        path: the file to write; its folder must exist.

    Returns: a context manager that yields the open binary file.

    Raises:
        FileNotFoundError: if the folder does not exist.
        IsADirectoryError: if `path` is a folder.
        OSError: if the disk is full or the folder cannot be written to.

    Preface.
    """
    path = Path(os.path.expanduser(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; create it first")
    with temporary_path(path.parent) as temporary:
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if error.errno and error.filename in (None, str(temporary)):
                error.filename = str(path)  # the error of a full disk names no file
            raise
    if os.name == "posix":  # so that the rename survives a power cut too
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


@contextmanager
def temporary_path(folder: Path) -> Iterator[Path]:
    """Yield a hidden name for a file or folder that is being made; whatever still has it at the end is removed.

    No other thread or process is given the same name. A process that is killed cannot clean up, so what it left
    behind is removed when another process on the same machine first asks for a name in that folder.

    >>> with temporary_path(Path("data")) as new:  # doctest: +SKIP
    ...     new.mkdir()
    ...     new.rename("data/groove")

    Args:
        folder: an existing folder, on the disk where the result will be.

    Yields: the path.

    Preface.
    """
    _sweep(folder.absolute())
    path = folder / f".{_MACHINE}-{os.getpid()}-{next(_numbers)}.tmp"
    try:
        yield path
    finally:
        _remove(path)


@cache
def _sweep(folder: Path) -> None:
    """Remove what processes on this machine left here when they were killed."""
    for path in folder.glob(f".{_MACHINE}-*-*.tmp"):
        with suppress(OSError, ValueError):  # it is another user's, already gone or (on Windows) still open
            if os.name == "nt" or not _is_running(int(path.name.split("-")[1])):
                _remove(path)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only checks
    except ProcessLookupError:
        return False
    return True


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)  # if it is a folder; if not, this does nothing
    path.unlink(missing_ok=True)


def cache_dir() -> Path:
    """Find the folder for downloads: $MUSICAI_CACHE, or "musicai" in the platform's cache folder.

    >>> cache_dir().name  # doctest: +SKIP
    'musicai'

    Returns: the folder; it may not exist yet, and whatever writes to it creates it.

    Preface.
    """
    from pooch import os_cache

    return Path(os.path.expanduser(os.environ.get("MUSICAI_CACHE") or os_cache("musicai")))
