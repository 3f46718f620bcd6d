"""Did it play the pitch that was asked for? One estimator of our own, two of others. Chapter 4."""

from collections.abc import Callable

import torch
from torch import Tensor

from musicai.audio import frame, resample
from musicai.metrics.inputs import as_labels, as_sounds, by_parts

# A pitch estimator takes sounds (batch, time) and their sample rate, and gives one frequency a sound in Hz (batch,),
# NaN where it finds none.
PitchEstimator = Callable[[Tensor, int], Tensor]
LOWEST, HIGHEST = 27.5, 4400.0  # Hz: the piano's keys, and a little more
FRAME, HOP, BIN = 0.128, 0.032, 10  # seconds, seconds, cents


def pitch_accuracy(
    audio: Tensor,
    pitch: Tensor | int,
    sr: int = 16_000,
    estimator: PitchEstimator | None = None,
    tolerance: float = 50.0,
) -> float:
    """The share of sounds whose pitch lies within `tolerance` cents of the one asked for.

    >>> t = torch.arange(16_000) / 16_000
    >>> pitch_accuracy(torch.stack([torch.sin(2 * torch.pi * f * t) for f in (440.0, 466.2)]), 69)
    0.5

    No estimator is right about every real note: read the number beside what the same estimator says of real notes
    (`judge` prints both). An octave error is an error.

    Args:
        audio: (batch, time) or (batch, 1, time).
        pitch: MIDI pitches (batch,), or one for all.
        sr: sample rate in Hz.
        estimator: `estimate_pitch` if None; `pyin_pitch`, `crepe_pitch`, or your own.
        tolerance: in cents; 50 is half a semitone.

    Source: raw pitch accuracy as in Poliner et al., "Melody transcription from music audio" (2007). Chapter 4.
    """
    off = pitch_errors(audio, pitch, sr, estimator)
    return (off.abs() <= tolerance).float().mean().item()  # NaN is within nothing


def pitch_errors(
    audio: Tensor, pitch: Tensor | int, sr: int = 16_000, estimator: PitchEstimator | None = None
) -> Tensor:
    """How far each sound is from the pitch asked for, in cents (batch,); NaN where no pitch is found.

    Arguments as for `pitch_accuracy`. Chapter 4.
    """
    x = as_sounds(audio)
    asked = as_labels(pitch, len(x), "pitch").double()
    found = (estimator or estimate_pitch)(x, sr).double()
    return 1200 * (found / 440).log2() - 100 * (asked - 69)


def estimate_pitch(audio: Tensor, sr: int = 16_000, fmin: float = LOWEST, fmax: float = HIGHEST) -> Tensor:
    """The fundamental frequency of each sound in Hz (batch,), one note a sound; NaN where none is periodic.

    >>> estimate_pitch(torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)).round()
    tensor([440.])

    YIN's difference function (de Cheveigne and Kawahara, 2002) says for each frame how unlike the sound is to itself
    a period later. Every dip is a candidate. As in pYIN (Mauch and Dixon, 2014), each threshold under which a dip may
    be taken has a prior probability, Beta(2, 8), and a frame votes for its candidates by it. A note keeps its
    pitch, so where pYIN seeks a path through the frames, we add all their votes. Pure harmonics are found to 10 cents
    up to 2.5 kHz and to 20 above, where a period is a few samples.

    Args:
        audio: (batch, time) or (batch, 1, time), notes of about a second.
        sr: sample rate in Hz.
        fmin, fmax: where to look, in Hz.

    Chapter 4.
    """
    if not 0 < fmin < fmax < sr / 2:
        raise ValueError(f"need 0 < fmin < fmax < sr / 2, not fmin={fmin}, fmax={fmax} at {sr} Hz")
    return by_parts(lambda x: _estimate(x, sr, fmin, fmax), as_sounds(audio), 16)


def _estimate(x: Tensor, sr: int, fmin: float, fmax: float) -> Tensor:
    rate = sr * max(1, -(-6 * int(fmax) // sr))  # the highest pitch has at least 6 samples a period
    x = resample(x - x.mean(-1, keepdim=True), sr, rate)
    longest = int(rate / fmin) + 2
    size = max(round(FRAME * rate), 2 * longest)
    x = torch.nn.functional.pad(x, (0, max(0, size - x.shape[-1])))
    d = _difference(frame(x, size, round(HOP * rate)), longest)  # (B, frames, lags)
    votes, lags = _votes(d)
    f = rate / lags
    votes = torch.where((f >= fmin) & (f <= fmax), votes, 0.0).flatten(1)
    return _mode(f.flatten(1).clamp(fmin, fmax), votes, fmin, fmax)


def _difference(frames: Tensor, longest: int) -> Tensor:
    """YIN's cumulative mean normalised difference at lags 0 ... longest - 1 (equation 8); 1 at lag 0."""
    size = frames.shape[-1]
    window = size - longest
    spectrum = torch.fft.rfft(frames)
    start = torch.fft.rfft(frames[..., :window], size)  # zeros beyond: no lag below `longest` wraps around
    products = torch.fft.irfft(start.conj() * spectrum, size)[..., :longest]
    energy = torch.nn.functional.pad(frames.square().cumsum(-1, dtype=torch.float64), (1, 0))
    energy = (energy[..., window : window + longest] - energy[..., :longest]).float()
    d = (energy[..., :1] + energy - 2 * products).clamp(min=0)
    d[..., 0] = 0
    mean = d.cumsum(-1) / torch.arange(longest, device=d.device).clamp(min=1)
    quiet = energy[..., :1] <= 1e-5 * energy[..., :1].amax(-2, keepdim=True).clamp(min=1e-12)  # 50 dB down: no vote
    return torch.where((mean > 0) & ~quiet, d / mean.clamp(min=1e-30), 1.0)


def _votes(d: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of each inner lag to be the period, and the lags with the parabola's share of a sample."""
    before, here, after = d[..., :-2], d[..., 1:-1], d[..., 2:]
    dips = torch.where((here < before) & (here <= after), here, torch.inf)
    lowest = torch.nn.functional.pad(dips.cummin(-1).values[..., :-1], (1, 0), value=1.0).clamp(max=1)
    votes = (_beta(lowest) - _beta(dips.clamp(max=1))).clamp(min=0)  # thresholds under which it is the first dip
    curve = (before - 2 * here + after).clamp(min=1e-9)
    lags = torch.arange(1, d.shape[-1] - 1, device=d.device) + (0.5 * (before - after) / curve).clamp(-0.5, 0.5)
    return votes, lags


def _beta(x: Tensor) -> Tensor:
    """The distribution function of Beta(2, 8): pYIN's prior for the threshold, of mean 0.2."""
    return 1 - (1 - x) ** 8 * (1 + 8 * x)


def _mode(f: Tensor, votes: Tensor, fmin: float, fmax: float) -> Tensor:
    """The frequency (batch,) with the most votes within 30 cents; the votes' mean within 50 cents of it."""
    cents = 1200 * (f / fmin).log2()
    bins = (cents / BIN).round().long()
    counts = votes.new_zeros(len(f), int(1200 / BIN * torch.tensor(fmax / fmin).log2()) + 2)
    counts = counts.scatter_add(1, bins, votes)
    smooth = torch.nn.functional.conv1d(counts[:, None], counts.new_tensor([[[1, 2, 3, 4, 3, 2, 1]]]), padding=3)
    peak = smooth[:, 0].argmax(1, keepdim=True) * BIN
    near = votes * ((cents - peak).abs() <= 50)
    mean = (near * cents).sum(1) / near.sum(1)  # 0 / 0: nothing periodic
    return fmin * 2 ** (mean / 1200)


def pyin_pitch(audio: Tensor, sr: int = 16_000, fmin: float = LOWEST, fmax: float = HIGHEST) -> Tensor:
    """The median over the voiced frames of librosa.pyin, in Hz (batch,). Needs librosa (extra `judges` or `notebook`).

    Source: Mauch and Dixon, "pYIN" (2014), as librosa.pyin. Chapter 4.
    """
    from librosa import pyin

    def one(x: Tensor) -> float:
        f, voiced, _ = pyin(x.numpy(), fmin=fmin, fmax=min(fmax, 0.49 * sr), sr=sr, frame_length=2048)
        return torch.from_numpy(f[voiced]).median().item() if voiced.any() else torch.nan

    return torch.tensor([one(x) for x in as_sounds(audio).cpu()])


def crepe_pitch(audio: Tensor, sr: int = 16_000, model: str = "tiny", device: str = "cpu") -> Tensor:
    """The median frequency by CREPE, frames weighted by its confidence, in Hz (batch,). Needs torchcrepe.

    It comes with the extra `judges`. Pitches from C1 to B6, as CREPE was trained on.

    Source: Kim et al., "CREPE" (2018); the PyTorch port with its weights, torchcrepe. Chapter 4.
    """
    torchcrepe = _torchcrepe()

    def one(x: Tensor) -> float:
        f, sure = torchcrepe.predict(
            x[None], sr, hop_length=sr // 50, fmin=32.7, fmax=1975.5, model=model, device=device,
            decoder=torchcrepe.decode.weighted_argmax, return_periodicity=True, batch_size=512,
        )  # fmt: skip
        f, order = f[0].sort()
        weight = sure[0][order].square().cumsum(0)
        return f[torch.searchsorted(weight, weight[-1] / 2)].item()

    return torch.tensor([one(x) for x in as_sounds(audio)])


def _torchcrepe():
    import importlib
    import importlib.machinery
    import sys
    import types

    stub = types.ModuleType("torchaudio")  # its wheel does not import beside every torch, and only files need it
    stub.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    try:
        real = sys.modules.setdefault("torchaudio", stub)
        return importlib.import_module("torchcrepe")
    except ModuleNotFoundError as error:
        message = f"{error}; pip install 'musicai[judges]'"
        raise ModuleNotFoundError(message, name=error.name) from None
    finally:
        if real is stub:
            del sys.modules["torchaudio"]
