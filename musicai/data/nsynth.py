"""NSynth: 305,979 single notes of 1,006 instruments, four seconds each at 16 kHz (Engel et al. 2017). Chapter 1."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from .errors import DataError
from .public import PublicSet, Row, Source, find, missing, published_split, read_audio, read_json

FAMILIES = (
    *("bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal"),
)
SOURCES = ("acoustic", "electronic", "synthetic")
QUALITIES = (
    *("bright", "dark", "distortion", "fast_decay", "long_release"),
    *("multiphonic", "nonlinear_env", "percussive", "reverb", "tempo-synced"),
)
SPLITS = ("train", "valid", "test")
_URL = "http://download.magenta.tensorflow.org/datasets/nsynth/nsynth-{}.jsonwav.tar.gz"
# The publisher gives no hash; these MD5 are the ones the HEAR 2021 benchmark checks its downloads with.
ARCHIVES = {
    "train": Source(_URL.format("train"), "about 24 GB", 60 * 10**9, md5="fde6665a93865503ba598b9fac388660"),
    "valid": Source(_URL.format("valid"), "about 1 GB", 4 * 10**9, md5="87e94a00a19b6dbc99cf6d4c0c0cae87"),
    "test": Source(_URL.format("test"), "about 0.4 GB", 2 * 10**9, md5="5e6f8719bf7e16ad0a00d518b78af77d"),
}


@dataclass(frozen=True, slots=True)
class NSynthNote:
    """One row of examples.json, checked."""

    name: str
    pitch: int
    velocity: int
    sr: int
    instrument: int
    instrument_name: str
    family: str
    source: str
    qualities: tuple[int, ...]


class NSynth(PublicSet):
    """Notes of the NSynth set.

    >>> notes = NSynth("data", "test", download=True)  # doctest: +SKIP
    >>> guitars = NSynth("data", "train", keep=lambda note: note.family == "guitar")  # doctest: +SKIP

    An item is ``{"audio": (time,) float32, "sr": 16000, "pitch": int, "velocity": int, "instrument": int,
    "instrument_name": "guitar_acoustic_001", "family": "guitar", "source": "acoustic", "qualities": (10,) int64 of 0
    and 1 as in QUALITIES, "note": "guitar_acoustic_001-082-050"}``. Published sounds have 64,000 samples.

    Args:
        root: the folder that holds nsynth-train, nsynth-valid, nsynth-test (or one of these itself).
        split: "train", "valid" or "test"; no instrument of train is in the others.
        download: fetch and unpack the split if it is not there.
        keep: takes an `NSynthNote`, says whether to keep it.

    Raises:
        DataError: a missing, damaged or wrong file or field; names the file and the row. Chapter 1.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        download: bool = False,
        keep: Callable[[NSynthNote], bool] | None = None,
    ):
        split = published_split(split, SPLITS)
        self.folder = _find(root, split, download)
        self.file = self.folder / "examples.json"
        table = read_json(self.file)
        if not isinstance(table, dict):
            raise DataError(f"{self.file}: not a table of notes by name")
        rows = [_note(Row(fields, f"{self.file}, row {name!r:.200}"), name) for name, fields in table.items()]
        self._check_files(rows)
        super().__init__(rows, split, self.file, keep)

    def _check_files(self, rows: list[NSynthNote]) -> None:
        """Each note has its file in the listing; so no name is a path that leads elsewhere."""
        folder = self.folder / "audio"
        try:
            there = set(os.listdir(folder))
        except OSError as error:
            raise DataError(f"{self.file}: the folder {folder} is missing or cannot be read") from error
        for note in rows:
            if f"{note.name}.wav" not in there:
                raise DataError(f"{self.file}, row {note.name!r}: the file {folder / note.name}.wav is missing")

    def item(self, row: NSynthNote) -> dict:
        where = f"{self.file}, row {row.name!r}"
        audio, sr = read_audio(self.folder / "audio" / f"{row.name}.wav", where, mono=True)
        if sr != row.sr:
            raise DataError(f"{where}: sample_rate is {row.sr}, but the audio file has {sr}")
        return {
            "audio": audio[0],  # (time,)
            "sr": sr,
            "pitch": row.pitch,
            "velocity": row.velocity,
            "instrument": row.instrument,
            "instrument_name": row.instrument_name,
            "family": row.family,
            "source": row.source,
            "qualities": torch.tensor(row.qualities),
            "note": row.name,
        }


def _find(root: str | Path, split: str, download: bool) -> Path:
    name, root = f"nsynth-{split}", Path(root).expanduser()
    folder = find(root, (name, "."), ("examples.json",))
    if folder is None and download:
        ARCHIVES[split].fetch(root, root)
        folder = find(root, (name, "."), ("examples.json",))
    if folder is None or (folder == root and root.name.startswith("nsynth-") and root.name != name):
        raise missing(root, f"NSynth {split} split", f"{name}/examples.json", ARCHIVES[split])
    return folder


def _note(row: Row, name: str) -> NSynthNote:
    if row.text("note_str") != name:
        raise row.error(f"note_str is {row.text('note_str')!r:.80}, not the row's name")
    return NSynthNote(
        name=name,
        pitch=row.integer("pitch", 0, 127),
        velocity=row.integer("velocity", 0, 127),
        sr=row.integer("sample_rate", 1, 768_000),
        instrument=row.integer("instrument"),
        instrument_name=row.text("instrument_str"),
        family=_named(row, "instrument_family", FAMILIES),
        source=_named(row, "instrument_source", SOURCES),
        qualities=_qualities(row),
    )


def _named(row: Row, key: str, names: tuple[str, ...]) -> str:
    """A category that is given twice, by number and by name."""
    name = row.choice(f"{key}_str", names)
    number = row.integer(key, 0, len(names) - 1)
    if names[number] != name:
        raise row.error(f"{key} is {number} ({names[number]}), but {key}_str is {name}")
    return name


def _qualities(row: Row) -> tuple[int, ...]:
    flags = row.value("qualities")
    if not isinstance(flags, list) or len(flags) != len(QUALITIES) or any(flag not in (0, 1) for flag in flags):
        raise row.error(f"qualities is {flags!r:.80}, not a list of {len(QUALITIES)} zeros and ones")
    return tuple(int(flag) for flag in flags)
