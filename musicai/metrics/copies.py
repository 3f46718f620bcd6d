"""Is it new, or a training sound played back? The nearest training example of each sound. Chapter 4."""

from typing import NamedTuple

import torch
from torch import Tensor

from musicai.metrics.embeddings import levelled_log_mel
from musicai.metrics.inputs import as_sounds, by_parts

HOP = 128  # samples between frames
FLOOR = 30.0  # dB below the loudest point: with 60, a copy with a little noise (20 dB below) looks new


class Nearest(NamedTuple):
    """For each sound: how far its nearest training example is (0 to 1), which it is, how much later it plays (s)."""

    distance: Tensor
    index: Tensor
    shift: Tensor


class Novelty(NamedTuple):
    """Distances to the nearest training example beside those of real sounds that are not in training.

    `ratio` is the median over the median: about 1 or more where sounds are as new as new recordings. `copied` is the
    share of sounds that lie nearer than all but 1 % of the real ones: about 0.01 is chance.
    """

    ratio: float
    copied: float
    generated: Nearest
    real: Nearest


def nearest(audio: Tensor, training: Tensor, sr: int = 16_000, max_shift: float = 0.1) -> Nearest:
    """The nearest training example of each sound, whatever its level and up to a shift in time.

    >>> nearest(0.5 * training[7].roll(400), training).index  # doctest: +SKIP
    tensor([7])

    Each sound becomes a log-mel spectrogram (64 bands) in dB above a floor 30 dB under its own loudest point; what is
    below counts as 0. The distance of u and v, over the time that they share, is ``|u - v| / sqrt(|u|^2 + |v|^2)`` at
    the shift where it is smallest: 0 for the same sound, 1 for sounds that share no band at any time.

    Args:
        audio: (batch, time) or (batch, 1, time).
        training: (examples, time), of the same length.
        sr: sample rate in Hz.
        max_shift: seconds that a copy may start sooner or later.

    Returns distance (batch,), index (batch,), shift (batch,). Chapter 4.
    """
    x, y = as_sounds(audio), as_sounds(training, "training")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"sounds have {x.shape[1]} samples and training ones {y.shape[1]}: cut them to one length")
    x, y = (by_parts(lambda part: _heights(part, sr), sounds) for sounds in (x, y))
    most = min(round(max_shift * sr / HOP), x.shape[-1] // 2)
    best = torch.full((len(x), len(y)), torch.inf)
    lag = torch.zeros(len(x), len(y), dtype=torch.long)
    for shift in range(-most, most + 1):
        distance = _unlike(x[..., max(shift, 0) :][..., : x.shape[-1] - abs(shift)], y[..., max(-shift, 0) :])
        lag = torch.where(distance < best, shift, lag)
        best = torch.minimum(best, distance)
    distance, index = best.min(1)
    return Nearest(distance, index, lag.gather(1, index[:, None])[:, 0] * HOP / sr)


def _heights(x: Tensor, sr: int) -> Tensor:
    return levelled_log_mel(x, sr, hop_length=HOP, floor=FLOOR) + FLOOR


def _unlike(x: Tensor, y: Tensor) -> Tensor:
    """|u - v| / sqrt(|u|^2 + |v|^2) of each of x (batch, mels, frames) and of y (examples, mels, frames or more)."""
    x, y = (part[..., : x.shape[-1]].flatten(1) / FLOOR for part in (x, y))
    both = x.square().sum(1)[:, None] + y.square().sum(1)
    return (1 - 2 * x @ y.T / both.clamp(min=1e-9)).clamp(min=0).sqrt()


def novelty(audio: Tensor, training: Tensor, held_out: Tensor, sr: int = 16_000, max_shift: float = 0.1) -> Novelty:
    """Are the sounds farther from training than real sounds that were not in training?

    >>> result = novelty(generated, train.audio, test.audio)  # doctest: +SKIP
    >>> result.ratio, result.copied  # doctest: +SKIP
    (1.31, 0.0)

    Held-out real sounds say how near a sound comes by chance: notes of one instrument resemble each other. A model
    that plays training examples back, softer or later, has a ratio near 0 and `copied` near 1.

    Args:
        audio: generated sounds (batch, time) or (batch, 1, time).
        training: what the model learned from (examples, time).
        held_out: real sounds that it did not (count, time), asked the same way.
        sr, max_shift: as for `nearest`.

    Source: nearest-neighbour checks as in Karras et al. (2018), and the reference of real to real after Meehan et al.,
    "A non-parametric test to detect data-copying" (2020). Chapter 4.
    """
    generated, real = nearest(audio, training, sr, max_shift), nearest(held_out, training, sr, max_shift)
    near = torch.quantile(real.distance, 0.01)
    copied = (generated.distance < near).float().mean().item()
    ratio = (generated.distance.median() / real.distance.median().clamp(min=1e-6)).item()
    return Novelty(ratio, copied, generated, real)
