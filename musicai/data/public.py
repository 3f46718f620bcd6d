"""Public sets to download: NSynth, Speech Commands and SC09, MAESTRO, Groove. Chapter 1.

Each is a small `torch.utils.data.Dataset` over the published files, with the published split. `musicai.data.catalogue`
knows their addresses, and `musicai data fetch NAME` puts them into the cache folder.
"""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable
from operator import index
from pathlib import Path

import torch
from torch.utils.data import Dataset

from musicai import audio, notes

from .catalogue import SETS
from .errors import DataError
from .splits import SPLITS, check_split
from .transport import safe_parts

__all__ = ["MAESTRO", "SC09", "Groove", "NSynth", "SpeechCommands"]

Keep = Callable[[dict], bool]
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}


class _PublicSet(Dataset):
    """Rows of metadata, each a dict that `_item` completes with sound or score."""

    key = "name"  # tells rows apart in messages

    def __init__(self, rows: Iterable[dict], split: str, source: Path, keep: Keep | None):
        self.split, self.source = split, source
        self.rows = [row for row in rows if keep is None or keep(row)]
        if not self.rows:
            raise DataError(f"{source}: split {split!r} holds nothing" + " that `keep` keeps" * (keep is not None))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        row = self.rows[index]
        try:
            return self._item(row)
        except (ValueError, OSError) as error:
            raise DataError(f"{self.source}, row {row[self.key]!r}: {error}") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.split!r}, {len(self)} items)"


class _Table(_PublicSet):
    """A set whose rows stand in one table."""

    # subclasses name the set in the catalogue (`known`), the file in its folder (`table`) and its `columns`
    def __init__(self, root: str | Path, split: str = "train", *, download: bool = False, keep: Keep | None = None):
        split, root = _split(split), Path(root).expanduser()
        if root.name in {SETS[self.known.format(name)].folder for name in SPLITS}:
            root = root.parent  # the folder of one of the splits: not taken for another
        self.folder = _locate(root, self.known.format(split), (), (self.table,), download)
        rows = _rows(self.folder / self.table, self.columns)
        super().__init__((r for r in rows if r.pop("split", split) == split), split, self.folder / self.table, keep)

    def _item(self, row: dict) -> dict:
        return {"score": notes.read_midi(self.folder / row["name"]), **row}


class NSynth(_Table):
    """305,979 single notes of 1,006 instruments, four seconds each at 16 kHz (Engel et al. 2017).

    >>> notes = NSynth("data", "test", download=True)  # doctest: +SKIP
    >>> guitars = NSynth("data", "train", keep=lambda note: note["family"] == "guitar")  # doctest: +SKIP

    An item is ``{"audio": (64000,) float32, "sr": 16000, "note": "guitar_acoustic_001-082-050", "pitch": 0 to 127,
    "velocity": 0 to 127, "instrument": int, "instrument_name": "guitar_acoustic_001", "family": "guitar", "source":
    "acoustic", "qualities": (10,) int64, zeros and ones as published}``.

    Args:
        root: the folder that holds nsynth-train, nsynth-valid and nsynth-test, or one of these itself.
        split: "train", "valid" or "test"; no instrument of train is in the other two.
        download: whether to download and unpack the split if it is not there.
        keep: takes an item without its sound and says whether it stays in the set. None keeps all.

    Raises:
        DataError: if a file or field is missing, damaged or wrong; names the file and the row.

    Chapter 1.
    """

    key, known, table = "note", "nsynth-{}", "examples.json"
    columns = (
        *("note_str", "pitch", "velocity", "sample_rate", "instrument", "instrument_str"),
        *("instrument_family_str", "instrument_source_str", "qualities"),
    )

    def _item(self, row: dict) -> dict:
        sound, sr = audio.load(self.folder / "audio" / f"{row['note']}.wav", mono=True)
        return {"audio": sound[0], **row, "sr": sr, "qualities": torch.tensor(row["qualities"])}  # audio: (time,)


class MAESTRO(_Table):
    """200 hours of piano competitions, MIDI and sound aligned to 3 ms (Hawthorne et al. 2019), version 3.0.0.

    >>> pieces = MAESTRO("data", "valid", download=True)  # doctest: +SKIP
    >>> sound, sr = musicai.audio.load(pieces[0]["audio"], start=60, duration=10)  # doctest: +SKIP

    An item is ``{"score": Score, "audio": the path of the recording, or None if it is not there, "name":
    "2018/MIDI-Unprocessed_...--1.midi", "composer": str, "title": str, "year": int, "duration": seconds}``.

    Args:
        root: the folder that holds maestro-v3.0.0, or is it.
        split: "train", "valid" (or "validation") or "test"; no composition is in two.
        download: whether to download and unpack the MIDI files if the set is not there. For the recordings (101 GB)
            type `musicai data fetch maestro-audio`.
        keep: takes an item without its score and says whether it stays in the set. None keeps all.

    Raises:
        DataError: if a file or field is missing, damaged or wrong; names the file and the row.

    Chapter 1.
    """

    known, table = "maestro", "maestro-v3.0.0.csv"
    columns = (
        *("midi_filename", "audio_filename", "canonical_composer", "canonical_title"),
        *("year", "duration", "split"),
    )


class Groove(_Table):
    """13.6 hours of drumming by people, MIDI and sound, version 1.0.0 (Gillick et al. 2019).

    >>> takes = Groove("data", "valid", download=True)  # doctest: +SKIP
    >>> beats = Groove("data", keep=lambda take: take["beat_type"] == "beat")  # doctest: +SKIP

    An item is ``{"score": Score, "audio": the path of the recording, or None if it is not there, "name": that of the
    MIDI file, "id": "drummer1/session1/1", "drummer": "drummer1", "session": "drummer1/session1", "style": "funk",
    "bpm": int, "beat_type": "beat" or "fill", "time_signature": (4, 4), "duration": seconds}``. No audio is
    published for 60 of the 1,150 takes.

    Args:
        root: the folder that holds groove, or is it.
        split: "train", "valid" (or "validation") or "test".
        download: whether to download and unpack the MIDI files if the set is not there. For the recordings (5.1 GB)
            type `musicai data fetch groove-audio`.
        keep: takes an item without its score and says whether it stays in the set. None keeps all.

    Raises:
        DataError: if a file or field is missing, damaged or wrong; names the file and the row.

    Chapter 1.
    """

    known, table = "groove", "info.csv"
    columns = (
        *("midi_filename", "audio_filename", "id", "drummer", "session", "style", "bpm", "beat_type"),
        *("time_signature", "duration", "split"),
    )


class SpeechCommands(_PublicSet):
    """105,829 spoken words, one second each at 16 kHz (Warden 2018).

    >>> words = SpeechCommands("data", "valid", words=("yes", "no"), download=True)  # doctest: +SKIP

    An item is ``{"audio": (length,) float32, "sr": 16000, "name": "yes/0a7c2a8d_nohash_0.wav", "word": "yes", "label":
    its index in `.words`, "speaker": "0a7c2a8d", "take": int}``. Shorter recordings are padded with zeros at the end,
    so that items make batches. The folder `_background_noise_` holds minutes of noise and no items.

    Args:
        root: the folder that holds speech_commands_v0.02, or is it.
        split: "train", "valid" or "test", as validation_list.txt and testing_list.txt say; no speaker is in two.
        words: which words to read. None: all.
        length: samples in an item. None leaves each recording as long as it is.
        download: whether to download and unpack the set if it is not there.
        keep: takes an item without its sound and says whether it stays in the set. None keeps all.

    Raises:
        DataError: if a file or line is missing, damaged or wrong; names the file and the row.

    Chapter 1.
    """

    default_words: tuple[str, ...] | None = None

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        words: Iterable[str] | None = None,
        length: int | None = 16_000,
        download: bool = False,
        keep: Keep | None = None,
    ):
        split, self.length = _split(split), length
        self.folder = self._find(Path(root).expanduser(), download)
        self.words, names = self._read(split, self.default_words if words is None else tuple(words))
        super().__init__(map(self._row, names), split, self.folder, keep)

    def _item(self, row: dict) -> dict:
        sound, sr = audio.load(self.folder / row["name"], mono=True)
        sound = sound[0, : self.length]  # (time,)
        if self.length is not None:
            sound = torch.nn.functional.pad(sound, (0, self.length - len(sound)))
        return {"audio": sound, "sr": sr, **row}

    def _find(self, root: Path, download: bool) -> Path:
        elsewhere = ("SpeechCommands/speech_commands_v0.02", "sc09")  # the first is torchaudio's
        return _locate(root, "speech-commands", elsewhere, tuple(LISTS.values()), download)

    def _read(self, split: str, words: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[str]]:
        """The words, and the names of the split's files."""
        there = sorted(path.name for path in self.folder.iterdir() if path.is_dir() and path.name[0] not in "._")
        for word in words or ():
            if word not in there:
                raise DataError(f"{self.folder} has no folder for the word {word!r}; it has {', '.join(there)}")
        names = [f"{word}/{name}" for word in words or there for name in _sounds(self.folder / word)]
        listed = {name: self._listed(name, set(names), words) for name in LISTS}
        listed["train"] = set(names) - listed["valid"] - listed["test"]
        return words or tuple(there), [name for name in names if name in listed[split]]

    def _listed(self, split: str, there: set[str], words: tuple[str, ...] | None) -> set[str]:
        """The names in a split's list; those of the wanted words must be files."""
        file = self.folder / LISTS[split]
        lines = _records(file)
        for number, line in enumerate(lines, 1):
            if line not in there and (words is None or "/" not in line or line.split("/")[0] in words):
                raise DataError(f"{file}, row {number} ({line!r:.200}): there is no such recording in {self.folder}")
        return set(lines)

    def _row(self, name: str) -> dict:
        # yes/0a7c2a8d_nohash_0.wav, or in a prepared SC09 train/Zero_0a7c2a8d_nohash_0.wav
        found = re.fullmatch(r"(\w+)/(?:([A-Z][a-z]+)_)?([^_]\w*?)_nohash_(\d+)\.wav", name)
        word = (found[2] or found[1]).lower() if found else ""
        if word not in self.words:
            raise DataError(f"{self.folder}, row {name!r}: the file is not named like yes/0a7c2a8d_nohash_0.wav")
        label = self.words.index(word)
        return {"name": name, "word": word, "label": label, "speaker": found[3], "take": int(found[4])}


class SC09(SpeechCommands):
    """The ten spoken digits: the words "zero" to "nine" of Speech Commands, or the WaveGAN paper's prepared set.

    >>> digits = SC09("data", "train", download=True)  # doctest: +SKIP

    Items are as in `SpeechCommands`, with labels 0 to 9. The prepared set (Donahue et al. 2019), with files such as
    sc09/train/Zero_0a7c2a8d_nohash_0.wav, has 18,620 digits to train on, from version 0.01 of Speech Commands, and is
    used where it is found. What `download` fetches is version 0.02, whose hash is published: 38,908 digits in all.

    Args:
        root: the folder that holds sc09 or speech_commands_v0.02, or is one of them.
        split: "train", "valid" or "test".
        words: which digits to read. None: all ten.
        length: samples in an item. None leaves each recording as long as it is.
        download: whether to download and unpack Speech Commands if neither set is there.
        keep: takes an item without its sound and says whether it stays in the set. None keeps all.

    Raises:
        DataError: if a file or line is missing, damaged or wrong; names the file and the row.

    Chapter 1.
    """

    default_words = DIGITS

    def _find(self, root: Path, download: bool) -> Path:
        prepared = [folder for folder in (root / "sc09", root) if any((folder / name).is_dir() for name in SPLITS)]
        return prepared[0] if prepared else super()._find(root, download)

    def _read(self, split: str, words: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[str]]:
        if not any((self.folder / name).is_dir() for name in SPLITS):
            return super()._read(split, words)
        other = {f"{word.title()}_" for word in DIGITS if word not in words}
        return words, [f"{split}/{name}" for name in _sounds(self.folder / split) if not name.startswith(tuple(other))]


# ---- folders and tables


def _split(split: str) -> str:
    return check_split("valid" if split == "validation" else split)


def _locate(root: Path, known: str, elsewhere: tuple, markers: tuple, download: bool) -> Path:
    """The folder under `root` (or `root` itself) that holds one of the files `markers`, downloaded first if wanted."""
    for folder in (SETS[known].folder, *elsewhere, "."):
        if any((root / folder / marker).exists() for marker in markers):
            return root / folder
    if download:
        return SETS[known].fetch(root)
    way = f"pass download=True ({SETS[known].size}), or unpack {SETS[known].url} there yourself"
    raise DataError(f"{root / SETS[known].folder / markers[0]} is missing; {way}")


def _sounds(folder: Path) -> list[str]:
    """The names of a folder's WAV files. macOS leaves hidden ones such as ._a.wav beside them, which hold no sound."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".wav") and not name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}") from error


def _rows(path: Path, columns: Iterable[str]) -> Iterable[dict]:
    """The rows of a table, each column checked, converted and under the key that our items use."""
    for number, record in enumerate(_records(path), 1):
        row = {}
        for column in columns:
            value = record.get(column) if isinstance(record, dict) else record
            key, convert = COLUMNS.get(column, (column, _text))
            try:
                row[key] = convert(value, path.parent)
            except (TypeError, ValueError, AttributeError, KeyError) as error:
                name = next(iter(row.values()), "")
                raise DataError(f"{path}, row {number} ({name!s:.200}): {column} is {value!r:.80}: {error}") from error
        yield row


def _records(path: Path) -> list:
    """The records of a CSV file, of a JSON file that holds them by name, or the lines of a text."""
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix == ".csv":
            return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        return text.splitlines() if path.suffix == ".txt" else list(json.loads(text).values())
    except (OSError, ValueError, AttributeError, RecursionError, csv.Error) as error:
        raise DataError(f"{path} is damaged or cannot be read: {error}") from error


def _text(value: str, folder: Path) -> str:
    if not value.strip():
        raise ValueError("the field is empty")
    return value


def _file(name: str, folder: Path) -> str:
    """A file's name, written by others: it must be one below `folder`."""
    if _recording(name, folder) is None:
        raise ValueError(f"there is no such file in {folder}; move it away and get the whole set")
    return name


def _recording(name: str, folder: Path) -> Path | None:
    """The path of a recording, None where none is published or its file is not here."""
    path = folder.joinpath(*safe_parts(name))
    return path if path.is_file() else None


def _plain(convert: Callable) -> Callable:
    return lambda value, folder: convert(value)


COLUMNS = {  # of all the tables, where a column is no plain text or has another name in our items
    "note_str": ("note", lambda name, folder: _file(f"audio/{name}.wav", folder) and name),
    "sample_rate": ("sr", _plain(index)),
    "instrument_str": ("instrument_name", _text),
    **{f"instrument_{key}_str": (key, _text) for key in ("family", "source")},
    **{key: (key, _plain(index)) for key in ("pitch", "velocity", "instrument")},
    "qualities": ("qualities", _plain(tuple)),
    "midi_filename": ("name", _file),
    "audio_filename": ("audio", _recording),
    **{f"canonical_{key}": (key, _text) for key in ("composer", "title")},
    **{key: (key, _plain(int)) for key in ("year", "bpm")},
    "duration": ("duration", _plain(float)),
    "time_signature": ("time_signature", _plain(lambda value: tuple(map(int, value.split("-"))))),
    "split": ("split", _plain({"train": "train", "validation": "valid", "test": "test"}.__getitem__)),
}
