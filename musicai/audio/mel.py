"""The mel scale, mel spectrograms and their cepstrum, as librosa defines them. Chapter 2.

Sound is (..., time) and features are (..., features, frames); each sound in a batch is processed independently.
"""

import math

import torch
from torch import Tensor

from .fourier import band_energies
from .signal import constant_for, matmul, require, whole

HZ_PER_MEL = 200 / 3  # Slaney's scale: linear up to 1 kHz, then 6.4 times the frequency every 27 mels
BREAK_HZ, BREAK_MEL = 1000.0, 15.0
LOG_STEP = math.log(6.4) / 27
AMIN = 1e-10  # the smallest power, -100 dB; anything below counts as this


def hz_to_mel(hz: Tensor | float) -> Tensor:
    """Convert frequencies in Hz to mels, on Slaney's scale. Matches librosa.hz_to_mel.

    >>> hz_to_mel(440.0)
    tensor(6.6000, dtype=torch.float64)

    Args:
        hz: frequencies in Hz, a number or a tensor of any shape.

    Returns: mels, float64, in the shape of `hz`.

    Slaney, Auditory Toolbox (1998). Chapter 2.
    """
    hz = torch.as_tensor(hz, dtype=torch.float64)
    return torch.where(hz < BREAK_HZ, hz / HZ_PER_MEL, BREAK_MEL + torch.log(hz.clamp(min=1) / BREAK_HZ) / LOG_STEP)


def mel_to_hz(mel: Tensor | float) -> Tensor:
    """Convert mels to frequencies in Hz, on Slaney's scale. Matches librosa.mel_to_hz.

    >>> mel_to_hz(15.0)
    tensor(1000., dtype=torch.float64)

    Args:
        mel: mels, a number or a tensor of any shape.

    Returns: frequencies in Hz, float64, in the shape of `mel`.

    Slaney, Auditory Toolbox (1998). Chapter 2.
    """
    mel = torch.as_tensor(mel, dtype=torch.float64)
    return torch.where(mel < BREAK_MEL, mel * HZ_PER_MEL, BREAK_HZ * torch.exp(LOG_STEP * (mel - BREAK_MEL)))


def mel_filterbank(sr: int, n_fft: int, n_mels=128, fmin=0.0, fmax=None, dtype=torch.float32) -> Tensor:
    """Triangular filters of equal area, evenly spaced in mels. Matches librosa.filters.mel (Slaney's scale and norm).

    >>> mel_filterbank(16_000, 1024, n_mels=40).shape
    torch.Size([40, 513])

    Args:
        sr: sample rate in Hz.
        n_fft: samples per frame of the `stft`.
        n_mels: number of filters.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None means sr / 2.
        dtype: precision of the filters.

    Returns: (n_mels, 1 + n_fft // 2). Filter i rises from corner i to i + 1 and falls to i + 2.

    Raises:
        AudioError: if a setting is out of range.

    Slaney, Auditory Toolbox (1998). Chapter 2.
    """
    require(0 < sr < math.inf, f"sample rate must be above 0 Hz, not {sr!r}")
    fmax = sr / 2 if fmax is None else fmax
    require(0 <= fmin < fmax < math.inf, f"mel filters need 0 <= fmin < fmax, not fmin={fmin} Hz and fmax={fmax} Hz")
    bins = torch.arange(1 + whole("n_fft", n_fft) // 2, dtype=torch.float64) * sr / n_fft
    low, high = float(hz_to_mel(fmin)), float(hz_to_mel(fmax))
    corners = mel_to_hz(torch.linspace(low, high, whole("n_mels", n_mels) + 2, dtype=torch.float64))[:, None]
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    triangles = torch.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)).clamp(min=0)
    return (triangles * 2 / (right - left)).to(dtype)


def melspectrogram(x: Tensor, sr: int, n_fft=2048, hop_length=512, n_mels=128, fmin=0.0, fmax=None) -> Tensor:
    """Energy in mel bands over time. Matches librosa.feature.melspectrogram.

    >>> melspectrogram(torch.zeros(2, 16_000), 16_000).shape
    torch.Size([2, 128, 32])

    Args:
        x: sound (..., time); differentiable.
        sr: sample rate in Hz.
        n_fft: samples per frame.
        hop_length: samples from one frame to the next.
        n_mels: number of bands.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None means sr / 2.

    Returns: (..., n_mels, frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: if the sound is empty or not floating point, or a setting is out of range.

    Chapter 2.
    """
    return band_energies(x, n_fft, hop_length, mel_filterbank, sr, n_fft, n_mels, fmin, fmax, torch.float64)


def log_mel(x: Tensor, sr: int, n_fft=2048, hop_length=512, n_mels=128, fmin=0.0, fmax=None) -> Tensor:
    """Mel spectrogram in decibels: `power_to_db(melspectrogram(x, sr))`.

    >>> log_mel(torch.zeros(2, 16_000), 16_000).shape
    torch.Size([2, 128, 32])

    Args:
        x: sound (..., time); differentiable.
        sr: sample rate in Hz.
        n_fft: samples per frame.
        hop_length: samples from one frame to the next.
        n_mels: number of bands.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None means sr / 2.

    Returns: decibels (..., n_mels, frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: if the sound is empty or not floating point, or a setting is out of range.

    Chapter 2.
    """
    return power_to_db(melspectrogram(x, sr, n_fft, hop_length, n_mels, fmin, fmax))


def mfcc(x: Tensor, sr: int, n_mfcc=20, n_fft=2048, hop_length=512, n_mels=128, fmin=0.0, fmax=None) -> Tensor:
    """Mel-frequency cepstral coefficients: the log-mel spectrum's shape, coarse first. Matches librosa.feature.mfcc.

    >>> mfcc(torch.zeros(2, 16_000), 16_000).shape
    torch.Size([2, 20, 32])

    Args:
        x: sound (..., time); differentiable.
        sr: sample rate in Hz.
        n_mfcc: number of coefficients of the orthonormal DCT-II.
        n_fft: samples per frame.
        hop_length: samples from one frame to the next.
        n_mels: number of mel bands, at least n_mfcc.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None means sr / 2.

    Returns: (..., n_mfcc, frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: if the sound is empty or not floating point, or a setting is out of range.

    Davis and Mermelstein (1980). Chapter 2.
    """
    S = log_mel(x, sr, n_fft, hop_length, n_mels, fmin, fmax)
    return matmul(constant_for(S, dct_matrix, n_mfcc, n_mels), S)


def power_to_db(S: Tensor, top_db: float | None = 80.0) -> Tensor:
    """10 log10(S), cut off at `top_db` below the loudest point. Matches librosa.power_to_db.

    The loudest point is found per spectrogram (over the last two axes), so a sound's features do not depend on its
    neighbours in the batch; librosa takes one maximum for the whole array.

    >>> power_to_db(torch.tensor([[1.0, 100.0]]))
    tensor([[ 0., 20.]])

    Args:
        S: power (..., features, frames); values below 1e-10 count as 1e-10.
        top_db: the dynamic range to keep, in dB; None keeps all.

    Returns: decibels in the shape of S.

    Raises:
        AudioError: S is not a tensor (..., features, frames), or is empty.

    Chapter 2.
    """
    require(isinstance(S, Tensor) and S.ndim > 1 and S.numel() > 0, "power_to_db needs power (..., features, frames)")
    db = 10 * torch.log10(S.clamp(min=AMIN))
    return db if top_db is None else torch.maximum(db, db.amax((-2, -1), keepdim=True) - top_db)


def db_to_power(db: Tensor) -> Tensor:
    """Inverse of `power_to_db`: 10 ** (db / 10). Matches librosa.db_to_power.

    >>> db_to_power(torch.tensor([0.0, 20.0]))
    tensor([  1., 100.])

    Args:
        db: decibels of any shape.

    Returns: power in the shape of `db`.

    Chapter 2.
    """
    return torch.pow(10.0, db / 10)


def dct_matrix(n: int, size: int) -> Tensor:
    """First n rows of the orthonormal DCT-II of `size` points."""
    require(1 <= n <= size, f"{n} coefficients need at least as many mel bands, not {size}")
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * k * (2 * i + 1) / (2 * size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix
