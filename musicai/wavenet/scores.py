"""A score as what a WaveNet over samples is conditioned on, and the WaveNet that plays it. Chapter 5."""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from musicai.notes import midi_to_hz
from musicai.wavenet.layers import Upsample
from musicai.wavenet.model import WaveNet, WaveNetConfig
from musicai.wavenet.oscillators import Oscillators

KEYS, LOWEST = 88, 21  # the piano's keys, from A0
ROWS = ("sounding", "onset", "release", "phase")  # each of KEYS channels, in this order
FADE, SILENT = 0.2, 1.0  # seconds: an onset and a released key fade to 1/e; a released key is forgotten


def score_frames(score, sr: int = 16_000, hop: int = 160, length: int | None = None) -> Tensor:
    """What each key does in each frame of a score: (352, frames), four rows of the piano's 88 keys.

    >>> from musicai.notes import Melody
    >>> score_frames(Melody.from_pitches([69]).to_score()).shape      # half a second in frames of 10 ms
    torch.Size([352, 50])

    Frame f belongs to samples f x hop up to (f + 1) x hop. Its numbers are velocities / 127: "sounding" times the share
    of the frame in which the key is down, so that times finer than a frame are told too; "onset" while it is
    down, fading by e in 0.2 s from the frame that holds a note's first sample, so that it tells a note's age; "release"
    after a note's end, fading alike. "phase" is no loudness: it counts
    the turns of the key's fundamental since the note's first sample, up to the frame's, without the whole ones. Where
    notes of a key meet, the larger number counts, and the later note's phase. Keys off the piano are left out; drum
    tracks have no keys.

    Args:
        score: a musicai.notes.Score (of a Melody, `to_score()`). sr: samples a second. hop: samples of a frame.
        length: samples to cover; None: up to the end of the last note.

    Raises ValueError for a hop or length below 1. Chapter 5.
    """
    length = max(1, round(sr * score.seconds(score.duration))) if length is None else length
    if hop < 1 or length < 1:
        raise ValueError(f"hop and length must be 1 or more; got hop={hop}, length={length}")
    frames = np.zeros((len(ROWS), KEYS, -(-length // hop)), np.float32)
    notes = [note for track in score.tracks if not track.is_drum for note in track.notes]
    for note in sorted(notes, key=lambda note: note.start):
        if 0 <= note.pitch - LOWEST < KEYS:
            _write(frames[:, note.pitch - LOWEST], note, score, (sr, hop))
    return torch.from_numpy(frames.reshape(len(ROWS) * KEYS, -1))


def _write(rows: np.ndarray, note, score, clock: tuple[int, int]) -> None:
    """Put one note into the rows (4, frames) of its key."""
    sr, hop = clock
    start, end = (round(sr * float(score.seconds(beat))) for beat in (note.start, note.end))
    first, stop = start // hop, (end + round(SILENT * sr)) // hop + 1
    edges = np.arange(first, min(stop, rows.shape[1])) * hop  # where each frame begins
    if not len(edges):
        return
    down = (np.clip(end - edges, 0, hop) - np.clip(start - edges, 0, hop)) / hop
    since = np.maximum(edges + hop / 2 - end, 0) / sr
    onset = ((down > 0) | (edges == edges[0])) * np.exp(-(edges - edges[0]) / (FADE * sr))
    shape = np.stack([down, onset, (1 - down) * (edges + hop > end) * np.exp(-since / FADE)])
    part = rows[:, first : first + len(edges)]
    np.maximum(part[:3], shape * (note.velocity / 127), out=part[:3], casting="same_kind")
    part[3] = np.mod((edges - start) * (midi_to_hz(note.pitch) / sr), 1.0)


@dataclass(frozen=True)
class ScoreConfig(WaveNetConfig):
    """The shape of a ScoreWaveNet: that of a WaveNet, and what it plays.

    Attributes:
        instruments: their names; `global_classes` is their number.
        score_channels: what the 352 numbers of a frame are brought down to, before they are brought to the sample rate.
        harmonics: sines at the keys' frequencies that it hears too; 0 for none.
        sr: samples a second; a frame lasts the product of `upsample` samples.
    """

    local_channels: int = len(ROWS) * KEYS
    upsample: tuple[int, ...] = (10, 16)
    instruments: tuple[str, ...] = ("flute",)
    score_channels: int = 16
    harmonics: int = 8
    sr: int = 16_000

    def __post_init__(self):
        super().__post_init__()
        if not self.instruments or self.global_classes not in (0, len(self.instruments)):
            raise ValueError(f"{self.global_classes} global classes do not fit the instruments {self.instruments}")
        if self.local_channels != len(ROWS) * KEYS:
            raise ValueError(f"a score has {len(ROWS) * KEYS} channels; got local_channels={self.local_channels}")
        if self.score_channels < 1 or self.harmonics < 0:
            raise ValueError(
                f"score_channels={self.score_channels} must be above 0, harmonics={self.harmonics} not below"
            )
        object.__setattr__(self, "global_classes", len(self.instruments))

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.upsample)


class ScoreConditioner(nn.Module):
    """A score's frames (B, 352, frames), brought to the sample rate: (B, score_channels + 2 x harmonics, time).

    The keys of a frame are mixed down to a few numbers by one learned matrix, and those are upsampled; beside them go
    sines at the frequencies of the keys that are down or fade. Chapter 5.
    """

    def __init__(self, config: ScoreConfig):
        super().__init__()
        self.mix = nn.Conv1d((len(ROWS) - 1) * KEYS, config.score_channels, 1)
        with torch.no_grad():
            self.mix.weight[:, :KEYS, 0] = _lags(config)
        self.upsample = Upsample(config.score_channels, tuple(config.upsample))
        self.oscillators = Oscillators([*range(LOWEST, LOWEST + KEYS)], config.sr, config.hop, config.harmonics)

    def forward(self, frames: Tensor) -> Tensor:
        keys = frames[:, :-KEYS]
        down, _, fades = keys.unflatten(1, (-1, KEYS)).unbind(1)
        waves = self.oscillators(torch.cat([torch.maximum(down, fades), frames[:, -KEYS:]], dim=1))
        return torch.cat([self.upsample(self.mix(keys)), waves], dim=1)


class ScoreWaveNet(WaveNet):
    """A WaveNet that plays a score: its local conditioning is what the 88 keys do, its global one the instrument.

    >>> model = ScoreWaveNet(ScoreConfig(instruments=("flute", "cello")))
    >>> how = model.conditioning(score, "cello", 32_000)  # doctest: +SKIP
    >>> codes = musicai.sampling.sample(model, 32_000, how)  # doctest: +SKIP

    All layers see what ScoreConditioner makes of the keys. Source: van den Oord et al. 2016, section 2.5; a piano roll
    as conditioning, Hawthorne et al. 2019 (arXiv:1810.12247). Chapter 5.
    """

    config_class = ScoreConfig

    def __init__(self, config: ScoreConfig | None = None, **settings):
        config = config or ScoreConfig(**settings)
        super().__init__(_inner(config))
        self.config = self.shape = config
        self.upsample = ScoreConditioner(config)

    def conditioning(self, score, instrument: str, length: int) -> dict[str, Tensor | int]:
        """What `musicai.sampling.sample` takes to play the first `length` samples of a score.

        Raises ValueError for an instrument that this model has not learned.
        """
        names = self.config.instruments
        if instrument not in names:
            raise ValueError(f"no such instrument: {instrument!r}; this model plays {', '.join(names)}")
        local = score_frames(score, self.config.sr, self.config.hop, length)
        return {"local": local, "instrument": names.index(instrument)}


def _lags(config: ScoreConfig) -> Tensor:
    """Where the mixing begins, (score_channels, keys): how far a key's wave turns in 1, 2, 4, ... samples.

    A sine obeys x[t] = 2 cos(w d) x[t - d] - x[t - 2 d] for every lag d, so these are what predicting it takes.
    """
    hertz = torch.tensor([midi_to_hz(key) for key in range(LOWEST, LOWEST + KEYS)])
    lags = 2.0 ** torch.arange(-(-config.score_channels // 2))
    turns = 2 * torch.pi * lags[:, None] * hertz / config.sr
    return torch.cat([turns.cos(), turns.sin()])[: config.score_channels]


def _inner(config: ScoreConfig) -> WaveNetConfig:
    """The WaveNet that hears what the conditioner makes of a score."""
    plain = {field.name: getattr(config, field.name) for field in fields(WaveNetConfig)}
    return WaveNetConfig(**plain | {"local_channels": config.score_channels + 2 * config.harmonics})
