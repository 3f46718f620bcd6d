"""The short-time Fourier transform, there and back. Chapter 2.

Sound is (..., time) and a spectrogram (..., frequencies, frames); each sound of a batch is treated alone.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .signal import as_audio, by_rows, constant_for, frame, require, whole


def hann(n: int) -> Tensor:
    """Periodic Hann window of n samples."""
    return torch.hann_window(n, dtype=torch.float64)


def stft(x: Tensor, n_fft: int = 2048, hop_length: int | None = None, center: bool = True) -> Tensor:
    """Short-time Fourier transform: the spectrum of each frame under a periodic Hann window. As librosa.stft.

    >>> stft(torch.zeros(2, 16_000)).shape
    torch.Size([2, 1025, 32])

    Args:
        x: sound (..., time); differentiable.
        n_fft: samples in a frame.
        hop_length: samples from one frame to the next; None is n_fft // 4.
        center: whether frame t is centred on sample t * hop_length, with zeros beyond the ends.

    Returns: complex (..., 1 + n_fft // 2, frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: the sound is empty or not floating point, or a setting is out of range.

    Chapter 2.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    return framewise(x, lambda spectrum: spectrum, n_fft, hop, center)


def istft(X: Tensor, hop_length=None, center=True, length: int | None = None, n_fft: int | None = None) -> Tensor:
    """Inverse of `stft` by weighted overlap-add (Griffin and Lim, 1984). As librosa.istft.

    >>> istft(stft(torch.ones(16_000)), length=16_000).shape
    torch.Size([16000])

    Args:
        X: complex (..., 1 + n_fft // 2, frames).
        hop_length: samples from one frame to the next, as in `stft`; None is n_fft // 4.
        center: as in `stft`.
        length: samples wanted: cut, or padded with zeros; None is all that the frames hold.
        n_fft: samples in a frame; needed only if it was odd.

    Returns: sound (..., time).

    Raises:
        AudioError: X is not a complex spectrogram, or a setting is out of range.

    Chapter 2.
    """
    require(isinstance(X, Tensor) and X.is_complex() and X.ndim > 1, "istft needs a complex (..., frequencies, frames)")
    n_fft = whole("n_fft", 2 * (X.shape[-2] - 1) if n_fft is None else n_fft)
    hop = whole("hop_length", n_fft // 4 if hop_length is None else hop_length)
    window = constant_for(X.real, hann, n_fft)
    frames = torch.fft.irfft(X.mT, n_fft) * window  # (..., frames, n_fft)
    x = _overlap_add(frames.reshape(-1, *frames.shape[-2:]), hop)
    weight = _overlap_add(window.square().expand(1, frames.shape[-2], n_fft), hop)
    x = x / torch.where(weight > torch.finfo(x.dtype).tiny, weight, 1)
    start = n_fft // 2 if center else 0
    length = x.shape[-1] - 2 * start if length is None else whole("length", length)
    x = x[:, start : start + max(0, length)]
    return F.pad(x, (0, length - x.shape[-1])).reshape(*X.shape[:-2], length)


def griffin_lim(S: Tensor, n_iter=32, hop_length=None, momentum=0.99, length: int | None = None, seed=0) -> Tensor:
    """A sound whose magnitude spectrogram is near S, its phases found by going back and forth. As librosa.griffinlim.

    >>> griffin_lim(stft(torch.randn(16_000)).abs()).shape
    torch.Size([15872])

    Args:
        S: magnitudes (..., 1 + n_fft // 2, frames), not powers.
        n_iter: number of rounds.
        hop_length: samples from one frame to the next; None is n_fft // 4.
        momentum: 0 for the plain method (Griffin and Lim, 1984), below 1 for the fast one (Perraudin et al., 2013).
        length: samples wanted; None is all that the frames hold.
        seed: seed of the random phases to begin with.

    Returns: sound (..., time); NaN in S gives NaN.

    Raises:
        AudioError: S is not a magnitude spectrogram of at least two frames, or a setting is out of range.

    Chapter 2.
    """
    require(momentum >= 0, f"momentum must be at least 0, not {momentum!r}")
    good = isinstance(S, Tensor) and S.is_floating_point() and S.ndim > 1 and S.numel() > 0 and S.shape[-1] > 1
    require(good, "griffin_lim needs magnitudes (..., frequencies, frames), at least 2 frames")
    n_fft = whole("n_fft", 2 * (S.shape[-2] - 1), 2)
    hop = n_fft // 4 if hop_length is None else whole("hop_length", hop_length)
    turns = torch.rand(S.shape, generator=torch.Generator("cpu").manual_seed(seed), device="cpu").to(S)
    phase, last = torch.polar(torch.ones_like(S), 2 * math.pi * turns), 0
    for _ in range(n_iter):
        rebuilt = stft(istft(S * phase, hop), n_fft, hop)
        step = rebuilt - momentum / (1 + momentum) * last
        phase, last = step / (step.abs() + torch.finfo(S.dtype).tiny), rebuilt
    return istft(S * phase, hop, length=length)


def framewise(x: Tensor, features: Callable[[Tensor], Tensor], n_fft: int, hop: int, center: bool = True) -> Tensor:
    """Apply `features` to the spectra (batch, frames, frequencies) of `x`; in what is returned frames come last."""
    x, n_fft, hop = as_audio(x), whole("n_fft", n_fft), whole("hop_length", hop)
    window = constant_for(x, hann, n_fft)

    def transform(x):  # (batch, time)
        x = F.pad(x, (n_fft // 2, n_fft // 2)) if center else x
        return features(torch.fft.rfft(frame(x, n_fft, hop) * window))

    out = by_rows(transform, x.reshape(-1, x.shape[-1]), n_fft * (1 + x.shape[-1] // hop))
    return out.mT.reshape(*x.shape[:-1], *out.mT.shape[-2:])


def magnitude(spectrum: Tensor, power: float) -> Tensor:
    """|spectrum| ** power, without a square root where power is 2."""
    if power != 2:
        return spectrum.abs() if power == 1 else spectrum.abs() ** power
    real, imag = torch.view_as_real(spectrum).unbind(-1)
    return torch.addcmul(real.square(), imag, imag)


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """(batch, frames, n) -> (batch, time)."""
    _, count, n = frames.shape
    size = n + hop * (count - 1)
    return F.fold(frames.mT, (1, size), (1, n), stride=(1, hop)).reshape(len(frames), size)
