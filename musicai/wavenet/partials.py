"""What a score alone says about the waveform: each note's partials, with learned levels and phases. Chapter 5."""

import math

import torch
from torch import Tensor, nn

from musicai.notes import midi_to_hz

FADES = (0.004, 0.008, 0.016, 0.032, 0.063, 0.125, 0.25, 0.5, 1.0, 2.0)  # seconds: decaying views of a note's age
SWINGS = range(1, 41)  # Hz: and oscillating ones
RELEASES = (0.01, 0.03, 0.08, 0.2)  # seconds: decaying views of the time since its end
VELOCITIES = 64  # velocities that are told apart
NEVER = 1e4  # seconds: a loop that ends so late is none


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

    A sampled note lasts a second; then its end repeats for as long as the key is down. The buffer `loops`,
    (instruments x keys, 2), says where each key's repeating part ends and how long it is, in seconds; t goes round in
    the same circle, so a note held for a minute asks of the network hardly more than a second does. At first there are
    no loops, and t just grows.

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
        self.key = nn.Embedding(instruments * len(keys), hidden // 4)
        inputs = self.key.embedding_dim + VELOCITIES + len(FADES) + 2 * len(SWINGS) + len(RELEASES) + 2
        self.layers = nn.ModuleList([nn.Linear(n, hidden) for n in (inputs, hidden, hidden)])
        self.gains = nn.Embedding(instruments * len(keys), 2 * hidden)
        self.curves = nn.Linear(hidden, 2 * count + 1)
        nn.init.normal_(self.key.weight, std=0.5)
        nn.init.normal_(self.gains.weight, 1.0, 0.5)
        nn.init.zeros_(self.curves.bias)
        self.curves.weight = nn.Parameter(0.3 * self.curves.weight.detach())
        constants = {"fades": FADES, "releases": RELEASES, "overtones": torch.arange(1.0, count + 1)}
        constants |= {"hertz": [midi_to_hz(key) for key in keys], "swings": [2 * math.pi * hz for hz in SWINGS]}
        constants |= {"within": torch.arange(hop) / hop, "velocities": torch.arange(VELOCITIES) / (VELOCITIES - 1)}
        for name, values in constants.items():
            self.register_buffer(name, torch.as_tensor(values), persistent=False)
        self.register_buffer("loops", torch.tensor([NEVER, 1.0]).repeat(instruments * len(keys), 1))

    def forward(self, notes: Tensor, instrument: Tensor) -> tuple[Tensor, Tensor]:
        """Waves (B, 2 x count, frames x hop), and the network's last layer, (B, hidden, frames), summed over notes.

        Args:
            notes: (B, 3, turns, keys, frames): velocity / 127, and the seconds from the note's first sample and from
                its end to the frame's first sample. A velocity of 0 means no note.
            instrument: int64 (B,).
        """
        b, f, hidden, edges, sin, cos = self.sounding(notes, instrument)
        c, s = torch.lerp(*edges[..., None].unbind(1), self.within).chunk(2, dim=1)  # (sounding, count, hop)
        waves = torch.cat([c * sin + s * cos, c * cos - s * sin], dim=1)
        return _summed(waves, notes, b, f).transpose(1, 2).flatten(2), _summed(hidden, notes, b, f).transpose(1, 2)

    def sketch(self, notes: Tensor, instrument: Tensor) -> Tensor:
        """The sum of the first `count` waves alone, (B, frames x hop), in a quarter of the time."""
        b, f, _, edges, sin, cos = self.sounding(notes, instrument)
        c, s = edges.chunk(2, dim=2)  # (sounding, 2, count)
        both = c @ sin + s @ cos  # (sounding, 2, hop): with the levels of the frame's beginning, and of its end
        return _summed(torch.lerp(*both.unbind(1), self.within), notes, b, f).flatten(1)

    def sounding(self, notes: Tensor, instrument: Tensor) -> tuple[Tensor, ...]:
        """Find the notes that sound in each frame (few do), and what is known of them.

        Returns: their examples and frames (sounding,); the network's last layer (sounding, hidden); c and s at the
            frame's edges (sounding, 2, 2 x count); sines and cosines (sounding, count, hop).
        """
        b, turn, key, f = notes[:, 0].nonzero(as_tuple=True)
        velocity, age, ended = notes[b, :, turn, key, f].unbind(1)
        who, length = instrument[b] * len(self.hertz) + key, len(self.within) / self.sr
        end, loop = self.loops[who].unbind(1)
        rounds = torch.ceil((age - end) / loop).clamp(min=0)  # of the loop, as far as they are complete
        age = age - rounds * loop
        hidden, first = self.predict(who, velocity, age, ended, rounds)
        last = self.predict(who, velocity, age + length, ended + length, rounds)[1]
        edges = torch.stack([first, last], dim=1)  # (sounding, 2, 2 x count + 1)
        drift = torch.lerp(*edges[..., -1:].unbind(1), self.within)
        return b, f, hidden, edges[..., :-1], *self.sines(self.hertz[key], age[:, None] + self.within * length, drift)

    def predict(self, who: Tensor, velocity: Tensor, age: Tensor, ended: Tensor, rounds=0) -> tuple[Tensor, Tensor]:
        """The network: its last layer (sounding, hidden), and c, s and d (sounding, 2 x count + 1)."""
        age, ended, again = age.clamp(min=0)[:, None], ended[:, None], (0 * age + rounds > 0).float()[:, None]
        angles, fading = self.swings * age, torch.exp(-age / 2)
        loud = torch.exp(-((VELOCITIES - 1) ** 2) * (velocity[:, None] - self.velocities) ** 2)
        times = [torch.exp(-age / self.fades), angles.sin() * fading, angles.cos() * fading]
        times += [torch.exp(-ended.clamp(min=0) / self.releases), (ended > 0).float(), again]
        h = torch.cat([self.key(who), loud, *times], dim=1)
        for layer, gain in zip(self.layers, (*self.gains(who).chunk(2, dim=1), 1.0), strict=True):
            h = nn.functional.silu(gain * layer(h))  # a key's own swings are its gains on common ones
        size = torch.cat([velocity[:, None].square().expand(-1, 2 * self.count), torch.ones_like(age)], dim=1)
        return h, self.curves(h) * size

    def sines(self, hertz: Tensor, since: Tensor, drift: Tensor) -> tuple[Tensor, Tensor]:
        """The sines and cosines of the notes' partials, (sounding, count, hop) each."""
        turns = hertz[:, None] * since + drift  # (sounding, hop)
        angles = 2 * math.pi * self.overtones[:, None] * (turns - turns.detach().floor())[:, None]
        begun = since > -0.5 / self.sr  # seconds are rounded; a sample is not
        heard = (hertz[:, None] * self.overtones < self.sr / 2)[:, :, None] & begun[:, None]
        return angles.sin() * heard, angles.cos() * heard


def _summed(parts: Tensor, notes: Tensor, b: Tensor, f: Tensor) -> Tensor:
    """Sum the parts per example and frame: (B, frames, ...)."""
    frames = notes.shape[-1]
    total = parts.new_zeros(len(notes) * frames, *parts.shape[1:])  # index_put's order would be up to the threads
    return total.index_add(0, b * frames + f, parts).unflatten(0, (len(notes), frames))
