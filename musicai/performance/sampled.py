"""The sampled instruments: recorded notes placed in time, loudness and the stereo field. Chapter 1.

`data/shipped/general_midi.json` says which instrument plays each of the 128 General MIDI programs and, for each
instrument, how many seconds its notes take to fall silent and whether a held note decays.
"""

import json
import os
from dataclasses import replace
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
import soxr
import torch
from torch import Tensor

from musicai.data.musicai_notes import Entry, manifest, recordings
from musicai.notes import Melody, Note, Score, Track, read_score
from musicai.notes.note import require

_TABLE = json.loads(files("musicai.data").joinpath("shipped", "general_midi.json").read_text("utf-8"))
BEHAVIOUR = _TABLE["instruments"]  # name -> {"release": seconds, "decays": bool}
INSTRUMENTS = tuple(BEHAVIOUR)
PROGRAMS = tuple(name for family in _TABLE["programs"].values() for name in family)
NAMES = tuple(_TABLE["names"])  # General MIDI's own

# Drum kits by program; all others (room, power, orchestra) use the standard kit.
KITS = dict.fromkeys(range(24, 32), "electronic_kit") | {25: "tr808_kit"}
KITS |= dict.fromkeys(range(32, 40), "jazz_kit") | dict.fromkeys(range(40, 48), "brush_kit")

SR = 16_000
PEAK = 0.98
DRUM_LEVEL = 2.0  # the note set stores drums at half the soundfont's level, so that none of them clips
DRUM_RELEASE = 0.05  # seconds
HI_HATS = (42, 44, 46)  # closed, pedal, open: one pair of cymbals
LONGEST_MINUTES = 60
LONGEST_CACHED = 8 * SR

# Loops
END = SR - SR // 40  # the last 20 ms of a recording fade out, so no loop reaches into its last 25
FADE = SR // 16  # the crossfade: 62.5 ms
SHORTEST, LONGEST = SR // 4, (5 * SR) // 8  # the loop's length in samples
SLOWEST_DECAY = -0.5  # nepers per second: a decaying note never stops decaying


def render(score: Score | Melody) -> Tensor:
    """Play a score or a melody with the recorded notes in the wheel.

    >>> from musicai.notes import Melody
    >>> render(Melody.from_pitches([60, 62, 64, 65])).shape  # half a second per note, and a release
    torch.Size([2, 36800])

    A track's program picks the closest of the 17 sampled instruments (`PROGRAMS`); a drum track's program picks the
    closest of five kits. A pitch that was not sampled is resampled from a neighbour. A velocity uses the nearest
    recorded layer (50, 75, 100) at amplitude (velocity / layer) squared, as General MIDI level 2 recommends. A note
    longer than its recording continues as a crossfaded loop and ends with its instrument's release. Drums ring out
    whatever their duration; the next hi-hat stroke ends an open hi-hat. Panning is equal-power. No effects are added.

    Levels are those of the recordings. If the mix would exceed 0.98, all of it is scaled down by one factor, so nothing
    is distorted. The sound ends with the last note's release; a score without notes gives half a second of silence.

    Args:
        score: at most 60 minutes; tempo changes are followed.

    Returns: float32 (2, time): left and right, in [-1, 1], at 16 kHz, the rate of the recordings.

    Raises:
        ValueError: if the score lasts longer than an hour.

    Source: SoundFont-style sampling; the recordings are `musicai.data.MusicAINotes`. Chapter 1.
    """
    score = as_score(score)
    tracks = [track for track in score.tracks if track.notes]
    last = 0 if tracks else SR // 2
    mix = np.zeros((2, int(SR * score.seconds(score.duration)) + 2 * SR), np.float32)  # more than any performance takes
    for track in tracks:
        sound, angle = play_track(score, track), (track.pan + 1) * np.pi / 4
        mix[:, : len(sound)] += np.array([[np.cos(angle)], [np.sin(angle)]], np.float32) * sound
        last = max(last, len(sound))
    return limited(torch.from_numpy(mix[:, :last]))


def limited(mix: Tensor) -> Tensor:
    """Scale a mix down as a whole if its peak exceeds 0.98."""
    peak = mix.abs().max()
    return mix * (torch.tensor(PEAK) / peak) if peak > PEAK else mix


def as_score(score: Score | Melody) -> Score:
    """Convert a melody, a file, a Match or a Song to a score; a ValueError for all else, or over an hour."""
    score = getattr(score, "piece", score)
    score = read_score(score, expand_repeats=True) if isinstance(score, str | os.PathLike) else score
    score = score.to_score() if isinstance(score, Melody) else getattr(score, "score", score)
    require(isinstance(score, Score), f"cannot play a {type(score).__name__}: give a Score, a Melody or a file")
    minutes = score.seconds(score.duration) / 60
    require(minutes <= LONGEST_MINUTES, f"the score lasts {minutes:.0f} minutes; render at most {LONGEST_MINUTES}")
    return score


def play_alone(score: Score, track: Track, name: str) -> np.ndarray:
    """One track of a score on an instrument, or on its own kit if it is a drum track: float32 (time,)."""
    return play_track(score, track if track.is_drum else replace(track, program=PROGRAMS.index(name)))


def play_track(score: Score, track: Track) -> np.ndarray:
    """A track that has notes, at 16 kHz, until the last of them falls silent: float32 (time,)."""
    starts, ends = spans(score, track)
    name = KITS.get(track.program, "standard_kit") if track.is_drum else PROGRAMS[track.program]
    fall = release(DRUM_RELEASE if track.is_drum else BEHAVIOUR[name]["release"])
    lengths = ringing(track, starts, SR - len(fall)) if track.is_drum else np.maximum(ends - starts, 1)
    mono = np.zeros((starts + lengths).max() + len(fall), np.float32)
    for note, start, held in zip(track.notes, starts, lengths, strict=True):
        length = held + len(fall)
        sound, gain = drum(name, note) if track.is_drum else voice(name, note, length)
        mono[start : start + held] += np.float32(gain) * sound[:held]
        mono[start + held : start + length] += (np.float32(gain) * fall) * sound[held:length]
    return mono


def spans(score: Score, track: Track) -> np.ndarray:
    """The samples at which a track's notes start and end, (2, notes), at 16 kHz."""
    beats = np.array([(note.start, note.end) for note in track.notes]).T
    return np.rint(SR * score.seconds(beats)).astype(int)


def ringing(track: Track, starts: np.ndarray, longest: int) -> np.ndarray:
    """How many samples each drum sounds for: `longest`, but an open hi-hat only until the next hi-hat stroke."""
    keys = np.array([note.pitch for note in track.notes])
    strokes = starts[np.isin(keys, HI_HATS)]
    following = np.append(strokes, np.inf)[np.searchsorted(strokes, starts, "right")]
    return np.where(keys == HI_HATS[2], np.minimum(following - starts, longest), longest).astype(int)


@cache
def release(seconds: float) -> np.ndarray:
    """From 1 to 0 along the fourth power of a cosine: flat at both ends, so there is no click."""
    n = int(seconds * SR)
    return (np.cos(0.5 * np.pi * np.arange(1, n + 1) / n) ** 4).astype(np.float32)


def voice(name: str, note: Note, length: int) -> tuple[np.ndarray, float]:
    """At least `length` samples of an instrument's note, and the gain for its velocity."""
    sampled = nearest(layers(name), note.pitch)
    entry = layers(name)[sampled][nearest(layers(name)[sampled], note.velocity)]
    room = SR << (int(length - 1) // SR).bit_length()  # doubled: only a few lengths are made and cached
    make = sustained if room <= LONGEST_CACHED else sustained.__wrapped__
    sound = make(entry.file, entry.slot, note.pitch - sampled, room, BEHAVIOUR[name]["decays"])
    return sound, entry.gain * (note.velocity / entry.velocity) ** 2


def drum(kit: str, note: Note) -> tuple[np.ndarray, float]:
    """A recorded drum and its gain: from the kit, else from the standard kit, else from the nearest key."""
    table = layers(kit) if note.pitch in layers(kit) else layers("standard_kit")
    found = table[nearest(table, note.pitch)]
    entry = found[nearest(found, note.velocity)]
    return entry.audio().numpy(), DRUM_LEVEL * (note.velocity / entry.velocity) ** 2


@lru_cache(maxsize=512)
def sustained(file: str, slot: int, semitones: int, length: int, decays: bool) -> np.ndarray:
    """A recording made `length` samples long and transposed, in the units of the file's codes."""
    x, loop = recordings(file)[slot].numpy().astype(np.float32), loop_of(file, slot)
    if not semitones:
        return extend(x, length, decays, loop)
    ratio = 2 ** (semitones / 12)
    moved = soxr.resample(extend(x, int(length * ratio) + 64, decays, loop), SR * ratio, SR)
    return np.pad(moved, (0, max(0, length - len(moved))))[:length]


@cache
def layers(name: str) -> dict[int, dict[int, Entry]]:
    """The manifest of one instrument: pitch -> velocity -> entry."""
    entries = [entry for entry in manifest() if entry.instrument == name]
    pitches = {entry.pitch for entry in entries}
    return {pitch: {entry.velocity: entry for entry in entries if entry.pitch == pitch} for pitch in pitches}


def nearest(choices, value: int) -> int:
    """The choice nearest to a value; of two equally near, the higher, since transposing down keeps more treble."""
    return min(choices, key=lambda choice: (abs(choice - value), -choice))


# ---- loops
#
# A one-second recording becomes as long as a score needs by a loop in phase with the pitch, joined by a crossfade:
#
# recording   |--------- head ---------|------- loop -------|
# played      |--------- head ---------|------- loop -------|------- loop -------|---- ...
#                               ^ the end of the loop fades into the sound just before the loop


def find_loop(x: np.ndarray) -> tuple[float, int, float] | None:
    """Find a loop in a recording (16000,): its decay in nepers per second, its length, and how alike its ends are.

    None if the recording is silent by then. The length maximises the normalised cross-correlation between the waveforms
    before the loop's end and before its start, so the loop contains whole periods, of the vibrato too if possible.
    """
    if np.abs(x[END - FADE : END]).max() < 1e-3 * np.abs(x).max():
        return None
    rate = decay_rate(x)
    flat = level(x, rate)
    tail = flat[END - FADE : END]
    past = flat[END - LONGEST - FADE : END - SHORTEST]  # lag LONGEST first
    energy = np.concatenate([[0.0], np.cumsum(np.square(past, dtype=np.float64))])
    norms = np.sqrt((energy[FADE:] - energy[:-FADE]) * (tail @ tail)) + 1e-12
    likeness = np.correlate(past, tail, mode="valid") / norms
    best = int(np.argmax(likeness))
    return rate, LONGEST - best, float(np.clip(likeness[best], 0, 1))


@cache
def loop_of(file: str, slot: int) -> tuple[float, int, float] | None:
    """The loop of a recording, cached, since it takes only three numbers."""
    return find_loop(recordings(file)[slot].numpy().astype(np.float32))


def extend(x: np.ndarray, length: int, decays: bool, loop: tuple[float, int, float] | None) -> np.ndarray:
    """Extend or cut a recording (16000,) to `length` samples, as float32.

    The sound is levelled and looped, and the crossfade hides any differences; a decaying sound keeps its rate of decay.
    The crossfade's gain keeps the power constant given the correlation of the two sounds: the fade is linear if they
    are equal and equal-power if they are uncorrelated.
    """
    if length <= END or loop is None:
        return np.pad(x, (0, max(0, length - len(x))))[:length].astype(np.float32)
    rate, period, likeness = loop
    start, flat = END - period, level(x, rate).astype(np.float32)
    into = (np.arange(FADE, dtype=np.float32) + 0.5) / FADE
    gain = 1 / np.sqrt(into**2 + (1 - into) ** 2 + 2 * likeness * into * (1 - into))
    flat[END - FADE : END] = gain * ((1 - into) * flat[END - FADE : END] + into * flat[start - FADE : start])
    held = np.resize(flat[start:END], length - start)
    late = (np.arange(len(held), dtype=np.float32) - period) / SR  # seconds after the recording's end
    after = min(rate, SLOWEST_DECAY) if decays else 0.0
    held *= np.exp(rate * np.minimum(late, 0) + after * np.maximum(late, 0))
    return np.concatenate([x[:start], held])


def level(x: np.ndarray, rate: float) -> np.ndarray:
    """Remove the decay of `x`, so that it is as loud everywhere as it is at `END`."""
    return x * np.exp(-rate * (np.arange(len(x), dtype=np.float32) - END) / SR)


def decay_rate(x: np.ndarray) -> float:
    """The slope of the log level over the part that can be looped, in nepers per second (negative: it decays)."""
    frames = x[END - LONGEST : END].reshape(-1, SR // 40)
    rms = np.sqrt(np.square(frames).mean(axis=1)) + 1e-5 * np.abs(x).max()
    return float(np.clip(np.polyfit(np.arange(len(rms)) / 40, np.log(rms), 1)[0], -30, 3))
