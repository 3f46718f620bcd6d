"""Casting: which instrument plays which part, by General MIDI's names or by the sound of a clip. Chapter 8."""

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from os import PathLike

import torch
from torch import Tensor

from musicai.audio import Audio, load, mfcc, resample
from musicai.audio.signal import as_audio
from musicai.data import MusicAINotes
from musicai.gmm import GaussianMixture
from musicai.notes import Score
from musicai.notes.note import require
from musicai.performance.sampled import INSTRUMENTS, NAMES, PROGRAMS, SR

Clip = str | PathLike | Audio | tuple[Tensor, int]
Instruments = str | Mapping[str | int, str] | Sequence[str] | None


def find_instrument(name: str, known: Sequence[str] = ()) -> str:
    """Find the sampled instrument that plays a General MIDI instrument.

    >>> find_instrument("Acoustic Guitar (nylon)"), find_instrument("Viola"), find_instrument("guitar")
    ('nylon_guitar', 'violin', 'nylon_guitar')

    Args:
        name: one of General MIDI's 128 names or of our `INSTRUMENTS`, or a word of one of ours; capitals and
            punctuation don't matter.
        known: names that stand for themselves, such as those of a model of your own.

    Returns: one of `known` or of `INSTRUMENTS`.

    Raises:
        ValueError: for an unknown name; the message gives the nearest ones.

    Source: General MIDI level 1 (1991). Chapter 8.
    """
    table = _table() | {name: name for name in known}
    wanted = plain(str(name))
    if name not in table and wanted not in table:
        if short := [ours for ours in INSTRUMENTS if wanted in ours.split("_")]:
            return short[0]  # "guitar", "horn", "sax"
        near = [key for key in table if wanted and (wanted in key or wanted.startswith(key.split("_")[-1]))]
        near += difflib.get_close_matches(wanted, table, 4, 0.5)
        near = list(dict.fromkeys(near))[:4] or list(INSTRUMENTS)
        raise ValueError(f"no instrument {name!r}; the nearest: {', '.join(near)}")
    return table.get(name) or table[wanted]


def plain(name: str) -> str:
    """A name in lower case, with one underscore for whatever is between its words."""
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")


@cache
def _table() -> dict[str, str]:
    return {plain(name): ours for name, ours in zip(NAMES, PROGRAMS, strict=True)} | {n: n for n in INSTRUMENTS}


def cast(
    score: Score, instruments: Instruments = None, known: Sequence[str] = (), like: Clip | None = None
) -> dict[int, str]:
    """Choose the instrument of each part that has notes and is not drums.

    >>> from musicai.notes import Note, Track
    >>> duo = Score((Track([Note(72, 0, 1)], name="melody"), Track([Note(48, 0, 1)], program=42)))
    >>> cast(duo, {"melody": "Flute"})
    {0: 'flute', 1: 'cello'}

    Args:
        score: whose parts are its tracks.
        instruments: one name for all parts, a list with a name for each, or a mapping from tracks (their names or
            indices) to names. Tracks that it leaves out, and all with None, play their General MIDI program.
        known: as in `find_instrument`.
        like: a clip of an instrument, which plays the melody: the track called "melody", or else the first.

    Returns: for each index into the score's tracks, an instrument.

    Raises:
        ValueError: if there is no such track or instrument.

    Chapter 8.
    """
    parts = {i: track for i, track in enumerate(score.tracks) if track.notes and not track.is_drum}
    if isinstance(instruments, str):
        instruments = dict.fromkeys(parts, instruments)
    elif not isinstance(instruments, Mapping):
        require(isinstance(instruments, Sequence | None), f"instruments={instruments!r}: give names, such as 'flute'")
        given = list(instruments or ())
        require(len(given) <= len(parts), f"{len(given)} instruments, but only {len(parts)} to cast: give one per part")
        instruments = dict(zip(parts, given, strict=False))
    titles = {track.name: i for i, track in parts.items()}
    shown = ", ".join(f"{i} {parts[i].name!r}" if parts[i].name else str(i) for i in parts)
    for part in instruments:
        require(part in parts or part in titles, f"no part is called {part!r}; the parts: {shown}")
    chosen = {i: instruments.get(i, instruments.get(track.name)) for i, track in parts.items()}
    names = {i: find_instrument(name or PROGRAMS[parts[i].program], known) for i, name in chosen.items()}
    if like is not None and names:
        names[titles.get("melody", min(names))] = recognise_instrument(like)
    return names


# ---- an instrument from its sound


# Chosen on the validation notes. More coefficients tell single notes apart rather than instruments.
COEFFICIENTS, COMPONENTS, FLOOR = 13, 4, 10.0  # of the MFCCs, of a mixture, and what is added to its variances
QUIET = 20.0  # dB below the loudest frame: what is quieter says more about the room
SHIFTS = (-1.5, 0.0, 1.5)  # semitones: the notes are also heard between their pitches


def recognise_instrument(clip: Clip) -> str:
    """Find the instrument whose mixture explains a clip best.

    >>> recognise_instrument((MusicAINotes("test", instruments="flute")[0]["audio"], SR))
    'flute'
    >>> recognise_instrument("flute")
    'flute'

    Args:
        clip: a file, an Audio, or a pair of samples and sample rate; one instrument, alone. The name of an instrument
            stands for itself.

    Returns: one of `INSTRUMENTS`.

    Raises:
        ValueError: if the clip is silent.

    Source: Brown, "Computer identification of musical instruments using pattern recognition with cepstral coefficients
    as features" (1999). Chapters 3 and 8.
    """
    if isinstance(clip, str) and clip in INSTRUMENTS:
        return clip
    if isinstance(clip, str | PathLike):
        clip = load(clip)
    require(isinstance(clip, Audio | tuple), "like= needs a file, an Audio, or a pair of samples and sample rate")
    audio, sr = (clip.samples, clip.sr) if isinstance(clip, Audio) else clip
    sound = resample(torch.atleast_2d(as_audio(torch.as_tensor(audio))).mean(0), sr, SR)
    require(bool(sound.any()), "like= needs the sound of an instrument; this clip is silent")
    rows = frames(sound)
    scores = [mixture.score(rows) for mixture in mixtures()]
    return INSTRUMENTS[scores.index(max(scores))]


def frames(sounds: Tensor) -> Tensor:
    """The timbre of each loud frame of sounds (..., time), as MFCCs 1 to 12, whatever the level: (frames, 12)."""
    sounds = sounds / sounds.abs().amax(-1, keepdim=True).clamp_min(1e-9)
    c = mfcc(sounds, SR, n_mfcc=COEFFICIENTS, n_fft=1024).mT  # (..., frames, 13)
    level = c[..., 0] / 128**0.5  # dB: the mean of the 128 bands
    return c[level > level.amax(-1, keepdim=True) - QUIET][:, 1:].double()


@cache
def mixtures() -> list[GaussianMixture]:
    """One mixture for each of `INSTRUMENTS`, fitted to the recorded notes of the training split in a few seconds."""
    return [_fitted(MusicAINotes("train", instruments=name)) for name in INSTRUMENTS]


def _fitted(notes: MusicAINotes) -> GaussianMixture:
    sounds = torch.stack([entry.audio() for entry in notes.manifest])
    rows = torch.cat([frames(resample(sounds, round(SR * 2 ** (k / 12)), SR)) for k in SHIFTS])
    return GaussianMixture(COMPONENTS, reg_covar=FLOOR, tol=1e-2, random_state=0).fit(rows)
