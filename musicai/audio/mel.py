"""The mel scale, mel spectrograms and their cepstrum, as librosa defines them, and the way back. Chapter 2.

Sound is (..., time) and features are (..., features, frames); each sound of a batch is treated alone.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from .fourier import framewise, griffin_lim, magnitude
from .signal import as_audio, constant, constant_for, matmul, require, whole

HZ_PER_MEL = 200 / 3  # Slaney's scale: linear up to 1 kHz, then 6.4 times the frequency every 27 mels
BREAK_HZ, BREAK_MEL = 1000.0, 15.0
LOG_STEP = math.log(6.4) / 27
GROUP = 16  # mel bands multiplied at once: neighbours share the few frequencies that they need


def hz_to_mel(hz: Tensor | float) -> Tensor:
    """Frequency in Hz to mel, on Slaney's scale. As librosa.hz_to_mel.

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
    """Mel to frequency in Hz, on Slaney's scale. As librosa.mel_to_hz.

    >>> mel_to_hz(15.0)
    tensor(1000., dtype=torch.float64)

    Args:
        mel: mels, a number or a tensor of any shape.

    Returns: frequencies in Hz, float64, in the shape of `mel`.

    Slaney, Auditory Toolbox (1998). Chapter 2.
    """
    mel = torch.as_tensor(mel, dtype=torch.float64)
    return torch.where(mel < BREAK_MEL, mel * HZ_PER_MEL, BREAK_HZ * torch.exp(LOG_STEP * (mel - BREAK_MEL)))


def mel_filterbank(sr: int, n_fft: int, n_mels=128, fmin=0.0, fmax=None, *, device=None, dtype=torch.float32) -> Tensor:
    """Triangular filters, evenly spaced in mel, of equal area. As librosa.filters.mel (Slaney's scale and norm).

    >>> mel_filterbank(16_000, 1024, n_mels=40).shape
    torch.Size([40, 513])

    Args:
        sr: sample rate in Hz.
        n_fft: samples in a frame of the `stft`.
        n_mels: number of filters.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None is sr / 2.
        device: where the filters shall be.
        dtype: precision of the filters.

    Returns: (n_mels, 1 + n_fft // 2).

    Raises:
        AudioError: a setting is out of range.

    Slaney, Auditory Toolbox (1998). Chapter 2.
    """
    return constant(mel_filters, *_settings(sr, n_fft, n_mels, fmin, fmax), device=device, dtype=dtype).clone()


def melspectrogram(
    x: Tensor, sr: int, n_fft=2048, hop_length=512, n_mels=128, fmin=0.0, fmax=None, power=2.0
) -> Tensor:
    """Energy in mel bands over time. As librosa.feature.melspectrogram.

    >>> melspectrogram(torch.zeros(2, 16_000), 16_000).shape
    torch.Size([2, 128, 32])

    Args:
        x: sound (..., time); differentiable.
        sr: sample rate in Hz.
        n_fft: samples in a frame.
        hop_length: samples from one frame to the next.
        n_mels: number of bands.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None is sr / 2.
        power: 2 for energy, 1 for magnitude.

    Returns: (..., n_mels, frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: the sound is empty or not floating point, or a setting is out of range.

    Chapter 2.
    """
    return _mel_features(lambda S: S, x, hop_length, power, sr, n_fft, n_mels, fmin, fmax)


def log_mel(x: Tensor, sr: int, n_fft=2048, hop_length=512, n_mels=128, fmin=0.0, fmax=None, power=2.0) -> Tensor:
    """Mel spectrogram in decibels: `power_to_db(melspectrogram(x, sr))`.

    >>> log_mel(torch.zeros(2, 16_000), 16_000).shape
    torch.Size([2, 128, 32])

    Args:
        x: sound (..., time); differentiable.
        sr: sample rate in Hz.
        n_fft: samples in a frame.
        hop_length: samples from one frame to the next.
        n_mels: number of bands.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None is sr / 2.
        power: 2 for energy, 1 for magnitude.

    Returns: decibels (..., n_mels, frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: the sound is empty or not floating point, or a setting is out of range.

    Chapter 2.
    """
    return _mel_features(power_to_db, x, hop_length, power, sr, n_fft, n_mels, fmin, fmax)


def mfcc(x: Tensor, sr: int, n_mfcc=20, n_fft=2048, hop_length=512, n_mels=128, fmin=0.0, fmax=None) -> Tensor:
    """Mel-frequency cepstral coefficients: the shape of the log-mel spectrum, coarse first. As librosa.feature.mfcc.

    >>> mfcc(torch.zeros(2, 16_000), 16_000).shape
    torch.Size([2, 20, 32])

    Args:
        x: sound (..., time); differentiable.
        sr: sample rate in Hz.
        n_mfcc: number of coefficients, of the orthonormal DCT-II.
        n_fft: samples in a frame.
        hop_length: samples from one frame to the next.
        n_mels: number of mel bands, at least n_mfcc.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; None is sr / 2.

    Returns: (..., n_mfcc, frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: the sound is empty or not floating point, or a setting is out of range.

    Davis and Mermelstein (1980). Chapter 2.
    """
    require(whole("n_mfcc", n_mfcc) <= n_mels, f"n_mfcc={n_mfcc} coefficients need as many mel bands, not {n_mels}")
    cosines = constant_for(as_audio(x), _dct_matrix, n_mfcc, n_mels).mT
    cepstrum = lambda S: matmul(power_to_db(S), cosines)  # noqa: E731
    return _mel_features(cepstrum, x, hop_length, 2.0, sr, n_fft, n_mels, fmin, fmax)


def power_to_db(S: Tensor, ref: float | Tensor = 1.0, amin=1e-10, top_db: float | None = 80.0) -> Tensor:
    """10 log10(S / ref), cut off at `top_db` below the loudest point. As librosa.power_to_db.

    The loudest point is that of each spectrogram (the last two axes), so a sound's features do not depend on its
    neighbours in the batch; librosa takes one maximum for the whole array.

    >>> power_to_db(torch.tensor([[1.0, 100.0]]))
    tensor([[ 0., 20.]])

    Args:
        S: power (..., features, frames).
        ref: the power that counts as 0 dB; a number, or a tensor that broadcasts with S.
        amin: smaller powers count as this.
        top_db: the dynamic range to keep, in dB; None keeps all.

    Returns: decibels in the shape of S.

    Raises:
        AudioError: `amin` is not above 0, or `top_db` is negative.

    Chapter 2.
    """
    require(amin > 0, f"amin must be above 0, not {amin!r}")
    require(top_db is None or top_db >= 0, f"top_db must be None or at least 0, not {top_db!r}")
    ref = torch.as_tensor(ref, dtype=S.dtype, device=S.device).abs().clamp(min=amin)
    db = 10 * torch.log10(S.clamp(min=amin)) - 10 * torch.log10(ref)
    if top_db is None or not db.numel():
        return db
    return torch.maximum(db, db.amax(tuple(range(-min(2, db.ndim), 0)), keepdim=True) - top_db)


def db_to_power(db: Tensor, ref: float = 1.0) -> Tensor:
    """Inverse of `power_to_db`: ref * 10 ** (db / 10). As librosa.db_to_power.

    >>> db_to_power(torch.tensor([0.0, 20.0]))
    tensor([  1., 100.])

    Args:
        db: decibels of any shape.
        ref: the power at 0 dB.

    Returns: power in the shape of `db`.

    Chapter 2.
    """
    return ref * torch.pow(10.0, db / 10)


def mel_to_stft(M: Tensor, sr: int, n_fft=2048, power=2.0, n_iter=100, fmin=0.0, fmax=None) -> Tensor:
    """Magnitudes whose mel spectrogram is near M. As librosa.feature.inverse.mel_to_stft.

    Non-negative least squares by multiplicative updates (Lee and Seung, 2001).

    >>> mel_to_stft(torch.ones(128, 4), 16_000).shape
    torch.Size([1025, 4])

    Args:
        M: mel spectrogram (..., n_mels, frames), at least 0.
        sr: sample rate in Hz.
        n_fft: samples in a frame.
        power: 2 if M holds energies, 1 if it holds magnitudes.
        n_iter: number of updates.
        fmin: lowest frequency in Hz, as in `melspectrogram`.
        fmax: highest frequency in Hz, as in `melspectrogram`.

    Returns: magnitudes (..., 1 + n_fft // 2, frames).

    Raises:
        AudioError: M has negative, NaN or infinite values (decibels?), or a setting is out of range.

    Chapter 2.
    """
    require(isinstance(M, Tensor) and M.is_floating_point() and M.ndim > 1, "M must be a tensor (..., n_mels, frames)")
    good = bool(((M >= 0) & M.isfinite()).all())
    require(good, "a mel spectrogram has no negative, NaN or infinite values; for decibels call db_to_power first")
    tiny = torch.finfo(M.dtype).tiny
    W = mel_filterbank(sr, n_fft, M.shape[-2], fmin, fmax, device=M.device, dtype=M.dtype)
    scale = M.amax((-2, -1), keepdim=True).clamp(min=tiny)  # keeps the products in range
    target = W.mT @ (M / scale)
    S = target / (W.mT @ W.sum(1, keepdim=True)).clamp(min=tiny)
    for _ in range(n_iter):
        S = S * target / (W.mT @ (W @ S)).clamp(min=1e-30)
    return (S * scale) ** (1 / power)


def mel_to_audio(
    M: Tensor, sr: int, n_fft=2048, hop_length=512, power=2.0, n_iter=32, length=None, fmin=0.0, fmax=None
) -> Tensor:
    """A sound from its mel spectrogram: `mel_to_stft`, then `griffin_lim`. As librosa.feature.inverse.mel_to_audio.

    >>> mel_to_audio(torch.ones(128, 4), 16_000).shape
    torch.Size([1536])

    Args:
        M: mel spectrogram (..., n_mels, frames), at least 0.
        sr: sample rate in Hz.
        n_fft: samples in a frame.
        hop_length: samples from one frame to the next.
        power: 2 if M holds energies, 1 if it holds magnitudes.
        n_iter: rounds of `griffin_lim`.
        length: samples wanted; None is all that the frames hold.
        fmin: lowest frequency in Hz, as in `melspectrogram`.
        fmax: highest frequency in Hz, as in `melspectrogram`.

    Returns: sound (..., time).

    Raises:
        AudioError: M has negative, NaN or infinite values (decibels?), or a setting is out of range.

    Chapter 2.
    """
    return griffin_lim(mel_to_stft(M, sr, n_fft, power, fmin=fmin, fmax=fmax), n_iter, hop_length, length=length)


def mfcc_to_mel(coefficients: Tensor, n_mels: int = 128) -> Tensor:
    """The mel spectrogram, smooth across bands, that has these MFCCs. As librosa.feature.inverse.mfcc_to_mel.

    >>> mfcc_to_mel(torch.zeros(20, 4)).shape
    torch.Size([128, 4])

    Args:
        coefficients: MFCCs (..., n_mfcc, frames).
        n_mels: number of mel bands, at least n_mfcc.

    Returns: energy (..., n_mels, frames).

    Raises:
        AudioError: there are more coefficients than bands.

    Chapter 2.
    """
    n_mfcc = coefficients.shape[-2]
    require(n_mfcc <= whole("n_mels", n_mels), f"{n_mfcc} coefficients need at least as many mel bands, not {n_mels}")
    return db_to_power(constant_for(coefficients, _dct_matrix, n_mfcc, n_mels).mT @ coefficients)


def mel_filters(sr: float, n_fft: int, n_mels: int, fmin: float, fmax: float) -> Tensor:
    """(n_mels, 1 + n_fft // 2): triangle i rises from corner i to i + 1 and falls to i + 2, with area 1 in Hz."""
    bins = torch.arange(1 + n_fft // 2, dtype=torch.float64) * sr / n_fft
    low, high = float(hz_to_mel(fmin)), float(hz_to_mel(fmax))
    corners = mel_to_hz(torch.linspace(low, high, n_mels + 2, dtype=torch.float64))[:, None]
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    triangles = torch.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)).clamp(min=0)
    return triangles * 2 / (right - left)


def _settings(sr: float, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> tuple:
    require(math.isfinite(sr) and sr > 0, f"sample rate must be above 0 Hz, not {sr!r}")
    fmax = sr / 2 if fmax is None else fmax
    require(0 <= fmin < fmax < math.inf, f"mel filters need 0 <= fmin < fmax, not fmin={fmin} Hz and fmax={fmax} Hz")
    return sr, whole("n_fft", n_fft), whole("n_mels", n_mels), fmin, fmax


def _mel_features(after: Callable[[Tensor], Tensor], x: Tensor, hop_length: int, power: float, *settings) -> Tensor:
    """`after` the mel spectra (batch, frames, n_mels), while they are in the cache."""
    x, settings = as_audio(x), _settings(*settings)
    bank = constant_for(x, mel_filters, *settings).mT
    whole_bank = [(0, bank.shape[1], 0, len(bank))]
    groups = _groups(*settings) if x.device.type == "cpu" else whole_bank

    def features(X):  # (batch, frames, frequencies)
        S = magnitude(X, power)
        return after(torch.cat([matmul(S[..., low:high], bank[low:high, a:b]) for a, b, low, high in groups], -1))

    return framewise(x, features, settings[1], hop_length)


@lru_cache(maxsize=64)
def _groups(*settings) -> list[tuple[int, int, int, int]]:
    """(a, b, low, high): the filters a..b - 1, GROUP at a time, need only the frequency bins low..high - 1."""
    with torch.device("cpu"):
        used = mel_filters(*settings) > 0
    groups = []
    for a in range(0, len(used), GROUP):
        bins = used[a : a + GROUP].any(0).nonzero().flatten().tolist() or [0]  # a narrow filter may miss every bin
        groups.append((a, min(a + GROUP, len(used)), bins[0], bins[-1] + 1))
    return groups


def _dct_matrix(n: int, size: int) -> Tensor:
    """First n rows of the orthonormal DCT-II of `size` points."""
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * k * (2 * i + 1) / (2 * size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix
