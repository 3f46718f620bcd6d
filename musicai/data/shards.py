"""A million pieces on disk: a few large files, read by memory map, any piece in microseconds, a piece at a time in RAM.

A folder of shards holds `manifest.json` and, for each shard, three arrays in NumPy's own format:

    00000.items.npy     all items of the shard end to end       [ a a a a b b c c c c c ]
    00000.offsets.npy   where each begins; item i is [o[i]:o[i+1]]  [ 0 4 6 11 ]
    00000.info.npy      the same for a few bytes of JSON a piece (name, key, tempo), with 00000.info-offsets.npy
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from musicai.data.errors import DataError

FORMAT = "musicai-shards-1"
TICKS = 480  # of a beat, as in most MIDI files: thirds, fifths and 1/32 of a beat are exact
NOTE = np.dtype(
    [("pitch", "u1"), ("velocity", "u1"), ("start", "<u4"), ("duration", "<u4")]
)  # start, duration in ticks
PARTS = ("items", "offsets", "info", "info-offsets")


def write_shards(pieces: Iterable, folder: str | Path, *, shard_pieces: int = 65_536) -> int:
    """Write melodies, or NumPy arrays, as shards into a new folder; returns how many. The iterable is read once.

    >>> write_shards(FolkCorpus(), "tunes")  # doctest: +SKIP
    4248

    Args: pieces, all of class Melody (times are rounded to 1/480 of a beat), or all arrays (length, ...) of one dtype
    and one shape after the first axis; shard_pieces, the most pieces that one shard, and so the memory, holds.
    A shard folder that was there is replaced once the new one is whole, and stays as it is if anything fails.
    Raises DataError for pieces that do not fit together (named by position), or a folder that holds other things.
    Chapter 1.
    """
    folder = Path(folder)
    _check_replaceable(folder)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        shards = list(_write_all(iter(pieces), part, shard_pieces))
        kind = shards[0].pop("kind") if shards else "melodies"
        for shard in shards[1:]:
            if shard.pop("kind") != kind:
                raise DataError(f"{folder}: melodies and arrays in one folder of shards")
        total = sum(shard["pieces"] for shard in shards)
        manifest = {"format": FORMAT, "kind": kind, "pieces": total, "ticks": TICKS, "shards": shards}
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1))
        _swap(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return total


def _check_replaceable(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "manifest.json").is_file()):
        raise DataError(f"{folder} exists and is no folder of shards; choose a new or empty folder")


def _swap(part: Path, folder: Path) -> None:
    """Put the finished folder in place of the old one, which is gone only after that."""
    old = part.with_suffix(".old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_all(pieces: Iterator, folder: Path, shard_pieces: int) -> Iterator[dict]:
    position, layout = 0, None
    while packed := [_pack(piece, position + i) for i, piece in enumerate(islice(pieces, shard_pieces))]:
        for i, (items, _) in enumerate(packed):
            layout = layout or (items.dtype, items.shape[1:])
            if (items.dtype, items.shape[1:]) != layout:
                raise DataError(
                    f"piece {position + i}: {items.dtype} {items.shape} among pieces of {layout[0]} (length, "
                    f"*{layout[1]}); all pieces of a folder of shards have one dtype and one shape after the length"
                )
        yield _write_one(packed, folder, f"{position // shard_pieces:05d}")
        position += len(packed)


class Packed(NamedTuple):
    """A piece as it lies in a shard: its items, and a few bytes of JSON."""

    items: np.ndarray
    info: bytes


def pack(melody) -> Packed:
    """A Melody as it lies in a shard. Chapter 1."""
    return Packed(melody_to_array(melody), _info(melody))


def _pack(piece, position: int) -> Packed:
    if isinstance(piece, Packed):
        return piece
    if isinstance(piece, np.ndarray):
        if piece.ndim == 0 or piece.dtype.hasobject:
            raise DataError(f"piece {position}: {piece.dtype} {piece.shape} is not an array (length, ...) of numbers")
        return Packed(piece, b"")
    try:
        return pack(piece)
    except (AttributeError, TypeError) as error:
        raise DataError(f"piece {position}: {type(piece).__name__} is neither a Melody nor an array") from error
    except (OverflowError, ValueError) as error:
        raise DataError(f"piece {position}: {error}") from error


def melody_to_array(melody) -> np.ndarray:
    """The notes of a Melody as an array of dtype NOTE: 10 bytes a note, times in ticks of 1/480 beat."""
    notes = np.empty(len(melody.notes), dtype=NOTE)
    columns = np.array([(n.pitch, n.velocity, n.start, n.end) for n in melody.notes], dtype=np.float64).reshape(-1, 4)
    ticks = np.rint(columns[:, 2:] * TICKS)
    if len(ticks) and ticks.max() >= 2**32:
        raise OverflowError(f"the last note ends at beat {ticks.max() / TICKS:g}; shards hold up to {2**32 // TICKS:,}")
    notes["pitch"], notes["velocity"], notes["start"] = columns[:, 0], columns[:, 1], ticks[:, 0]
    notes["duration"] = ticks[:, 1] - ticks[:, 0]
    if len(short := np.flatnonzero(notes["duration"] == 0)):
        raise ValueError(f"note {short[0]} is shorter than 1/{TICKS} of a beat, the resolution of shards")
    return notes


def _info(melody) -> bytes:
    fields = {"name": melody.name, "key": melody.key, "tempo": melody.tempo, "meter": list(melody.time_signature)}
    return to_json(fields)


def to_json(fields: dict) -> bytes:
    """Compact JSON, as it lies in a shard."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _write_one(packed: list[Packed], folder: Path, name: str) -> dict:
    """Write one shard; returns its line of the manifest, with the size and checksum of each file."""
    lengths = [len(items) for items, _ in packed]
    info = [text for _, text in packed]
    arrays = {
        "items": np.concatenate([items for items, _ in packed]),
        "offsets": np.cumsum([0, *lengths], dtype=np.int64),
        "info": np.frombuffer(b"".join(info), dtype=np.uint8),
        "info-offsets": np.cumsum([0, *map(len, info)], dtype=np.int64),
    }
    files = {}
    for part, array in arrays.items():
        path = folder / f"{name}.{part}.npy"
        np.save(path, array, allow_pickle=False)
        files[part] = {"bytes": path.stat().st_size, "crc32": _crc(path)}
    return {"name": name, "pieces": len(packed), "kind": "melodies" if info[0] else "arrays", "files": files}


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return crc


class ShardedArrays(Dataset):
    """Arrays that `write_shards` wrote, by memory map: `shards[i]` reads only the bytes of piece `i`.

    >>> shards = ShardedArrays("codes"); shards[123_456].shape  # doctest: +SKIP
    (16000,)

    Args: path of the folder; verify, read everything once and compare checksums.
    Item: a copy of piece `i` as a NumPy array; `stream()` gives all pieces shuffled. DataLoader workers
    may share it.
    Raises DataError naming the file that is missing, cut short or damaged. Chapter 1.
    """

    kind = "arrays"

    def __init__(self, path: str | Path, *, verify: bool = False):
        self.path = Path(path)
        manifest = _read_manifest(self.path, self.kind)
        self.shards = manifest["shards"]
        self.starts = np.cumsum([0, *(shard["pieces"] for shard in self.shards)])
        self._maps: dict[int, dict[str, np.ndarray]] = {}
        for shard in self.shards:
            _check_files(self.path, shard, verify)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, i: int):
        return self._piece(self._read(self._place(i)))

    def __iter__(self) -> Iterator:
        """All pieces in order."""
        return (self._piece(self._read(place)) for place in self._places(range(len(self.shards))))

    def _place(self, i: int) -> tuple[int, int]:
        """The shard of piece `i` and its position there."""
        i = range(len(self))[i]  # negative positions, IndexError
        shard = int(np.searchsorted(self.starts, i, side="right")) - 1
        return shard, i - int(self.starts[shard])

    def _places(self, shards: Iterable[int]) -> Iterator[tuple[int, int]]:
        return ((shard, i) for shard in shards for i in range(self.shards[shard]["pieces"]))

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_maps": {}}  # a memory map would travel to a worker as a copy of the whole file

    def _read(self, place: tuple[int, int]) -> tuple[tuple[int, int], np.ndarray, bytes]:
        """A piece as bytes; copies, as a view would keep the file open and fail if it is cut short."""
        info = self._slice(*place, "info").tobytes() if self.kind == "melodies" else b""
        return place, self._slice(*place, "items").copy(), info

    def _piece(self, read: tuple[tuple[int, int], np.ndarray, bytes]):
        (shard, i), items, info = read
        try:
            return self._decode(items, info)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path / self.shards[shard]['name']}: piece {i} is damaged ({error})") from error

    def _decode(self, items: np.ndarray, info: bytes):
        return items

    def _slice(self, shard: int, i: int, part: str) -> np.ndarray:
        maps = self._maps.get(shard) or self._open(shard)
        offsets = maps["offsets" if part == "items" else "info-offsets"]
        start, end = int(offsets[i]), int(offsets[i + 1])
        if not 0 <= start <= end <= len(maps[part]):
            raise DataError(
                f"{self.path / self.shards[shard]['name']}: piece {i} at {start}:{end} of {len(maps[part])}"
            )
        return maps[part][start:end]

    def _open(self, shard: int) -> dict[str, np.ndarray]:
        line = self.shards[shard]
        maps = {part: _map(self.path / f"{line['name']}.{part}.npy") for part in PARTS}
        if any(len(maps[part]) != line["pieces"] + 1 for part in ("offsets", "info-offsets")):
            raise DataError(f"{self.path / line['name']}: offsets do not belong to {line['pieces']} pieces; write anew")
        self._maps[shard] = maps
        return maps

    def stream(self, *, seed: int = 0, buffer: int = 10_000) -> Iterator:
        """All pieces once, shuffled: shards in random order, pieces through a buffer of which a random one is drawn.

        A disk likes to be read in order and training wants disorder; a buffer of some thousand pieces gives both.
        """
        rng = np.random.default_rng(seed)
        pieces = (self._read(place) for place in self._places(rng.permutation(len(self.shards)).tolist()))
        waiting = list(islice(pieces, buffer))  # as bytes: notes as Python objects are ten times larger
        for piece in pieces:
            i = int(rng.integers(len(waiting)))
            yield self._piece(waiting[i])
            waiting[i] = piece
        yield from (self._piece(waiting[i]) for i in rng.permutation(len(waiting)))


class ShardedMelodies(ShardedArrays):
    """Melodies that `write_shards` wrote, by memory map; the interface is that of ShardedArrays.

    Item: Melody. `notes(i)` gives the notes alone as an array of dtype NOTE, many times sooner. Chapter 1.
    """

    kind = "melodies"

    def notes(self, i: int) -> np.ndarray:
        """Notes of piece `i`: fields pitch, velocity, start, duration, the last two in ticks of 1/480 beat."""
        return self._slice(*self._place(i), "items").copy()

    def _decode(self, items: np.ndarray, info: bytes):
        from musicai.notes import Melody, Note

        fields = json.loads(info)
        notes = tuple(
            Note(pitch, start / TICKS, length / TICKS, velocity) for pitch, velocity, start, length in items.tolist()
        )
        return Melody(notes, fields["name"], fields["key"], fields["tempo"], tuple(fields["meter"]))


def _read_manifest(path: Path, kind: str) -> dict:
    file = path / "manifest.json"
    try:
        manifest = json.loads(file.read_text())
        if manifest["format"] != FORMAT or manifest["kind"] != kind:
            raise DataError(f"{file}: holds {manifest['kind']} in {manifest['format']}, not {kind} in {FORMAT}")
        if sum(shard["pieces"] for shard in manifest["shards"]) != manifest["pieces"]:
            raise DataError(f"{file}: the shards do not add up to {manifest['pieces']} pieces")
        return manifest
    except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: no readable manifest of shards ({type(error).__name__}: {error})") from error


def _check_files(path: Path, shard: dict, verify: bool) -> None:
    for part in PARTS:
        file, expected = path / f"{shard['name']}.{part}.npy", shard["files"][part]
        if not file.is_file():
            raise DataError(f"{file}: missing; write the shards anew")
        if file.stat().st_size != expected["bytes"]:
            raise DataError(f"{file}: {file.stat().st_size} bytes, its manifest says {expected['bytes']}; write anew")
        if verify and _crc(file) != expected["crc32"]:
            raise DataError(f"{file}: damaged (its checksum differs from the manifest's); write the shards anew")


def _map(file: Path) -> np.ndarray:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        return array.view(np.ndarray)  # slices of np.memmap are ten times slower
    except Exception as error:  # NumPy evaluates the header: a damaged one raises errors of its tokenizer, too
        raise DataError(f"{file}: not a readable array ({error}); write the shards anew") from error
