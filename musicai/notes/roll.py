"""Piano rolls: notes as a picture with one row per key and one column per step of time. Chapter 1."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from musicai.notes.note import Note, real, whole

PIANO = (21, 109)  # A0 to C8, the 88 keys of a piano
MAX_CELLS = 2**31  # a larger picture is a mistake in `step`


def to_frames(note: Note, step: float) -> tuple[int, int]:
    """The frames [first, stop) that a note fills: both ends to the nearest frame, at least one frame."""
    first = math.floor(note.start / step + 0.5)
    return first, max(first + 1, math.floor(note.end / step + 0.5))


def notes_to_roll(notes: Iterable[Note], step: float, keys: tuple[int, int] = PIANO, onsets: bool = False) -> Tensor:
    """bool (keys, frames): which key sounds (or with `onsets`, begins) in which frame of `step` beats."""
    step = real(step, "step", above=0.0)
    low, high = (whole(key, 0, 128, "key") for key in keys)
    if low >= high:
        raise ValueError(f"keys ({low}, {high}) hold no key; give (lowest, highest + 1)")
    spans = [(note.pitch - low, *to_frames(note, step)) for note in notes]
    frames = max((stop for _, _, stop in spans), default=0)
    if frames * (high - low) > MAX_CELLS:
        raise ValueError(f"a roll of {high - low} keys x {frames} frames is too large; use a step above {step}")
    roll = np.zeros((high - low, frames), dtype=bool)
    for key, first, stop in spans:
        if 0 <= key < high - low:
            roll[key, first : first + 1 if onsets else stop] = True
    return torch.from_numpy(roll)


def roll_to_notes(
    roll: Tensor, step: float, onsets: Tensor | None = None, lowest: int = 21, velocity: int = 80
) -> list[Note]:
    """The notes of a (keys, frames) roll: each run of sounding frames, split where `onsets` begins another."""
    step = real(step, "step", above=0.0)
    on = as_roll(roll)
    begins = on & ~np.pad(on, ((0, 0), (1, 0)))[:, :-1]
    if onsets is not None:
        if tuple(onsets.shape) != on.shape:
            raise ValueError(f"onsets have shape {tuple(onsets.shape)}, the roll {on.shape}")
        begins |= as_roll(onsets) & on
    ends = on & np.pad(~on | begins, ((0, 0), (0, 1)), constant_values=True)[:, 1:]
    # Row by row, the n-th beginning belongs to the n-th end.
    return [
        Note(lowest + int(key), first * step, (last + 1 - first) * step, velocity)
        for (key, first), (_, last) in zip(np.argwhere(begins).tolist(), np.argwhere(ends).tolist(), strict=True)
    ]


def as_roll(roll) -> np.ndarray:
    """A tensor or array as bool (keys, frames); anything above 0 sounds."""
    roll = torch.as_tensor(roll).detach().cpu()
    if roll.ndim != 2:
        raise ValueError(f"a piano roll is (keys, frames); this has shape {tuple(roll.shape)}")
    return (roll > 0).numpy()
