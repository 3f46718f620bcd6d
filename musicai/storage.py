"""Write files completely or not at all, and find the one cache folder.

>>> with atomic_write("numbers.bin") as file:  # doctest: +SKIP
...     file.write(b"12345")

Every file that `musicai` writes is written this way. Preface.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

__all__ = ["atomic_write", "cache_dir", "temporary_path"]


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing; it replaces `path` only if the block ends without an error.

    The bytes go to a hidden file on the same disk, which is flushed to disk and then renamed. After an error, Ctrl-C
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
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; create it first")
    with temporary_path(path.parent) as temporary:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    if os.name == "posix":  # so that the rename survives a power cut too
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


@contextmanager
def temporary_path(folder: Path) -> Iterator[Path]:
    """Yield a hidden name for a file or folder that is being made; whatever still has it at the end is removed.

    No other thread or process is given the same name.

    >>> with temporary_path(Path("data")) as new:  # doctest: +SKIP
    ...     new.mkdir()
    ...     new.rename("data/groove")

    Args:
        folder: an existing folder, on the disk where the result will be.

    Yields: the path.

    Preface.
    """
    with TemporaryDirectory(prefix=".", suffix=".tmp", dir=folder) as private:
        yield Path(private, "new")


def cache_dir() -> Path:
    """Find the folder for downloads: $MUSICAI_CACHE, or "musicai" in the platform's cache folder.

    >>> cache_dir().name  # doctest: +SKIP
    'musicai'

    Returns: the folder; it may not exist yet, and whatever writes to it creates it.

    Preface.
    """
    from pooch import os_cache

    return Path(os.environ.get("MUSICAI_CACHE") or os_cache("musicai")).expanduser()
