"""Speech Commands (Warden 2018): 105,829 spoken words at 16 kHz; SC09 (Donahue et al. 2019): its digits. Chapter 1."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from .errors import DataError
from .public import PublicSet, Source, find, member, missing, published_split, read_audio, read_text

SPLITS = ("train", "valid", "test")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NOISE = "_background_noise_"
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
FOLDERS = ("speech_commands_v0.02", "SpeechCommands/speech_commands_v0.02", "sc09", ".")  # the second is torchaudio's
ARCHIVE = Source(
    "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    "2.4 GB",
    unpacked=8 * 10**9,
    size=2_428_923_189,
    sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording: its word, its speaker (a hash), which of the speaker's takes it is, its file below the folder."""

    word: str
    speaker: str
    take: int
    file: str


class SpeechCommands(PublicSet):
    """Spoken words, one second each.

    >>> words = SpeechCommands("data", "valid", words=("yes", "no"), download=True)  # doctest: +SKIP

    An item is ``{"audio": (length,) float32, "sr": 16000, "word": "yes", "label": its index in .words, "speaker":
    "0a7c2a8d", "take": int, "name": "yes/0a7c2a8d_nohash_0.wav"}``. Some recordings are shorter than a second: they
    are filled with zeros at the end, so that items make batches.

    Args:
        root: the folder that holds speech_commands_v0.02 (or is it).
        split: "train", "valid" or "test", as validation_list.txt and testing_list.txt say (no speaker is in two).
        words: which words; all by default.
        length: samples in an item; None leaves each as it is.
        download: fetch and unpack the set if it is not there.
        keep: takes an `Utterance`, says whether to keep it.

    Raises:
        DataError: a missing, damaged or wrong file or line; names the file and the row. Chapter 1.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        words: Iterable[str] | None = None,
        length: int | None = 16_000,
        download: bool = False,
        keep: Callable[[Utterance], bool] | None = None,
    ):
        split = published_split(split, SPLITS)
        self.folder, self.length = self._find(root, download), length
        self.words, rows = self._read(split, tuple(words) if words is not None else None)
        super().__init__(rows, split, self.folder, keep)

    @property
    def background_noise(self) -> tuple[Path, ...]:
        """The minute-long recordings of noise that come with the words (none in a prepared SC09)."""
        return tuple(sorted((self.folder / NOISE).glob("*.wav")))

    def item(self, row: Utterance) -> dict:
        audio, sr = read_audio(self.folder / row.file, f"{self.folder}, row {row.file!r}", mono=True)
        audio = audio[0, : self.length]  # (time,)
        if self.length is not None:
            audio = torch.nn.functional.pad(audio, (0, self.length - len(audio)))
        where = {"word": row.word, "label": self.words.index(row.word), "speaker": row.speaker, "take": row.take}
        return {"audio": audio, "sr": sr, **where, "name": row.file}

    def _find(self, root: str | Path, download: bool) -> Path:
        root = Path(root).expanduser()
        folder = find(root, FOLDERS, tuple(LISTS.values()))
        if folder is None and download:
            ARCHIVE.fetch(root, root / FOLDERS[0])
            folder = find(root, FOLDERS, tuple(LISTS.values()))
        if folder is None:
            raise missing(root, "Speech Commands", f"{FOLDERS[0]}/{LISTS['valid']}", ARCHIVE)
        return folder

    def _read(self, split: str, words: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[Utterance]]:
        there = _words(self.folder)
        unknown = [word for word in words or () if word not in there]
        if unknown:
            raise DataError(f"{self.folder}: no folder for the word {unknown[0]!r}; it has {', '.join(there)}")
        listed = {name: self._list(name, words) for name in LISTS}
        both = next(iter(listed["valid"] & listed["test"]), None)
        if both:
            raise DataError(f"{self.folder / LISTS['test']}: row {both!r} is in {LISTS['valid']} too")
        chosen = words or there
        names = [f"{word}/{name}" for word in chosen for name in _sounds(self.folder / word)]
        held_out = listed["valid"] | listed["test"]
        mine = [name for name in names if (name not in held_out if split == "train" else name in listed[split])]
        return chosen, [_utterance(*name.split("/"), name, self.folder) for name in mine]

    def _list(self, split: str, words: tuple[str, ...] | None) -> set[str]:
        """The names in a split's list; those of `words` (else all) must be files of the set."""
        file, names = self.folder / LISTS[split], set()
        there = {f"{word}/{name}" for word in words or _words(self.folder) for name in _sounds(self.folder / word)}
        for number, line in enumerate(read_text(file).splitlines(), 1):
            where = f"{file}, row {number} ({line!r:.200})"
            parts = member(Path(), line, where).parts if line.strip() else ()
            if len(parts) != 2:
                raise DataError(f"{where}: not a word and a file, as in yes/0a7c2a8d_nohash_0.wav")
            name = "/".join(parts)
            if name not in there and (words is None or parts[0] in words):
                raise DataError(f"{where}: the file {self.folder / name} is missing")
            names.add(name)
        return names


class SC09(SpeechCommands):
    """The ten spoken digits: Speech Commands' words "zero" to "nine", or the prepared set of the WaveGAN paper.

    >>> digits = SC09("data", "train", download=True)  # doctest: +SKIP

    Items as `SpeechCommands`, with labels 0 to 9. The prepared set, sc09/train/Zero_0a7c2a8d_nohash_0.wav (18,620
    digits to train on, from the first version of Speech Commands), is used where it is found. `download` fetches
    Speech Commands v0.02, which has a published hash, and takes the digits out of it: 38,908 recordings in all.

    Args:
        root: the folder that holds sc09 or speech_commands_v0.02 (or is one of them).
        split, length, download, keep: as for `SpeechCommands`.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        length: int | None = 16_000,
        download: bool = False,
        keep: Callable[[Utterance], bool] | None = None,
    ):
        super().__init__(root, split, words=DIGITS, length=length, download=download, keep=keep)

    def _find(self, root: str | Path, download: bool) -> Path:
        words = (FOLDERS, tuple(LISTS.values()))
        prepared = find(root, ("sc09",), SPLITS) or (find(root, (".",), SPLITS) if not find(root, *words) else None)
        return prepared or super()._find(root, download)

    def _read(self, split: str, words: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[Utterance]]:
        if not any((self.folder / name).is_dir() for name in SPLITS):
            return super()._read(split, words)
        return words, [self._prepared(split, name) for name in _sounds(self.folder / split)]

    def _prepared(self, split: str, name: str) -> Utterance:
        word, _, rest = name.partition("_")
        if word.lower() not in DIGITS:
            raise DataError(f"{self.folder / split}, row {name!r}: {word!r} is none of Zero, One, ..., Nine")
        return _utterance(word.lower(), rest, f"{split}/{name}", self.folder)


def _words(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "_."))


def _sounds(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".wav"))
    except OSError as error:
        raise DataError(f"{folder}: the folder is missing or cannot be read") from error


def _utterance(word: str, name: str, file: str, folder: Path) -> Utterance:
    """From a name like 0a7c2a8d_nohash_0.wav: speaker and take."""
    speaker, divider, take = name.removesuffix(".wav").partition("_nohash_")
    if not (speaker and divider and take.isdecimal()):
        raise DataError(f"{folder}, row {file!r}: not named like 0a7c2a8d_nohash_0.wav")
    return Utterance(word, speaker, int(take), file)
