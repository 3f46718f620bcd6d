"""The Groove MIDI Dataset: 13.6 hours of drumming by people, MIDI and sound (Gillick et al. 2019). Chapter 1."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .public import LazyAudio, PublicSet, Row, Source, existing, find, missing, published_split, read_csv, read_score

SPLITS = ("train", "validation", "test")
COLUMNS = (
    *("drummer", "session", "id", "style", "bpm", "beat_type", "time_signature"),
    *("midi_filename", "audio_filename", "duration", "split"),
)
_URL = "https://storage.googleapis.com/magentadata/datasets/groove/groove-v1.0.0{}.zip"
# Sizes and SHA-256 as in TensorFlow Datasets.
ARCHIVES = {
    False: Source(
        _URL.format("-midionly"),
        "3 MB",
        unpacked=100 * 10**6,
        size=3_260_318,
        sha256="651cbc524ffb891be1a3e46d89dc82a1cecb09a57c748c7b45b844c4841dcc1e",
    ),
    True: Source(
        _URL.format(""),
        "5.1 GB",
        unpacked=20 * 10**9,
        size=5_111_599_714,
        sha256="21559feb2f1c96ca53988fd4d7060b1f2afe1d854fb2a8dcea5ff95cf3cce7e9",
    ),
}


@dataclass(frozen=True, slots=True)
class GrooveTake:
    """One row of info.csv, checked; `audio` is None where none is published."""

    drummer: str
    session: str
    id: str
    style: str
    bpm: int
    beat_type: str
    time_signature: tuple[int, int]
    duration: float
    split: str
    midi: Path
    audio: Path | None
    where: str


class Groove(PublicSet):
    """Drum performances of the Groove MIDI Dataset, version 1.0.0.

    >>> takes = Groove("data", "validation", download=True)  # doctest: +SKIP
    >>> beats = Groove("data", keep=lambda take: take.beat_type == "beat")  # doctest: +SKIP

    An item is ``{"score": Score, "audio": LazyAudio (call it with start and duration in seconds), "drummer":
    "drummer1", "session": "drummer1/session1", "id": "drummer1/session1/1", "style": "funk/groove1", "bpm": int,
    "beat_type": "beat" or "fill", "time_signature": (4, 4), "duration": float seconds}``. For 60 of the 1,150 takes
    no audio is published: their LazyAudio is false, and a DataError when called.

    Args:
        root: the folder that holds groove (or is it).
        split: "train", "validation" (or "valid"), "test".
        audio: only the takes with audio, which must be there (or is downloaded); else the MIDI files are enough.
        download: fetch and unpack the set if it is not there.
        keep: takes a `GrooveTake`, says whether to keep it.

    Raises:
        DataError: a missing, damaged or wrong file or field; names the file and the row. Chapter 1.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        audio: bool = False,
        download: bool = False,
        keep: Callable[[GrooveTake], bool] | None = None,
    ):
        split = published_split(split, SPLITS)
        self.folder = _find(root, audio, download)
        file = self.folder / "info.csv"
        takes = [_take(row, self.folder, audio) for row in read_csv(file, COLUMNS, "id")]
        mine = [take for take in takes if take.split == split and (take.audio or not audio)]
        super().__init__(mine, split, file, keep)

    def item(self, row: GrooveTake) -> dict:
        return {
            "score": read_score(row.midi, row.where),
            "audio": LazyAudio(row.audio, row.where),
            "drummer": row.drummer,
            "session": row.session,
            "id": row.id,
            "style": row.style,
            "bpm": row.bpm,
            "beat_type": row.beat_type,
            "time_signature": row.time_signature,
            "duration": row.duration,
        }


def _find(root: str | Path, audio: bool, download: bool) -> Path:
    root = Path(root).expanduser()
    folder = find(root, ("groove", "."), ("info.csv",))
    if folder and audio and download and not any(folder.glob("*/*/*.wav")):
        raise DataError(f"{folder} holds the MIDI files only; move it away to download the set with audio")
    if folder is None and download:
        ARCHIVES[audio].fetch(root, root)
        folder = find(root, ("groove", "."), ("info.csv",))
    if folder is None:
        raise missing(root, "Groove MIDI Dataset", "groove/info.csv", ARCHIVES[audio])
    return folder


def _take(row: Row, folder: Path, audio: bool) -> GrooveTake:
    sound = row.path(folder, "audio_filename") if row.value("audio_filename") else None
    return GrooveTake(
        **{key: row.text(key) for key in ("drummer", "session", "id", "style")},
        bpm=row.integer("bpm", 1, 1000),
        beat_type=row.choice("beat_type", ("beat", "fill")),
        time_signature=_signature(row),
        duration=row.seconds("duration"),
        split=row.choice("split", SPLITS),
        midi=existing(row.path(folder, "midi_filename"), row.where),
        audio=existing(sound, row.where) if sound and audio else sound,
        where=row.where,
    )


def _signature(row: Row) -> tuple[int, int]:
    """info.csv writes 4/4 as "4-4"."""
    found = re.fullmatch(r"([1-9]\d?)-([1-9]\d?)", row.text("time_signature"))
    if not found:
        raise row.error(f"time_signature is {row.text('time_signature')!r:.80}, not like 4-4")
    return int(found[1]), int(found[2])
