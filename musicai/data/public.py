"""What the loaders of public sets share: getting a set, reading its tables, errors that name the file and the row."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from musicai import audio, notes

from .archive import ArchiveError, extract, safe_parts
from .download import download
from .errors import DataError

ALIASES = {"valid": "validation", "validation": "valid"}


@dataclass(frozen=True)
class Source:
    """A published archive, with the hash and the size that its publisher (or a well-known loader) gives."""

    url: str
    about: str  # its size, for people
    unpacked: int  # the most bytes it may unpack to
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def fetch(self, root: Path, folder: Path, *, progress: bool = True) -> None:
        """Download into `root`, unpack into `folder`, remove the archive."""
        archive = root / self.url.rsplit("/", 1)[-1]
        download(self.url, archive, sha256=self.sha256, md5=self.md5, size=self.size, progress=progress)
        extract(archive, folder, max_bytes=self.unpacked)
        archive.unlink()


class PublicSet(Dataset):
    """A public set: checked `rows` of metadata, each turned into an item when asked for."""

    rows: Sequence

    def __init__(self, rows: Sequence, split: str, where: Path, keep: Callable | None):
        self.split = split
        self.rows = [row for row in rows if keep is None or keep(row)]
        if not self.rows:
            reason = "is empty" if keep is None else "has nothing that `keep` keeps"
            raise DataError(f"{where}: split {split!r} {reason}")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        return self.item(self.rows[index])

    def item(self, row) -> dict:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.split!r}, {len(self)} items)"


@dataclass(frozen=True)
class LazyAudio:
    """A recording that is read when called, whole or in part: ``sound, sr = item["audio"](start=10, duration=5)``."""

    path: Path | None
    where: str  # file and row that name it

    def __bool__(self) -> bool:
        return self.path is not None and self.path.is_file()

    def __call__(self, start: float = 0.0, duration: float | None = None, **options) -> tuple[Tensor, int]:
        """Read `duration` seconds from `start`; options as `musicai.audio.load`. Returns (channels, time) and the rate.

        Raises:
            DataError: where no audio is published, its file is missing (a MIDI-only copy of the set) or broken.
        """
        if self.path is None:
            raise DataError(f"{self.where}: no audio is published for this row (its audio field is empty)")
        return read_audio(self.path, self.where, start=start, duration=duration, **options)


def read_audio(path: Path, where: str, **options) -> tuple[Tensor, int]:
    """`musicai.audio.load`, with errors that name the row."""
    if not path.is_file():
        raise DataError(f"{where}: the audio file {path} is missing")
    try:
        return audio.load(path, **options)
    except (ValueError, OSError) as error:
        raise DataError(f"{where}: cannot read the audio: {error}") from error


def read_score(path: Path, where: str):
    """`musicai.notes.read_midi`, with errors that name the row."""
    try:
        return notes.read_midi(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{where}: cannot read the MIDI file: {error}") from error


def published_split(split: str, names: tuple[str, ...]) -> str:
    """The set's own name of a split ("valid" and "validation" are one)."""
    for name in (split, ALIASES.get(split) if isinstance(split, str) else None):
        if name in names:
            return name
    raise DataError(f"split {split!r} is not one of {', '.join(names)}")


def find(root: str | Path, folders: tuple[str, ...], markers: tuple[str, ...]) -> Path | None:
    """The first of `folders` under `root` ("." is `root` itself) that holds one of the files or folders `markers`."""
    places = (Path(root).expanduser() / folder for folder in folders)
    return next((place for place in places if any((place / marker).exists() for marker in markers)), None)


def missing(root: str | Path, what: str, marker: str, source: Source) -> DataError:
    """The error for a set that is not there; it says how to get it."""
    place = Path(root).expanduser() / marker
    way = f"pass download=True ({source.about}), or unpack {source.url} there yourself"
    return DataError(f"{place} is missing: no {what} in {root}; {way}")


def read_text(path: Path) -> str:
    """A text file in UTF-8 (a byte-order mark is dropped)."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {row}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror or error}") from error


def read_json(path: Path) -> object:
    """A JSON file; a damaged one is a DataError with line and column."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno} column {error.colno}: damaged JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: damaged JSON: {error}") from error


def read_csv(path: Path, columns: tuple[str, ...], name: str) -> Iterator["Row"]:
    """The rows of a CSV file with a header; the column `name` tells rows apart in errors."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        absent = [column for column in columns if column not in (reader.fieldnames or ())]
        if absent:
            raise DataError(f"{path}, line 1: no column {', '.join(absent)}")
        for number, fields in enumerate(reader, 1):
            row = Row(
                fields, f"{path}, row {number} (line {reader.line_num}, {fields.get(name) or ''!s:.200})", csv=True
            )
            if None in fields or None in fields.values():
                raise row.error(f"it has not the {len(reader.fieldnames)} fields of the header")
            yield row
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: damaged CSV: {error}") from error


class Row:
    """One row of a table; each field is checked as it is read, and errors name the file and the row."""

    def __init__(self, fields: object, where: str, *, csv: bool = False):
        self.fields, self.where, self.csv = fields, where, csv
        if not isinstance(fields, dict):
            raise self.error(f"it is {fields!r:.80}, not a record")

    def error(self, reason: str) -> DataError:
        return DataError(f"{self.where}: {reason}")

    def value(self, key: str) -> object:
        if key not in self.fields:
            raise self.error(f"the field {key!r} is missing")
        return self.fields[key]

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{key} is {value!r:.80}, not a text" if value != "" else f"{key} is empty")
        return value

    def choice(self, key: str, options: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in options:
            raise self.error(f"{key} is {value!r:.80}, not one of {', '.join(options)}")
        return value

    def integer(self, key: str, low: int = 0, high: int = 2**63 - 1) -> int:
        value = self._parsed(key, int)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(f"{key} is {value!r:.80}, not a whole number from {low} to {high}")
        return value

    def seconds(self, key: str) -> float:
        value = self._parsed(key, float)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise self.error(f"{key} is {value!r:.80}, not a number of seconds")
        return float(value)

    def _parsed(self, key: str, kind: type) -> object:
        """A number; in a CSV file it is written as text."""
        value = self.value(key)
        try:
            return kind(value) if self.csv else value
        except (TypeError, ValueError):
            return value

    def path(self, root: Path, key: str, suffix: str = "") -> Path:
        """A file below `root`: absolute paths, ".." and the like are refused."""
        return member(root, self.text(key) + suffix, self.where)


def member(root: Path, name: str, where: str) -> Path:
    """`root` / `name`, where `name` was written by others and must not lead out of `root`."""
    try:
        parts = safe_parts(name)
    except ArchiveError as error:
        raise DataError(f"{where}: {error}") from None
    if not parts:
        raise DataError(f"{where}: {name!r} names no file")
    return root.joinpath(*parts)


def existing(path: Path, where: str) -> Path:
    """`path`, which must be a file."""
    if not path.is_file():
        raise DataError(f"{where}: the file {path} is missing")
    return path
