"""A million pieces on disk, in a few large memory-mapped files from which any piece is read in microseconds.

A folder of shards holds `manifest.json` and, for each shard, four arrays in NumPy's own format:

    00000.items.npy         all items of the shard, end to end            [ a a a a b b c c c c c ]
    00000.offsets.npy       where each begins: piece i is items[o[i]:o[i+1]]  [ 0 4 6 11 ]
    00000.info.npy          a few bytes of JSON per piece (name, key, tempo), likewise end to end,
    00000.info-offsets.npy  and where each begins
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from musicai.data.transport import DataError
from musicai.notes import Melody, Note, transpose_key
from musicai.storage import atomic_write

FORMAT = "musicai-shards-1"
TICKS = 480  # per beat, as in many MIDI files: thirds, fifths and 1/32 of a beat are exact
NOTE = np.dtype([("pitch", "u1"), ("velocity", "u1"), ("start", "<u4"), ("duration", "<u4")])  # times in ticks
PARTS = ("items", "offsets", "info", "info-offsets")


class Packed(NamedTuple):
    """A piece as a shard stores it: its items and a few bytes of JSON (empty for arrays)."""

    items: np.ndarray
    info: bytes


def write_shards(pieces: Iterable, folder: str | Path, *, shard_pieces: int = 65_536) -> int:
    """Write melodies, or NumPy arrays, as a folder of shards; the iterable is read once.

    >>> write_shards(FolkCorpus(), "tunes")  # doctest: +SKIP
    4248

    Shards that are already there are replaced at the very end, in one step, so an error, an interruption or a power
    cut leaves either the old shards or the new ones. Only one process may write to a folder at a time.

    Args:
        pieces: either Melody objects (times are rounded to 1/480 beat) or arrays (length, ...) that all have the same
            dtype and the same shape after the first axis.
        folder: where to write; it is created if needed.
        shard_pieces: the largest number of pieces per shard; only one shard is in memory at a time.

    Returns: how many pieces were written.

    Raises:
        DataError: if a piece does not match the others (the message gives its position) or the folder has other files.

    Chapter 1.
    """
    folder = Path(folder)
    manifest = folder / "manifest.json"
    if folder.is_dir() and not manifest.is_file() and set(folder.iterdir()) - set(_shard_files(folder)):
        raise DataError(f"{folder} exists and is not a folder of shards; choose a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(file.name.split(".")[0]) for file in _shard_files(folder)), default=-1)
    kind, shards, packed = "melodies", [], _packed(pieces)
    try:
        while shard := list(islice(packed, shard_pieces)):
            kind = "melodies" if shard[0].info else "arrays"
            shards.append(_write_shard(shard, folder, f"{number + len(shards):05d}"))
        total = sum(shard["pieces"] for shard in shards)
        with atomic_write(manifest) as file:
            content = {"format": FORMAT, "kind": kind, "pieces": total, "ticks": TICKS, "shards": shards}
            file.write(json.dumps(content, indent=1).encode())
    finally:
        _remove_unlisted(folder, manifest)
    return total


def _shard_files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.npy") if re.fullmatch(rf"\d+\.({'|'.join(PARTS)})\.npy", file.name)]


def _remove_unlisted(folder: Path, manifest: Path) -> None:
    """Remove the shards that the manifest does not list: the old ones or, after a failure, the new ones."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # if the manifest cannot be read, everything stays
        listed = {shard["name"] for shard in json.loads(manifest.read_text())["shards"]} if manifest.exists() else ()
        for file in _shard_files(folder):
            if file.name.split(".")[0] not in listed:
                file.unlink()


def _packed(pieces: Iterable) -> Iterator[Packed]:
    """Pack pieces for storage; a DataError names the first one that does not match the others."""
    layout = None
    for i, piece in enumerate(pieces):
        try:
            items, info = packed = piece if isinstance(piece, Packed) else pack(piece)
        except ValueError as error:
            raise DataError(f"piece {i}: {error}") from error
        layout = layout or (items.dtype, items.shape[1:], bool(info))
        if (items.dtype, items.shape[1:], bool(info)) != layout:
            raise DataError(f"piece {i}: {items.dtype} {items.shape} among {layout[0]} (length, *{layout[1]})")
        yield packed


def pack(piece: Melody | np.ndarray) -> Packed:
    """Pack a piece: a Melody becomes 10 bytes per note, with its fields as JSON; an array stays as it is."""
    if isinstance(piece, np.ndarray) and piece.ndim and not piece.dtype.hasobject:
        return Packed(piece, b"")
    if not isinstance(piece, Melody):
        raise ValueError(f"{type(piece).__name__} is neither a Melody nor an array (length, ...) of numbers")
    columns = np.array([(n.pitch, n.velocity, n.start, n.end) for n in piece.notes], dtype=np.float64).reshape(-1, 4)
    start, end = np.rint(columns[:, 2:] * TICKS).T
    if (end == start).any() or (end >= 2**32).any():
        raise ValueError(f"a note is shorter than 1/{TICKS} beat or ends after beat {2**32 // TICKS:,}")
    notes = np.empty(len(piece.notes), dtype=NOTE)
    notes["pitch"], notes["velocity"], notes["start"], notes["duration"] = *columns[:, :2].T, start, end - start
    fields = {"name": piece.name, "key": piece.key, "tempo": piece.tempo, "meter": list(piece.time_signature)}
    return Packed(notes, json.dumps(fields).encode())


def _write_shard(packed: list[Packed], folder: Path, name: str) -> dict:
    """Write one shard and return its manifest entry, with the size and checksum of each file."""
    items, info = zip(*packed, strict=True)
    offsets = [np.cumsum([0, *map(len, part)], dtype=np.int64) for part in (items, info)]
    arrays = np.concatenate(items), offsets[0], np.frombuffer(b"".join(info), np.uint8), offsets[1]
    files = {}
    for part, array in zip(PARTS, arrays, strict=True):
        path = folder / f"{name}.{part}.npy"
        with atomic_write(path) as file:
            np.save(file, array, allow_pickle=False)
        files[part] = {"bytes": path.stat().st_size, "crc32": zlib.crc32(np.memmap(path, mode="r"))}
    return {"name": name, "pieces": len(packed), "files": files}


class ShardedArrays(Dataset):
    """Arrays written by `write_shards`, memory-mapped: `shards[i]` reads only the bytes of piece `i`.

    >>> shards = ShardedArrays("codes"); shards[123_456].shape  # doctest: +SKIP
    (16000,)

    Each item is a copy of piece `i` as a NumPy array, and `stream()` yields all pieces shuffled. DataLoader workers
    can share the object.

    Args:
        path: the folder.
        verify: whether to read everything once and compare the checksums.

    Raises:
        DataError: if a file is missing, truncated or damaged; the message names it.

    Chapter 1.
    """

    kind = "arrays"

    def __init__(self, path: str | Path, *, verify: bool = False):
        self.path = Path(path)
        manifest = self.path / "manifest.json"
        try:
            content = json.loads(manifest.read_text())
            if (content["kind"], content["format"]) != (self.kind, FORMAT):
                raise ValueError(f"it holds {content['kind']} in {content['format']}, not {self.kind} in {FORMAT}")
            self.shards = content["shards"]
            self.starts = np.cumsum([0, *(shard["pieces"] for shard in self.shards)])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{manifest}: not a readable manifest of shards ({error!r})") from error
        self._maps: dict[int, dict[str, np.ndarray]] = {}
        for name, part, known in ((s["name"], *file) for s in self.shards for file in s["files"].items()):
            file = self.path / f"{name}.{part}.npy"
            whole = file.is_file() and file.stat().st_size == known["bytes"]
            if not whole or (verify and zlib.crc32(np.memmap(file, mode="r")) != known["crc32"]):
                raise DataError(f"{file}: missing, truncated or damaged; write the shards again")

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, i: int):
        return self._slice(i, "items").copy()  # a view would keep the file open and fail if it is truncated

    def stream(self, *, seed: int = 0, buffer: int = 10_000) -> Iterator:
        """Yield every piece once: shards in random order, pieces drawn at random from a buffer of positions.

        Disks are fast when read in order, but training needs a random order. A buffer of a few thousand pieces gives
        both, since everything it spans stays in the system's file cache.
        """
        rng = np.random.default_rng(seed)
        order = chain.from_iterable(range(*self.starts[s : s + 2]) for s in rng.permutation(len(self.shards)))
        waiting = list(islice(order, buffer))
        for i in order:
            drawn = int(rng.integers(len(waiting)))
            yield self[waiting[drawn]]
            waiting[drawn] = i
        yield from (self[waiting[drawn]] for drawn in rng.permutation(len(waiting)))

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_maps": {}}  # a memory map would be sent to a worker as a copy of the whole file

    def _slice(self, i: int, part: str) -> np.ndarray:
        """The "items" or the "info" of piece `i`: a view of the memory-mapped file."""
        i = range(len(self))[i]  # handles negative positions and raises IndexError
        shard = int(np.searchsorted(self.starts, i, side="right")) - 1
        maps = self._maps.get(shard) or self._open(shard)
        offsets, place = maps["offsets" if part == "items" else "info-offsets"], i - int(self.starts[shard])
        start, end = int(offsets[place]), int(offsets[place + 1])
        if not 0 <= start <= end <= len(maps[part]):
            raise DataError(f"{self.path}: piece {i} is damaged ({part} {start}:{end} of {len(maps[part])})")
        return maps[part][start:end]

    def _open(self, shard: int) -> dict[str, np.ndarray]:
        """Map the files of a shard into memory."""
        name, pieces = self.shards[shard]["name"], self.shards[shard]["pieces"]
        maps = {}
        for part in PARTS:
            file = self.path / f"{name}.{part}.npy"
            try:  # slices of np.memmap are ten times slower than those of its view
                maps[part] = np.load(file, mmap_mode="r", allow_pickle=False).view(np.ndarray)
                if part.endswith("offsets") and len(maps[part]) != pieces + 1:
                    raise ValueError(f"{len(maps[part])} offsets for {pieces} pieces")
            except Exception as error:  # NumPy evaluates the header, so a damaged one can also raise tokenizer errors
                raise DataError(f"{file}: not a readable array ({error}); write the shards again") from error
        self._maps[shard] = maps
        return maps


class ShardedMelodies(ShardedArrays):
    """Melodies written by `write_shards`, memory-mapped; each item is a Melody.

    >>> ShardedMelodies("tunes")[123].name  # doctest: +SKIP
    'Old Towler'

    Use it like `ShardedArrays`. `notes(i)` gives only the notes, as an array of dtype NOTE, and is many times faster.

    Args:
        path: the folder.
        verify: whether to read everything once and compare the checksums.

    Raises:
        DataError: if a file is missing, truncated or damaged; the message names it.

    Chapter 1.
    """

    kind = "melodies"

    def notes(self, i: int) -> np.ndarray:
        """The notes of piece `i`: fields pitch, velocity, start and duration, the last two in ticks of 1/480 beat."""
        return super().__getitem__(i)

    def __getitem__(self, i: int) -> Melody:
        rows, info = self.notes(i).tolist(), self._slice(i, "info").tobytes()
        try:
            notes = tuple(Note(pitch, start / TICKS, length / TICKS, loud) for pitch, loud, start, length in rows)
            fields = json.loads(info)
            return Melody(notes, fields["name"], fields["key"], fields["tempo"], tuple(fields["meter"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path}: piece {i} is damaged ({error})") from error


def variations(melodies: Sequence[Melody], count: int, *, seed: int = 0) -> Iterator[Packed]:
    """Make `count` pieces from melodies, each transposed by -5..6 semitones and cut to an excerpt of at least half.

    >>> write_shards(variations(FolkCorpus(), 1_000_000), "million")  # doctest: +SKIP
    1000000

    Args:
        melodies: the sources; each piece is made from one of them, drawn at random.
        count: how many pieces to make.
        seed: seed of the random choices.

    Yields: pieces packed for `write_shards`; building a million Melody objects first would take minutes.

    Chapter 1.
    """
    rng = np.random.default_rng(seed)
    packed = [pack(melody) for melody in melodies]
    transposed = cache(lambda which, shift: _transposed(packed[which], shift))  # each of the 12 is computed once
    for start in range(0, count, 10_000):  # random numbers are cheap by the thousand, expensive one by one
        size = min(10_000, count - start)
        draws = zip(rng.integers(len(packed), size=size), rng.integers(-5, 7, size), rng.random((size, 2)), strict=True)
        for which, shift, (share, where) in draws:
            items, info = transposed(which, shift)
            length = len(items) - int(share * (len(items) // 2))
            first = int(where * (len(items) - length + 1))
            notes = items[first : first + length].copy()
            notes["start"] -= notes["start"][:1]  # [:1] also works for an empty piece
            yield Packed(notes, info)


def _transposed(piece: Packed, shift: int) -> Packed:
    items, info = piece.items.copy(), json.loads(piece.info)
    items["pitch"] = np.clip(items["pitch"] + shift, 0, 127)
    return Packed(items, json.dumps(info | {"key": transpose_key(info["key"], int(shift))}).encode())
