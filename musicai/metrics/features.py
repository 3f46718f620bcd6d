"""What sounds are compared by: checked batches, and features of a whole sound. Chapter 4."""

from collections.abc import Callable

import torch
from torch import Tensor

from musicai.audio import melspectrogram, power_to_db

Embedding = Callable[[Tensor, int], Tensor]  # sounds (batch, time) and their sample rate to (batch, dimensions)


def log_mel_statistics(audio: Tensor, sr: int = 16_000) -> Tensor:
    """The mean and standard deviation over time of 16 log-mel bands: an embedding that needs no training.

    >>> log_mel_statistics(torch.randn(3, 16_000)).shape
    torch.Size([3, 32])

    It takes any sound. It captures tone colour, roughly the pitch, and how fast a sound decays, but neither level nor
    the order of events. More bands would resolve single notes, and small sets would look far apart only because they
    contain different notes.

    Args:
        audio: (batch, time) or (batch, 1, time).
        sr: sample rate in Hz.

    Returns:
        (batch, 32), in units of 10 dB.

    Chapter 4.
    """
    S = levelled_log_mel(audio, sr, n_mels=16) / 10
    return torch.cat([S.mean(-1), S.std(-1)], -1)


def embed(audio: Tensor, sr: int = 16_000, embedding: Embedding = log_mel_statistics) -> Tensor:
    """The features of many sounds, computed a few at a time.

    >>> embed(torch.randn(100, 16_000)).shape
    torch.Size([100, 32])

    Args:
        audio: (batch, time) or (batch, 1, time).
        sr: sample rate in Hz.
        embedding: from sounds (batch, time) and their sample rate to features.

    Returns:
        (batch, dimensions).

    Raises:
        ValueError: audio of another shape or dtype, or not finite.

    Chapter 4.
    """
    return in_batches(lambda part: embedding(part, sr), as_sounds(audio))


def levelled_log_mel(
    audio: Tensor, sr: int = 16_000, n_mels: int = 64, hop_length: int = 256, floor: float = 60.0
) -> Tensor:
    """Log-mel spectrograms in dB below each sound's own loudest point: (batch, n_mels, frames), from -floor to 0.

    The level of the recording makes no difference. A silent sound is -floor everywhere.
    """
    x = as_sounds(audio)
    peak = x.abs().amax(-1, keepdim=True)
    x = x / torch.where(peak > 0, peak, 1)
    S = power_to_db(melspectrogram(x, sr, 1024, hop_length, n_mels), top_db=floor)
    S = S - S.amax((-2, -1), keepdim=True)
    return torch.where((peak > 0)[..., None], S, -floor)


def as_sounds(audio: Tensor, name: str = "audio") -> Tensor:
    """(time,), (batch, time) or (batch, 1, time) as float32 (batch, time).

    Raises:
        ValueError: another shape or dtype, no sounds, no samples, or a sound that is not finite (its index is given).
    """
    x = torch.as_tensor(audio)
    x = x[None] if x.ndim == 1 else x
    x = x[:, 0] if x.ndim == 3 and x.shape[1] == 1 else x
    if x.ndim != 2 or not x.numel():
        raise ValueError(f"{name} must be (time,), (batch, time) or (batch, 1, time), not {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"{name} must be floating point in [-1, 1], not {x.dtype}; divide 16-bit samples by 32768")
    return _finite(x.detach().float(), name)


def as_features(features: Tensor, name: str = "features", least: int = 1) -> Tensor:
    """A matrix (samples, dimensions) in float64.

    Raises:
        ValueError: not a matrix, fewer samples than `least`, or a sample that is not finite (its index is given).
    """
    x = torch.as_tensor(features)
    if x.ndim != 2 or len(x) < least or not x.shape[1]:
        raise ValueError(f"{name} must be (samples, dimensions) with {least} or more samples, not {tuple(x.shape)}")
    return _finite(x.detach().double(), name)


def feature_pair(x: Tensor, y: Tensor, names: tuple[str, str], least: int = 1) -> tuple[Tensor, Tensor]:
    """Both as `as_features`. Raises ValueError if they have different dimensions."""
    x, y = as_features(x, names[0], least), as_features(y, names[1], least)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{names[0]} has {x.shape[1]} dimensions and {names[1]} {y.shape[1]}: they must be the same")
    return x, y


def as_labels(labels: Tensor | float, count: int, name: str, low: float, high: float, whole: bool = False) -> Tensor:
    """One number per sound, (count,); a single number stands for all of them.

    Raises:
        ValueError: another shape, or a number that is not from `low` to `high` or, if asked for, not whole.
    """
    if labels is None:
        raise ValueError(f"{name} is missing for some of the sounds")
    x = torch.as_tensor(labels)
    if x.shape not in ((), (count,)):
        raise ValueError(f"{name} must be one number or ({count},), one per sound, not {tuple(x.shape)}")
    x = x.expand(count)
    wrong = ~((x >= low) & (x <= high)) | (whole & (x % 1 != 0))
    if wrong.any():
        raise ValueError(f"{name} must be {'whole ' * whole}numbers from {low} to {high}, not {x[wrong][0]:g}")
    return x


def in_batches(function: Callable[[Tensor], Tensor], x: Tensor, size: int = 64) -> Tensor:
    """`function` of `size` sounds at a time, so that memory does not grow with their number."""
    with torch.no_grad():
        return torch.cat([function(part) for part in x.split(size)])


def _finite(x: Tensor, name: str) -> Tensor:
    bad = (~x.isfinite().all(-1)).nonzero()
    if len(bad):
        raise ValueError(f"{name}[{bad[0].item()}] is not finite (NaN or infinity); {len(bad)} of {len(x)} are not")
    return x
