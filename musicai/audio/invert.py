"""Back from features to sound, to hear what the features lose. Chapter 2."""

import math

import torch
from torch import Tensor

from .banks import dct_matrix
from .signal import constant_for, require, whole
from .spectral import db_to_power, istft, mel_filterbank, stft


def griffin_lim(
    S: Tensor, n_iter: int = 32, hop_length: int | None = None, momentum: float = 0.99, length: int | None = None,
    seed: int = 0,
) -> Tensor:  # fmt: skip
    """A sound whose magnitude spectrogram is near S, with phases found by going back and forth. As librosa.griffinlim.

    >>> griffin_lim(stft(torch.randn(16_000)).abs()).shape
    torch.Size([15872])

    Args:
        S: magnitudes (..., 1 + n_fft // 2, frames), not powers.
        n_iter: rounds.
        hop_length: samples between frames; n_fft // 4 if None.
        momentum: 0 for the plain method (Griffin and Lim, 1984), below 1 for the fast one (Perraudin et al., 2013).
        length: samples wanted; None for all that the frames hold.
        seed: of the phases to begin with.

    Returns (..., time). Chapter 2.
    """
    require(momentum >= 0, f"momentum must be at least 0, not {momentum!r}")
    require(isinstance(S, Tensor) and S.is_floating_point() and S.ndim > 1 and S.numel() > 0,
            "griffin_lim needs magnitudes (..., frequencies, frames)")  # fmt: skip
    n_fft = whole("n_fft", 2 * (S.shape[-2] - 1), 2)
    hop = n_fft // 4 if hop_length is None else whole("hop_length", hop_length)
    require(S.shape[-1] > 1, "griffin_lim needs at least 2 frames")
    turns = torch.rand(S.shape, generator=torch.Generator("cpu").manual_seed(seed), device="cpu").to(S)
    phase, last = torch.polar(torch.ones_like(S), 2 * math.pi * turns), 0
    for _ in range(n_iter):
        rebuilt = stft(istft(S * phase, hop), n_fft, hop)
        step = rebuilt - momentum / (1 + momentum) * last
        phase, last = step / (step.abs() + torch.finfo(S.dtype).tiny), rebuilt
    return istft(S * phase, hop, length=length)


def mel_to_stft(M: Tensor, sr: int, n_fft: int = 2048, power: float = 2.0, n_iter: int = 100, **mel) -> Tensor:
    """Magnitudes >= 0 whose mel spectrogram is near M, by multiplicative updates (Lee and Seung, 2001).

    Args:
        M: mel spectrogram (..., n_mels, frames) of `power`.
        mel: fmin, fmax of the `mel_filterbank`.

    Returns (..., 1 + n_fft // 2, frames). As librosa.feature.inverse.mel_to_stft. Chapter 2.
    """
    require(isinstance(M, Tensor) and M.is_floating_point() and M.ndim > 1, "M must be a tensor (..., n_mels, frames)")
    require(
        bool((M >= 0).all()), "a mel spectrogram has no negative or NaN values; for decibels call db_to_power first"
    )
    W = mel_filterbank(sr, n_fft, M.shape[-2], device=M.device, dtype=M.dtype, **mel)
    scale = M.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(M.dtype).tiny)  # keeps the products in range
    target = W.mT @ (M / scale)
    S = target / (W.mT @ W.sum(1, keepdim=True)).clamp(min=torch.finfo(M.dtype).tiny)
    for _ in range(n_iter):
        S = S * target / (W.mT @ (W @ S)).clamp(min=1e-30)
    return (S * scale) ** (1 / power)


def mel_to_audio(
    M: Tensor, sr: int, n_fft: int = 2048, hop_length: int = 512, power: float = 2.0, n_iter: int = 32,
    length: int | None = None, **mel,
) -> Tensor:  # fmt: skip
    """A sound from its mel spectrogram: `mel_to_stft`, then `griffin_lim`. As librosa.feature.inverse.mel_to_audio.

    Args:
        M: (..., n_mels, frames), of the same settings as `melspectrogram`.

    Returns (..., time). Chapter 2.
    """
    return griffin_lim(mel_to_stft(M, sr, n_fft, power, **mel), n_iter, hop_length, length=length)


def mfcc_to_mel(coefficients: Tensor, n_mels: int = 128) -> Tensor:
    """The mel spectrogram, smooth across bands, that has these MFCCs. As librosa.feature.inverse.mfcc_to_mel.

    Args:
        coefficients: (..., n_mfcc, frames).

    Returns power (..., n_mels, frames). Chapter 2.
    """
    n_mfcc = coefficients.shape[-2]
    require(n_mfcc <= whole("n_mels", n_mels), f"{n_mfcc} coefficients need at least as many mel bands, not {n_mels}")
    return db_to_power(constant_for(coefficients, dct_matrix, n_mfcc, n_mels).mT @ coefficients)
