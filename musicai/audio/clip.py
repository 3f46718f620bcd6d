"""A sound together with its sample rate: what a performance returns. Chapter 1."""

import base64
import io
from dataclasses import dataclass
from os import PathLike

import soundfile
import torch
from torch import Tensor

from .files import save
from .signal import AudioError


@dataclass(frozen=True, eq=False)
class Audio:
    """A sound with its sample rate; in a notebook it shows a player.

    >>> tone = Audio(torch.sin(torch.arange(8000) * 0.17), sr=16_000)
    >>> tone
    Audio(1 channel, 0.50 s at 16000 Hz)
    >>> tone.save("tone.mp3")  # doctest: +SKIP

    Args:
        samples: float (channels, time), or (time,) for mono, in [-1, 1]; kept as float32 (channels, time).
        sr: sample rate in Hz.

    Raises:
        AudioError: if the samples have another shape.

    Chapter 1.
    """

    samples: Tensor
    sr: int

    def __post_init__(self):
        samples = torch.as_tensor(self.samples).detach().cpu().float()
        if samples.dim() not in (1, 2):
            raise AudioError(f"samples must be (channels, time) or (time,); got {tuple(samples.shape)}")
        object.__setattr__(self, "samples", torch.atleast_2d(samples))

    def __repr__(self) -> str:
        channels = len(self.samples)
        return f"Audio({channels} channel{'s' * (channels != 1)}, {self.seconds:.2f} s at {self.sr} Hz)"

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples.shape[1] / self.sr

    def save(self, path: str | PathLike) -> None:
        """Write a sound file; the suffix gives the format, as in `musicai.audio.save`."""
        save(path, self.samples, self.sr)

    def _repr_html_(self) -> str:
        file = io.BytesIO()
        soundfile.write(file, self.samples.clamp(-1, 1).T.numpy(), self.sr, format="WAV", subtype="PCM_16")
        source = "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode()
        return f'<audio controls aria-label="{self!r}" src="{source}"></audio>'
