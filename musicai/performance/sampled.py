"""The sampled instruments: recorded notes placed in time, in loudness and in the stereo field. Chapter 1."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache, lru_cache

import numpy as np
import soxr
import torch
from torch import Tensor

from musicai.data.musicai_notes import Entry, manifest, recordings
from musicai.notes import Melody, Score, Track
from musicai.performance.loops import SR, Loop, extend, find_loop
from musicai.performance.programs import DRUM, KITS, PROGRAMS, VOICES

PEAK = 0.98
DRUM_LEVEL = 2.0  # the note set stores drums at half the soundfont's level, so that none clips
HI_HATS = (42, 44, 46)  # closed, pedal, open: one pair of cymbals
LONGEST_MINUTES = 60
LONGEST_CACHED = 8 * SR


def render(score: Score | Melody, sr: int = SR) -> Tensor:
    """Play a score or a melody with the recorded notes in the wheel.

    >>> from musicai.notes import Melody
    >>> render(Melody.from_pitches([60, 62, 64, 65])).shape  # half a second per note, and a release
    torch.Size([2, 36800])

    A track's program picks the closest of the 17 sampled instruments (`PROGRAMS`), a drum track's the closest of five
    kits. A pitch that was not sampled is a resampled neighbour; a velocity takes the nearest recorded layer (50, 75,
    100) at amplitude (velocity / layer) squared, as in the General MIDI level 2 recommendation. A note longer than its
    recording continues as a crossfaded loop and ends in its instrument's release. Drums ring out whatever their
    duration; the next hi-hat stroke ends an open hi-hat. Pan is equal-power. No effects are added.

    Levels are those of the recordings. Only if the mix would exceed 0.98 is all of it scaled down by one factor, so
    nothing is distorted. The end is the last note's release.

    Args:
        score: tempo changes are followed. At most 60 minutes.
        sr: sample rate of the result in Hz; the recordings have 16 kHz, so a higher rate adds no treble.

    Returns: float32 (2, time): left and right, in [-1, 1].

    Raises:
        ValueError: if there is nothing to play, the score lasts over an hour, or the rate is impossible.

    Source: SoundFont-style sampling; the recordings are `musicai.data.MusicAINotes`. Chapter 1.
    """
    score = as_score(score)
    if not isinstance(sr, int) or not 1000 <= sr <= 384_000:
        raise ValueError(
            f"sr is {sr!r}: give a whole number of samples per second from 1000 to 384000, such as 16000 or 44100"
        )
    mix = mix_tracks(score)
    if sr != SR:
        mix = soxr.resample(mix.T, SR, sr).T
    peak = np.abs(mix).max()
    return torch.from_numpy(np.ascontiguousarray(mix * (PEAK / peak) if peak > PEAK else mix))


def as_score(score: Score | Melody) -> Score:
    """A melody as a score, a score as it is; a ValueError for anything else."""
    score = score.to_score() if isinstance(score, Melody) else score
    if not isinstance(score, Score):
        raise ValueError(f"cannot play a {type(score).__name__}: give a musicai.notes.Score or Melody")
    return score


def mix_tracks(score: Score) -> np.ndarray:
    """All tracks at 16 kHz, float32 (2, time), not yet limited. Tracks with equal pan share one mono buffer."""
    by_pan: dict[float, list[Track]] = defaultdict(list)
    for track in score.tracks:
        if track.notes:
            by_pan[track.pan].append(track)
    if not by_pan:
        raise ValueError("the score has no notes to render")
    minutes = score.seconds(score.duration) / 60
    if minutes > LONGEST_MINUTES:
        raise ValueError(f"the score lasts {minutes:.0f} minutes; render at most {LONGEST_MINUTES} at a time")
    mix = np.zeros((2, int(60 * minutes * SR) + 2 * SR), np.float32)
    last = 0
    for pan, tracks in by_pan.items():
        mono = np.zeros(mix.shape[1], np.float32)
        last = max(last, *(play_track(mono, score, track) for track in tracks))
        angle = (pan + 1) * np.pi / 4
        mix[0] += np.float32(np.cos(angle)) * mono
        mix[1] += np.float32(np.sin(angle)) * mono
    return mix[:, :last]


def play_track(mono: np.ndarray, score: Score, track: Track) -> int:
    """Add a track's notes to `mono`; returns the sample at which the last of them is silent."""
    starts, ends = spans(score, track)
    if track.is_drum:
        return max(play_drums(mono, track, starts))
    name = PROGRAMS[track.program]
    fall = release(VOICES[name].release)
    last = 0
    for note, start, end in zip(track.notes, starts, ends, strict=True):
        held = max(1, end - start)
        sound, gain = voice(name, note.pitch, note.velocity, held + len(fall))
        last = max(last, add(mono, start, sound, gain, held, fall))
    return last


def spans(score: Score, track: Track) -> np.ndarray:
    """The samples at which a track's notes start and end, (2, notes), at 16 kHz."""
    beats = np.array([(note.start, note.end) for note in track.notes]).T
    return np.rint(SR * score.seconds(beats)).astype(int)


def play_drums(mono: np.ndarray, track: Track, starts: np.ndarray) -> Iterator[int]:
    """Add one-shot drums to `mono`, yielding the sample at which each is silent."""
    kit, fall = KITS[track.program], release(DRUM.release)
    strokes = [start for note, start in zip(track.notes, starts, strict=True) if note.pitch in HI_HATS]
    for note, start in zip(track.notes, starts, strict=True):
        entry = drum(kit, note.pitch, note.velocity)
        held = SR - len(fall)
        if note.pitch == HI_HATS[2]:
            held = min([held, *(stroke - start for stroke in strokes[np.searchsorted(strokes, start, "right") :][:1])])
        gain = DRUM_LEVEL * (note.velocity / entry.velocity) ** 2
        yield add(mono, start, entry.audio().numpy(), gain, held, fall)


def add(mono: np.ndarray, start: int, sound: np.ndarray, gain: float, held: int, fall: np.ndarray) -> int:
    """Mix in `sound` from `start`: `held` samples at full level, then the release; returns where it is silent."""
    end, silent = start + held, start + held + len(fall)
    mono[start:end] += np.float32(gain) * sound[:held]
    mono[end:silent] += (np.float32(gain) * fall) * sound[held : held + len(fall)]
    return silent


@cache
def release(seconds: float) -> np.ndarray:
    """From 1 to 0 along the fourth power of a cosine: flat at both ends, so there is no click."""
    n = int(seconds * SR)
    return (np.cos(0.5 * np.pi * np.arange(1, n + 1) / n) ** 4).astype(np.float32)


def voice(name: str, pitch: int, velocity: int, length: int) -> tuple[np.ndarray, float]:
    """At least `length` samples of an instrument's note, and the gain for its velocity."""
    sampled = nearest(layers(name), pitch)
    entry = layers(name)[sampled][nearest(layers(name)[sampled], velocity)]
    room = SR
    while room < length:  # doubled, so that only a few lengths are made and cached
        room *= 2
    make = sustained if room <= LONGEST_CACHED else sustained.__wrapped__
    sound = make(entry.file, entry.slot, pitch - sampled, room, VOICES[name].decays)
    return sound, entry.gain * (velocity / entry.velocity) ** 2


@lru_cache(maxsize=512)
def sustained(file: str, slot: int, semitones: int, length: int, decays: bool) -> np.ndarray:
    """A recording, `length` samples long and transposed, in the units of the file's codes."""
    x, loop = recordings(file)[slot].numpy().astype(np.float32), loop_of(file, slot)
    if not semitones:
        return extend(x, length, decays, loop)
    ratio = 2 ** (semitones / 12)
    moved = soxr.resample(extend(x, int(length * ratio) + 64, decays, loop), SR * ratio, SR)
    return np.pad(moved, (0, max(0, length - len(moved))))[:length]


@cache
def loop_of(file: str, slot: int) -> Loop | None:
    """Where a recording loops; cached, since it is only three numbers."""
    return find_loop(recordings(file)[slot].numpy().astype(np.float32))


@cache
def layers(name: str) -> dict[int, dict[int, Entry]]:
    """The manifest of one instrument: pitch -> velocity -> entry."""
    found: dict[int, dict[int, Entry]] = defaultdict(dict)
    for entry in manifest():
        if entry.instrument == name:
            found[entry.pitch][entry.velocity] = entry
    return dict(found)


def drum(kit: str, key: int, velocity: int) -> Entry:
    """The recording of a percussion key: from its kit, else from the standard kit, else of the nearest key."""
    table = layers(kit) if key in layers(kit) else layers("standard_kit")
    found = table[nearest(table, key)]
    return found[nearest(found, velocity)]


def nearest(choices, value: int) -> int:
    """The choice nearest to a value; the higher of two equally near ones, since transposing down keeps more treble."""
    return min(choices, key=lambda choice: (abs(choice - value), -choice))
