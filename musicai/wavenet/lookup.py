"""What the past of a piano roll says about its next frame: the conditioning of `RollWaveNet`. Chapter 5.

Tunes repeat themselves. A convolution looks back by fixed distances, but how long ago the theme was heard differs from
piece to piece. So for every frame we look up where earlier music resembled the music now, and what came next there.
"""

import numpy as np
import torch
from torch import Tensor

KEYS, LOWEST = 88, 21  # the piano, from A0
LAGS = 4  # how many previous frames each key sees directly
PERIODS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # in frames: beats, bars and phrases of the usual metres
MEMORY_DECAY = 0.85  # how fast the similarity forgets: it averages over roughly the last 7 frames
MEMORY = 4096  # how many frames the look-up goes back; this bounds its cost per frame
SHARPNESS = np.array([[8.0], [30.0]], np.float32)  # two look-ups: many fairly similar places, the few most similar ones
USE_DECAY = np.array([[0.8], [0.97]], np.float32)  # two counts of recent use, over about 5 and about 33 frames
TINY = 1e-20  # counts below this become zero: denormal numbers would slow the network down tenfold
USE_SCALE = np.array([[0.4], [0.1]])  # brings both counts to about 1
PLANES = LAGS + 5
FRAME_FEATURES = 5 + 2 * len(PERIODS) + 24
PAST = PLANES * KEYS + FRAME_FEATURES


def history(frames: Tensor) -> Tensor:
    """Compute what is known before every frame of a piece, and before the frame that would come next.

    >>> past = history(torch.eye(88)[:3])
    >>> past.shape
    torch.Size([4, 843])
    >>> planes_of(past).shape, features_of(past).shape
    (torch.Size([4, 9, 88]), torch.Size([4, 51]))

    Args:
        frames: (T, 88), zeros and ones.

    Returns: float32 (T + 1, 9 x 88 + 51): nine planes, one number per key (the last four frames, two look-ups, two
    counts of recent use, and how long the key has been sounding), and 51 features of the frame (clocks, the number
    of keys down, how closely the look-ups match the present, and the two counts of use by pitch class). Row t
    depends only on the frames before t.

    Source: the weighting of places by similarity is that of a neural cache (Grave et al. 2017, arXiv:1612.04426), with
    a fixed similarity. Chapter 5.
    """
    known = torch.as_tensor(frames).cpu().numpy().astype(np.float32)
    memory, past = RollMemory(len(known)), np.empty((len(known) + 1, PAST), np.float32)
    past[0] = memory.past()
    for t, frame in enumerate(known, start=1):
        memory.append(frame)
        past[t] = memory.past()
    return torch.from_numpy(past)


def planes_of(past: Tensor) -> Tensor:
    """The planes of a past (..., PAST): (..., PLANES, KEYS); the first is the previous frame."""
    return past[..., : PLANES * KEYS].unflatten(-1, (PLANES, KEYS))


def features_of(past: Tensor) -> Tensor:
    """The features of each frame of a past (..., PAST): (..., FRAME_FEATURES)."""
    return past[..., PLANES * KEYS :]


class RollMemory:
    """A piano roll that grows frame by frame: `past()` says what is known now, `append(frame)` extends it.

    Appending a frame costs one product with the frames in memory (at most MEMORY); nothing is computed twice.

    The similarity of the present t to an earlier place j compares the frames that led up to both, with decay d:
    s[t, j] = d s[t - 1, j - 1] + (1 - d) alike(t - 1, j - 1), between -1 and 1. A look-up is the average of the frames
    at 0 < j < t - 1, weighted by softmax(sharpness x s[t]).

    Args:
        capacity: the largest number of frames.
    """

    def __init__(self, capacity: int):
        self.count = 0
        self.frames = np.zeros((LAGS + capacity, KEYS), np.float32)  # silence before the beginning
        self.sizes = np.zeros(capacity, np.float32)
        self.similarity = np.zeros(capacity + 1, np.float32)  # of the present to each place
        self.used, self.held = np.zeros((2, KEYS), np.float32), np.zeros(KEYS, np.float32)

    def append(self, frame: np.ndarray) -> None:
        """Append a frame (KEYS,) of zeros and ones."""
        t, first = self.count, max(self.count - MEMORY - 1, 0)
        self.frames[LAGS + t], self.sizes[t] = frame, frame.sum()
        s, alike = self.similarity[first:t], self._alike(slice(first, t))
        self.similarity[first + 1 : t + 1] = MEMORY_DECAY * s + (1 - MEMORY_DECAY) * alike
        self.used = self.used * USE_DECAY + frame
        self.used[self.used < TINY] = 0.0
        self.held = (self.held + 1) * frame
        self.count += 1

    def past(self) -> np.ndarray:
        """What is known now, (PAST,): the planes and the features of the frame."""
        lagged = self.frames[self.count : self.count + LAGS][::-1]
        recalled, match = self._recall()
        planes = np.concatenate([lagged, recalled, self.used * USE_SCALE, np.minimum(self.held, 8)[None] / 4])
        t, size, angles = self.count, lagged[0].sum() / 5, 2 * np.pi * self.count / np.array(PERIODS)
        clocks = np.concatenate([[min(t, 40) / 40, t == 0], np.sin(angles), np.cos(angles)])  # of beats, bars, phrases
        chroma = self.used @ np.eye(12, dtype=np.float32)[np.arange(KEYS) % 12]  # counts of use by pitch class
        chroma = 3 * chroma / (chroma.sum(1, keepdims=True) + 0.1)
        return np.concatenate([planes.ravel(), clocks, [size], match, chroma.ravel()])

    def _alike(self, places: slice) -> np.ndarray:
        """Compare the newest frame with each of `places`: 1 for equal frames, -1 for no key in common."""
        total = self.sizes[places] + self.sizes[self.count]
        common = self.frames[LAGS:][places] @ self.frames[LAGS + self.count]
        return 2 * np.where(total > 0, 2 * common / np.maximum(total, 1), 1.0) - 1

    def _recall(self) -> tuple[np.ndarray, np.ndarray]:
        """What followed where the music resembled the present, (2, KEYS); how similar and how certain that is, (2,)."""
        if self.count <= 3:
            return np.zeros_like(self.used), np.zeros(2, np.float32)
        places = slice(max(1, self.count - 1 - MEMORY), self.count - 1)
        s = self.similarity[places]
        weights = np.exp(SHARPNESS * (s - s.max()))
        weights /= weights.sum(1, keepdims=True)
        return weights @ self.frames[LAGS:][places], np.array([s.max(), (weights[1] ** 2).sum()])
