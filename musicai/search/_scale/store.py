"""A file of named arrays that is written chunk by chunk and read through a memory map.

It begins with MAGIC, the version, and the length and checksum of the header. The header is JSON: the facts that the
writer wanted to keep, and the type, length and place of each array. The arrays follow, each at a multiple of ALIGN.
"""

import json
import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np

MAGIC = b"\x93musicai tunes\r\n"
VERSION = 1
FRONT = struct.Struct("<16sIII")  # magic, version, length and checksum of the header
ALIGN = 64
CHUNK = 1 << 20  # array elements copied at once


class Column:
    """One array of the file to be, collected in a temporary file on the same disk."""

    def __init__(self, dtype: Any, folder: Path | None):
        self.dtype, self.length = np.dtype(dtype), 0
        self.file = TemporaryFile(dir=folder)  # noqa: SIM115  # it vanishes with the column

    def append(self, values) -> None:
        """Add elements at the end."""
        values = np.ascontiguousarray(values, dtype=self.dtype)
        self.file.write(values.data if len(values) else b"")
        self.length += len(values)

    def array(self) -> np.ndarray:
        """Map all elements into memory."""
        self.file.flush()
        return np.memmap(self.file, self.dtype, "r") if self.length else np.empty(0, self.dtype)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield all elements, in order."""
        self.file.seek(0)
        while block := self.file.read(CHUNK * self.dtype.itemsize):
            yield np.frombuffer(block, self.dtype)


def write(file: BinaryIO, columns: dict[str, Column], facts: dict) -> None:
    """Write all columns, each converted to the type that `facts["dtypes"]` gives it, if any."""
    arrays, place = {}, 0
    dtypes = {name: np.dtype(facts["dtypes"].get(name, column.dtype)) for name, column in columns.items()}
    for name, column in columns.items():
        arrays[name] = (dtypes[name].str, column.length, place)
        place += -(-column.length * dtypes[name].itemsize // ALIGN) * ALIGN
    header = json.dumps({"facts": facts, "arrays": arrays, "size": place}).encode()
    header += b" " * (-(FRONT.size + len(header)) % ALIGN)
    file.write(FRONT.pack(MAGIC, VERSION, len(header), zlib.crc32(header)) + header)
    for name, column in columns.items():
        for chunk in column.chunks():
            file.write(chunk.astype(dtypes[name]).data)
        file.write(bytes(-column.length * dtypes[name].itemsize % ALIGN))


class Store:
    """The arrays of a file, memory-mapped: `store["pitches"]`. `facts` is what the writer kept with them.

    Raises:
        ValueError: if the file is empty, something else, of another version, or cut short.
    """

    def __init__(self, file: BinaryIO, name: str):
        size, again = file.seek(0, 2), "build it again with MelodyIndex.build or `musicai index`"
        file.seek(0)
        front = file.read(FRONT.size)
        if not size:
            raise ValueError(f"{name} is empty; {again}")
        if not front.startswith(MAGIC[: len(front)]):
            raise ValueError(f"{name} is not an index of melodies; {again}")
        if size < FRONT.size:
            raise ValueError(f"{name} is cut short after {size} bytes; {again}")
        _, version, length, checksum = FRONT.unpack(front)
        if version != VERSION:
            raise ValueError(f"{name} is an index of version {version}, and this musicai reads {VERSION}; {again}")
        header = file.read(length)
        if len(header) < length:
            raise ValueError(f"{name} is cut short after {size:,} bytes; {again}")
        if zlib.crc32(header) != checksum:
            raise ValueError(f"{name} is damaged; {again}")
        header, start = json.loads(header), FRONT.size + length
        if size != start + header["size"]:
            raise ValueError(f"{name} should have {start + header['size']:,} bytes but has {size:,}; {again}")
        self.facts, self.map = header["facts"], mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.arrays = {
            key: np.frombuffer(self.map, dtype, count, start + place)
            for key, (dtype, count, place) in header["arrays"].items()
        }

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def release(self) -> None:
        """Let go of the pages that were read: they stay in the system's cache but no longer count as this process's."""
        if hasattr(self.map, "madvise"):  # not on Windows
            self.map.madvise(mmap.MADV_DONTNEED)
