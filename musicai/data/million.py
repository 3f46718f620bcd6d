"""What changes at a million pieces: made-up millions, and how fast, how large, how heavy it is to read them."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from musicai.data.shards import Packed, pack, to_json
from musicai.notes import transpose_key


def variations(melodies: Sequence, count: int, *, seed: int = 0) -> Iterator[Packed]:
    """`count` pieces made from melodies: transposed by -5..6 semitones, an excerpt of half to all of the notes.

    >>> write_shards(variations(FolkCorpus(), 1_000_000), "million")  # doctest: +SKIP
    1000000

    They come packed for `write_shards`, as building a million Melody objects first would take minutes. Chapter 1.
    """
    rng = np.random.default_rng(seed)
    packed = [{0: pack(melody)} for melody in melodies]
    for start in range(0, count, 10_000):  # random numbers are cheap by the thousand, dear one by one
        size = min(10_000, count - start)
        draws = zip(rng.integers(len(packed), size=size), rng.integers(-5, 7, size), rng.random((size, 2)), strict=True)
        for which, shift, (share, where) in draws:
            yield _excerpt(_transposed(packed[which], int(shift)), share, where)


def _transposed(shifts: dict[int, Packed], shift: int) -> Packed:
    """A piece moved by semitones, from the shifts of it that are known: each is worked out once."""
    if shift not in shifts:
        items, info = shifts[0].items.copy(), json.loads(shifts[0].info)
        items["pitch"] = np.clip(items["pitch"].astype(np.int16) + shift, 0, 127)
        shifts[shift] = Packed(items, to_json(info | {"key": transpose_key(info["key"], shift)}))
    return shifts[shift]


def _excerpt(piece: Packed, share: float, where: float) -> Packed:
    length = len(piece.items) - int(share * (len(piece.items) // 2))
    first = int(where * (len(piece.items) - length + 1))
    notes = piece.items[first : first + length].copy()
    if length:
        notes["start"] -= notes["start"][0]
    return Packed(notes, piece.info)


def pieces_a_second(get: Callable[[int], object], order: Sequence[int]) -> float:
    """How many pieces a second `get(i)` gives, over the positions in `order`. Chapter 1."""
    began = time.perf_counter()
    for i in order:
        get(i)
    return len(order) / (time.perf_counter() - began)


def folder_bytes(path: str | Path) -> int:
    """Room that all files below a folder take, in bytes: file systems give it in blocks of 4,096. Chapter 1."""
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in Path(path).rglob("*") if file.is_file())


def own_memory() -> int:
    """Bytes of memory that only this process holds; pages of mapped files, which the system may drop, not counted.

    Read from /proc (Linux); 0 on other systems. Chapter 1.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon")), 0)
