"""A file of named arrays that is written chunk by chunk and read through a memory map.

It begins with 16 bytes that tell its kind, the version, the size of the file, and the length and checksum of the
header, which is JSON: the type, length and place of each array. The arrays follow, each at a multiple of ALIGN.
"""

import json
import mmap
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

TUNES = b"\x93musicai tunes\r\n", "an index of melodies", "MelodyIndex.build or `musicai index`"
SOUNDS = b"\x93musicai sound\r\n", "an audio index", "AudioIndex.build"
VERSION = 4
FRONT = struct.Struct("<16sIQII")
ALIGN = 64
CHUNK = 1 << 20  # array elements copied at once


class Column:
    """One array of the file to be, collected in a temporary file on the same disk."""

    def __init__(self, dtype, folder: Path | None, values=()):
        self.dtype, self.length = np.dtype(dtype), 0
        self.file = TemporaryFile(dir=folder)  # noqa: SIM115  # it vanishes with the column
        self.append(values)

    def append(self, values) -> None:
        """Add elements at the end."""
        self.file.write(np.asarray(values, dtype=self.dtype).tobytes())
        self.length += len(values)

    def read(self, first: int, last: int) -> np.ndarray:
        """Read elements `first` to `last - 1`; after this, nothing more can be added."""
        self.file.seek(first * self.dtype.itemsize)
        return np.frombuffer(self.file.read((last - first) * self.dtype.itemsize), self.dtype)


def write(file: BinaryIO, columns: dict[str, Column], dtypes: dict[str, np.dtype], kind: tuple = TUNES) -> None:
    """Write all columns, some of them converted to another type."""
    arrays, place = {}, 0
    for name, column in columns.items():
        dtype = np.dtype(dtypes.get(name, column.dtype))
        arrays[name] = (dtype.str, column.length, place)
        place += -(-column.length * dtype.itemsize // ALIGN) * ALIGN
    header = json.dumps(arrays).encode()
    header += b" " * (-(FRONT.size + len(header)) % ALIGN)
    start = FRONT.size + len(header)
    file.write(FRONT.pack(kind[0], VERSION, start + place, len(header), zlib.crc32(header)) + header)
    for name, column in columns.items():
        dtype, length, _ = arrays[name]
        for i in range(0, length, CHUNK):
            file.write(column.read(i, min(i + CHUNK, length)).astype(dtype).tobytes())
        file.write(bytes(-length * np.dtype(dtype).itemsize % ALIGN))


class Store(dict):
    """The arrays of a file, memory-mapped: `store["notes"]`.

    Raises:
        ValueError: if the file is empty, something else, of another version, cut short or damaged.
    """

    def __init__(self, file: BinaryIO, name: str, kind: tuple = TUNES):
        expected, what, maker = kind
        size = file.seek(0, 2)
        file.seek(0)
        front = file.read(FRONT.size)
        magic, version, whole, length, checksum = FRONT.unpack(front.ljust(FRONT.size, b"\0"))
        header = file.read(min(length, size))
        for wrong, problem in (
            (not size, "is empty"),
            (not expected.startswith(magic[: len(front)]), f"is not {what}"),
            (size < FRONT.size, f"is cut short after {size} bytes"),
            (version != VERSION, f"is {what} of version {version}, and this musicai reads version {VERSION}"),
            (size < whole, f"is cut short: it has {size:,} of {whole:,} bytes"),
            (size > whole or zlib.crc32(header) != checksum, "is damaged"),
        ):
            if wrong:
                raise ValueError(f"{name} {problem}; build it again with {maker}")
        self.map, start = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), FRONT.size + length
        for key, (dtype, count, place) in json.loads(header).items():
            self[key] = np.frombuffer(self.map, dtype, count, start + place)

    def release(self) -> None:
        """Let go of the pages that were read: they stay in the system's cache but no longer count as this process's."""
        if hasattr(self.map, "madvise"):  # not on Windows
            self.map.madvise(mmap.MADV_DONTNEED)
