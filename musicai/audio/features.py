"""Pitch and rhythm: chroma, constant-Q, onsets and tempo, as librosa defines them; what pitch estimators start from.

Sound is (..., time) and features are (..., features, frames); each sound in a batch is processed independently.
Chapter 2.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .fourier import band_energies, hann
from .mel import log_mel
from .signal import as_audio, constant_for, frame, matmul, require, whole

C1 = 440 * 2 ** (-45 / 12)  # the lowest C of a piano in Hz
PERIODS = (2 ** (1 / 6) + 1) / (2 ** (1 / 6) - 1)  # in the window of each constant-Q tone: 17.3


def chroma(x: Tensor, sr: int, n_fft: int = 2048, hop_length: int = 512) -> Tensor:
    """Energy of the twelve pitch classes, C first, summed over octaves and scaled so that the strongest is 1.

    Matches librosa.feature.chroma_stft with tuning=0 (a fixed tuning, not one estimated from the sound).

    >>> t = torch.arange(16_000) / 16_000
    >>> chroma(torch.sin(2 * torch.pi * 440 * t), 16_000)[:, 16].argmax()  # A
    tensor(9)

    Args:
        x: sound (..., time); differentiable.
        sr: sample rate in Hz.
        n_fft: samples per frame.
        hop_length: samples from one frame to the next.

    Returns: (..., 12, frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: if the sound is empty or not floating point, or a setting is out of range.

    Ellis, "Chroma feature analysis and synthesis" (2007). Chapter 2.
    """
    require(0 < sr < math.inf, f"sample rate must be above 0 Hz, not {sr!r}")
    C = band_energies(x, n_fft, hop_length, chroma_filters, sr, n_fft)
    peak = C.amax(-2, keepdim=True)
    return C / torch.where(peak < torch.finfo(C.dtype).tiny, 1, peak)


def cqt(x: Tensor, sr: int, hop_length: int = 512, fmin: float = C1, n_bins: int = 84) -> Tensor:
    """Magnitude of the constant-Q transform: bins a semitone apart, each with the same number of periods in its window.

    Every bin is the product of the sound with its own windowed complex tone, computed one octave at a time with frames
    that are just long enough. The result is close to abs(librosa.cqt), which gets the low octaves from resampled sound
    and so differs by a few per cent of the peak.

    >>> t = torch.arange(16_000) / 16_000
    >>> cqt(torch.sin(2 * torch.pi * 440 * t), 16_000)[:, 16].argmax()  # A4 is 45 semitones above C1
    tensor(45)

    Args:
        x: sound (..., time); differentiable.
        sr: sample rate in Hz.
        hop_length: samples from one frame to the next.
        fmin: frequency of the first bin in Hz.
        n_bins: number of bins.

    Returns: (..., n_bins, 1 + time // hop_length). NaN and infinite samples give NaN.

    Raises:
        AudioError: if the sound is empty or not floating point, or the bins do not fit below half the sample rate.

    Brown, "Calculation of a constant Q spectral transform" (1991). Chapter 2.
    """
    x, hop = as_audio(x), whole("hop_length", hop_length)
    require(0 < sr < math.inf and fmin > 0, f"sr and fmin must be above 0 Hz, not {sr!r} and {fmin!r}")
    top = fmin * 2 ** ((whole("n_bins", n_bins) - 1) / 12) * (1 + 0.75 / PERIODS)
    reaches = f"the highest bin reaches {top:.0f} Hz, over half the sample rate, {sr}"
    require(top <= sr / 2, f"{reaches}: lower n_bins or fmin")
    bins = []
    for low in range(0, n_bins, 12):
        frequency = fmin * 2 ** (low / 12)
        n = 2 ** math.ceil(math.log2(PERIODS * sr / frequency + 1))
        require(n <= 2**24, f"a bin at {frequency} Hz needs a window of {n} samples: raise fmin")
        tones = constant_for(x, constant_q_tones, sr, frequency, min(12, n_bins - low), n)
        frames = frame(F.pad(x, (n // 2, n // 2)), n, hop)
        bins.append(matmul(frames, tones.mT).unflatten(-1, (2, -1)).norm(dim=-2).mT)
    return torch.cat(bins, -2)


def onset_strength(x: Tensor, sr: int, n_fft=2048, hop_length=512, n_mels=128) -> Tensor:
    """How much louder the mel bands get, on average, from one frame to the next. Matches librosa.onset.onset_strength.

    >>> onset_strength(torch.zeros(2, 16_000), 16_000).shape
    torch.Size([2, 32])

    Args:
        x: sound (..., time); differentiable.
        sr: sample rate in Hz.
        n_fft: samples per frame.
        hop_length: samples from one frame to the next.
        n_mels: number of mel bands.

    Returns: (..., frames). NaN and infinite samples give NaN.

    Raises:
        AudioError: if the sound is empty or not floating point, or a setting is out of range.

    Böck and Widmer (2013). Chapter 2.
    """
    S = log_mel(x, sr, n_fft, hop_length, n_mels)
    rise = S.diff(dim=-1).clamp(min=0).mean(-2)
    delay = 1 + n_fft // (2 * hop_length)  # the difference looks one frame back, a centred frame half a frame ahead
    return F.pad(rise, (delay, 0))[..., : S.shape[-1]]


def tempo(x: Tensor, sr: int, hop_length: int = 512) -> Tensor:
    """Beats per minute, from the autocorrelation of the onset strength over 8 seconds. Matches librosa.feature.tempo.

    A log-normal prior favours tempi near 120 over those an octave away and rules out anything from 320 up.

    >>> clicks = torch.zeros(12 * 22_050)
    >>> clicks[::11_025] = 1  # two per second
    >>> round(float(tempo(clicks, 22_050)), 1)
    117.5

    Args:
        x: sound (..., time).
        sr: sample rate in Hz.
        hop_length: samples from one frame to the next.

    Returns: tempi (...), whose beats last a whole number of frames, so fast tempi are coarse; NaN if the sound has NaN
    or infinite samples.

    Raises:
        AudioError: if the sound is empty or not floating point, or a setting is out of range.

    Ellis, "Beat tracking by dynamic programming" (2007). Chapter 2.
    """
    strength = onset_strength(x, sr, hop_length=hop_length)
    window = whole("8 * sr // hop_length", 8 * sr // hop_length, 2)
    lag = torch.arange(1, window, dtype=strength.dtype, device=strength.device)
    bpm = 60 * sr / (hop_length * lag)
    prior = (-0.5 * torch.log2(bpm / 120) ** 2).masked_fill(bpm >= 320, -torch.inf)
    likelihood = torch.log1p(1e6 * tempogram(strength, window).mean(-1)[..., 1:])
    return bpm[(likelihood + prior).argmax(-1)].where(likelihood.isfinite().all(-1), torch.nan)


def tempogram(strength: Tensor, window: int) -> Tensor:
    """Autocorrelation of the onset strength (..., frames) around each frame: (..., window, frames).

    Matches librosa.feature.tempogram: Hann-windowed, and scaled so that the largest value in each frame is 1.
    """
    half, ends = window // 2, (strength[..., :1], strength[..., -1:])
    ramp = torch.arange(half, dtype=strength.dtype, device=strength.device) / max(1, half)
    padded = torch.cat([ends[0] * ramp, strength, ends[1] * ramp.flip(0)], -1)
    frames = frame(padded, window, 1)[..., : strength.shape[-1], :] * constant_for(strength, hann, window)
    lags = torch.fft.irfft(torch.fft.rfft(frames, 2 * window).abs().square(), 2 * window)[..., :window].mT
    peak = lags.abs().amax(-2, keepdim=True)
    return lags / torch.where(peak < torch.finfo(lags.dtype).tiny, 1, peak)


def chroma_filters(sr: float, n_fft: int) -> Tensor:
    """(12, 1 + n_fft // 2): a Gaussian bump around each pitch class, and one around five octaves above A0.

    Ellis (2007), with librosa's constants.
    """
    hz = torch.arange(1, n_fft, dtype=torch.float64) * sr / n_fft
    steps = 12 * torch.log2(hz / 27.5)  # semitones above A0
    steps = torch.cat([steps[:1] - 18, steps])  # 0 Hz has no pitch, so it goes far below
    width = torch.cat([steps.diff().clamp(min=1), torch.ones(1, dtype=torch.float64)])
    distance = torch.remainder(steps - torch.arange(12)[:, None] + 6, 12) - 6
    bumps = torch.exp(-0.5 * (2 * distance / width) ** 2)
    bumps = bumps / bumps.norm(dim=0) * torch.exp(-0.5 * ((steps / 12 - 5) / 2) ** 2)
    return bumps.roll(-3, 0)[:, : 1 + n_fft // 2]  # C first instead of A


def constant_q_tones(sr: float, fmin: float, count: int, n_fft: int) -> Tensor:
    """(2 * count, n_fft): windowed cosines, then minus sines, centred in the frame."""
    tones = torch.zeros(2, count, n_fft, dtype=torch.float64)
    for k in range(count):
        f = fmin * 2 ** (k / 12)
        length = PERIODS * sr / f
        low, high = math.floor(-length / 2), math.ceil(length // 2)
        window = hann(high - low)
        phase = 2 * math.pi * f / sr * torch.arange(low, high, dtype=torch.float64)
        waves = torch.stack([phase.cos(), -phase.sin()])
        tones[:, k, n_fft // 2 + low : n_fft // 2 + high] = waves * window / window.sum() * math.sqrt(length)
    return tones.flatten(0, 1)


# ---- pitch


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
