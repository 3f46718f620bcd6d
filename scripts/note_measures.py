"""What the ear asks of a played note: how fast it begins, how clean it is between its partials, and how loud it is.

All three are the same for real and for generated notes; `evaluate_gan.py` compares them by instrument. Chapter 4.
"""

import torch
from torch import Tensor

from musicai.audio import log_mel
from musicai.gan import CurveNotes
from musicai.gan.curves import FRAMES, HARMONICS, HOP, fade_out, play_curves, transpose_curves
from musicai.notes import midi_to_hz

SR = 16_000
SMOOTH = 320  # samples, 20 ms: the window of the envelope
BEGINNING = 4800  # samples, 0.3 s
LONG = 4096  # samples, 256 ms: the window in which partials are told from what lies between them
LOBE = 5  # bins on either side of a partial that its main lobe covers (Blackman and Harris: 4, and 1 for its drift)


def envelope(audio: Tensor) -> Tensor:
    """The rms of (..., time) under a Hann window of 20 ms, at every sample."""
    window = torch.hann_window(SMOOTH, dtype=audio.dtype)
    flat = audio.square().flatten(0, -2)[:, None]
    power = torch.nn.functional.conv1d(flat, (window / window.sum())[None, None], padding=SMOOTH // 2)
    return power[..., : audio.shape[-1]].clamp_min(0).sqrt().view(audio.shape)


def attack_time(audio: Tensor, start: float = 0.1, end: float = 0.9) -> Tensor:
    """Seconds in which the envelope of (B, time) first rises from 10 % to 90 % of its peak: (B,).

    The peak is that of the first 0.3 s: later, a held note that swells and fades would have its peak anywhere. When a
    sustained note reaches 90 % is partly a matter of chance, so 20 to 80 % is worth a look, too.
    """
    rising = envelope(audio)[..., :BEGINNING]
    share = rising / rising.amax(-1, keepdim=True).clamp_min(1e-9)
    first = [(share >= part).float().argmax(-1) for part in (start, end)]
    return (first[1] - first[0]) / SR


def noise_between_partials(audio: Tensor, pitch: Tensor) -> Tensor:
    """The power between the partials relative to all power, in dB, for notes (B, 16000) from 0.2 to 0.9 s: (B,).

    Bins within 20 Hz of a harmonic are left out; the power of the others is scaled up to the whole spectrum. The median
    over windows of 256 ms.
    """
    frames = audio[:, SR // 5 : 9 * SR // 10].unfold(1, LONG, 512)  # (B, frames, 4096)
    n = torch.arange(LONG) * (2 * torch.pi / LONG)
    window = 0.35875 - 0.48829 * n.cos() + 0.14128 * (2 * n).cos() - 0.01168 * (3 * n).cos()  # Blackman and Harris
    power = torch.fft.rfft(frames * window).abs().square()
    f = torch.arange(LONG // 2 + 1) * (SR / LONG)
    f0 = midi_to_hz(pitch.float())[:, None]
    off = (f / f0 - (f / f0).round().clamp_min(1)).abs() * f0  # Hz from the nearest harmonic
    between = ((off > (LOBE * SR / LONG)) & (f > f0 / 2) & (f < SR / 2 - f0 / 2)).float()[:, None]
    share = (power * between).sum(-1) / between.sum(-1).clamp_min(1) * power.shape[-1] / power.sum(-1).clamp_min(1e-12)
    return 10 * share.clamp_min(1e-12).log10().median(1)[0]


def level(audio: Tensor) -> Tensor:
    """The rms of notes (B, time) in dB: (B,)."""
    return 10 * audio.square().mean(-1).clamp_min(1e-12).log10()


def colour(audio: Tensor) -> Tensor:
    """Log-mel spectra in dB, averaged over 128 ms so that the fluctuation of noise counts little: (B, 64, 7)."""
    picture = log_mel(audio, SR, n_fft=1024, hop_length=256, n_mels=64).clamp_min(-60)
    return picture[..., : picture.shape[-1] // 8 * 8].unflatten(-1, (-1, 8)).mean(-1)


def played(curves: Tensor, pitch: Tensor, seed: int = 0) -> Tensor:
    """Curves (B, 256, 128) as sound (B, 16000), with random phases and noise."""
    rng = torch.Generator().manual_seed(seed)
    phase = 2 * torch.pi * torch.rand(len(curves), HARMONICS, generator=rng)
    parts = (curves, pitch, phase, torch.randn(len(curves), FRAMES * HOP, generator=rng))
    return torch.cat([fade_out(play_curves(*few), SR) for few in zip(*(x.split(32) for x in parts), strict=True)])


def two_takes(notes: CurveNotes, pitch: Tensor, instrument: Tensor, velocity: Tensor, seed: int = 0) -> list[Tensor]:
    """Two recordings that can stand in for each note, moved to its pitch as by a sampler, as sound: (B, 16000) twice.

    They are drawn, independently, from those within two semitones in `notes`, as what the GAN learns from is.
    """
    torch.manual_seed(seed)
    layer = torch.searchsorted(notes.velocity.unique(), velocity)
    takes = []
    for n in range(2):
        item = notes.neighbour(pitch, instrument, layer)
        curves = transpose_curves(notes.curves[notes.recording[item]], notes.pitch[item], pitch)
        takes.append(played(curves, pitch, 2 * seed + n))
    return takes


def apart(one: Tensor, other: Tensor) -> Tensor:
    """How far two sets of notes (B, 16000) differ in colour, each pair on average over the picture in dB: (B,)."""
    return (colour(one) - colour(other)).abs().mean((1, 2))
