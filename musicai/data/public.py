"""Public data sets to download: NSynth, Speech Commands and SC09, MAESTRO, Groove. Chapter 1.

Each is a small `torch.utils.data.Dataset` over the published files, with the published split. `musicai.data.catalogue`
holds their addresses, and `musicai data fetch NAME` downloads one into the cache folder.
"""

import csv
import io
import json
import re
from os.path import expanduser
from pathlib import Path

import torch
from torch.utils.data import Dataset

from musicai import audio, notes

from .catalogue import SETS
from .splits import SPLITS, check_split
from .transport import DataError

__all__ = ["MAESTRO", "SC09", "Groove", "NSynth", "SpeechCommands"]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SAMPLES = 16_000  # of a word: shorter recordings are padded
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}


class _PublicSet(Dataset):
    """Rows of metadata, each a dict that `_item` completes with sound or score.

    `known` is the set's name in the catalogue, `table` the file in its folder that lists the items, and `key` the entry
    of a row that identifies it in messages.
    """

    known, table, key = "", "", "name"

    def __init__(self, root: str | Path, split: str = "train", *, download: bool = False):
        self.split, root = check_split("valid" if split == "validation" else split), Path(expanduser(root))
        known = SETS[self.known.format(self.split)]
        if root.name in {SETS[self.known.format(name)].folder for name in SPLITS}:
            root = root.parent  # it may be the folder of another split
        places = [folder for folder in (root / known.folder, root) if (folder / self.table).exists()]
        if not places and not download:
            way = f"pass download=True ({known.size}), or unpack {known.url} there yourself"
            raise DataError(f"{root / known.folder / self.table} is missing; {way}")
        self.folder = places[0] if places else known.fetch(root)
        self.source, rows = self.folder / self.table, []
        for number, record in enumerate(self._records(), 1):
            try:
                rows.append(self._row(record))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise DataError(f"{self.source}, row {number} ({record!s:.200}): {error!r}") from error
        self.rows = [row for row in rows if row.pop("split", self.split) == self.split]
        if not self.rows:
            raise DataError(f"{self.source}: split {self.split!r} has no items")

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

    def _records(self) -> list:
        return _records(self.source)

    def _row(self, record: dict) -> dict:
        sound = self.folder / record["audio_filename"]
        return {
            "name": record["midi_filename"],
            "audio": sound if sound.is_file() else None,
            "duration": float(record["duration"]),
            "split": check_split(record["split"].replace("validation", "valid")),
        }

    def _item(self, row: dict) -> dict:
        return {"score": notes.read_midi(self.folder / row["name"]), **row}


class NSynth(_PublicSet):
    """305,979 single notes of 1,006 instruments, four seconds each at 16 kHz (Engel et al. 2017).

    >>> notes = NSynth("data", "test", download=True)  # doctest: +SKIP

    An item is ``{"audio": (64000,) float32, "sr": 16000, "note": "guitar_acoustic_001-082-050", "pitch": 0 to 127,
    "velocity": 0 to 127, "instrument": int, "instrument_name": "guitar_acoustic_001", "family": "guitar", "source":
    "acoustic", "qualities": (10,) int64, zeros and ones as published}``.

    Args:
        root: the folder that holds nsynth-train, nsynth-valid and nsynth-test, or one of these folders itself.
        split: "train", "valid" or "test"; no training instrument is in the other two.
        download: whether to download and unpack the split if it is not there.

    Raises:
        DataError: if a file or field is missing, damaged or wrong; the message names the file and the row.

    Chapter 1.
    """

    known, table, key = "nsynth-{}", "examples.json", "note"

    def _row(self, record: dict) -> dict:
        names = {"note": record["note_str"], "sr": record["sample_rate"], "instrument_name": record["instrument_str"]}
        kinds = {key: record[f"instrument_{key}_str"] for key in ("family", "source")}
        return names | kinds | {key: record[key] for key in ("pitch", "velocity", "instrument", "qualities")}

    def _item(self, row: dict) -> dict:
        sound, sr = audio.load(self.folder / "audio" / f"{row['note']}.wav", mono=True)
        return {"audio": sound[0], **row, "sr": sr, "qualities": torch.tensor(row["qualities"])}  # audio: (time,)


class MAESTRO(_PublicSet):
    """200 hours of piano competitions, with MIDI and sound aligned to 3 ms (Hawthorne et al. 2019), version 3.0.0.

    >>> pieces = MAESTRO("data", "valid", download=True)  # doctest: +SKIP
    >>> sound, sr = musicai.audio.load(pieces[0]["audio"], start=60, duration=10)  # doctest: +SKIP

    An item is ``{"score": Score, "audio": the path of the recording, or None if it is not there, "name":
    "2018/MIDI-Unprocessed_...--1.midi", "composer": str, "title": str, "year": int, "duration": seconds}``.

    Args:
        root: the folder that holds maestro-v3.0.0, or that folder itself.
        split: "train", "valid" (or "validation") or "test"; no composition is in more than one.
        download: whether to download and unpack the MIDI files if the set is not there. For the recordings (101 GB)
            run `musicai data fetch maestro-audio`.

    Raises:
        DataError: if a file or field is missing, damaged or wrong; the message names the file and the row.

    Chapter 1.
    """

    known, table = "maestro", "maestro-v3.0.0.csv"

    def _row(self, record: dict) -> dict:
        names = {key: record[f"canonical_{key}"] for key in ("composer", "title")}
        return super()._row(record) | names | {"year": int(record["year"])}


class Groove(_PublicSet):
    """13.6 hours of human drumming, MIDI and sound, version 1.0.0 (Gillick et al. 2019).

    >>> takes = Groove("data", "valid", download=True)  # doctest: +SKIP

    An item is ``{"score": Score, "audio": the path of the recording, or None if it is not there, "name": the MIDI
    file's name, "id": "drummer1/session1/1", "drummer": "drummer1", "session": "drummer1/session1", "style": "funk",
    "bpm": int, "beat_type": "beat" or "fill", "time_signature": (4, 4), "duration": seconds}``. No audio is
    published for 60 of the 1,150 takes.

    Args:
        root: the folder that holds groove, or that folder itself.
        split: "train", "valid" (or "validation") or "test".
        download: whether to download and unpack the MIDI files if the set is not there. For the recordings (5.1 GB)
            run `musicai data fetch groove-audio`.

    Raises:
        DataError: if a file or field is missing, damaged or wrong; the message names the file and the row.

    Chapter 1.
    """

    known, table = "groove", "info.csv"

    def _row(self, record: dict) -> dict:
        names = {key: record[key] for key in ("id", "drummer", "session", "style", "beat_type")}
        beats, unit = map(int, record["time_signature"].split("-"))
        return super()._row(record) | names | {"bpm": int(record["bpm"]), "time_signature": (beats, unit)}


class SpeechCommands(_PublicSet):
    """105,829 spoken words, one second each at 16 kHz (Warden 2018).

    >>> words = SpeechCommands("data", "valid", download=True)  # doctest: +SKIP

    An item is ``{"audio": (16000,) float32, "sr": 16000, "name": "yes/0a7c2a8d_nohash_0.wav", "word": "yes", "label":
    its index in `.words`, "speaker": "0a7c2a8d", "take": int}``. Shorter recordings are padded with zeros at the end,
    so that items can be batched. The folder `_background_noise_` holds minutes of noise and contributes no items.

    Args:
        root: the folder that holds speech_commands_v0.02, or that folder itself.
        split: "train", "valid" or "test", as validation_list.txt and testing_list.txt say; each speaker is in only one.
        download: whether to download and unpack the set if it is not there.

    Raises:
        DataError: if a file is missing, damaged or misnamed; the message names the file.

    Chapter 1.
    """

    known, table = "speech-commands", LISTS["test"]
    words: tuple[str, ...] = ()  # in the order of their labels; none means all that are there

    def _records(self) -> list[str]:
        self.lists = {split: set(_records(self.folder / file)) for split, file in LISTS.items()}
        self.source = self.folder  # whose names say what they hold
        # hidden files, such as the ._a.wav that macOS leaves, hold no sound
        files = {path.relative_to(self.folder).as_posix() for path in self.folder.glob("[!._]*/[!.]*.wav")}
        self.words = self.words or tuple(sorted({name.split("/")[0] for name in files}))
        return [name for word in self.words for name in sorted(files) if name.startswith(f"{word}/")]

    def _row(self, name: str) -> dict:
        word, file = name.split("/")
        found = re.fullmatch(r"([^_]\w*)_nohash_(\d+)\.wav", file)
        if not found:
            raise ValueError("a recording is named like yes/0a7c2a8d_nohash_0.wav")
        split = next((split for split, names in self.lists.items() if name in names), "train")
        facts = {"name": name, "word": word, "label": self.words.index(word), "split": split}
        return facts | {"speaker": found[1], "take": int(found[2])}

    def _item(self, row: dict) -> dict:
        sound, sr = audio.load(self.folder / row["name"], mono=True)
        sound = sound[0, :SAMPLES]  # (time,)
        return {"audio": torch.nn.functional.pad(sound, (0, SAMPLES - len(sound))), "sr": sr, **row}


class SC09(SpeechCommands):
    """The ten spoken digits: the words "zero" to "nine" of Speech Commands.

    >>> digits = SC09("data", "train", download=True)  # doctest: +SKIP

    Items are as in `SpeechCommands`, with labels 0 to 9. Version 0.02 of Speech Commands has 38,908 digits; the WaveGAN
    paper (Donahue et al. 2019) trained on 18,620 of version 0.01.

    Args:
        root: the folder that holds speech_commands_v0.02, or that folder itself; it may hold the digits only.
        split: "train", "valid" or "test".
        download: whether to download and unpack Speech Commands if it is not there.

    Raises:
        DataError: if a file is missing, damaged or misnamed; the message names the file.

    Chapter 1.
    """

    words = DIGITS


def _records(path: Path) -> list:
    """The records of a CSV file or of a JSON file that holds them by name, or the lines of a text file."""
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix == ".csv":
            return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        return text.splitlines() if path.suffix == ".txt" else list(json.loads(text).values())
    except (OSError, ValueError, AttributeError, RecursionError, csv.Error) as error:
        raise DataError(f"{path} is damaged or cannot be read: {error}") from error
