"""From features back to sound: what a spectrogram leaves out has to be recovered or guessed. Chapter 2.

Sound is (..., time) and features are (..., features, frames); each sound in a batch is processed independently.
"""

import math

import torch
from torch import Tensor

from .fourier import istft, stft
from .mel import db_to_power, dct_matrix, mel_filterbank
from .signal import constant_for, require, whole


def griffin_lim(S: Tensor, n_iter=32, hop_length=None, momentum=0.99, length: int | None = None, seed=0) -> Tensor:
    """Find a sound whose magnitude spectrogram is close to S by improving its phases. Matches librosa.griffinlim.

    >>> griffin_lim(stft(torch.randn(16_000)).abs()).shape
    torch.Size([15872])

    Args:
        S: magnitudes (..., 1 + n_fft // 2, frames), not powers.
        n_iter: number of iterations.
        hop_length: samples from one frame to the next; None means n_fft // 4.
        momentum: 0 for the plain method (Griffin and Lim, 1984), below 1 for the fast one (Perraudin et al., 2013).
        length: samples to return; None means all that the frames hold.
        seed: seed of the random phases it starts from.

    Returns: sound (..., time); NaN in S gives NaN.

    Raises:
        AudioError: if S is not a magnitude spectrogram of at least two frames, or a setting is out of range.

    Chapter 2.
    """
    good = isinstance(S, Tensor) and S.is_floating_point() and S.ndim > 1 and S.shape[-1] > 1
    require(good, "griffin_lim needs magnitudes (..., frequencies, frames), at least 2 frames")
    whole("n_iter", n_iter, 0)
    require(0 <= momentum < math.inf, f"momentum must be at least 0, not {momentum!r}")
    n_fft = 2 * (S.shape[-2] - 1)
    turns = torch.rand(S.shape, generator=torch.Generator("cpu").manual_seed(seed), device="cpu").to(S)
    phase, last = torch.polar(torch.ones_like(S), 2 * math.pi * turns), 0
    for _ in range(n_iter):
        rebuilt = stft(istft(S * phase, hop_length), n_fft, hop_length)
        step = rebuilt - momentum / (1 + momentum) * last
        phase, last = step / (step.abs() + torch.finfo(S.dtype).tiny), rebuilt
    return istft(S * phase, hop_length, length=length)


def mel_to_stft(M: Tensor, sr: int, n_fft: int = 2048, n_iter: int = 100) -> Tensor:
    """Find magnitudes whose mel spectrogram is close to M. Matches librosa.feature.inverse.mel_to_stft.

    Non-negative least squares by multiplicative updates (Lee and Seung, 2001).

    >>> mel_to_stft(torch.ones(128, 4), 16_000).shape
    torch.Size([1025, 4])

    Args:
        M: mel spectrogram (..., n_mels, frames), non-negative energies.
        sr: sample rate in Hz.
        n_fft: samples per frame.
        n_iter: number of updates.

    Returns: magnitudes (..., 1 + n_fft // 2, frames).

    Raises:
        AudioError: if M has negative, NaN or infinite values (decibels?), or a setting is out of range.

    Chapter 2.
    """
    good = bool(((M >= 0) & M.isfinite()).all())
    require(good, "a mel spectrogram has no negative, NaN or infinite values; for decibels call db_to_power first")
    tiny = torch.finfo(M.dtype).tiny
    W = constant_for(M, mel_filterbank, sr, n_fft, M.shape[-2], 0.0, None, torch.float64)
    scale = M.amax((-2, -1), keepdim=True).clamp(min=tiny)  # keeps the products in range
    target = W.mT @ (M / scale)
    S = target / (W.mT @ W.sum(1, keepdim=True)).clamp(min=tiny)
    for _ in range(n_iter):
        S = S * target / (W.mT @ (W @ S)).clamp(min=1e-30)
    return (S * scale).sqrt()


def mel_to_audio(M: Tensor, sr: int, n_fft=2048, hop_length=512, n_iter=32, length: int | None = None) -> Tensor:
    """Recover sound from a mel spectrogram: `mel_to_stft`, `griffin_lim`. Matches librosa.feature.inverse.mel_to_audio.

    >>> mel_to_audio(torch.ones(128, 4), 16_000).shape
    torch.Size([1536])

    Args:
        M: mel spectrogram (..., n_mels, frames), non-negative energies.
        sr: sample rate in Hz.
        n_fft: samples per frame.
        hop_length: samples from one frame to the next.
        n_iter: iterations of `griffin_lim`.
        length: samples to return; None means all that the frames hold.

    Returns: sound (..., time).

    Raises:
        AudioError: if M has negative, NaN or infinite values (decibels?), or a setting is out of range.

    Chapter 2.
    """
    return griffin_lim(mel_to_stft(M, sr, n_fft), n_iter, hop_length, length=length)


def mfcc_to_mel(coefficients: Tensor, n_mels: int = 128) -> Tensor:
    """The mel spectrogram, smooth across bands, that has these MFCCs. Matches librosa.feature.inverse.mfcc_to_mel.

    >>> mfcc_to_mel(torch.zeros(20, 4)).shape
    torch.Size([128, 4])

    Args:
        coefficients: MFCCs (..., n_mfcc, frames).
        n_mels: number of mel bands, at least n_mfcc.

    Returns: energy (..., n_mels, frames).

    Raises:
        AudioError: if there are more coefficients than bands.

    Chapter 2.
    """
    cosines = constant_for(coefficients, dct_matrix, coefficients.shape[-2], n_mels)
    return db_to_power(cosines.mT @ coefficients)
