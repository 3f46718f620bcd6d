"""Your own music: every audio or MIDI file below a folder, split without a list and identically in every run."""

import math
import re
from os.path import expanduser
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from musicai import audio
from musicai.data.catalogue import AUDIO
from musicai.data.splits import SPLITS, check_split, split_of
from musicai.data.transport import DataError
from musicai.notes import Score, read_midi

MIDI = (".mid", ".midi")
FORWARD_ONLY = (".ogg", ".oga", ".mp3", ".opus")  # always decoded from the start, whichever part is wanted


def _find_files(folder: Path, suffixes: tuple[str, ...], split: str | None) -> list[Path]:
    """Find files with these suffixes below a folder, sorted by path, except hidden ones (such as macOS's `._song.mid`).

    If the folder has subfolders called train, valid or test, these are the splits. Otherwise each file's path below
    the folder is hashed: 80 % train, 10 % valid, 10 % test, and a file stays in its split when others are added.
    """
    given = split and check_split(split) and any((folder / name).is_dir() for name in SPLITS)
    top = folder / split if given else folder
    if not top.is_dir():
        raise DataError(f"{top}: no such folder")
    found = {path.relative_to(top).as_posix(): path for path in top.rglob("*.*") if path.is_file()}
    names = sorted(name for name in found if name.lower().endswith(suffixes) and not re.search(r"(^|/)\.", name))
    paths = [found[name] for name in names if given or split in (None, split_of(name))]
    if not paths:
        raise DataError(f"{top}: no files ending in {', '.join(suffixes)}" + f" for split {split!r}" * bool(split))
    return paths


class _Folder(Dataset):
    """Files below a folder; any that cannot be read raises an error, or is left out and listed in `skipped`."""

    suffixes: tuple[str, ...]

    def __init__(self, path: str | Path, split: str | None = None, *, on_error: str = "raise"):
        self.path, self.split = Path(expanduser(path)), split
        self.files: list[Path] = []
        self.skipped: dict[Path, str] = {}
        for file in tqdm(_find_files(self.path, self.suffixes, split), desc="reading", unit="file", delay=1):
            try:
                self._scan(file)
                self.files.append(file)
            except (ValueError, OSError) as error:
                if on_error != "skip":
                    raise DataError(f'{error} (on_error="skip" leaves such files out)') from error
                self.skipped[file] = str(DataError(error))  # printable, whatever the file's name
        if not self.files:
            raise DataError("\n".join([f"{self.path}: no file can be read", *self.skipped.values()]))

    def __len__(self) -> int:
        return len(self.files)


class AudioFolder(_Folder):
    """All audio files below a folder, resampled to one rate, whole or cut into segments of equal length.

    >>> AudioFolder("recordings", segment=1.0)[0]["audio"].shape  # doctest: +SKIP
    torch.Size([1, 16000])

    Each item is a dict: audio, float32 (channels, time); sr; path; start, in seconds. Creating the data set reads only
    the headers, so a file that is damaged further in raises `AudioError` when its item is read. Formats that can only
    be decoded from the start (mp3, ogg, opus) are fast if their segments are read in order.

    Args:
        path: the folder.
        split: "train", "valid", "test", or None for all. If there are subfolders with these names, they are the splits;
            otherwise a hash of each file's path decides.
        sr: sample rate of the items in Hz.
        mono: whether to mix the channels into one.
        segment: length in seconds. A file gives as many segments as fit into it; a shorter file gives one, padded with
            zeros. None keeps files whole.
        on_error: "raise" to stop at the first unreadable file, or "skip" to leave such files out; `skipped` says why.

    Raises:
        DataError: naming the folder, or the file that cannot be read.
        ValueError: for an unknown split, or a segment shorter than a sample.

    Chapter 1.
    """

    suffixes = AUDIO

    def __init__(self, path, split=None, sr=16_000, *, mono=True, segment=None, on_error="raise"):
        if segment is not None and not 1 <= segment * sr < math.inf:
            raise ValueError(f"segment={segment!r}: give the seconds of one sample or more, or None for whole files")
        self.sr, self.mono, self.segment = sr, mono, segment
        self._pieces: list[tuple[Path, float]] = []
        self._last: tuple[Path | None, Tensor] = None, torch.empty(0)
        super().__init__(path, split, on_error=on_error)

    def _scan(self, file: Path) -> None:
        frames, sr = audio.info(file)
        count = 1 if self.segment is None else max(1, int(frames / sr / self.segment + 1e-9))
        self._pieces += [(file, i * (self.segment or 0.0)) for i in range(count)]

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, i: int) -> dict:
        file, start = self._pieces[i]
        if self.segment is not None and file.suffix.lower() in FORWARD_ONLY:
            if self._last[0] != file:  # kept, so that reading a file's segments in order decodes it once
                self._last = file, audio.load(file, sr=self.sr, mono=self.mono)[0]
            wave = self._last[1][:, round(start * self.sr) :]
        else:
            wave, _ = audio.load(file, sr=self.sr, mono=self.mono, start=start, duration=self.segment)
        if self.segment is not None:  # padded with zeros, or cropped
            wave = torch.nn.functional.pad(wave, (0, round(self.segment * self.sr) - wave.shape[-1]))
        return {"audio": wave, "sr": self.sr, "path": str(file), "start": start}


class MidiFolder(_Folder):
    """All MIDI files below a folder as scores.

    >>> MidiFolder("songs", on_error="skip")[0].tracks[0].name  # doctest: +SKIP
    'Piano'

    Each item is a `musicai.notes.Score`. Every file is parsed once when the data set is created and again whenever
    its item is read, so memory use does not grow with the number of files.

    Args:
        path: the folder.
        split: "train", "valid", "test", or None for all, as in `AudioFolder`.
        on_error: "raise" to stop at the first unreadable file, or "skip" to leave such files out; `skipped` says why.

    Raises:
        DataError: if the folder or a file cannot be read; the message names it.
        ValueError: for an unknown split.

    Chapter 1.
    """

    suffixes = MIDI

    def _scan(self, file: Path) -> None:
        read_midi(file)

    def __getitem__(self, i: int) -> Score:
        return read_midi(self.files[i])
