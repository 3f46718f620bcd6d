"""Did it play the pitch that was asked for? One estimator of our own, two independent ones. Chapter 4."""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from musicai.audio import frame, resample
from musicai.notes import midi_to_hz

from .features import as_labels, as_sounds, in_batches

# A pitch estimator takes sounds (batch, time) and their sample rate, and returns one frequency per sound in Hz
# (batch,), NaN where it finds none.
PitchEstimator = Callable[[Tensor, int], Tensor]
FMIN, FMAX = 27.5, 4400.0  # Hz: the piano's range, and a little more
FRAME, HOP, BIN = 0.128, 0.032, 10  # seconds, seconds, cents


def estimate_pitch(audio: Tensor, sr: int = 16_000, fmin: float = FMIN, fmax: float = FMAX) -> Tensor:
    """The fundamental frequency of each sound, taken to be a single note.

    >>> estimate_pitch(torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)).round()
    tensor([440.])

    YIN's difference function (de Cheveigne and Kawahara 2002) measures, for each frame and lag, how much the sound
    differs from itself that much later. Every dip is a candidate for the period. As in pYIN (Mauch and Dixon 2014),
    each threshold below which a dip may be accepted has a prior probability, Beta(2, 8), and with it a frame votes for
    its candidates. Where pYIN looks for a path through the frames, we add up all their votes, since a note keeps its
    pitch. Pure harmonics are found within 10 cents up to 2.5 kHz and within 20 above, where a period is only a few
    samples.

    Args:
        audio: (batch, time) or (batch, 1, time), notes of about a second.
        sr: sample rate in Hz.
        fmin: lowest frequency to look for, in Hz.
        fmax: highest frequency to look for, in Hz.

    Returns:
        (batch,) in Hz; NaN where nothing is periodic.

    Raises:
        ValueError: a range that does not fit the sample rate, or audio of a wrong shape, dtype or not finite.

    Chapter 4.
    """
    if not 0 < fmin < fmax < sr / 2:
        raise ValueError(f"pitch needs 0 < fmin < fmax < sr / 2, not fmin={fmin}, fmax={fmax} at {sr} Hz")
    return in_batches(lambda x: _estimate(x, sr, fmin, fmax), as_sounds(audio), 16)


def pitch_errors(
    audio: Tensor, pitch: Tensor | float, sr: int = 16_000, estimator: PitchEstimator = estimate_pitch
) -> Tensor:
    """How far each sound is from the pitch that was asked for, in cents.

    >>> pitch_errors(torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000), 68).round()
    tensor([100.], dtype=torch.float64)

    Args:
        audio: (batch, time) or (batch, 1, time).
        pitch: MIDI numbers (batch,), or one for all.
        sr: sample rate in Hz.
        estimator: `estimate_pitch`, `pyin_pitch`, `crepe_pitch`, or your own.

    Returns:
        (batch,) in cents; NaN where no pitch is found.

    Raises:
        ValueError: pitches outside 0 to 127; audio of a wrong shape, dtype or not finite; frequencies of another shape.

    Chapter 4.
    """
    x = as_sounds(audio)
    wanted = as_labels(pitch, len(x), "pitch", 0, 127).double()
    found = estimator(x, sr)
    if found.shape != wanted.shape:
        raise ValueError(f"the estimator must return one frequency per sound ({len(x)},), not {tuple(found.shape)}")
    return 1200 * (found.double() / midi_to_hz(69)).log2() - 100 * (wanted - 69)


def pitch_accuracy(
    audio: Tensor,
    pitch: Tensor | float,
    sr: int = 16_000,
    estimator: PitchEstimator = estimate_pitch,
    tolerance: float = 50.0,
) -> float:
    """The share of sounds whose pitch is within `tolerance` cents of the one that was asked for.

    >>> t = torch.arange(16_000) / 16_000
    >>> pitch_accuracy(torch.stack([torch.sin(2 * torch.pi * f * t) for f in (440.0, 466.2)]), 69)
    0.5

    No estimator is right about every real note, so read the number beside what the same estimator says of real notes
    (`judge` prints both). An octave error is an error.

    Args:
        audio: (batch, time) or (batch, 1, time).
        pitch: MIDI numbers (batch,), or one for all.
        sr: sample rate in Hz.
        estimator: `estimate_pitch`, `pyin_pitch`, `crepe_pitch`, or your own.
        tolerance: in cents; 50 is half a semitone.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: as for `pitch_errors`.

    Source: raw pitch accuracy as in Poliner et al., "Melody transcription from music audio" (2007).
    Chapter 4.
    """
    errors = pitch_errors(audio, pitch, sr, estimator)
    return (errors.abs() <= tolerance).float().mean().item()  # NaN is within nothing


def _estimate(x: Tensor, sr: int, fmin: float, fmax: float) -> Tensor:
    rate = sr * max(1, -(-6 * int(fmax) // sr))  # the highest pitch has at least 6 samples per period
    x = resample(x - x.mean(-1, keepdim=True), sr, rate)
    longest = int(rate / fmin) + 2
    size = max(round(FRAME * rate), 2 * longest)
    x = F.pad(x, (0, max(0, size - x.shape[-1])))
    d = _difference(frame(x, size, round(HOP * rate)), longest)  # (B, frames, lags)
    votes, lags = _votes(d)
    f = rate / lags
    votes = torch.where((f >= fmin) & (f <= fmax), votes, 0.0).flatten(1)
    return _mode(f.flatten(1).clamp(fmin, fmax), votes, fmin, fmax)


def _difference(frames: Tensor, longest: int) -> Tensor:
    """YIN's cumulative mean normalised difference at lags 0 to longest - 1 (equation 8); 1 at lag 0."""
    size = frames.shape[-1]
    window = size - longest
    spectrum = torch.fft.rfft(frames)
    start = torch.fft.rfft(frames[..., :window], size)  # zero-padded: no lag below `longest` wraps around
    products = torch.fft.irfft(start.conj() * spectrum, size)[..., :longest]
    energy = F.pad(frames.square().cumsum(-1, dtype=torch.float64), (1, 0))
    energy = (energy[..., window : window + longest] - energy[..., :longest]).float()
    d = (energy[..., :1] + energy - 2 * products).clamp(min=0)
    d[..., 0] = 0
    mean = d.cumsum(-1) / torch.arange(longest, device=d.device).clamp(min=1)
    quiet = energy[..., :1] <= 1e-5 * energy[..., :1].amax(-2, keepdim=True).clamp(min=1e-12)  # 50 dB down: no vote
    return torch.where((mean > 0) & ~quiet, d / mean.clamp(min=1e-30), 1.0)


def _votes(d: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of each inner lag to be the period, and the lags refined by parabolic interpolation."""
    before, here, after = d[..., :-2], d[..., 1:-1], d[..., 2:]
    dips = torch.where((here < before) & (here <= after), here, torch.inf)
    lowest = F.pad(dips.cummin(-1).values[..., :-1], (1, 0), value=1.0).clamp(max=1)
    votes = (_beta_cdf(lowest) - _beta_cdf(dips.clamp(max=1))).clamp(min=0)  # thresholds for which it is the first dip
    curvature = (before - 2 * here + after).clamp(min=1e-9)
    lags = torch.arange(1, d.shape[-1] - 1, device=d.device) + (0.5 * (before - after) / curvature).clamp(-0.5, 0.5)
    return votes, lags


def _beta_cdf(x: Tensor) -> Tensor:
    """The cumulative distribution of Beta(2, 8), pYIN's prior for the threshold, with mean 0.2."""
    return 1 - (1 - x) ** 8 * (1 + 8 * x)


def _mode(f: Tensor, votes: Tensor, fmin: float, fmax: float) -> Tensor:
    """The frequency (batch,) with the most votes within 30 cents, refined to the mean of the votes within 50 cents."""
    cents = 1200 * (f / fmin).log2()
    bins = (cents / BIN).round().long()
    counts = votes.new_zeros(len(f), int(1200 / BIN * torch.tensor(fmax / fmin).log2()) + 2)
    counts = counts.scatter_add(1, bins, votes)
    smooth = F.conv1d(counts[:, None], counts.new_tensor([[[1, 2, 3, 4, 3, 2, 1]]]), padding=3)
    peak = smooth[:, 0].argmax(1, keepdim=True) * BIN
    near = votes * ((cents - peak).abs() <= 50)
    return fmin * 2 ** ((near * cents).sum(1) / near.sum(1) / 1200)  # 0 / 0 = NaN: nothing periodic


def pyin_pitch(audio: Tensor, sr: int = 16_000, fmin: float = FMIN, fmax: float = FMAX) -> Tensor:
    """The pitch by pYIN, an independent judge: the median over the voiced frames.

    >>> pyin_pitch(torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000))  # doctest: +SKIP
    tensor([440.])

    Needs librosa: the `judges` or the `notebook` extra.

    Args:
        audio: (batch, time) or (batch, 1, time).
        sr: sample rate in Hz.
        fmin: lowest frequency to look for, in Hz.
        fmax: highest frequency to look for, in Hz.

    Returns:
        (batch,) in Hz; NaN where no frame is voiced.

    Source: Mauch and Dixon, "pYIN" (2014), as implemented by librosa.pyin.
    Chapter 4.
    """
    from librosa import pyin

    def one(x: Tensor) -> float:
        f, voiced, _ = pyin(x.numpy(), fmin=fmin, fmax=min(fmax, 0.49 * sr), sr=sr, frame_length=2048)
        return torch.from_numpy(f[voiced]).median().item() if voiced.any() else torch.nan

    return torch.tensor([one(x) for x in as_sounds(audio).cpu()])


def crepe_pitch(audio: Tensor, sr: int = 16_000, model: str = "tiny", device: str = "cpu") -> Tensor:
    """The pitch by CREPE, an independent judge: the median over frames, weighted by its confidence.

    >>> crepe_pitch(torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000))  # doctest: +SKIP
    tensor([440.1])

    Needs torchcrepe: the `judges` extra. It covers C1 to B6, the range CREPE was trained on.

    Args:
        audio: (batch, time) or (batch, 1, time).
        sr: sample rate in Hz.
        model: "tiny" or "full".
        device: where the network runs.

    Returns:
        (batch,) in Hz.

    Raises:
        ModuleNotFoundError: torchcrepe is missing; the message says how to install it.

    Source: Kim et al., "CREPE" (2018); torchcrepe, a PyTorch port with the published weights.
    Chapter 4.
    """
    torchcrepe = _torchcrepe()
    options = {"hop_length": sr // 50, "fmin": 32.7, "fmax": 1975.5, "model": model, "device": device}
    options |= {"decoder": torchcrepe.decode.weighted_argmax, "return_periodicity": True, "batch_size": 512}

    def one(x: Tensor) -> float:
        f, confidence = torchcrepe.predict(x[None], sr, **options)
        f, order = f[0].sort()
        weight = confidence[0][order].square().cumsum(0)
        return f[torch.searchsorted(weight, weight[-1] / 2)].item()

    return torch.tensor([one(x) for x in as_sounds(audio)])


def _torchcrepe() -> ModuleType:
    """torchcrepe, imported without torchaudio: it needs that only to read files, and many torch versions have none."""
    stub = ModuleType("torchaudio")
    stub.__spec__ = ModuleSpec("torchaudio", None)
    present = sys.modules.setdefault("torchaudio", stub)
    try:
        return import_module("torchcrepe")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; pip install 'musicai[judges]'", name=error.name) from None
    finally:
        if present is stub:
            del sys.modules["torchaudio"]
