"""What a score alone says about the waveform: each note's partials, with learned levels and phases. Chapter 5."""

import itertools
import math

import torch
from torch import Tensor, nn

from musicai.notes import midi_to_hz

FADES = (0.004, 0.008, 0.016, 0.032, 0.063, 0.125, 0.25, 0.5, 1.0, 2.0)  # seconds: decaying views of a note's age
VIBRATO = range(1, 13)  # Hz: and oscillating ones
RELEASES = (0.01, 0.03, 0.08, 0.2)  # seconds: decaying views of the time since its end
VELOCITIES = 17  # velocities that are told apart


class Partials(nn.Module):
    """Sums of sines that follow a score; a small network predicts them for each instrument's notes.

    >>> partials = Partials([57, 69], instruments=1, sr=16_000, hop=160, count=2)
    >>> notes = torch.zeros(1, 3, 2, 2, 50)  # velocity, age, ended; two turns of two keys; frames
    >>> notes[0, :, 0, 1, 0] = torch.tensor([0.8, 0.0, -0.5])  # the A of 440 Hz begins, and ends in half a second
    >>> waves, hidden = partials(notes, torch.tensor([0]))
    >>> waves.shape, hidden.shape  # partials 1 and 2, and both a quarter turn later
    (torch.Size([1, 4, 8000]), torch.Size([1, 128, 50]))

    A note of frequency f that began t seconds ago has the partials

        c_k(t) sin(2 pi k (f t + d(t))) + s_k(t) cos(2 pi k (f t + d(t))),     k = 1 ... count,

    where c, s (level and phase) and d (mistuning and vibrato, in turns) come from a network that sees instrument, key,
    velocity, t, and the time since the note's end. It answers once per frame; its output is interpolated in between.
    A note is silent before its first sample, and so is any partial above sr / 2. When notes sound together, their waves
    are summed. The sum of the first `count` channels is the network's guess of the waveform.

    Args:
        keys: MIDI numbers.
        instruments: the number of instruments.
        sr: sample rate in Hz.
        hop: samples per frame.
        count: partials per note.
        hidden: the width of the network.

    Source: sines at the wanted pitch as a network's excitation, Wang, Takaki and Yamagishi 2019 (arXiv:1810.11946),
    section 2.2; levels of harmonics from a network, Engel et al. 2020 (arXiv:2001.04643), section 3. Chapter 5.
    """

    def __init__(self, keys: list[int] | range, instruments: int, sr: int, hop: int, count: int, hidden: int = 128):
        super().__init__()
        self.sr, self.count, self.hidden = sr, count, hidden
        self.key = nn.Embedding(instruments * len(keys), 32)
        inputs = self.key.embedding_dim + VELOCITIES + len(FADES) + 2 * len(VIBRATO) + len(RELEASES) + 1
        widths = [inputs, hidden, hidden, hidden]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(widths)])
        self.curves = nn.Linear(hidden, 2 * count + 1)
        nn.init.normal_(self.key.weight, std=0.5)
        nn.init.zeros_(self.curves.bias)
        self.curves.weight = nn.Parameter(0.3 * self.curves.weight.detach())
        constants = {"fades": FADES, "releases": RELEASES, "overtones": torch.arange(1.0, count + 1)}
        constants |= {"hertz": [midi_to_hz(key) for key in keys], "vibrato": [2 * math.pi * hz for hz in VIBRATO]}
        constants |= {"within": torch.arange(hop) / hop, "velocities": torch.arange(VELOCITIES) / (VELOCITIES - 1)}
        for name, values in constants.items():
            self.register_buffer(name, torch.as_tensor(values), persistent=False)

    def forward(self, notes: Tensor, instrument: Tensor) -> tuple[Tensor, Tensor]:
        """Waves (B, 2 x count, frames x hop), and the network's last layer, (B, hidden, frames), summed over notes.

        Args:
            notes: (B, 3, turns, keys, frames): velocity / 127, and the seconds from the note's first sample and from
                its end to the frame's first sample. A velocity of 0 means no note.
            instrument: int64 (B,).
        """
        b, turn, key, f = notes[:, 0].nonzero(as_tuple=True)  # few sound at a time
        velocity, age, ended = notes[b, :, turn, key, f].unbind(1)  # (sounding,)
        who, length = instrument[b] * len(self.hertz) + key, len(self.within) / self.sr
        hidden, first = self.predict(who, velocity, age, ended)
        last = self.predict(who, velocity, age + length, ended + length)[1]
        curves = torch.lerp(first[..., None], last[..., None], self.within)  # (sounding, 2 x count + 1, hop)
        since = age[:, None] + self.within * length  # (sounding, hop)
        waves = self.sines(self.hertz[key], since, curves)
        return _summed(waves, notes, b, f).transpose(1, 2).flatten(2), _summed(hidden, notes, b, f).transpose(1, 2)

    def predict(self, who: Tensor, velocity: Tensor, age: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
        """The network: its last layer (sounding, hidden), and c, s and d (sounding, 2 x count + 1)."""
        age, ended = age.clamp(min=0)[:, None], ended[:, None]
        angles, fading = self.vibrato * age, torch.exp(-2 * age)
        loud = torch.exp(-((VELOCITIES - 1) ** 2) * (velocity[:, None] - self.velocities) ** 2)
        times = [torch.exp(-age / self.fades), angles.sin() * fading, angles.cos() * fading]
        times += [torch.exp(-ended.clamp(min=0) / self.releases), (ended > 0).float()]
        h = torch.cat([self.key(who), loud, *times], dim=1)
        for layer in self.layers:
            h = nn.functional.silu(layer(h))
        size = torch.cat([velocity[:, None].square().expand(-1, 2 * self.count), torch.ones_like(age)], dim=1)
        return h, self.curves(h) * size

    def sines(self, hertz: Tensor, since: Tensor, curves: Tensor) -> Tensor:
        """The partials of the notes, and the same partials a quarter turn later: (sounding, 2 x count, hop)."""
        c, s, drift = curves.split([self.count, self.count, 1], dim=1)
        turns = (hertz[:, None] * since)[:, None] + drift
        angles = 2 * math.pi * self.overtones[:, None] * (turns - turns.detach().floor())
        begun = since > -0.5 / self.sr  # seconds are rounded; a sample is not
        heard = (hertz[:, None] * self.overtones < self.sr / 2)[:, :, None] & begun[:, None]
        sin, cos = angles.sin() * heard, angles.cos() * heard
        return torch.cat([c * sin + s * cos, c * cos - s * sin], dim=1)


def _summed(parts: Tensor, notes: Tensor, b: Tensor, f: Tensor) -> Tensor:
    """Sum the parts per example and frame: (B, frames, ...)."""
    total = parts.new_zeros(len(notes), notes.shape[-1], *parts.shape[1:])
    return total.index_put((b, f), parts, accumulate=True)
