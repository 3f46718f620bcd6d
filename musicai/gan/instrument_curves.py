"""A note of known pitch as curves: the level and mistuning of its harmonics, and the level of its noise. Chapter 4.

    sound (B, 16000)  --  note_curves  -->  curves (B, 256, 128)  --  instrument_sound.play_curves  -->  sound

    rows   0 ..  95   level of harmonics 1 .. 96            -1 is -90 dB or less, 1 is 0 dB (an amplitude of 1)
    rows  96 .. 191   mistuning of the same harmonics       r / (|r| + 1/2) for r semitones: 0 is in tune
    rows 192 .. 255   level of the noise in 64 bands        as the harmonics', 20 dB up; even spacing in mel
    columns           frames of 8 ms

Sources: the harmonic-plus-noise model (Serra and Smith 1990, "Spectral modeling synthesis"), in a neural network first
in DDSP (Engel et al. 2020). A harmonic's curves are GANSynth's log-magnitude and instantaneous frequency (Engel et al.
2019), taken at the harmonics and not on a fixed grid: so every pitch looks alike, and is in tune by construction.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from musicai.audio import stft

SR, HOP, FRAMES = 16_000, 128, 128
HARMONICS, BANDS = 96, 64
ROWS = 2 * HARMONICS + BANDS
LEVEL, MISTUNING, NOISE = slice(0, HARMONICS), slice(HARMONICS, 2 * HARMONICS), slice(2 * HARMONICS, ROWS)
FLOOR = 90.0  # dB
KNEE = 0.5  # semitones: what is mistuned by this much is written as 1/2
NOISE_UP = 10.0  # the noise of a note lies low: its amplitude is written 20 dB up
N_FFT = 512  # of the noise
FADE = SR // 50  # the last 20 ms of every recording fade out; the curves leave that to the synthesis
SHORTEST, PERIODS = 256, 4  # the window: 16 ms, or four periods where those are longer
HUSH = 0.3  # from 27 dB above the floor down, mistuning fades out of the curves: there is little to tune
SMOOTH = 0.3  # noise: this much of the log of the mean power, the rest mean log power, which overhears leaking tones


def note_curves(audio: Tensor, pitch: Tensor) -> Tensor:
    """The curves of sounds whose pitch is known.

    >>> note_curves(torch.randn(2, 16_000), torch.tensor([60, 64])).shape
    torch.Size([2, 256, 128])

    Args:
        audio: (B, 16000) or (B, 1, 16000), at 16 kHz.
        pitch: (B,) MIDI numbers, 60 is middle C.
    Returns:
        (B, 256, 128) float32: see this module's head.
    Raises:
        ValueError: other shapes.

    The table of harmonics depends on the pitch, so sounds are taken one by one: some 20 ms each.
    """
    audio = audio.flatten(1) if audio.ndim == 3 and audio.shape[1] == 1 else audio
    if audio.ndim != 2 or audio.shape[1] != SR or pitch.shape != audio.shape[:1]:
        raise ValueError(
            f"audio {tuple(audio.shape)} and pitch {tuple(pitch.shape)}: give (B, {SR}) at 16 kHz, and (B,)"
        )
    return torch.stack([_curves_of(x.double(), p) for x, p in zip(audio, pitch.double().tolist(), strict=True)])


def hz(pitch: Tensor | float):
    """The frequency of a MIDI pitch."""
    return 440 * 2 ** ((pitch - 69) / 12)


def harmonics_heard(pitch: Tensor) -> Tensor:
    """1 for each harmonic of pitches (B,) that lies half a harmonic below 8 kHz or lower, else 0: (B, 96, 1)."""
    f0 = hz(pitch.float())[:, None]
    number = torch.arange(1, HARMONICS + 1, device=pitch.device)
    return ((number + 0.5) * f0 < SR / 2).float()[:, :, None]


def within_reach(curves: Tensor, pitch: Tensor) -> Tensor:
    """The curves with all that cannot sound at this pitch silenced, and with no mistuning where a level is hushed."""
    curves = audible(curves, pitch)
    hushed = ((curves[:, LEVEL] + 1) / HUSH).clamp(0, 1)
    return torch.cat([curves[:, LEVEL], curves[:, MISTUNING] * hushed, curves[:, NOISE]], 1)


def audible(curves: Tensor, pitch: Tensor) -> Tensor:
    """The curves without harmonics above 8 kHz."""
    heard = harmonics_heard(pitch)
    level = curves[:, LEVEL] * heard - (1 - heard)
    return torch.cat([level, curves[:, MISTUNING] * heard, curves[:, NOISE]], 1)


def transposed(curves: Tensor, pitch: Tensor, to: Tensor) -> Tensor:
    """Curves as a sampler plays a recording at another pitch: the harmonics keep their levels.

    Downwards there is room for harmonics that the recording does not have; they continue the highest, 1 dB lower each.

    Args:
        curves: (B, 256, 128).
        pitch: (B,) of the recordings.
        to: (B,) wanted.
    """
    curves, level = curves.clone(), curves[:, LEVEL]
    last = harmonics_heard(pitch).sum(1).long()  # (B, 1)
    number = torch.arange(1, HARMONICS + 1, device=curves.device)
    beyond = (number - last).clamp_min(0)[:, :, None]  # (B, 96, 1)
    highest = level.gather(1, (last - 1)[:, :, None].expand(-1, HARMONICS, level.shape[2]))
    curves[:, LEVEL] = torch.where(beyond > 0, (highest - beyond * 2 / FLOOR).clamp_min(-1), level)
    return audible(curves, to)


def to_level(amplitude: Tensor) -> Tensor:
    """Amplitude to the scale of the curves."""
    return (40 / FLOOR * amplitude.clamp_min(1e-9).log10() + 1).clamp_min(-1)


def from_level(level: Tensor) -> Tensor:
    """And back; at the floor, silence."""
    amplitude = torch.exp((level.clamp(-1, 1.2) - 1) * (math.log(10) * FLOOR / 40))
    return amplitude * (level > -0.999)


def to_mistuning(semitones: Tensor) -> Tensor:
    return semitones / (semitones.abs() + KNEE)


def from_mistuning(mistuning: Tensor) -> Tensor:
    mistuning = mistuning.clamp(-0.95, 0.95)
    return KNEE * mistuning / (1 - mistuning.abs())


@cache
def noise_bands(device: torch.device | None = None) -> Tensor:
    """Overlapping triangles, even in mel, that sum to one at each frequency: (64, 257)."""
    mel = 2595 * torch.log10(1 + torch.linspace(0, SR / 2, N_FFT // 2 + 1, device=device) / 700)
    place = mel / mel[-1] * (BANDS - 1)
    return (1 - (place - torch.arange(BANDS, device=device)[:, None]).abs()).clamp_min(0)


def _curves_of(x: Tensor, pitch: float) -> Tensor:
    """The curves (256, 128) of one sound (16000,)."""
    spectrum, frequency, centre = _demodulate(x, hz(pitch))
    noise = _noise_amplitude((x - _resynthesis(spectrum, frequency, centre))[: SR - FADE])
    number = torch.arange(1, len(spectrum) + 1)[:, None]
    semitones = 12 * torch.log2((frequency / (number * hz(pitch))).clamp_min(0.3))
    curves = x.new_zeros(ROWS, FRAMES)
    curves[LEVEL][: len(spectrum)] = to_level(spectrum.abs())
    curves[MISTUNING][: len(spectrum)] = to_mistuning(semitones)
    curves[NOISE] = to_level(NOISE_UP * noise)
    return within_reach(curves.float()[None], torch.tensor([pitch]))[0]


def _demodulate(x: Tensor, f0: float) -> tuple[Tensor, Tensor, Tensor]:
    """Each harmonic in each frame: complex amplitude (K, 128) and frequency in Hz (K, 128); the frames' centres.

    Two windows, one sample apart, turn by the frequency: unlike a step of a whole frame, one sample is never ambiguous.
    """
    size = max(SHORTEST, 2 * round(PERIODS / 2 * SR / f0))
    number = torch.arange(1, min(HARMONICS, int(SR / 2 / f0 - 0.5)) + 1)
    centre = (HOP * torch.arange(FRAMES)).clamp(max=SR - FADE - size // 4)
    index = centre[:, None] + torch.arange(size) - size // 2
    inside = ((index >= 0) & (index < SR)).double()
    window = torch.hann_window(size, dtype=torch.double)
    turns = f0 / SR * torch.outer(torch.arange(size) - size // 2, number)
    kernel = torch.polar(window[:, None].expand_as(turns), -math.tau * turns.double())  # (size, K)
    padded = F.pad(x, (size, size + 1))
    scale = 2 / (inside @ window)[:, None]  # by the window's weight within the sound: its start is no fade-in
    here, next_ = (scale * (padded[index + size + d].to(kernel.dtype) @ kernel) for d in (0, 1))
    offset = torch.angle(next_ * here.conj()) * SR / math.tau - number * f0
    offset = (offset + SR / 2).remainder(SR) - SR / 2
    return here.mT, (number * f0 + offset.clamp(-f0 / 2, f0 / 2)).mT, centre


def _resynthesis(spectrum: Tensor, frequency: Tensor, centre: Tensor) -> Tensor:
    """The harmonics with the phases that were measured: what this leaves of the sound is noise.

    Between frames the phase takes the number of turns nearest to what the frequency says (McAulay and Quatieri 1986).
    """
    steps = math.tau * (frequency[:, 1:] + frequency[:, :-1]) / 2 * HOP / SR
    measured = spectrum.angle()
    moved = measured[:, 1:] - measured[:, :-1]
    turns = torch.where(centre.diff() == HOP, moved + math.tau * torch.round((steps - moved) / math.tau), steps)
    phase = torch.cat([measured[:, :1], turns], 1).cumsum(1)
    return (between_frames(spectrum.abs()) * torch.cos(between_frames(phase))).sum(0)[:SR]


def between_frames(curves: Tensor) -> Tensor:
    """(..., frames) to (..., frames * 128) samples, along straight lines."""
    further = 2 * curves[..., -1:] - curves[..., -2:-1]
    ramp = torch.arange(HOP, device=curves.device, dtype=curves.dtype) / HOP
    slopes = torch.cat([curves, further], -1).diff(dim=-1)
    return (curves[..., None] + slopes[..., None] * ramp).flatten(-2)


def _noise_amplitude(x: Tensor) -> Tensor:
    """What white noise's standard deviation would be, in each band and frame: (64, 128)."""
    power = stft(x, N_FFT, HOP).abs().square() / (3 / 8 * N_FFT) + 1e-14  # (257, frames)
    bands = noise_bands().double()
    weight = bands.sum(1, keepdim=True)
    mean, mean_log = (bands @ power / weight).log(), bands @ power.log() / weight + 0.5772  # Euler's constant: E log
    log = SMOOTH * mean + (1 - SMOOTH) * mean_log
    log = F.pad(log[:, : FRAMES - 7], (1, 8), mode="replicate")  # frames that see the fade repeat the last before it
    return torch.exp(F.avg_pool1d(log, 3, 1) / 2)
