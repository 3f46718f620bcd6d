"""The constant matrices behind the features, in float64 on the CPU: windows, filters, cosines, tones. Chapter 2."""

import math
from functools import lru_cache

import torch
from torch import Tensor

MEL_HZ = 200 / 3  # Slaney's scale: 66.7 Hz a mel up to 1 kHz, then 6.4 times the frequency every 27 mels
BREAK_HZ, BREAK_MEL = 1000.0, 15.0
LOG_STEP = math.log(6.4) / 27


def hann(n: int) -> Tensor:
    """Periodic Hann window."""
    return torch.hann_window(n, dtype=torch.float64)


def hz_to_mel(hz: Tensor | float) -> Tensor:
    """Frequency in Hz to mel, Slaney's scale. As librosa.hz_to_mel. Chapter 2."""
    hz = torch.as_tensor(hz, dtype=torch.float64)
    return torch.where(hz < BREAK_HZ, hz / MEL_HZ, BREAK_MEL + torch.log(hz.clamp(min=1) / BREAK_HZ) / LOG_STEP)


def mel_to_hz(mel: Tensor | float) -> Tensor:
    """Mel to frequency in Hz, Slaney's scale. As librosa.mel_to_hz. Chapter 2."""
    mel = torch.as_tensor(mel, dtype=torch.float64)
    return torch.where(mel < BREAK_MEL, mel * MEL_HZ, BREAK_HZ * torch.exp(LOG_STEP * (mel - BREAK_MEL)))


def mel_filters(sr: float, n_fft: int, n_mels: int, fmin: float, fmax: float) -> Tensor:
    """(n_mels, 1 + n_fft // 2): triangle i rises from corner i to i + 1 and falls to i + 2, with area 1 in Hz."""
    bins = torch.arange(1 + n_fft // 2, dtype=torch.float64) * sr / n_fft
    low, high = float(hz_to_mel(fmin)), float(hz_to_mel(fmax))
    corners = mel_to_hz(torch.linspace(low, high, n_mels + 2, dtype=torch.float64))[:, None]
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    triangles = torch.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)).clamp(min=0)
    return triangles * 2 / (right - left)


@lru_cache(maxsize=64)
def mel_reach(size: int, *settings) -> list[tuple[int, int, int, int]]:
    """(a, b, low, high): the filters a..b - 1, `size` at a time, need only the frequency bins low..high - 1."""
    with torch.device("cpu"):
        used = mel_filters(*settings) > 0
    groups = []
    for a in range(0, len(used), size):
        bins = used[a : a + size].any(0).nonzero().flatten().tolist() or [0]  # a narrow filter may miss every bin
        groups.append((a, min(a + size, len(used)), bins[0], bins[-1] + 1))
    return groups


def dct_matrix(n: int, size: int) -> Tensor:
    """First n rows of the orthonormal DCT-II of `size` points."""
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * k * (2 * i + 1) / (2 * size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def chroma_filters(sr: float, n_fft: int, n_chroma: int) -> Tensor:
    """(n_chroma, 1 + n_fft // 2): a Gaussian bump around each pitch class, and one around five octaves above A0.

    Ellis (2007), with librosa's constants.
    """
    hz = torch.arange(1, n_fft, dtype=torch.float64) * sr / n_fft
    steps = n_chroma * torch.log2(hz / 27.5)  # pitch above A0 in chroma steps
    steps = torch.cat([steps[:1] - 1.5 * n_chroma, steps])  # 0 Hz has no pitch: put it far below
    width = torch.cat([steps.diff().clamp(min=1), torch.ones(1, dtype=torch.float64)])
    half = round(n_chroma / 2)
    distance = steps - torch.arange(n_chroma, dtype=torch.float64)[:, None]
    distance = torch.remainder(distance + half, n_chroma) - half
    bumps = torch.exp(-0.5 * (2 * distance / width) ** 2)
    bumps = bumps / bumps.norm(dim=0) * torch.exp(-0.5 * ((steps / n_chroma - 5) / 2) ** 2)
    return bumps.roll(-3 * (n_chroma // 12), 0)[:, : 1 + n_fft // 2]  # C first instead of A


def constant_q_lengths(sr: float, fmin: float, n_bins: int, per_octave: int) -> tuple[list[float], list[float]]:
    """Frequencies in Hz and window lengths in samples: each window holds the same number of periods."""
    ratio = 2 ** (2 / per_octave)
    quality = (ratio + 1) / (ratio - 1)
    frequencies = [fmin * 2 ** (k / per_octave) for k in range(n_bins)]
    return frequencies, [quality * sr / f for f in frequencies]


def constant_q_tones(sr: float, fmin: float, first: int, count: int, per_octave: int, n_fft: int) -> Tensor:
    """(count, n_fft) windowed complex tones centred in the frame, of norm 1 / sqrt(length) in the 1-norm's sense."""
    frequencies, lengths = constant_q_lengths(sr, fmin, first + count, per_octave)
    tones = torch.zeros(count, n_fft, dtype=torch.complex128)
    for row, f, length in zip(tones, frequencies[first:], lengths[first:], strict=True):
        low, high = math.floor(-length / 2), math.ceil(length // 2)
        t = torch.arange(low, high, dtype=torch.float64)
        window = hann(len(t))
        tone = torch.polar(window / window.sum() * math.sqrt(length), 2 * math.pi * f / sr * t)
        row[n_fft // 2 + low : n_fft // 2 + high] = tone
    return tones


def constant_q_kernels(sr: float, fmin: float, first: int, count: int, per_octave: int, n_fft: int) -> Tensor:
    """(1 + n_fft // 2, count): by Parseval, frame . conj(tone) = sum of spectrum * conj(spectrum of tone) / n_fft.

    The tones hold next to nothing at negative frequencies, so half of the sum is enough.
    """
    tones = constant_q_tones(sr, fmin, first, count, per_octave, n_fft)
    return torch.fft.fft(tones)[:, : 1 + n_fft // 2].conj().mT / n_fft
