"""A million pieces on disk: a few large files, memory-mapped, any piece read in microseconds.

A folder of shards holds `manifest.json` and, for each shard, four arrays in NumPy's own format:

    00000.items.npy         all items of the shard end to end             [ a a a a b b c c c c c ]
    00000.offsets.npy       where each begins: piece i is items[o[i]:o[i+1]]  [ 0 4 6 11 ]
    00000.info.npy          the same for a few bytes of JSON per piece (name, key, tempo),
    00000.info-offsets.npy  with its own offsets
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from musicai.data.transport import DataError
from musicai.notes import Melody, Note, transpose_key
from musicai.storage import atomic_write

FORMAT = "musicai-shards-1"
TICKS = 480  # per beat, as in most MIDI files: thirds, fifths and 1/32 of a beat are exact
NOTE = np.dtype([("pitch", "u1"), ("velocity", "u1"), ("start", "<u4"), ("duration", "<u4")])  # times in ticks
PARTS = ("items", "offsets", "info", "info-offsets")


class Packed(NamedTuple):
    """A piece as it is stored in a shard: its items, and a few bytes of JSON."""

    items: np.ndarray
    info: bytes


def write_shards(pieces: Iterable, folder: str | Path, *, shard_pieces: int = 65_536) -> int:
    """Write melodies, or NumPy arrays, as a folder of shards; the iterable is read once.

    >>> write_shards(FolkCorpus(), "tunes")  # doctest: +SKIP
    4248

    Shards that were there are replaced at the very end, in one step: an error, an interruption or a power cut at any
    moment leaves either the old shards or the new ones. Only one process may write to a folder at a time.

    Args:
        pieces: all of class Melody (times are rounded to 1/480 beat), or all arrays (length, ...) with one dtype and
            one shape after the first axis.
        folder: where to write; it is created if needed.
        shard_pieces: the most pieces that one shard, and so the memory, holds.

    Returns: how many pieces were written.

    Raises:
        DataError: for pieces that do not fit together (named by position), or a folder that holds other things.

    Chapter 1.
    """
    folder = Path(folder)
    _check_replaceable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        shards = list(_write_all(iter(pieces), folder, shard_pieces))
        total = sum(shard["pieces"] for shard in shards)
        kind = shards[0]["kind"] if shards else "melodies"
        manifest = {"format": FORMAT, "kind": kind, "pieces": total, "ticks": TICKS, "shards": shards}
        with atomic_write(folder / "manifest.json") as file:
            file.write(json.dumps(manifest, indent=1).encode())
    finally:
        _remove_unlisted(folder)
    return total


def _shard_files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.npy") if re.fullmatch(rf"\d+\.({'|'.join(PARTS)})\.npy", file.name)]


def _check_replaceable(folder: Path) -> None:
    """Shards, with or without a manifest (after a power cut), may be replaced; nothing else."""
    if folder.is_dir() and ((folder / "manifest.json").is_file() or set(folder.iterdir()) <= {*_shard_files(folder)}):
        return
    if folder.exists():
        raise DataError(f"{folder} exists and is not a folder of shards; choose a new or empty folder")


def _remove_unlisted(folder: Path) -> None:
    """Remove the shards that the manifest does not list: the old ones, or after a failure the new ones."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # a manifest that cannot be read protects everything
        manifest = folder / "manifest.json"
        listed = {shard["name"] for shard in json.loads(manifest.read_text())["shards"]} if manifest.exists() else ()
        for file in _shard_files(folder):
            if file.name.split(".")[0] not in listed:
                file.unlink()
        if not manifest.exists():
            folder.rmdir()


def _write_all(pieces: Iterator, folder: Path, shard_pieces: int) -> Iterator[dict]:
    position, layout = 0, None
    number = 1 + max((int(file.name.split(".")[0]) for file in _shard_files(folder)), default=-1)
    while packed := [_pack(piece, position + i) for i, piece in enumerate(islice(pieces, shard_pieces))]:
        for i, (items, info) in enumerate(packed):
            layout = layout or (items.dtype, items.shape[1:], bool(info))
            if (items.dtype, items.shape[1:], bool(info)) != layout:
                raise DataError(
                    f"piece {position + i}: {items.dtype} {items.shape} among pieces of {layout[0]} (length, "
                    f"*{layout[1]}); all pieces in a folder of shards have one dtype and one shape after the length"
                )
        yield _write_one(packed, folder, f"{number:05d}")
        number, position = number + 1, position + len(packed)


def _write_one(packed: list[Packed], folder: Path, name: str) -> dict:
    """Write one shard; returns its entry in the manifest, with the size and checksum of each file."""
    items, info = zip(*packed, strict=True)
    arrays = {
        "items": np.concatenate(items),
        "offsets": np.cumsum([0, *map(len, items)], dtype=np.int64),
        "info": np.frombuffer(b"".join(info), dtype=np.uint8),
        "info-offsets": np.cumsum([0, *map(len, info)], dtype=np.int64),
    }
    files = {}
    for part, array in arrays.items():
        path = folder / f"{name}.{part}.npy"
        with atomic_write(path) as file:
            np.save(file, array, allow_pickle=False)
        files[part] = {"bytes": path.stat().st_size, "crc32": _crc(path)}
    return {"name": name, "pieces": len(packed), "kind": "melodies" if info[0] else "arrays", "files": files}


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return crc


def _pack(piece, position: int) -> Packed:
    if isinstance(piece, Packed):
        return piece
    if isinstance(piece, np.ndarray) and piece.ndim and not piece.dtype.hasobject:
        return Packed(piece, b"")
    if not isinstance(piece, Melody):
        what = f"{piece.dtype} {piece.shape}" if isinstance(piece, np.ndarray) else type(piece).__name__
        raise DataError(f"piece {position}: {what} is neither a Melody nor an array (length, ...) of numbers")
    try:
        return pack(piece)
    except (OverflowError, ValueError) as error:
        raise DataError(f"piece {position}: {error}") from error


def pack(melody: Melody) -> Packed:
    """A Melody as it is stored in a shard: 10 bytes per note, and its fields as JSON."""
    notes = np.empty(len(melody.notes), dtype=NOTE)
    columns = np.array([(n.pitch, n.velocity, n.start, n.end) for n in melody.notes], dtype=np.float64).reshape(-1, 4)
    ticks = np.rint(columns[:, 2:] * TICKS)
    if len(ticks) and ticks.max() >= 2**32:
        raise OverflowError(f"the last note ends at beat {ticks.max() / TICKS:g}; shards hold up to {2**32 // TICKS:,}")
    notes["pitch"], notes["velocity"], notes["start"] = columns[:, 0], columns[:, 1], ticks[:, 0]
    notes["duration"] = ticks[:, 1] - ticks[:, 0]
    if len(short := np.flatnonzero(notes["duration"] == 0)):
        raise ValueError(f"note {short[0]} is shorter than 1/{TICKS} beat, the resolution of shards")
    fields = {"name": melody.name, "key": melody.key, "tempo": melody.tempo, "meter": list(melody.time_signature)}
    return Packed(notes, _to_json(fields))


def _to_json(fields: dict) -> bytes:
    """Compact JSON; a name that holds undecodable bytes (lone surrogates) goes through as well."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


class ShardedArrays(Dataset):
    """Arrays written by `write_shards`, memory-mapped: `shards[i]` reads only the bytes of piece `i`.

    >>> shards = ShardedArrays("codes"); shards[123_456].shape  # doctest: +SKIP
    (16000,)

    Each item is a copy of piece `i` as a NumPy array, and `stream()` yields all pieces shuffled. DataLoader workers
    may share the object.

    Args:
        path: the folder.
        verify: read everything once and compare the checksums.

    Raises:
        DataError: naming the file that is missing, truncated or damaged.

    Chapter 1.
    """

    kind = "arrays"

    def __init__(self, path: str | Path, *, verify: bool = False):
        self.path = Path(path)
        self.shards = _read_manifest(self.path, self.kind)["shards"]
        self.starts = np.cumsum([0, *(shard["pieces"] for shard in self.shards)])
        self._maps: dict[int, dict[str, np.ndarray]] = {}
        for shard in self.shards:
            _check_files(self.path, shard, verify)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, i: int):
        place = self._place(i)
        return self._decode(place, self._read(place))

    def __iter__(self) -> Iterator:
        """All pieces in order."""
        return (self[i] for i in range(len(self)))

    def stream(self, *, seed: int = 0, buffer: int = 10_000) -> Iterator:
        """All pieces once, shuffled: shards in random order, pieces drawn at random from a buffer.

        Disks are fast when read in order and training wants disorder; a buffer of a few thousand pieces gives both.
        """
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.shards)).tolist()
        places = ((shard, i) for shard in order for i in range(self.shards[shard]["pieces"]))
        pieces = ((place, self._read(place)) for place in places)
        waiting = list(islice(pieces, buffer))  # as bytes: notes as Python objects are ten times larger
        for piece in pieces:
            i = int(rng.integers(len(waiting)))
            yield self._decode(*waiting[i])
            waiting[i] = piece
        yield from (self._decode(*waiting[i]) for i in rng.permutation(len(waiting)))

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_maps": {}}  # a memory map would travel to a worker as a copy of the whole file

    def _place(self, i: int) -> tuple[int, int]:
        """The shard of piece `i` and its position there."""
        i = range(len(self))[i]  # negative positions, IndexError
        shard = int(np.searchsorted(self.starts, i, side="right")) - 1
        return shard, i - int(self.starts[shard])

    def _read(self, place: tuple[int, int]) -> Packed:
        """A piece as bytes; copies, as a view would keep the file open and fail if it is truncated."""
        info = self._slice(place, "info").tobytes() if self.kind == "melodies" else b""
        return Packed(self._slice(place, "items").copy(), info)

    def _slice(self, place: tuple[int, int], part: str) -> np.ndarray:
        shard, i = place
        maps = self._maps.get(shard) or self._open(shard)
        offsets = maps["offsets" if part == "items" else "info-offsets"]
        start, end = int(offsets[i]), int(offsets[i + 1])
        if not 0 <= start <= end <= len(maps[part]):
            raise self._damaged(place, f"bytes {start}:{end} of {len(maps[part])}")
        return maps[part][start:end]

    def _open(self, shard: int) -> dict[str, np.ndarray]:
        entry = self.shards[shard]
        maps = {part: _map(self.path / f"{entry['name']}.{part}.npy") for part in PARTS}
        if any(len(maps[part]) != entry["pieces"] + 1 for part in ("offsets", "info-offsets")):
            raise DataError(f"{self.path / entry['name']}: its offsets do not fit {entry['pieces']} pieces")
        self._maps[shard] = maps
        return maps

    def _decode(self, place: tuple[int, int], piece: Packed):
        return piece.items

    def _damaged(self, place: tuple[int, int], reason: object) -> DataError:
        return DataError(f"{self.path / self.shards[place[0]]['name']}: piece {place[1]} is damaged ({reason})")


class ShardedMelodies(ShardedArrays):
    """Melodies written by `write_shards`, memory-mapped; each item is a Melody.

    >>> ShardedMelodies("tunes")[123].name  # doctest: +SKIP
    'Old Towler'

    It is used like `ShardedArrays`. `notes(i)` gives the notes alone as an array of dtype NOTE, many times faster.

    Args:
        path: the folder.
        verify: read everything once and compare the checksums.

    Raises:
        DataError: naming the file that is missing, truncated or damaged.

    Chapter 1.
    """

    kind = "melodies"

    def notes(self, i: int) -> np.ndarray:
        """Notes of piece `i`: fields pitch, velocity, start, duration, the last two in ticks of 1/480 beat."""
        return self._slice(self._place(i), "items").copy()

    def _decode(self, place: tuple[int, int], piece: Packed) -> Melody:
        try:
            fields = json.loads(piece.info)
            rows = piece.items.tolist()
            notes = tuple(
                Note(pitch, start / TICKS, length / TICKS, velocity) for pitch, velocity, start, length in rows
            )
            return Melody(notes, fields["name"], fields["key"], fields["tempo"], tuple(fields["meter"]))
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(place, error) from error


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
        raise DataError(f"{file}: not a readable manifest of shards ({type(error).__name__}: {error})") from error


def _check_files(path: Path, shard: dict, verify: bool) -> None:
    for part in PARTS:
        file, expected = path / f"{shard['name']}.{part}.npy", shard["files"][part]
        if not file.is_file():
            raise DataError(f"{file}: missing; write the shards again")
        if file.stat().st_size != expected["bytes"]:
            raise DataError(f"{file}: {file.stat().st_size} bytes, its manifest says {expected['bytes']}; write again")
        if verify and _crc(file) != expected["crc32"]:
            raise DataError(f"{file}: damaged (its checksum differs from the manifest's); write the shards again")


def _map(file: Path) -> np.ndarray:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        return array.view(np.ndarray)  # slices of np.memmap are ten times slower
    except Exception as error:  # NumPy evaluates the header: a damaged one raises its tokenizer's errors, too
        raise DataError(f"{file}: not a readable array ({error}); write the shards again") from error


def variations(melodies: Sequence[Melody], count: int, *, seed: int = 0) -> Iterator[Packed]:
    """Make `count` pieces from melodies: transposed by -5..6 semitones, an excerpt of half to all of the notes.

    >>> write_shards(variations(FolkCorpus(), 1_000_000), "million")  # doctest: +SKIP
    1000000

    Args:
        melodies: the sources, from which each piece draws one at random.
        count: how many pieces to make.
        seed: of the random choices.

    Yields: pieces packed for `write_shards`; building a million Melody objects first would take minutes.

    Chapter 1.
    """
    rng = np.random.default_rng(seed)
    packed = [{0: pack(melody)} for melody in melodies]
    for start in range(0, count, 10_000):  # random numbers are cheap by the thousand, expensive one by one
        size = min(10_000, count - start)
        draws = zip(rng.integers(len(packed), size=size), rng.integers(-5, 7, size), rng.random((size, 2)), strict=True)
        for which, shift, (share, where) in draws:
            yield _excerpt(_transposed(packed[which], int(shift)), share, where)


def _transposed(shifts: dict[int, Packed], shift: int) -> Packed:
    """A piece moved by semitones; each shift is worked out once and kept in `shifts`."""
    if shift not in shifts:
        items, info = shifts[0].items.copy(), json.loads(shifts[0].info)
        items["pitch"] = np.clip(items["pitch"].astype(np.int16) + shift, 0, 127)
        shifts[shift] = Packed(items, _to_json(info | {"key": transpose_key(info["key"], shift)}))
    return shifts[shift]


def _excerpt(piece: Packed, share: float, where: float) -> Packed:
    length = len(piece.items) - int(share * (len(piece.items) // 2))
    first = int(where * (len(piece.items) - length + 1))
    notes = piece.items[first : first + length].copy()
    if length:
        notes["start"] -= notes["start"][0]
    return Packed(notes, piece.info)
