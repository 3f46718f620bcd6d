"""Notes placed in time, in loudness and between the two ears."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache, lru_cache

import numpy as np
import soxr
import torch
from torch import Tensor

from musicai.data.musicai_notes import Entry, manifest, recordings
from musicai.notes import Melody, Score, Track
from musicai.synth.programs import DRUM, KITS, PROGRAMS, VOICES
from musicai.synth.sustain import SR, Loop, extend, find_loop

PEAK = 0.98
DRUM_LEVEL = 2.0  # the note set holds drums at half the level of the soundfont, so that none clips
HI_HATS = (42, 44, 46)  # closed, pedal, open: one pair of cymbals
LONGEST_MINUTES = 60
LONGEST_CACHED = 8 * SR


def render(score: Score | Melody, sr: int = SR) -> Tensor:
    """Play a score or a melody with the sampled notes in the wheel.

    >>> from musicai.notes import Melody
    >>> audio = render(Melody.from_pitches([60, 62, 64, 65]))  # (2, time) at 16 kHz

    A track's program picks the nearest of the 17 sampled instruments (`musicai.synth.PROGRAMS`), a drum track's the
    nearest of five kits. A pitch that was not sampled is a resampled neighbour; a velocity takes the nearest recorded
    layer (50, 75, 100) at amplitude (velocity / layer) squared, as in the General MIDI level 2 recommendation. A note
    longer than its recording goes on as a crossfaded loop, and lets go in its instrument's release. Drums ring out
    whatever their duration; the next hi-hat stroke ends an open hi-hat. Pan is equal-power. No effects are added.

    Levels are those of the recordings: only if the mix would pass 0.98 is it scaled down to that, all of it by one
    factor, so nothing is distorted. The end is the last note's release.

    Args:
        score: tempo changes are followed. At most 60 minutes.
        sr: samples a second of the result; the instruments are 16 kHz recordings, so a higher rate adds no treble.
    Returns:
        float32 (2, time): left, right, in [-1, 1].
    Raises:
        ValueError: nothing to play, a score longer than an hour, an impossible rate.
    Source: SoundFont-style sampling; the recordings are `musicai.data.MusicAINotes`. Chapter 1.
    """
    score = score.to_score() if isinstance(score, Melody) else score
    if not isinstance(score, Score):
        raise ValueError(f"cannot render {type(score).__name__}: give a musicai.notes.Score or Melody")
    if not isinstance(sr, int) or not 1000 <= sr <= 384_000:
        raise ValueError(
            f"sr is {sr!r}: give samples a second from 1000 to 384000, a whole number such as 16000 or 44100"
        )
    mix = mix_tracks(score)
    if sr != SR:
        mix = soxr.resample(mix.T, SR, sr).T
    peak = np.abs(mix).max()
    return torch.from_numpy(np.ascontiguousarray(mix * (PEAK / peak) if peak > PEAK else mix))


def mix_tracks(score: Score) -> np.ndarray:
    """All tracks at 16 kHz, float32 (2, time), not yet limited. Tracks with one pan share one mono buffer."""
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
    """Add a track's notes to `mono`; the sample where the last of them is silent."""
    starts = np.rint(SR * score.seconds(np.array([note.start for note in track.notes]))).astype(int)
    ends = np.rint(SR * score.seconds(np.array([note.end for note in track.notes]))).astype(int)
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


def play_drums(mono: np.ndarray, track: Track, starts: np.ndarray) -> Iterator[int]:
    """Add one-shot drums to `mono`, yielding where each falls silent."""
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
    """Mix `sound` in from `start`: `held` samples at full level, then let go; returns where it is silent."""
    end, silent = start + held, start + held + len(fall)
    mono[start:end] += np.float32(gain) * sound[:held]
    mono[end:silent] += (np.float32(gain) * fall) * sound[held : held + len(fall)]
    return silent


@cache
def release(seconds: float) -> np.ndarray:
    """From 1 to 0 along the fourth power of a cosine: flat at both ends, so it adds no click."""
    n = int(seconds * SR)
    return (np.cos(0.5 * np.pi * np.arange(1, n + 1) / n) ** 4).astype(np.float32)


def voice(name: str, pitch: int, velocity: int, length: int) -> tuple[np.ndarray, float]:
    """At least `length` samples of an instrument's note, and the gain for its velocity."""
    sampled = nearest(layers(name), pitch)
    entry = layers(name)[sampled][nearest(layers(name)[sampled], velocity)]
    room = SR
    while room < length:  # whole powers of two, so that few lengths are made and kept
        room *= 2
    make = sustained if room <= LONGEST_CACHED else sustained.__wrapped__
    sound = make(entry.file, entry.slot, pitch - sampled, room, VOICES[name].decays)
    return sound, entry.gain * (velocity / entry.velocity) ** 2


@lru_cache(maxsize=512)
def sustained(file: str, slot: int, semitones: int, length: int, decays: bool) -> np.ndarray:
    """A recording, `length` samples long and moved by semitones; in the units of the file's codes."""
    x, loop = recordings(file)[slot].numpy().astype(np.float32), loop_of(file, slot)
    if not semitones:
        return extend(x, length, decays, loop)
    ratio = 2 ** (semitones / 12)
    moved = soxr.resample(extend(x, int(length * ratio) + 64, decays, loop), SR * ratio, SR)
    return np.pad(moved, (0, max(0, length - len(moved))))[:length]


@cache
def loop_of(file: str, slot: int) -> Loop | None:
    """Where a recording loops; three numbers each, so all are kept."""
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
    """The recording of a percussion key: in its kit, else the standard kit, else the nearest key."""
    table = layers(kit) if key in layers(kit) else layers("standard_kit")
    found = table[nearest(table, key)]
    return found[nearest(found, velocity)]


def nearest(choices, value: int) -> int:
    """The choice nearest to a value; the higher of two equally near, since moving down keeps more of the treble."""
    return min(choices, key=lambda choice: (abs(choice - value), -choice))
