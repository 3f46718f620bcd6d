"""A note of known pitch as curves: the level and mistuning of its harmonics, and the level of its noise. Chapter 4.

    sound (B, 16000)  --  note_curves  -->  curves (B, 256, 128)  --  play_curves  -->  sound (B, 16384)

    rows   0 ..  95   level of harmonics 1 .. 96            -1 is -90 dB or less, 1 is 0 dB (an amplitude of 1)
    rows  96 .. 191   mistuning of the same harmonics       r / (|r| + 1/2) for r semitones: 0 is in tune
    rows 192 .. 255   level of the noise in 64 bands        same scale, raised by 20 dB; bands evenly spaced in mel
    columns           frames of 8 ms

Sources: the harmonic-plus-noise model (Serra and Smith 1990, "Spectral modeling synthesis"), first used in a neural
network by DDSP (Engel et al. 2020). A harmonic's curves are GANSynth's log-magnitude and instantaneous frequency (Engel
et al. 2019), taken at the harmonics instead of on a fixed grid, so every pitch looks alike and is in tune by
construction.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from musicai.audio import istft, stft
from musicai.notes import midi_to_hz

from .game import check_input

SR, HOP, FRAMES = 16_000, 128, 128
HARMONICS, BANDS = 96, 64
ROWS = 2 * HARMONICS + BANDS
LEVEL, MISTUNING, NOISE = slice(0, HARMONICS), slice(HARMONICS, 2 * HARMONICS), slice(2 * HARMONICS, ROWS)
FLOOR_DB = 90.0
KNEE = 0.5  # semitones: a harmonic mistuned by this much is written as 1/2
NOISE_GAIN = 10.0  # the noise of a note is weak, so its amplitude is written 20 dB higher
N_FFT = 512  # for the noise
ATTACK = 16  # frames in which a note begins, 128 ms
FADE = SR // 50  # the last 20 ms of every recording fade out; the curves leave that to the synthesis


def note_curves(audio: Tensor, pitch: Tensor) -> Tensor:
    """Compute the curves of sounds whose pitch is known.

    >>> note_curves(torch.randn(2, 16_000), torch.tensor([60, 64])).shape
    torch.Size([2, 256, 128])

    The table of harmonics depends on the pitch, so sounds are analysed one by one, in about 20 ms each.

    Args:
        audio: (B, 16000) at 16 kHz, with samples in or near [-1, 1].
        pitch: (B,) MIDI numbers from 0 to 112; 60 is middle C.

    Returns:
        (B, 256, 128) float32, as described at the top of this module.

    Raises:
        ValueError: if a shape is wrong, or if samples or a pitch are out of range.

    Chapter 4.
    """
    check_input("audio", audio, ("B", SR), "one second at 16 kHz", limits=(-10, 10))  # integers and NaN are refused
    check_input("pitch", pitch, (len(audio),), "one MIDI number per sound", limits=(0, 112))  # no harmonic above
    return torch.stack([_curves_of(x.double(), p) for x, p in zip(audio, pitch.double().tolist(), strict=True)])


def play_curves(curves: Tensor, pitch: Tensor, phase: Tensor, noise: Tensor) -> Tensor:
    """Turn curves into sound with a bank of oscillators and filtered noise; differentiable.

    Args:
        curves: (B, 256, frames), as from `note_curves`.
        pitch: (B,) MIDI numbers.
        phase: (B, 96), the initial phase of each harmonic in radians.
        noise: (B, frames * 128), white noise with variance 1.

    Returns:
        (B, frames * 128) at 16 kHz.
    """
    amplitude, frequency = harmonics(curves, pitch)
    cycles = _cycles(frequency) + phase[:, : frequency.shape[1], None] / math.tau
    return (_interpolate(amplitude) * torch.cos(math.tau * cycles)).sum(1) + filtered_noise(curves, noise)


# ---- the scales of the curves


def amplitude_to_level(amplitude: Tensor) -> Tensor:
    """Convert an amplitude to the scale of the curves."""
    return (40 / FLOOR_DB * amplitude.clamp_min(1e-9).log10() + 1).clamp_min(-1)


def level_to_amplitude(level: Tensor) -> Tensor:
    """The inverse of `amplitude_to_level`; the floor becomes silence."""
    return torch.exp((level.clamp(-1, 1.2) - 1) * (math.log(10) * FLOOR_DB / 40)) * (level > -0.999)


def semitones_to_mistuning(semitones: Tensor) -> Tensor:
    """Convert semitones to the scale of the curves."""
    return semitones / (semitones.abs() + KNEE)


def mistuning_to_semitones(mistuning: Tensor) -> Tensor:
    """The inverse of `semitones_to_mistuning`, up to 9.5 semitones."""
    mistuning = mistuning.clamp(-0.95, 0.95)
    return KNEE * mistuning / (1 - mistuning.abs())


def audible_harmonics(pitch: Tensor) -> Tensor:
    """For pitches (B,), a mask (B, 96, 1): 1 for each harmonic at least half a harmonic below 8 kHz, else 0."""
    above = torch.arange(1, HARMONICS + 1, device=pitch.device) + 0.5
    return (above * midi_to_hz(pitch.float())[:, None] < SR / 2).float()[:, :, None]


def without_inaudible(curves: Tensor, pitch: Tensor) -> Tensor:
    """Remove the harmonics above 8 kHz from the curves."""
    audible = audible_harmonics(pitch)
    level = curves[:, LEVEL] * audible - (1 - audible)
    return torch.cat([level, curves[:, MISTUNING] * audible, curves[:, NOISE]], 1)


def regularise(curves: Tensor, pitch: Tensor) -> Tensor:
    """Remove the harmonics above 8 kHz, and the mistuning of harmonics that are barely audible."""
    curves = without_inaudible(curves, pitch)
    loud = ((curves[:, LEVEL] + 1) / 0.3).clamp(0, 1)  # falls to 0 over the 14 dB above the floor
    return torch.cat([curves[:, LEVEL], curves[:, MISTUNING] * loud, curves[:, NOISE]], 1)


def loudness(curves: Tensor) -> Tensor:
    """The level of all harmonics and noise together, on the scale of the curves: (B, 256, T) to (B, 1, T)."""
    harmonics, noise = (level_to_amplitude(curves[:, part]).square() for part in (LEVEL, NOISE))
    share = noise_bands(curves.device).to(curves).mean(1)[:, None] / NOISE_GAIN**2  # of a band in the spectrum
    power = harmonics.sum(1) / 2 + (share * noise).sum(1)
    return amplitude_to_level((power[:, None] + 1e-10).sqrt())


def average(curves: Tensor, frames: int = 9) -> Tensor:
    """A moving average of (B, ..., T) over this many frames, 72 ms by default; fewer at the ends."""
    return curves @ _averaging(curves.shape[-1], frames, curves.device).to(curves.dtype)


@cache
def _averaging(length: int, frames: int, device: torch.device) -> Tensor:
    """The matrix (T, T) of that average. On a CPU, the product with it is several times as fast as `avg_pool1d`."""
    return F.avg_pool1d(torch.eye(length, device=device), frames, 1, frames // 2, count_include_pad=False)


# ---- changing a note


def transpose_curves(curves: Tensor, pitch: Tensor, to: Tensor) -> Tensor:
    """Transpose curves (B, 256, 128) of a recording from `pitch` (B,) to another pitch `to` (B,), as a sampler would.

    The harmonics keep their levels. Transposing down leaves room for harmonics that the recording does not have; they
    continue from its highest one, each 1 dB lower than the last.
    """
    curves, level = curves.clone(), curves[:, LEVEL]
    last = audible_harmonics(pitch).sum(1).long()  # (B, 1)
    beyond = (torch.arange(1, HARMONICS + 1, device=curves.device) - last).clamp_min(0)[:, :, None]  # (B, 96, 1)
    highest = level.gather(1, (last - 1)[:, :, None].expand(-1, HARMONICS, level.shape[2]))
    curves[:, LEVEL] = torch.where(beyond > 0, (highest - beyond * 2 / FLOOR_DB).clamp_min(-1), level)
    return without_inaudible(curves, to)


def extend(curves: Tensor, frames: int) -> Tensor:
    """Cut or sustain curves (B, 256, T) to `frames` frames.

    Beyond their end, the curves move back and forth over their second half, without its decay; a note that decays by
    more than 3 dB per second keeps decaying at the same rate.
    """
    have, half = curves.shape[2], curves.shape[2] // 2
    if frames <= have:
        return curves[..., :frames]
    time = torch.arange(have, frames, device=curves.device)
    back_and_forth = (time - half) % (2 * (have - 1 - half))
    index = have - 1 - (back_and_forth - (have - 1 - half)).abs()
    decay = _decay_per_frame(curves)[:, None, None] * (time - index)
    tail = curves[..., index]
    tail = torch.cat([tail[:, LEVEL] + decay, tail[:, MISTUNING], tail[:, NOISE] + decay], 1)
    return torch.cat([curves, tail.clamp_min(-1)], -1)


def _decay_per_frame(curves: Tensor) -> Tensor:
    """The slope of the level over a note's second half, in units of level per frame, (B,); 0 if it is sustained."""
    power = level_to_amplitude(curves[:, LEVEL]).square().sum(1) + 1e-10  # (B, T)
    level = power[:, power.shape[1] // 2 :].log10() * 20 / FLOOR_DB
    time = torch.arange(level.shape[1], device=curves.device, dtype=level.dtype) - (level.shape[1] - 1) / 2
    slope = (level * time).sum(1) / time.square().sum()
    return torch.where(slope * FLOOR_DB / 2 * SR / HOP < -3, slope, 0.0)


# ---- analysis


def _curves_of(x: Tensor, pitch: float) -> Tensor:
    """The curves (256, 128) of one sound (16000,)."""
    f0 = midi_to_hz(pitch)
    spectrum, frequency, centre = _demodulate(x, f0)
    noise = _noise_amplitude((x - _resynthesise(spectrum, frequency, centre))[: SR - FADE])
    number = torch.arange(1, len(spectrum) + 1)[:, None]
    semitones = 12 * torch.log2((frequency / (number * f0)).clamp_min(0.3))
    curves = x.new_zeros(ROWS, FRAMES)
    curves[LEVEL][: len(spectrum)] = amplitude_to_level(spectrum.abs())
    curves[MISTUNING][: len(spectrum)] = semitones_to_mistuning(semitones)
    curves[NOISE] = amplitude_to_level(NOISE_GAIN * noise)
    curves = _with_its_attack(curves, x)
    return regularise(curves.float()[None], torch.tensor([pitch]))[0]


def _with_its_attack(curves: Tensor, x: Tensor) -> Tensor:
    """Curves (256, 128) of x whose first 128 ms have the power of x; windows of 16 ms and more have blurred it."""
    window = torch.hann_window(2 * HOP, dtype=x.dtype)
    inside = (_framed(torch.ones_like(x)) @ window).clamp_min(1)
    power = lambda squares: _framed(squares) @ window / inside  # noqa: E731
    amplitude = level_to_amplitude(loudness(curves[None])[0, 0])  # (128,)
    gain = torch.ones_like(amplitude)
    for _ in range(3):  # neighbouring frames share samples, so the gains need a few rounds
        now = _interpolate(gain * amplitude)[:SR].square() + 1e-14
        gain[:ATTACK] *= (power(x.square()) / power(now)).sqrt()
        gain = gain.clamp(0.25, 4)
    for part in (LEVEL, NOISE):
        louder = curves[part] + gain.log10() * (40 / FLOOR_DB)
        curves[part] = torch.where(curves[part] > -1, louder.clamp_min(-1), -1.0)  # what is silent stays silent
    return curves


def _framed(x: Tensor) -> Tensor:
    """The 16 ms around each of the first frames of x (time,): (16, 256)."""
    return F.pad(x, (HOP, 0)).unfold(0, 2 * HOP, HOP)[:ATTACK]


def _demodulate(x: Tensor, f0: float) -> tuple[Tensor, Tensor, Tensor]:
    """Measure each harmonic in each frame: complex amplitude (K, 128), frequency in Hz (K, 128), and frame centres.

    The frequency comes from the phase difference between two windows one sample apart. That is never ambiguous, whereas
    it would be for windows a whole frame apart.
    """
    size = max(256, 2 * round(2 * SR / f0))  # samples: 16 ms, or four periods if they are longer
    number = torch.arange(1, min(HARMONICS, int(SR / 2 / f0 - 0.5)) + 1)
    centre = (HOP * torch.arange(FRAMES)).clamp(max=SR - FADE - size // 4)
    index = centre[:, None] + torch.arange(size) - size // 2
    inside = ((index >= 0) & (index < SR)).double()
    window = torch.hann_window(size, dtype=torch.double)
    cycles = f0 / SR * torch.outer(torch.arange(size) - size // 2, number)
    kernel = torch.polar(window[:, None].expand_as(cycles), -math.tau * cycles.double())  # (size, K)
    padded = F.pad(x, (size, size + 1))
    scale = 2 / (inside @ window)[:, None]  # by the share of the window inside the sound, so it doesn't fade in
    here, next_ = (scale * (padded[index + size + d].to(kernel.dtype) @ kernel) for d in (0, 1))
    offset = torch.angle(next_ * here.conj()) * SR / math.tau - number * f0
    offset = (offset + SR / 2).remainder(SR) - SR / 2
    return here.mT, (number * f0 + offset.clamp(-f0 / 2, f0 / 2)).mT, centre


def _resynthesise(spectrum: Tensor, frequency: Tensor, centre: Tensor) -> Tensor:
    """Resynthesise the harmonics with their measured phases; subtracting them from the sound leaves the noise.

    Between frames, the phase is unwrapped to the number of cycles closest to what the frequency predicts (McAulay and
    Quatieri 1986).
    """
    expected = math.tau * (frequency[:, 1:] + frequency[:, :-1]) / 2 * HOP / SR
    measured = spectrum.angle()
    change = measured[:, 1:] - measured[:, :-1]
    unwrapped = change + math.tau * torch.round((expected - change) / math.tau)
    steps = torch.where(centre.diff() == HOP, unwrapped, expected)
    phase = torch.cat([measured[:, :1], steps], 1).cumsum(1)
    return (_interpolate(spectrum.abs()) * torch.cos(_interpolate(phase))).sum(0)[:SR]


def _noise_amplitude(x: Tensor) -> Tensor:
    """The standard deviation of white noise with the same power, in each band and frame: (64, 128)."""
    power = stft(x, N_FFT, HOP).abs().square() / (3 / 8 * N_FFT) + 1e-14  # (257, frames)
    bands = noise_bands().double()
    weight = bands.sum(1, keepdim=True)
    mean, mean_log = (bands @ power / weight).log(), bands @ power.log() / weight + 0.5772  # Euler's constant: E log
    log = 0.3 * mean + 0.7 * mean_log  # tones leaking into a band raise its mean log power less
    log = F.pad(log[:, : FRAMES - 7], (1, 8), mode="replicate")  # frames that see the fade repeat the last before it
    return torch.exp(F.avg_pool1d(log, 3, 1) / 2)


# ---- synthesis


@cache
def noise_bands(device: torch.device | None = None) -> Tensor:
    """Overlapping triangles, evenly spaced in mel (O'Shaughnessy's), that sum to 1 at each frequency: (64, 257)."""
    mel = 2595 * torch.log10(1 + torch.linspace(0, SR / 2, N_FFT // 2 + 1, device=device) / 700)
    position = mel / mel[-1] * (BANDS - 1)
    return (1 - (position - torch.arange(BANDS, device=device)[:, None]).abs()).clamp_min(0)


def harmonics(curves: Tensor, pitch: Tensor) -> tuple[Tensor, Tensor]:
    """The amplitudes and the frequencies in cycles per sample, (B, harmonics, frames), of curves (B, 256, frames)."""
    count = int((SR / 2 / midi_to_hz(pitch.float().min())).clamp(1, HARMONICS))  # no note of the batch has more
    level, mistuning = curves[:, LEVEL][:, :count], curves[:, MISTUNING][:, :count]
    number = torch.arange(1, count + 1, device=curves.device)[:, None]
    ratio = 2 ** (mistuning_to_semitones(mistuning) / 12)
    frequency = number * (midi_to_hz(pitch.float()) / SR)[:, None, None] * ratio
    return level_to_amplitude(level) * (frequency < 0.5), frequency


def _cycles(frequency: Tensor) -> Tensor:
    """The phase at each sample, in cycles modulo 1, for frequencies in cycles per sample (B, K, frames).

    Within a frame, the sum of a linear ramp has a closed form; whole cycles are dropped before frames are added up.
    """
    n = torch.arange(HOP, device=frequency.device, dtype=frequency.dtype)
    slope = torch.cat([frequency.diff(dim=-1), torch.zeros_like(frequency[..., :1])], -1) / HOP  # the last frame holds
    whole = HOP * frequency + slope * (HOP * (HOP - 1) / 2)
    start = torch.cat([torch.zeros_like(whole[..., :1]), whole[..., :-1].remainder(1)], -1).cumsum(-1).remainder(1)
    return (start[..., None] + frequency[..., None] * n + slope[..., None] * (n * (n - 1) / 2)).flatten(-2)


def filtered_noise(curves: Tensor, noise: Tensor) -> Tensor:
    """The noise of curves (B, 256, frames), made from white noise (B, frames * 128)."""
    level = level_to_amplitude(curves[:, NOISE]) / NOISE_GAIN  # (B, 64, frames)
    filters = F.pad(noise_bands(curves.device).to(level).T @ level, (0, 1), mode="replicate")  # (B, 257, frames + 1)
    return istft(stft(noise, N_FFT, HOP) * filters, HOP, length=noise.shape[-1])


def _interpolate(curves: Tensor) -> Tensor:
    """Interpolate linearly from (..., frames) to (..., frames * 128) samples."""
    beyond = 2 * curves[..., -1:] - curves[..., -2:-1]
    ramp = torch.arange(HOP, device=curves.device, dtype=curves.dtype) / HOP
    slopes = torch.cat([curves, beyond], -1).diff(dim=-1)
    return (curves[..., None] + slopes[..., None] * ramp).flatten(-2)


def fade_out(audio: Tensor, length: int, samples: int = FADE) -> Tensor:
    """Cut (..., time) to its first `length` samples and fade out the last `samples` of them along half a cosine."""
    samples = min(samples, length)
    ramp = torch.arange(1, samples + 1, device=audio.device, dtype=audio.dtype) / samples
    head, tail = audio[..., : length - samples], audio[..., length - samples : length]
    return torch.cat([head, tail * (0.5 + 0.5 * torch.cos(math.pi * ramp))], -1)
