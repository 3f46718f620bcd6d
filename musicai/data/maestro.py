"""MAESTRO: 200 hours of piano competitions, MIDI and sound aligned to 3 ms (Hawthorne et al. 2019). Chapter 1."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .public import (
    LazyAudio,
    PublicSet,
    Row,
    Source,
    existing,
    find,
    missing,
    published_split,
    read_csv,
    read_json,
    read_score,
)

SPLITS = ("train", "validation", "test")
COLUMNS = (
    *("canonical_composer", "canonical_title", "split", "year"),
    *("midi_filename", "audio_filename", "duration"),
)
_URL = "https://storage.googleapis.com/magentadata/datasets/maestro/{0}/maestro-{0}{1}.zip"
# SHA-256 of version 3 from the set's page; MD5 of version 2, for which the page gives no hash, as in mirdata 0.3.
ARCHIVES = {
    ("v3.0.0", False): Source(
        _URL.format("v3.0.0", "-midi"),
        "56 MB",
        unpacked=500 * 10**6,
        sha256="70470ee253295c8d2c71e6d9d4a815189e35c89624b76d22fce5a019d5dde12c",
    ),
    ("v3.0.0", True): Source(
        _URL.format("v3.0.0", ""),
        "101 GB",
        unpacked=200 * 10**9,
        sha256="6680fea5be2339ea15091a249fbd70e49551246ddbd5ca50f1b2352c08c95291",
    ),
    ("v2.0.0", False): Source(
        _URL.format("v2.0.0", "-midi"), "57 MB", unpacked=500 * 10**6, md5="8a45cc678a8b23cd7bad048b1e9034c5"
    ),
    ("v2.0.0", True): Source(
        _URL.format("v2.0.0", ""), "about 100 GB", unpacked=200 * 10**9, md5="7a6c23536ebcf3f50b1f00ac253886a7"
    ),
}


@dataclass(frozen=True, slots=True)
class MaestroPiece:
    """One row of the metadata, checked."""

    composer: str
    title: str
    split: str
    year: int
    duration: float
    name: str
    midi: Path
    audio: Path
    where: str


class MAESTRO(PublicSet):
    """Performances of the MAESTRO set.

    >>> pieces = MAESTRO("data", "validation", download=True)  # doctest: +SKIP
    >>> sound, sr = pieces[0]["audio"](start=60, duration=10)  # (channels, time)  # doctest: +SKIP

    An item is ``{"score": Score, "audio": LazyAudio (call it with start and duration in seconds), "composer": str,
    "title": str, "year": int, "duration": float seconds, "name": "2018/MIDI-Unprocessed_...--1.midi"}``.

    Args:
        root: the folder that holds maestro-v3.0.0 (or is it).
        split: "train", "validation" (or "valid"), "test"; no composition is in two.
        version: "v3.0.0" or "v2.0.0". The metadata are read from the JSON file (by column in version 3, a list of
            records in version 2), or from the CSV file where there is no JSON.
        audio: the recordings must be there (or are downloaded) too; without it the MIDI files are enough.
        download: fetch and unpack the set if it is not there.
        keep: takes a `MaestroPiece`, says whether to keep it.

    Raises:
        DataError: a missing, damaged or wrong file or field; names the file and the row. Chapter 1.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        version: str = "v3.0.0",
        audio: bool = False,
        download: bool = False,
        keep: Callable[[MaestroPiece], bool] | None = None,
    ):
        split = published_split(split, SPLITS)
        if (version, audio) not in ARCHIVES:
            raise DataError(f"version {version!r} is not one of v3.0.0, v2.0.0")
        self.folder, file = _find(root, version, audio, download)
        pieces = [_piece(row, self.folder, audio) for row in _rows(file)]
        names = set()
        for piece in pieces:
            if piece.name in names:
                raise DataError(f"{piece.where}: midi_filename {piece.name!r} is in another row too")
            names.add(piece.name)
        super().__init__([piece for piece in pieces if piece.split == split], split, file, keep)

    def item(self, row: MaestroPiece) -> dict:
        return {
            "score": read_score(row.midi, row.where),
            "audio": LazyAudio(row.audio, row.where),
            "composer": row.composer,
            "title": row.title,
            "year": row.year,
            "duration": row.duration,
            "name": row.name,
        }


def _find(root: str | Path, version: str, audio: bool, download: bool) -> tuple[Path, Path]:
    """The set's folder and its metadata file."""
    name, source, root = f"maestro-{version}", ARCHIVES[version, audio], Path(root).expanduser()
    files = (f"{name}.json", f"{name}.csv")
    folder = find(root, (name, "."), files)
    if folder and audio and download and not any(folder.glob("*/*.wav")):
        raise DataError(f"{folder} holds the MIDI files only; move it away to download the set with audio")
    if folder is None and download:
        source.fetch(root, root)
        folder = find(root, (name, "."), files)
    if folder is None:
        raise missing(root, f"MAESTRO {version}", f"{name}/{files[0]}", source)
    return folder, next(folder / file for file in files if (folder / file).exists())


def _rows(file: Path) -> Iterable[Row]:
    if file.suffix == ".csv":
        return read_csv(file, COLUMNS, "midi_filename")
    table = read_json(file)
    if isinstance(table, dict):
        table = _records(file, table)
    elif isinstance(table, list):
        table = dict(enumerate(table))
    else:
        raise DataError(f"{file}: neither columns (version 3) nor a list of records (version 2)")
    return (Row(fields, _where(file, number, fields)) for number, fields in table.items())


def _where(file: Path, number: object, fields: object) -> str:
    name = fields.get("midi_filename") if isinstance(fields, dict) else None
    return f"{file}, row {number}" + (f" ({name:.200})" if isinstance(name, str) else "")


def _records(file: Path, columns: dict) -> dict[str, dict]:
    """Version 3 keeps each column apart, as {"year": {"0": 2018, ...}, ...}: put its rows together."""
    for column in COLUMNS:
        if not isinstance(columns.get(column), dict):
            raise DataError(f"{file}: the column {column!r} is missing or not a table of values by row")
    numbers = dict.fromkeys(number for column in COLUMNS for number in columns[column])
    return {n: {column: columns[column][n] for column in COLUMNS if n in columns[column]} for n in numbers}


def _piece(row: Row, folder: Path, audio: bool) -> MaestroPiece:
    midi, sound = row.path(folder, "midi_filename"), row.path(folder, "audio_filename")
    return MaestroPiece(
        composer=row.text("canonical_composer"),
        title=row.text("canonical_title"),
        split=row.choice("split", SPLITS),
        year=row.integer("year", 1900, 2100),
        duration=row.seconds("duration"),
        name=row.text("midi_filename"),
        midi=existing(midi, row.where),
        audio=existing(sound, row.where) if audio else sound,
        where=row.where,
    )
