"""Batches of piano rolls to learn from: crops, transposition, and the choice of the keys that are worth the work."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from musicai.wavenet.history import LAGS, History, history
from musicai.wavenet.piano import Points
from musicai.wavenet.rolls import KEYS, RollWaveNet, flipped


@dataclass(frozen=True)
class RollBatch:
    """Crops of B pieces: `frames` (B, T, 88), their `past`, and the `points` to learn from, with `weights` (M,)."""

    frames: Tensor
    past: History
    points: Points
    weights: Tensor
    count: int  # frames that are there, padding left out

    def to(self, device: torch.device) -> "RollBatch":
        """On another device."""
        points = Points(self.points.rows.to(device), self.points.keys.to(device))
        return RollBatch(self.frames.to(device), self.past.to(device), points, self.weights.to(device), self.count)


class RollBatches:
    """`batches(n)` is batch n, a pure function of (seed, n), from rolls (88, frames).

    >>> batches = RollBatches([item["roll"] for item in JSBChorales("train")])  # doctest: +SKIP
    >>> roll_loss(model, batches(0)).backward()                                 # doctest: +SKIP

    Args:
        rolls: the pieces. batch_size: B. length: frames of a crop; shorter pieces are padded, and pieces of like length
            come together.
        transpose: up and down by at most so many semitones; what would leave the keyboard stays away. 0 for none.

    Most keys of most frames are up beyond doubt. So of the keys that are up only some are used: each with a probability
    that grows with how often it was down lately, and weighted by one over that probability. The loss is unbiased, and
    several times cheaper. Chapter 5.
    """

    def __init__(
        self, rolls: Sequence[Tensor], batch_size: int = 12, length: int = 128, transpose: int = 0, seed: int = 0
    ):
        frames = [flipped(roll) for roll in rolls]
        if not sum(map(len, frames)):
            raise ValueError("there are no frames to learn from")
        self.pieces = [(x, history(x)[:-1]) for x in frames if len(x)]
        self.sizes = np.array([len(x) for x, _ in self.pieces])
        self.batch_size, self.length, self.transpose, self.seed = batch_size, length, transpose, seed

    def __call__(self, n: int) -> RollBatch:
        """Batch n."""
        rng = np.random.default_rng([self.seed, n])
        crops = [self._crop(i, rng) for i in self._choose(rng)]
        longest = max(len(frames) for frames, _ in crops)
        frames = torch.stack([_padded(frames, longest) for frames, _ in crops])
        planes = torch.stack([_padded(past.planes, longest) for _, past in crops])
        frame = torch.stack([_padded(past.frame, longest) for _, past in crops])
        there = torch.stack([torch.arange(longest) < len(frames) for frames, _ in crops])
        shift = int(rng.integers(-self.transpose, self.transpose + 1))
        frames, past = _shifted(frames, shift), History(_shifted(planes, shift), _shifted_frame(frame, shift))
        points, weights = choose_points(frames, past, there, rng)
        return RollBatch(frames, past, points, weights, int(there.sum()))

    def _choose(self, rng: np.random.Generator) -> np.ndarray:
        """One piece by its length, and others of about the same."""
        wanted = np.minimum(self.sizes, self.length)
        first = rng.choice(len(self.sizes), p=self.sizes / self.sizes.sum())
        if wanted[first] == self.length:
            long = np.flatnonzero(wanted == self.length)
            return rng.choice(long, self.batch_size, p=self.sizes[long] / self.sizes[long].sum())
        away = np.abs(wanted - wanted[first]) + rng.uniform(0, 8, len(wanted))
        return np.argsort(away)[: self.batch_size]

    def _crop(self, i: int, rng: np.random.Generator) -> tuple[Tensor, History]:
        frames, past = self.pieces[i]
        start = int(rng.integers(max(len(frames) - self.length, 0) + 1))
        part = slice(start, start + self.length)
        return frames[part], past[part]


def choose_points(frames: Tensor, past: History, there: Tensor, rng: np.random.Generator) -> tuple[Points, Tensor]:
    """Every key that is down and some that are up, of the frames that are `there` (B, T), with weights (M,)."""
    recalled, used = past.planes[:, :, LAGS], past.planes[:, :, LAGS + 3]
    chance = (0.06 + 0.5 * used + past.previous + recalled).clamp(max=1.0)
    chance = torch.where(frames > 0, 1.0, chance) * there[..., None]
    drawn = torch.from_numpy(rng.random(chance.shape, dtype=np.float32)) < chance
    rows, keys = drawn.flatten(0, 1).nonzero(as_tuple=True)
    return Points(rows, keys), 1 / chance.flatten(0, 1)[rows, keys]


def roll_loss(model: RollWaveNet, batch: RollBatch) -> Tensor:
    """The average negative log-likelihood of a batch, in nats a frame, estimated from its points."""
    logits = model(batch.frames, batch.past, batch.points)
    down = batch.points.of(batch.frames.flatten(0, 1))
    return (batch.weights * F.binary_cross_entropy_with_logits(logits, down, reduction="none")).sum() / batch.count


def log_odds(rolls: Sequence[Tensor]) -> Tensor:
    """(88,): the log-odds of each key, the highest first, over all frames; where a model's `base` begins."""
    down, count = sum(flipped(roll).sum(0) for roll in rolls), sum(roll.shape[1] for roll in rolls)
    return ((down + 0.05) / (count - down + 1)).log()


@torch.no_grad()
def nats_per_frame(model: RollWaveNet, rolls: Sequence[Tensor]) -> float:
    """The average negative log-likelihood of all frames of all rolls, each given all frames before it. Exact."""
    total = sum(float(model.log_prob(roll).double().sum()) for roll in rolls)
    return -total / sum(roll.shape[1] for roll in rolls)


def _padded(x: Tensor, length: int) -> Tensor:
    return F.pad(x, (0, 0) * (x.dim() - 1) + (0, length - len(x)))


def _shifted(x: Tensor, up: int) -> Tensor:
    """x (..., keys), the highest key first, `up` semitones higher."""
    moved = F.pad(x, (max(-up, 0), max(up, 0)))
    return moved[..., max(up, 0) : max(up, 0) + KEYS]


def _shifted_frame(frame: Tensor, up: int) -> Tensor:
    """Frame features, with their two counts by pitch class turned; key n is class n % 12, the highest key first."""
    clocks, counts = frame[..., :-24], frame[..., -24:].unflatten(-1, (2, 12))
    return torch.cat([clocks, counts.roll(-up, -1).flatten(-2)], dim=-1)
