"""Rhythm: where notes begin, and how fast they follow. Chapter 2."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .banks import hann
from .signal import constant_for, frame, require, whole
from .spectral import log_mel

FRAMES_AT_ONCE = 4096  # bounds the memory that `tempo` takes for a long piece


def onset_strength(x: Tensor, sr: int, n_fft: int = 2048, hop_length: int = 512, **mel) -> Tensor:
    """How much louder the mel bands get from one frame to the next, averaged. As librosa.onset.onset_strength.

    Args:
        x: (..., time).
        sr: sample rate in Hz.
        mel: other settings of `melspectrogram`.

    Returns (..., frames); differentiable. Bock and Widmer (2013). Chapter 2.
    """
    S = log_mel(x, sr, n_fft=n_fft, hop_length=hop_length, **mel)
    rise = S.diff(dim=-1).clamp(min=0).mean(-2)
    delay = 1 + n_fft // (2 * hop_length)  # the difference looks one frame back, a centred frame half its length ahead
    return F.pad(rise, (delay, 0))[..., : S.shape[-1]]


def tempo(
    x: Tensor, sr: int, hop_length: int = 512, start_bpm: float = 120.0, ac_size: float = 8.0, max_tempo: float = 320.0
) -> Tensor:
    """Beats a minute, from the autocorrelation of the onset strength. As librosa.feature.tempo.

    Args:
        x: (..., time).
        sr: sample rate in Hz.
        start_bpm: the likeliest tempo beforehand; an octave away is less likely (a log-normal prior).
        ac_size: seconds over which onsets are compared.
        max_tempo: beats a minute above which nothing is looked for.

    Returns (...): tempi that a whole number of frames can express, so coarse for fast ones. Ellis (2007). Chapter 2.
    """
    require(start_bpm > 0 and max_tempo > 0, f"tempi must be above 0, not {start_bpm!r} and {max_tempo!r}")
    window = whole("ac_size * sr // hop_length", ac_size * sr // hop_length, 2)
    strength = onset_strength(x, sr, hop_length=hop_length)
    lag = torch.arange(1, window, dtype=strength.dtype, device=strength.device)
    bpm = 60 * sr / (hop_length * lag)
    require(bool(bpm[-1] < max_tempo), f"no tempo below max_tempo={max_tempo} fits in ac_size={ac_size} s")
    prior = -0.5 * (torch.log2(bpm) - torch.log2(torch.as_tensor(start_bpm).to(bpm))) ** 2
    prior = prior.masked_fill(bpm >= max_tempo, -torch.inf)
    likelihood = torch.log1p(1e6 * tempogram(strength, window).mean(-1)[..., 1:])
    return bpm[(likelihood + prior).argmax(-1)]


def tempogram(strength: Tensor, window: int) -> Tensor:
    """Autocorrelation of the onset strength around each frame: (..., frames) -> (..., lags, frames).

    As librosa.feature.tempogram: Hann-windowed, the largest value of each frame 1. Chapter 2.
    """
    half, ends = window // 2, (strength[..., :1], strength[..., -1:])
    ramp = torch.arange(half, dtype=strength.dtype, device=strength.device) / max(1, half)
    padded = torch.cat([ends[0] * ramp, strength, ends[1] * ramp.flip(0)], -1)
    frames = frame(padded, window, 1)[..., : strength.shape[-1], :] * constant_for(strength, hann, window)
    return torch.cat([_autocorrelation(block) for block in frames.split(FRAMES_AT_ONCE, -2)], -2).mT


def _autocorrelation(frames: Tensor) -> Tensor:
    n = frames.shape[-1]
    spectrum = torch.fft.rfft(frames, 2 * n)
    lags = torch.fft.irfft(spectrum.abs().square(), 2 * n)[..., :n]
    peak = lags.abs().amax(-1, keepdim=True)
    return lags / torch.where(peak < torch.finfo(lags.dtype).tiny, 1, peak)
