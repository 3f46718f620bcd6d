"""What a piano roll's past says about its next frame: the conditioning of `RollWaveNet`, all of it known in advance.

A tune repeats itself. A convolution looks back by fixed times, but how long ago the theme was heard differs from piece
to piece. So for every frame we look up where the music before was like the music now, and what followed there.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LAGS = 4  # previous frames that a key sees by itself
PERIODS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # frames: beats, bars and phrases of the usual metres
MEMORY_DECAY = 0.85  # how fast likeness forgets: it is an average over about the last 7 frames
MEMORY = 4096  # frames that the look-up goes back
SHARPNESS = (8.0, 30.0)  # of the two look-ups: many places that are somewhat alike, few that are most alike
USE_DECAY = np.array([[0.8], [0.97]], dtype=np.float32)  # of the two counts of recent keys: about 5 frames, about 33
PLANES = LAGS + 5
FRAME_FEATURES = 5 + 2 * len(PERIODS) + 24


@dataclass(frozen=True)
class History:
    """What is known before each frame: `planes` (frames, PLANES, keys), one number a key; `frame` (frames, features).

    Planes: the last LAGS frames, two look-ups, two counts of use, and for how long each key has sounded. Frame
    features: clocks, how much the look-ups resemble the present, and the two counts by pitch class.
    """

    planes: Tensor
    frame: Tensor

    def __getitem__(self, frames: slice) -> "History":
        return History(self.planes[frames], self.frame[frames])

    @property
    def previous(self) -> Tensor:
        """The frame before each: (..., frames, keys)."""
        return self.planes[..., 0, :]

    def batched(self) -> "History":
        """With a first dimension for the batch."""
        return History(self.planes[None], self.frame[None])

    def flat(self) -> "History":
        """Of all frames of a batch, in one row."""
        return History(self.planes.flatten(0, 1), self.frame.flatten(0, 1))

    def to(self, device: torch.device) -> "History":
        """On another device."""
        return History(self.planes.to(device), self.frame.to(device))


def history(frames: Tensor) -> History:
    """The history of each of `frames` (T, keys) of 0 and 1, and of the one that would come next: T + 1 in all.

    Row t depends on the frames before t only. Chapter 5.
    """
    known = np.ascontiguousarray(torch.as_tensor(frames).cpu().numpy(), dtype=np.float32)
    lagged = [np.concatenate([np.zeros((lag, known.shape[1]), np.float32), known])[: len(known) + 1] for lag in _lags()]
    recalled, likeness = _recall(known)
    used, held = _use(known)
    planes = np.stack([*lagged, *recalled, *(used * [[[0.4]], [[0.1]]]), held], axis=1)
    notes = lagged[0].sum(1, keepdims=True) / 5
    frame = np.concatenate([_clock(len(known) + 1), notes, likeness.T, *_chroma(used)], axis=1)
    return History(torch.from_numpy(planes.astype(np.float32)), torch.from_numpy(frame.astype(np.float32)))


def _lags() -> range:
    return range(1, LAGS + 1)


def _clock(count: int) -> np.ndarray:
    """(count, 2 + 2 x periods): how far from the beginning, and the hand of a clock for each period."""
    t = np.arange(count)[:, None]
    angles = 2 * np.pi * t / np.array(PERIODS)
    return np.concatenate([np.minimum(t, 40) / 40, t == 0, np.sin(angles), np.cos(angles)], axis=1)


def _use(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each key was down lately, (2, T + 1, keys); for how many frames it is now, in fours, (T + 1, keys)."""
    used = np.zeros((2, len(frames) + 1, frames.shape[1]), np.float32)
    held = np.zeros(used.shape[1:], np.float32)
    for t, down in enumerate(frames, start=1):
        used[:, t] = used[:, t - 1] * USE_DECAY + down
        held[t] = (held[t - 1] + 1) * down
    return used, np.minimum(held, 8) / 4


def _chroma(used: np.ndarray) -> list[np.ndarray]:
    """Two counts (T + 1, 12) by pitch class, as shares."""
    keys = np.arange(used.shape[-1])
    counts = used @ np.eye(12, dtype=np.float32)[keys % 12]
    return list(3 * counts / (counts.sum(-1, keepdims=True) + 0.1))


def _recall(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What followed where the music was like now, (2, T + 1, keys); how alike and how certain that is, (2, T + 1).

    The likeness of places t and j is that of the frames before them, averaged over the past with decay d:
    s[t, j] = d s[t - 1, j - 1] + (1 - d) like(t - 1, j - 1), between -1 and 1. A look-up is the average of the frames
    0 < j < t - 1, weighted by softmax(sharpness x s[t]).
    """
    count, size = len(frames), frames.sum(1)
    recalled, likeness = np.zeros((2, count + 1, frames.shape[1]), np.float32), np.zeros((2, count + 1), np.float32)
    s = np.zeros(count + 1, np.float32)
    for t in range(1, count + 1):
        s[1:t] = MEMORY_DECAY * s[: t - 1] + (1 - MEMORY_DECAY) * _likeness(frames, size, t - 1)
        if t > 3:
            places, before = s[1 : t - 1][-MEMORY:], frames[1 : t - 1][-MEMORY:]
            weights = np.exp(np.array(SHARPNESS, np.float32)[:, None] * (places - places.max()))
            weights /= weights.sum(1, keepdims=True)
            recalled[:, t] = weights @ before
            likeness[:, t] = places.max(), (weights[1] ** 2).sum()
    return recalled, likeness


def _likeness(frames: np.ndarray, size: np.ndarray, t: int) -> np.ndarray:
    """Of frame t to each before it, (t,): 1 for equal frames, -1 for frames without a common key."""
    total = size[:t] + size[t]
    return 2 * np.where(total > 0, 2 * (frames[:t] @ frames[t]) / np.maximum(total, 1), 1.0) - 1
