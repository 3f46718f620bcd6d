"""A score as conditioning for a WaveNet over samples, and the WaveNet that plays it. Chapter 5."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from musicai.notes.note import require
from musicai.wavenet.layers import Upsample
from musicai.wavenet.lookup import KEYS, LOWEST
from musicai.wavenet.model import WaveNet, WaveNetConfig
from musicai.wavenet.partials import Partials

ROWS = ("velocity", "age", "ended")  # the numbers that describe a note
TURNS = 2  # a key's notes take turns, so that one can fade while the next begins
CHANNELS = len(ROWS) * TURNS * KEYS
RELEASE = 0.5  # seconds for which a note is still described after its end
LOUDER = 5.0  # samples are small numbers, and layers want larger ones


def score_frames(score, sr: int = 16_000, hop: int = 160, length: int | None = None) -> Tensor:
    """A score as a piano roll aligned with its samples: (528, frames).

    >>> from musicai.notes import Melody
    >>> frames = score_frames(Melody.from_pitches([69]).to_score())  # half a second in frames of 10 ms
    >>> frames.unflatten(0, (3, 2, 88)).shape  # rows, turns, keys, frames
    torch.Size([3, 2, 88, 50])

    Frame f covers samples f x hop up to (f + 1) x hop. Three numbers describe the note that a key plays: "velocity" is
    its velocity / 127, from the frame with the note's first sample to half a second after its end, else 0; "age" is the
    time in seconds from its first sample to the frame's (negative in the frame in which it begins); "ended" is the time
    since its end (negative while the key is down). A key's notes alternate between two slots, so that the next may
    begin while one fades. Pitches outside the piano's range are left out; drum tracks have no keys.

    Args:
        score: a musicai.notes.Score (for a Melody, `to_score()`).
        sr: sample rate in Hz.
        hop: samples per frame.
        length: samples to cover; None for up to the end of the last note.

    Returns: float32 (528, frames), the three rows of two turns of 88 keys.

    Source: a piano roll as conditioning, Hawthorne et al. 2019 (arXiv:1810.12247). Chapter 5.
    """
    length = max(1, round(sr * score.seconds(score.duration))) if length is None else length
    frames = np.zeros((len(ROWS), TURNS, KEYS, -(-length // hop)), np.float32)
    played = [0] * KEYS
    for note in score.pitched_notes:
        key = note.pitch - LOWEST
        if 0 <= key < KEYS:
            start, end = (round(sr * float(score.seconds(beat))) for beat in (note.start, note.end))
            first, stop = start // hop, (end + round(RELEASE * sr)) // hop + 1
            edges = np.arange(first, min(stop, frames.shape[-1])) * hop  # where each frame begins
            rows = frames[:, played[key] % TURNS, key, first:]
            rows[:] = 0  # this key's last note but one ends here
            rows[:, : len(edges)] = np.full(len(edges), note.velocity / 127), (edges - start) / sr, (edges - end) / sr
            played[key] += 1
    return torch.from_numpy(frames.reshape(CHANNELS, -1))


@dataclass(frozen=True)
class ScoreConfig(WaveNetConfig):
    """The shape of a ScoreWaveNet: that of a WaveNet, plus what it plays.

    >>> ScoreConfig(instruments=("flute", "cello")).global_classes
    2

    Attributes:
        layers: see WaveNetConfig, also for stacks, kernel_size, residual_channels, skip_channels, end_channels,
            classes, mixtures and global_channels.
        local_channels: the rows, turns and keys of `score_frames`, 528.
        upsample: strides from frames to samples; their product is the samples per frame.
        global_classes: the number of instruments; set from their names.
        instruments: their names.
        score_channels: channels that describe a frame's notes, upsampled to the sample rate.
        partials: partials per note.
        partial_channels: the width of the network that gives the partials.
        wave_channels: channels that the partials are mixed down to.
        residual: whether the network reads and draws what is left of the sound once the sketch is taken away, rather
            than the sound itself; only with mixtures.
        sr: sample rate in Hz.

    Raises:
        ValueError: if the sizes do not fit the instruments, or one is below 1.

    Chapter 5.
    """

    local_channels: int = CHANNELS
    upsample: tuple[int, ...] = (10, 16)
    instruments: tuple[str, ...] = ("flute",)
    score_channels: int = 16
    partials: int = 24
    partial_channels: int = 128
    wave_channels: int = 16
    residual: bool = False
    sr: int = 16_000

    def __post_init__(self):
        super().__post_init__()
        require(self.mixtures or not self.residual, "residual=True needs mixtures: codes have no differences")
        object.__setattr__(self, "global_classes", len(self.instruments))


def notes_of(frames: Tensor) -> Tensor:
    """Frames (B, 528, frames) split into rows, turns and keys: (B, 3, 2, 88, frames)."""
    return frames.unflatten(1, (len(ROWS), TURNS, KEYS))


class ScoreConditioner(nn.Module):
    """Brings a score's frames (B, 528, frames) to the sample rate: (B, score_channels + wave_channels, time).

    The wave channels are the partials of the notes, mixed down; the score channels are the last layer of the partials'
    network, projected and upsampled. Chapter 5.
    """

    def __init__(self, config: ScoreConfig):
        super().__init__()
        shape = config.sr, math.prod(config.upsample), config.partials, config.partial_channels
        self.partials = Partials(range(LOWEST, LOWEST + KEYS), len(config.instruments), *shape)
        self.mix = nn.Conv1d(2 * config.partials, config.wave_channels, 1, bias=False)
        self.mix.weight = nn.Parameter(_mixing(config.partials, config.wave_channels)[..., None])
        self.project = nn.Conv1d(self.partials.hidden, config.score_channels, 1)
        self.upsample = Upsample(config.score_channels, tuple(config.upsample))

    def forward(self, frames: Tensor, instrument: Tensor) -> Tensor:
        with torch.autocast(frames.device.type, enabled=False):  # phases need float32
            waves, hidden = self.partials(notes_of(frames), instrument)
        return torch.cat([self.upsample(self.project(hidden)), self.mix(waves)], dim=1)

    def sketch(self, frames: Tensor, instrument: Tensor) -> Tensor:
        """The waveform that the partials make on their own, (B, time)."""
        with torch.autocast(frames.device.type, enabled=False):
            return self.partials.sketch(notes_of(frames), instrument)


class ScoreWaveNet(WaveNet):
    """A WaveNet that plays a score, conditioned locally on what the 88 keys do and globally on the instrument.

    >>> model = ScoreWaveNet(ScoreConfig(instruments=("flute", "cello")))
    >>> conditioning = model.conditioning(score, "cello", 32_000)  # doctest: +SKIP
    >>> codes = sample(model, 32_000, conditioning)  # doctest: +SKIP

    All layers see the notes through a ScoreConditioner. Its partials are learned first, then kept fixed. If
    `config.residual`, the network's own values are differences from the sketch: sound = sketch + what is drawn. Then no
    error of its own can move a note, and its noise is as small as the difference.

    Args:
        config: the shape; None for `ScoreConfig(**settings)`.
        settings: fields of ScoreConfig, used when there is no config.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), section 2.5; a piano roll as conditioning, Hawthorne et al.
    2019 (arXiv:1810.12247). Chapter 5.
    """

    config_class = ScoreConfig

    def __init__(self, config: ScoreConfig | None = None, **settings):
        config = config or ScoreConfig(**settings)
        channels = config.score_channels + config.wave_channels  # what the blocks see of a score's frames
        super().__init__(replace(config, local_channels=channels))
        self.config = config
        self.upsample = ScoreConditioner(config)

    def upsampled(self, local: Tensor, instrument: Tensor | None) -> Tensor:
        """Bring frames to the sample rate; the partials depend on the instrument."""
        return self.upsample(local, instrument)

    def offset(self, length: int, local: Tensor, instrument: Tensor) -> Tensor | int:
        """What is added to the values that the network draws, (B, length): the sketch if `config.residual`, else 0."""
        return self.upsample.sketch(local, instrument)[:, :length] if self.config.residual else 0

    def conditioning(self, score, instrument: str, length: int) -> dict[str, Tensor | int]:
        """The conditioning with which `sample` plays the first `length` samples of a score.

        Raises ValueError for an instrument that this model has not learned.
        """
        names = self.config.instruments
        if instrument not in names:
            raise ValueError(f"no such instrument: {instrument!r}; this model plays {', '.join(names)}")
        local = score_frames(score, self.config.sr, math.prod(self.config.upsample), length)
        return {"local": local, "instrument": names.index(instrument)}


def _mixing(partials: int, channels: int) -> Tensor:
    """Initial weights: the sum of all partials, then each one from the first on; and the same a quarter turn later."""
    chosen = torch.cat([torch.ones(1, partials), torch.eye(partials)])[: -(-channels // 2)]
    mixed = LOUDER * torch.block_diag(chosen, chosen)[:channels]
    return nn.functional.pad(mixed, (0, 0, 0, channels - len(mixed)))
