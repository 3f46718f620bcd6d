"""Sines at the frequencies of the keys that sound, so that a network need not learn what a pitch is. Chapter 5."""

import math

import torch
from torch import Tensor, nn

from musicai.notes import midi_to_hz


class Oscillators(nn.Module):
    """Sines and cosines of each key's first harmonics, as loud as the key: (B, 2 x keys, frames) -> (B, C, time).

    >>> bank = Oscillators([57, 69], sr=16_000, hop=160, harmonics=2)
    >>> frames = torch.zeros(1, 4, 50)         # rows: loudness of both keys, then phase of both
    >>> frames[0, 1] = 1.0                     # the A of 440 Hz; its phase is 0 at the start of each frame
    >>> bank(frames).shape                     # sin 440, sin 880, cos 440, cos 880 Hz
    torch.Size([1, 4, 8000])

    Where keys sound together their waves are summed. A harmonic above sr / 2 is silent. Nothing here is learned.
    Source: a sine at the wanted pitch as a network's input is the excitation of Wang, Takaki and Yamagishi 2019
    (arXiv:1810.11946), section 2.2. Chapter 5.

    Args:
        keys: MIDI numbers. sr: samples a second. hop: samples of a frame. harmonics: how many; C is twice that.
    """

    def __init__(self, keys: list[int], sr: int, hop: int, harmonics: int):
        super().__init__()
        self.channels = 2 * harmonics
        hertz = torch.tensor([midi_to_hz(key) for key in keys], dtype=torch.float64)
        self.register_buffer("steps", (hertz[:, None] * torch.arange(hop) / sr).float(), persistent=False)
        self.register_buffer("overtones", torch.arange(1.0, harmonics + 1)[:, None], persistent=False)
        self.register_buffer("audible", (hertz[:, None] * self.overtones[:, 0] < sr / 2).float(), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """frames: loudness of each key, then its phase in turns at the frame's first sample."""
        loudness, phase = frames.unflatten(1, (2, -1)).unbind(1)  # (B, keys, frames)
        b, key, f = loudness.nonzero(as_tuple=True)  # few keys sound at a time
        turns = phase[b, key, f][:, None] + self.steps[key]  # (sounding, hop)
        angles = 2 * math.pi * self.overtones * turns[:, None]  # (sounding, harmonics, hop)
        size = (loudness[b, key, f][:, None] * self.audible[key])[..., None]
        waves = torch.cat([size * angles.sin(), size * angles.cos()], dim=1)
        total = waves.new_zeros(len(frames), frames.shape[2], *waves.shape[1:])
        total.index_put_((b, f), waves, accumulate=True)
        return total.transpose(1, 2).flatten(2)  # (B, C, frames x hop)
