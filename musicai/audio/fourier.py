"""The short-time Fourier transform and its inverse. Chapter 2.

Sound is (..., time) and a spectrogram (..., frequencies, frames); each sound in a batch is processed independently.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from musicai.threads import one_core

from .signal import as_audio, constant_for, matmul, require, whole

ROWS = 8  # sounds transformed at once on a CPU: twice as fast as long as they fit in the cache


def hann(n: int) -> Tensor:
    """Periodic Hann window of n samples."""
    return torch.hann_window(n, dtype=torch.float64)


def stft(x: Tensor, n_fft: int = 2048, hop_length: int | None = None) -> Tensor:
    """Short-time Fourier transform: the spectrum of each frame under a periodic Hann window. Matches librosa.stft.

    >>> stft(torch.zeros(2, 16_000)).shape
    torch.Size([2, 1025, 32])

    Args:
        x: sound (..., time); differentiable.
        n_fft: samples per frame. Frame t is centred on sample t * hop_length, with zeros beyond the ends.
        hop_length: samples from one frame to the next; None means n_fft // 4.

    Returns: complex (..., 1 + n_fft // 2, frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: if the sound is empty or not floating point, or a setting is out of range.

    Chapter 2.
    """
    x, n_fft = as_audio(x), whole("n_fft", n_fft)
    hop = whole("hop_length", n_fft // 4 if hop_length is None else hop_length)
    window = constant_for(x, hann, n_fft)
    flat = x.reshape(-1, x.shape[-1])
    X = torch.stft(flat, n_fft, hop, window=window, pad_mode="constant", return_complex=True)
    return X.reshape(*x.shape[:-1], *X.shape[1:])


def istft(X: Tensor, hop_length: int | None = None, length: int | None = None) -> Tensor:
    """Inverse of `stft` by weighted overlap-add (Griffin and Lim, 1984). Matches librosa.istft.

    >>> istft(stft(torch.ones(16_000)), length=16_000).shape
    torch.Size([16000])

    Args:
        X: complex (..., 1 + n_fft // 2, frames).
        hop_length: samples from one frame to the next, as in `stft`; None means n_fft // 4.
        length: samples to return, cut or padded with zeros; None means everything up to the middle of the last frame.

    Returns: sound (..., time).

    Raises:
        AudioError: if X is not a complex spectrogram, or a setting is out of range.

    Chapter 2.
    """
    require(isinstance(X, Tensor) and X.is_complex() and X.ndim > 1, "istft needs a complex (..., frequencies, frames)")
    n_fft = 2 * (X.shape[-2] - 1)
    hop = whole("hop_length", n_fft // 4 if hop_length is None else hop_length)
    whole("length", 1 if length is None else length)
    enough = length is not None or X.shape[-1] > 1
    require(enough and X.numel() > 0, f"a spectrogram {tuple(X.shape)} is less than two frames; give its length")
    window = constant_for(X.real, hann, n_fft)
    x = torch.istft(X.reshape(-1, *X.shape[-2:]), n_fft, hop, window=window, length=length)
    return x.reshape(*X.shape[:-2], x.shape[-1])


def band_energies(x: Tensor, n_fft: int, hop_length: int, filters: Callable[..., Tensor], *settings) -> Tensor:
    """Energy (..., bands, frames) that passes each of the `filters(*settings)`, a matrix (bands, 1 + n_fft // 2)."""
    x = as_audio(x)
    bank = constant_for(x, filters, *settings)
    bands = []
    with one_core():
        for rows in x.reshape(-1, x.shape[-1]).split(ROWS if x.device.type == "cpu" else x.numel()):
            X = stft(rows, n_fft, hop_length)
            bands.append(matmul(bank, X.real.square() + X.imag.square()))  # faster than X.abs() ** 2
    return torch.cat(bands).reshape(*x.shape[:-1], *bands[0].shape[1:])
