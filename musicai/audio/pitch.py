"""How much a sound differs from itself a little later: the difference function that pitch estimators start from."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .signal import require


def yin_difference(frames: Tensor, longest: int) -> Tensor:
    """YIN's cumulative mean normalised difference: near 0 at the period of a tone, near 1 for noise.

    >>> t = torch.arange(1024) / 16_000
    >>> d = yin_difference(torch.sin(2 * torch.pi * 500 * t)[None], 60)  # a period of 32 samples
    >>> int(d[0, 20:].argmin()) + 20
    32

    Args:
        frames: (..., frames, samples), as from `frame`.
        longest: lags to measure, fewer than there are samples in a frame.

    Returns:
        (..., frames, longest), at lags 0 to longest - 1. It is 1 at lag 0, and everywhere in frames 50 dB below the
        loudest.

    Raises:
        AudioError: if a frame is too short for the lags.

    Source: equation 8 of de Cheveigne and Kawahara, "YIN" (2002).
    Chapters 4 and 6.
    """
    size = frames.shape[-1]
    require(0 < longest < size, f"{longest} lags do not fit into frames of {size} samples")
    window = size - longest
    spectrum = torch.fft.rfft(frames)
    start = torch.fft.rfft(frames[..., :window], size)  # zero-padded: no lag below `longest` wraps around
    products = torch.fft.irfft(start.conj() * spectrum, size)[..., :longest]
    energy = F.pad(frames.square().cumsum(-1, dtype=torch.float64), (1, 0))
    energy = (energy[..., window : window + longest] - energy[..., :longest]).float()
    d = (energy[..., :1] + energy - 2 * products).clamp(min=0)
    d[..., 0] = 0
    mean = d.cumsum(-1) / torch.arange(longest, device=d.device).clamp(min=1)
    quiet = energy[..., :1] <= 1e-5 * energy[..., :1].amax(-2, keepdim=True).clamp(min=1e-12)  # 50 dB down
    return torch.where((mean > 0) & ~quiet, d / mean.clamp(min=1e-30), 1.0)


def dips(d: Tensor) -> tuple[Tensor, Tensor]:
    """The depth of every dip of a difference function, infinite elsewhere, and the lags refined by a parabola.

    >>> depth, lags = dips(torch.tensor([1.0, 0.6, 0.1, 0.4, 1.0]))
    >>> depth.tolist(), round(lags[1].item(), 3)
    ([inf, 0.10000000149011612, inf], 2.125)

    Args:
        d: (..., lags), as from `yin_difference`.

    Returns:
        Both (..., lags - 2): the first and the last lag have no neighbour.

    Chapters 4 and 6.
    """
    before, here, after = d[..., :-2], d[..., 1:-1], d[..., 2:]
    depth = torch.where((here < before) & (here <= after), here, torch.inf)
    curvature = (before - 2 * here + after).clamp(min=1e-9)
    lags = torch.arange(1, d.shape[-1] - 1, device=d.device) + (0.5 * (before - after) / curvature).clamp(-0.5, 0.5)
    return depth, lags
