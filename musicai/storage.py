"""Files that are whole or not there at all, and the one cache folder.

>>> with atomic_write("numbers.bin") as file:  # doctest: +SKIP
...     file.write(b"12345")

Everything in `musicai` that writes a file writes it this way. Preface.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write", "cache_dir"]


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` only once the block has ended without an error.

    The bytes go to a hidden file in the same folder, are flushed to the disk, and the file is then renamed. After an
    error, Ctrl-C or a power cut the old file is still there, unchanged. Several files can be replaced together by
    opening them all in one `contextlib.ExitStack`.

    >>> with atomic_write("numbers.bin") as file:  # doctest: +SKIP
    ...     file.write(b"12345")

    Args:
        path: the file to write; its folder must exist.

    Returns: a context manager that gives the open binary file.

    Raises:
        FileNotFoundError: if the folder does not exist.
        IsADirectoryError: if `path` is a folder.
        OSError: if the disk is full or the folder cannot be written to.

    Preface.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; create it first")
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")  # short: a name may be as long as the system allows
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    finally:
        with suppress(OSError):  # the error that matters is already on its way
            temporary.unlink(missing_ok=True)


def cache_dir(*, create: bool = True) -> Path:
    """Find the folder for downloads and parsed data: $MUSICAI_CACHE, or "musicai" in the platform's cache folder.

    >>> cache_dir(create=False).name  # doctest: +SKIP
    'musicai'

    Args:
        create: whether to create the folder and make sure that it can be written to. False: just for a look.

    Returns: the folder.

    Raises:
        OSError: if the folder cannot be created or written to.

    Preface.
    """
    folder = Path(os.environ.get("MUSICAI_CACHE") or _platform_cache() / "musicai")
    try:
        folder = folder.expanduser()
        if not create:
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("it is read-only")
    except (OSError, RuntimeError) as error:
        advice = "set MUSICAI_CACHE to a folder you can write to"
        raise OSError(f"cannot use the cache folder {folder}: {error}; {advice}") from error
    return folder


def _platform_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    return Path("~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME") or "~/.cache")


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut, on systems that can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
