"""What every metric takes: sounds as a batch, features as a matrix, both finite."""

from collections.abc import Callable

import torch
from torch import Tensor


def as_sounds(audio: Tensor, name: str = "audio") -> Tensor:
    """(time,), (batch, time) or (batch, 1, time) as float32 (batch, time).

    Raises:
        ValueError: another shape, no sounds or no samples, or a sound that is not finite (its number is given).
    """
    x = torch.as_tensor(audio)
    x = x[None] if x.ndim == 1 else x
    x = x[:, 0] if x.ndim == 3 and x.shape[1] == 1 else x
    if x.ndim != 2 or not x.numel():
        raise ValueError(f"{name} must be (time,), (batch, time) or (batch, 1, time), not {tuple(x.shape)}")
    return _finite(x.detach().float(), name)


def as_features(features: Tensor, name: str = "features", least: int = 1) -> Tensor:
    """A matrix (samples, dimensions) in float64, as numbers that cannot be judged in float32 need.

    Raises:
        ValueError: not a matrix, fewer samples than `least`, or a sample that is not finite.
    """
    x = torch.as_tensor(features)
    if x.ndim != 2 or len(x) < least or not x.shape[1]:
        raise ValueError(f"{name} must be (samples, dimensions) with {least} samples or more, not {tuple(x.shape)}")
    return _finite(x.detach().double(), name)


def same_width(real: Tensor, fake: Tensor) -> None:
    """Refuse features of two different spaces."""
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real has {real.shape[1]} dimensions and fake {fake.shape[1]}: embed both the same way")


def as_labels(labels: Tensor, count: int, name: str) -> Tensor:
    """One number a sound, as (count,); a single number stands for all."""
    x = torch.as_tensor(labels)
    if x.ndim == 0:
        return x.expand(count)
    if x.shape != (count,):
        raise ValueError(f"{name} must be one number or ({count},) as there are sounds, not {tuple(x.shape)}")
    return x


def by_parts(function: Callable[[Tensor], Tensor], x: Tensor, size: int = 64) -> Tensor:
    """`function` of a few sounds at a time, so that memory does not grow with their number."""
    with torch.no_grad():
        return torch.cat([function(part) for part in x.split(size)])


def _finite(x: Tensor, name: str) -> Tensor:
    good = x.isfinite().all(-1)
    if not good.all():
        which = int((~good).nonzero()[0])
        raise ValueError(f"{name}[{which}] is not finite (NaN or infinity); {int((~good).sum())} of {len(x)} are not")
    return x
