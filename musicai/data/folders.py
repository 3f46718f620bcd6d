"""Your own music: every audio or MIDI file below a folder, split without a list and without leaks between runs."""

import os
from collections.abc import Callable
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from musicai.data.errors import DataError
from musicai.data.splits import SPLITS, check_split, split_of

AUDIO = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aif", ".aiff")  # what musicai.audio.load reads
MIDI = (".mid", ".midi")


def find_files(folder: str | Path, suffixes: tuple[str, ...], split: str | None = None) -> list[Path]:
    """Files with these suffixes below a folder, sorted by path; hidden ones are left out.

    Where the folder has subfolders called train, valid, test (any of them), these are the splits; else each file's
    path below the folder is hashed: 80 % train, 10 % valid, 10 % test, and a file stays where it is when others come.
    Raises DataError when there is no such folder, or none of its files fits.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    given = [name for name in SPLITS if (folder / name).is_dir()]
    if split is not None and given and check_split(split) not in given:
        raise DataError(f"{folder}: has subfolders {', '.join(given)} but none called {split}")
    paths = _walk(folder / split if split is not None and given else folder, suffixes)
    if split is not None and not given:
        check_split(split)
        paths = [path for path in paths if split_of(path.relative_to(folder).as_posix()) == split]
    if not paths:
        what = f"no files for split {split!r}" if split is not None else "no files"
        raise DataError(f"{folder}: {what} ending in {', '.join(suffixes)}")
    return paths


def _walk(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(where, name) for name in names if not name.startswith(".") and name.lower().endswith(suffixes)]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


class _Folder(Dataset):
    """Files below a folder; those that cannot be read raise, or are left out and named in `skipped`."""

    suffixes: tuple[str, ...]

    def __init__(self, path: str | Path, split: str | None, on_error: str, probe: Callable[[Path], object]):
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error={on_error!r} is neither "raise" nor "skip"')
        self.path, self.split = Path(path).expanduser(), split
        self.files: list[Path] = []
        self.skipped: dict[Path, str] = {}
        files = find_files(path, self.suffixes, split)
        for file in tqdm(files, desc="reading", unit="file", disable=len(files) < 100):
            try:
                self._add(file, probe(file))
            except (ValueError, OSError) as error:
                reason = str(error).removeprefix(f"{file}: ")
                if on_error == "raise":
                    raise DataError(f'{file}: {reason} (on_error="skip" leaves such files out)') from error
                self.skipped[file] = reason
        if not self.files:
            raise DataError(f"{self.path}: none of {len(self.skipped)} files can be read; {self.summary()}")

    def _add(self, file: Path, probed: object) -> None:
        self.files.append(file)

    def __len__(self) -> int:
        return len(self.files)

    def summary(self) -> str:
        """One line a fact: how many files there are, and which were left out and why."""
        lines = [f"{len(self.files)} files read, {len(self.skipped)} left out"]
        return "\n".join([*lines, *(f"{file}: {reason}" for file, reason in self.skipped.items())])


class AudioFolder(_Folder):
    """All audio files below a folder, resampled to one rate, whole or cut into segments of equal length.

    >>> AudioFolder("recordings", segment=1.0)[0]["audio"].shape  # doctest: +SKIP
    torch.Size([1, 16000])

    Args: path; split "train", "valid", "test", or None for all (see `find_files`); sr in Hz; mono, mix the channels;
    segment, seconds: a file gives as many segments as fit and a shorter one, padded with zeros, if it is shorter than
    one; on_error, "raise" at the first file that cannot be read, or "skip" and list it in `skipped` and `summary()`.
    Item: {"audio": float32 (channels, time), "sr": int, "path": str, "start": float seconds}.
    Raises DataError naming folder or file. Files are read whole once when the set is made, only their length is kept.
    Chapter 1.
    """

    suffixes = AUDIO

    def __init__(self, path, split=None, sr=16_000, *, mono=True, segment: float | None = None, on_error="raise"):
        if segment is not None and not segment > 0:
            raise ValueError(f"segment={segment!r}: give seconds above 0, or None for whole files")
        self.sr, self.mono, self.segment = sr, mono, segment
        self._pieces: list[tuple[Path, float]] = []
        super().__init__(path, split, on_error, self._seconds)

    def _seconds(self, file: Path) -> float:
        from musicai.audio import load

        audio, sr = load(file, mono=True)
        return audio.shape[-1] / sr

    def _add(self, file: Path, probed: object) -> None:
        super()._add(file, probed)
        count = 1 if self.segment is None else max(1, int(float(probed) / self.segment + 1e-9))
        self._pieces += [(file, i * (self.segment or 0.0)) for i in range(count)]

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, i: int) -> dict:
        file, start = self._pieces[i]
        return {"audio": self._load(file, start), "sr": self.sr, "path": str(file), "start": start}

    def _load(self, file: Path, start: float) -> Tensor:
        from torch.nn.functional import pad

        from musicai.audio import load

        audio, _ = load(file, sr=self.sr, mono=self.mono, start=start, duration=self.segment)
        if self.segment is None:
            return audio
        length = round(self.segment * self.sr)
        return pad(audio, (0, max(0, length - audio.shape[-1])))[..., :length]


class MidiFolder(_Folder):
    """All MIDI files below a folder as scores.

    Args: path; split "train", "valid", "test", or None for all (see `find_files`); on_error, "raise" at the first file
    that cannot be read, or "skip" and list it in `skipped` and `summary()`.
    Item: musicai.notes.Score. Every file is parsed once when the set is made and again when it is asked for, so the
    memory needed does not grow. Raises DataError naming folder or file. Chapter 1.
    """

    suffixes = MIDI

    def __init__(self, path, split=None, *, on_error="raise"):
        from musicai.notes import read_midi

        super().__init__(path, split, on_error, read_midi)

    def __getitem__(self, i: int):
        from musicai.notes import read_midi

        return read_midi(self.files[i])
