"""Spectra: Fourier transforms in time, mel, cepstrum, chroma and constant-Q, as librosa defines them. Chapter 2.

Every function takes (..., time) and gives (..., features, frames); each sound of a batch is treated alone.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .banks import chroma_filters, constant_q_kernels, constant_q_lengths, dct_matrix, hann, mel_filters, mel_reach
from .signal import as_audio, by_rows, constant, constant_for, frame, matmul, require, whole

C1 = 440 * 2 ** (-45 / 12)  # the lowest C of a piano in Hz
MEL_GROUP = 16  # mel bands multiplied at once: neighbours share the few frequencies that they need


def stft(
    x: Tensor, n_fft: int = 2048, hop_length: int | None = None, window: str | Tensor = "hann", center: bool = True
) -> Tensor:
    """Short-time Fourier transform: the spectrum of each windowed frame. As librosa.stft.

    >>> stft(torch.zeros(2, 16_000)).shape
    torch.Size([2, 1025, 32])

    Args:
        x: (..., time).
        n_fft: samples in a frame.
        hop_length: samples between frames; n_fft // 4 if None.
        window: "hann" (periodic), "ones", or a tensor of n_fft samples.
        center: frame t is centred on sample t * hop_length, with zeros beyond the ends.

    Returns complex (..., 1 + n_fft // 2, frames). Chapter 2.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    return _framewise(x, lambda spectrum: spectrum, n_fft, hop, window, center)


def istft(
    X: Tensor,
    hop_length: int | None = None,
    window: str | Tensor = "hann",
    center: bool = True,
    length: int | None = None,
    n_fft: int | None = None,
) -> Tensor:
    """Inverse of `stft` by weighted overlap-add (Griffin and Lim, 1984). As librosa.istft.

    Args:
        X: complex (..., 1 + n_fft // 2, frames).
        hop_length, window, center: those of the `stft`.
        length: samples wanted: cut, or filled with zeros; None for all that the frames hold.
        n_fft: only needed where it was odd.

    Returns (..., time). Chapter 2.
    """
    require(isinstance(X, Tensor) and X.is_complex() and X.ndim > 1, "istft needs a complex (..., frequencies, frames)")
    n_fft = whole("n_fft", 2 * (X.shape[-2] - 1) if n_fft is None else n_fft)
    hop = whole("hop_length", n_fft // 4 if hop_length is None else hop_length)
    window = _window(X.real, window, n_fft)
    frames = torch.fft.irfft(X.mT, n_fft) * window  # (..., frames, n_fft)
    x = _overlap_add(frames.reshape(-1, *frames.shape[-2:]), hop)
    weight = _overlap_add(window.square().expand(1, frames.shape[-2], n_fft), hop)
    x = x / torch.where(weight > torch.finfo(x.dtype).tiny, weight, 1)
    start = n_fft // 2 if center else 0
    length = x.shape[-1] - 2 * start if length is None else whole("length", length)
    x = x[:, start : start + max(0, length)]
    return F.pad(x, (0, length - x.shape[-1])).reshape(*X.shape[:-2], length)


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """(batch, frames, n) -> (batch, time)."""
    _, count, n = frames.shape
    size = n + hop * (count - 1)
    return F.fold(frames.mT, (1, size), (1, n), stride=(1, hop)).reshape(len(frames), size)


def _window(x: Tensor, window: str | Tensor, n_fft: int) -> Tensor | None:
    if isinstance(window, Tensor):
        require(window.shape == (n_fft,), f"window of shape {tuple(window.shape)} for frames of n_fft={n_fft} samples")
        return window.to(x)
    require(window in ("hann", "ones"), f'window must be "hann", "ones" or a tensor of n_fft samples, not {window!r}')
    return constant_for(x, hann if window == "hann" else torch.ones, n_fft)


def _framewise(
    x: Tensor, features: Callable[[Tensor], Tensor], n_fft: int, hop: int, window: str | Tensor, center: bool = True
) -> Tensor:
    """Apply `features` to the spectra (batch, frames, frequencies) of `x`; frames come last in what is returned."""
    x, n_fft, hop = as_audio(x), whole("n_fft", n_fft), whole("hop_length", hop)
    window = _window(x, window, n_fft)

    def transform(x):  # (batch, time)
        x = F.pad(x, (n_fft // 2, n_fft // 2)) if center else x
        return features(torch.fft.rfft(frame(x, n_fft, hop) * window))

    out = by_rows(transform, x.reshape(-1, x.shape[-1]), n_fft * (1 + x.shape[-1] // hop))
    return out.mT.reshape(*x.shape[:-1], *out.mT.shape[-2:])


def _magnitude(spectrum: Tensor, power: float) -> Tensor:
    """|spectrum| ** power, without a square root where power is 2."""
    if power != 2:
        return spectrum.abs() if power == 1 else spectrum.abs() ** power
    real, imag = torch.view_as_real(spectrum).unbind(-1)
    return torch.addcmul(real.square(), imag, imag)


def mel_filterbank(
    sr: int,
    n_fft: int,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Triangular filters, evenly spaced in mel, of equal area. As librosa.filters.mel (Slaney's scale and norm).

    Args:
        sr: sample rate in Hz.
        n_fft: samples in a frame of the `stft`.
        n_mels: filters.
        fmin, fmax: lowest and highest frequency in Hz; None is sr / 2.

    Returns (n_mels, 1 + n_fft // 2). Slaney, Auditory Toolbox (1998). Chapter 2.
    """
    fmax = _check_mel(sr, n_fft, n_mels, fmin, fmax)
    return constant(mel_filters, sr, n_fft, n_mels, fmin, fmax, device=device, dtype=dtype).clone()


def _check_mel(sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> float:
    require(math.isfinite(sr) and sr > 0, f"sample rate must be above 0 Hz, not {sr!r}")
    whole("n_fft", n_fft)
    whole("n_mels", n_mels)
    fmax = sr / 2 if fmax is None else fmax
    require(0 <= fmin < fmax, f"mel filters need 0 <= fmin < fmax, not fmin={fmin} Hz and fmax={fmax} Hz")
    return fmax


def melspectrogram(
    x: Tensor,
    sr: int,
    n_fft: int = 2048,
    hop_length: int = 512,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    power: float = 2.0,
) -> Tensor:
    """Energy in mel bands over time. As librosa.feature.melspectrogram.

    >>> melspectrogram(torch.zeros(2, 16_000), 16_000).shape
    torch.Size([2, 128, 32])

    Args:
        x: (..., time).
        sr: sample rate in Hz.
        power: 2 for energy, 1 for magnitude. The others are those of `stft` and `mel_filterbank`.

    Returns (..., n_mels, frames). Chapter 2.
    """
    return _mel_features(lambda S: S, x, sr, n_fft, hop_length, n_mels, fmin, fmax, power)


def _mel_features(
    after: Callable[[Tensor], Tensor],
    x: Tensor,
    sr: int,
    n_fft: int = 2048,
    hop_length: int = 512,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    power: float = 2.0,
) -> Tensor:
    """`after` the mel spectra (batch, frames, n_mels), while they are in the cache."""
    x = as_audio(x)
    settings = sr, n_fft, n_mels, fmin, _check_mel(sr, n_fft, n_mels, fmin, fmax)
    bank = constant_for(x, mel_filters, *settings).mT
    groups = mel_reach(MEL_GROUP, *settings) if x.device.type == "cpu" else [(0, n_mels, 0, len(bank))]

    def features(X):  # (batch, frames, frequencies)
        S = _magnitude(X, power)
        return after(torch.cat([matmul(S[..., low:high], bank[low:high, a:b]) for a, b, low, high in groups], -1))

    return _framewise(x, features, n_fft, hop_length, "hann")


def power_to_db(S: Tensor, ref: float | Tensor = 1.0, amin: float = 1e-10, top_db: float | None = 80.0) -> Tensor:
    """10 log10(S / ref), not lower than `top_db` below the loudest point. As librosa.power_to_db.

    The loudest point is looked for in each spectrogram (the last two axes) alone, so that a sound's features do not
    depend on its neighbours in the batch; librosa takes one maximum for the whole array.

    Args:
        S: power (..., features, frames).
        ref: the power that counts as 0 dB; a number, or a tensor that broadcasts with S.
        amin: smaller powers count as this.
        top_db: the dynamic range kept; None keeps all.

    Returns decibels in the shape of S. Chapter 2.
    """
    require(amin > 0, f"amin must be above 0, not {amin!r}")
    require(top_db is None or top_db >= 0, f"top_db must be None or at least 0, not {top_db!r}")
    ref = torch.as_tensor(ref, dtype=S.dtype, device=S.device).abs().clamp(min=amin)
    db = 10 * torch.log10(S.clamp(min=amin)) - 10 * torch.log10(ref)
    if top_db is None or not db.numel():
        return db
    return torch.maximum(db, db.amax(tuple(range(-min(2, db.ndim), 0)), keepdim=True) - top_db)


def db_to_power(db: Tensor, ref: float = 1.0) -> Tensor:
    """Inverse of `power_to_db`: ref * 10 ** (db / 10). As librosa.db_to_power. Chapter 2."""
    return ref * torch.pow(10.0, db / 10)


def log_mel(x: Tensor, sr: int, **mel) -> Tensor:
    """Mel spectrogram in decibels, `power_to_db(melspectrogram(x, sr, **mel))`: (..., n_mels, frames). Chapter 2."""
    return _mel_features(power_to_db, x, sr, **mel)


def mfcc(x: Tensor, sr: int, n_mfcc: int = 20, **mel) -> Tensor:
    """Mel-frequency cepstral coefficients: the shape of the log-mel spectrum, coarse first. As librosa.feature.mfcc.

    >>> mfcc(torch.zeros(2, 16_000), 16_000).shape
    torch.Size([2, 20, 32])

    Args:
        x: (..., time).
        sr: sample rate in Hz.
        n_mfcc: coefficients of the orthonormal DCT-II.
        mel: settings of `melspectrogram`.

    Returns (..., n_mfcc, frames). Davis and Mermelstein (1980). Chapter 2.
    """
    n_mels = mel.get("n_mels", 128)
    require(whole("n_mfcc", n_mfcc) <= n_mels, f"n_mfcc={n_mfcc} coefficients need as many mel bands, not {n_mels}")
    cosines = constant_for(as_audio(x), dct_matrix, n_mfcc, n_mels).mT
    return _mel_features(lambda S: matmul(power_to_db(S), cosines), x, sr, **mel)


def chroma(x: Tensor, sr: int, n_fft: int = 2048, hop_length: int = 512, n_chroma: int = 12) -> Tensor:
    """Energy of the twelve pitch classes, C first, whatever the octave; the strongest is 1.

    As librosa.feature.chroma_stft with tuning=0 (a stated tuning, not one guessed from the sound).

    >>> t = torch.arange(16_000) / 16_000
    >>> chroma(torch.sin(2 * torch.pi * 440 * t), 16_000)[:, 16].argmax()  # A
    tensor(9)

    Returns (..., n_chroma, frames). Ellis, "Chroma feature analysis and synthesis" (2007). Chapter 2.
    """
    x = as_audio(x)
    require(math.isfinite(sr) and sr > 0, f"sample rate must be above 0 Hz, not {sr!r}")
    bank = constant_for(x, chroma_filters, sr, whole("n_fft", n_fft), whole("n_chroma", n_chroma)).mT
    C = _framewise(x, lambda X: matmul(_magnitude(X, 2), bank), n_fft, hop_length, "hann")
    peak = C.amax(-2, keepdim=True)
    return C / torch.where(peak < torch.finfo(C.dtype).tiny, 1, peak)


def cqt(
    x: Tensor,
    sr: int,
    hop_length: int = 512,
    fmin: float = C1,
    n_bins: int = 84,
    bins_per_octave: int = 12,
) -> Tensor:
    """Magnitude of the constant-Q transform: bins a semitone apart, each with as many periods in its window.

    Every bin is the product of the sound with its own windowed complex tone, computed in the frequency domain (Brown
    and Puckette, 1992), an octave at a time with frames just long enough. As abs(librosa.cqt), which gets the low
    octaves from a resampled sound and so differs by up to a few per cent of the peak.

    >>> t = torch.arange(16_000) / 16_000
    >>> cqt(torch.sin(2 * torch.pi * 440 * t), 16_000)[:, 16].argmax()  # A4 is 45 semitones above C1
    tensor(45)

    Args:
        x: (..., time).
        sr: sample rate in Hz.
        fmin: frequency of the first bin in Hz.

    Returns (..., n_bins, 1 + time // hop_length). Chapter 2.
    """
    n_bins, per_octave = whole("n_bins", n_bins), whole("bins_per_octave", bins_per_octave)
    require(math.isfinite(sr) and sr > 0 and fmin > 0, f"sr and fmin must be above 0 Hz, not {sr!r} and {fmin!r}")
    frequencies, lengths = constant_q_lengths(sr, fmin, n_bins, per_octave)
    top = frequencies[-1] * (1 + 0.75 * frequencies[-1] ** -1 * sr / lengths[-1])
    require(
        top <= sr / 2, f"the highest bin reaches {top:.0f} Hz, above half the sample rate {sr}: lower n_bins or fmin"
    )
    octaves = [range(k, min(k + per_octave, n_bins)) for k in range(0, n_bins, per_octave)]
    return torch.cat([_octave(x, sr, hop_length, fmin, bins, per_octave, lengths) for bins in octaves], -2)


def _octave(x: Tensor, sr: int, hop: int, fmin: float, bins: range, per_octave: int, lengths: list[float]) -> Tensor:
    n_fft = 2 ** math.ceil(math.log2(lengths[bins[0]] + 1))
    require(n_fft <= 2**24, f"a bin at {fmin} Hz needs a window of {lengths[bins[0]]:.0f} samples: raise fmin")
    x = as_audio(x)
    dtype = torch.complex128 if x.dtype == torch.float64 else torch.complex64
    bank = _kernels(x.device, dtype, sr, fmin, bins[0], len(bins), per_octave, n_fft)
    return _framewise(x, lambda X: matmul(X, bank).abs(), n_fft, hop, "ones")


def _kernels(device, dtype, *args) -> Tensor:
    return constant(constant_q_kernels, *args, device=device, dtype=dtype)
