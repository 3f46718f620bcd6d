"""The notes that ship with the wheel: sampled single notes and drums in 16 kHz mono, one second each."""

import csv
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import soundfile
import torch
from torch import Tensor
from torch.utils.data import Dataset

from musicai.data.splits import check_split
from musicai.data.transport import DataError

SR = 16_000
FOLDER = Path(__file__).parent / "shipped" / "notes"
DRUMS = dict(enumerate(json.loads((FOLDER.parent / "general_midi.json").read_text())["percussion"], start=35))


class Entry(NamedTuple):
    """One row of the manifest: a note and where its recording is. `audio()` decodes it."""

    note: str
    instrument: str
    family: str
    program: int
    pitch: int
    velocity: int
    split: str
    file: str
    slot: int
    gain: float
    rms: float

    def audio(self) -> Tensor:
        """The note as float32 (16000,) in [-1, 1]."""
        return recordings(self.file)[self.slot] * self.gain


@cache
def recordings(file: str) -> Tensor:
    """All recordings of one FLAC file as int16 codes (slots, 16000); decoded once, then cached."""
    try:
        return torch.from_numpy(soundfile.read(FOLDER / file, dtype="int16")[0]).view(-1, SR)
    except (RuntimeError, OSError) as error:  # soundfile's and torch's own errors are RuntimeErrors
        raise DataError(f"{FOLDER / file}: cannot be read ({error}); install musicai again") from None


@cache
def manifest() -> tuple[Entry, ...]:
    """Every note of the set, in the order of `manifest.csv`, with the drums last."""
    types = Entry.__annotations__.values()
    with open(FOLDER / "manifest.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return tuple(Entry(*(kind(cell) for kind, cell in zip(types, row, strict=True))) for row in rows)


class MusicAINotes(Dataset):
    """Sampled notes of 17 instruments at three velocities, about four octaves per instrument.

    >>> notes = MusicAINotes("train", instruments=("violin", "flute"))
    >>> item = notes[0]
    >>> item["audio"].shape, item["sr"], item["instrument_name"], item["pitch"]
    (torch.Size([16000]), 16000, 'violin', 55)

    Each item is a dict: audio, float32 (16000,); sr; pitch (MIDI); velocity; instrument (index into `.instruments`, the
    same for every choice of instruments); instrument_name; family; note (its name, such as "violin-055-100"). The
    note is held for a whole second and fades out over the last 20 ms. `.manifest` holds one `Entry` per item.

    The splits (about 80, 10, 10 %) hold out whole (instrument, pitch) groups: all velocities of a pitch are in one
    split, because most programs of this soundfont play one recording at different levels for all velocities. A sampled
    instrument also stretches one recording over a few neighbouring pitches, so a held-out pitch is a new pitch but not
    a new recording session: to judge what a model has "never heard", use real recordings.

    Args:
        split: "train", "valid", "test", or None for all.
        instruments: the name or names to keep; None keeps all.

    Raises:
        ValueError: for an unknown split.
        DataError: for an unknown instrument, or a damaged file.

    Source: rendered from FluidR3 (Frank Wen, MIT licence) by `scripts/build_notes.py`. Chapters 1 and 2.
    """

    is_drums = False

    def __init__(self, split: str | None = "train", instruments: Sequence[str] | str | None = None):
        entries = [entry for entry in manifest() if (entry.family == "drums") == self.is_drums]
        self.split, self.sr = split and check_split(split), SR
        self.instruments = tuple(dict.fromkeys(entry.instrument for entry in entries))
        wanted = {instruments} if isinstance(instruments, str) else set(instruments or self.instruments)
        if unknown := wanted - set(self.instruments):
            raise DataError(f"no instrument {min(unknown)!r}; choose from {', '.join(self.instruments)}")
        self.manifest = tuple(e for e in entries if e.instrument in wanted and split in (None, e.split))

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> dict:
        entry = self.manifest[index]
        number = self.instruments.index(entry.instrument)
        item = {"audio": entry.audio(), "sr": SR, "instrument": number, "instrument_name": entry.instrument}
        return item | {name: getattr(entry, name) for name in ("pitch", "velocity", "family", "note")}


class MusicAIDrums(MusicAINotes):
    """General MIDI percussion keys 35 to 81 from five drum kits, at three velocities.

    >>> drums = MusicAIDrums("train", instruments="standard_kit")
    >>> drums[0]["instrument_name"], drums[0]["drum"], drums[0]["pitch"]
    ('standard_kit', 'acoustic_bass_drum', 35)

    Items are as in `MusicAINotes`: the instrument is the kit, the pitch is the key, and "drum" names what is struck.
    A sound that rings for longer than a second fades out over the last 0.2 s. Kits share many recordings; all
    sounds made from the same recording are in one split.

    Args:
        split: "train", "valid", "test", or None for all.
        instruments: the kit or kits to keep; None keeps all.

    Raises:
        ValueError: for an unknown split.
        DataError: for an unknown kit, or a damaged file.

    Source: as for `MusicAINotes`. Chapter 1.
    """

    is_drums = True

    def __getitem__(self, index: int) -> dict:
        return super().__getitem__(index) | {"drum": DRUMS[self.manifest[index].pitch]}
