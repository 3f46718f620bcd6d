"""A score as what a WaveNet over samples is conditioned on, and the WaveNet that plays it. Chapter 5."""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from musicai.wavenet.layers import Upsample
from musicai.wavenet.model import WaveNet, WaveNetConfig
from musicai.wavenet.partials import Partials

KEYS, LOWEST = 88, 21  # the piano's keys, from A0
ROWS = ("velocity", "age", "ended")  # what is told of a note
TURNS = 2  # the notes of a key take turns, so that one can fade while the next begins
CHANNELS = len(ROWS) * TURNS * KEYS
FORGOTTEN = 0.5  # seconds after its end
LOUDER = 5.0  # waves are small numbers, and layers want larger ones


def score_frames(score, sr: int = 16_000, hop: int = 160, length: int | None = None) -> Tensor:
    """A score as a piano roll in time with its samples: (528, frames).

    >>> from musicai.notes import Melody
    >>> frames = score_frames(Melody.from_pitches([69]).to_score())      # half a second in frames of 10 ms
    >>> frames.unflatten(0, (3, 2, 88)).shape                            # rows, turns, keys, frames
    torch.Size([3, 2, 88, 50])

    Frame f belongs to samples f x hop up to (f + 1) x hop. Three numbers tell of the note that a key plays: "velocity"
    is that / 127, from the frame with the note's first sample to half a second after its end, else 0; "age" is the
    seconds from its first sample to the frame's (negative in the frame in which it begins), "ended" those from its end
    (negative while the key is down). A key's notes take turns in two places, the first note in the first: while one
    note fades the next may begin. Keys off the piano are left out; drum tracks have no keys.

    Args:
        score: a musicai.notes.Score (of a Melody, `to_score()`). sr: samples a second. hop: samples of a frame.
        length: samples to cover; None: up to the end of the last note.

    Raises ValueError for a hop or length below 1. Chapter 5.
    """
    length = max(1, round(sr * score.seconds(score.duration))) if length is None else length
    if hop < 1 or length < 1:
        raise ValueError(f"hop and length must be 1 or more; got hop={hop}, length={length}")
    frames = np.zeros((len(ROWS), TURNS, KEYS, -(-length // hop)), np.float32)
    notes = [note for track in score.tracks if not track.is_drum for note in track.notes]
    played = [0] * KEYS
    for note in sorted(notes, key=lambda note: note.start):
        key = note.pitch - LOWEST
        if 0 <= key < KEYS:
            _write(frames[:, played[key] % TURNS, key], note, score, (sr, hop))
            played[key] += 1
    return torch.from_numpy(frames.reshape(CHANNELS, -1))


def _write(rows: np.ndarray, note, score, clock: tuple[int, int]) -> None:
    """Put one note into the rows (3, frames) of its key, in place of what was there."""
    sr, hop = clock
    start, end = (round(sr * float(score.seconds(beat))) for beat in (note.start, note.end))
    first, stop = start // hop, min((end + round(FORGOTTEN * sr)) // hop + 1, rows.shape[1])
    edges = np.arange(first, stop) * hop  # where each frame begins
    rows[:, first:] = 0
    if len(edges):
        rows[:, first:stop] = np.full(len(edges), note.velocity / 127), (edges - start) / sr, (edges - end) / sr


@dataclass(frozen=True)
class ScoreConfig(WaveNetConfig):
    """The shape of a ScoreWaveNet: that of a WaveNet, and what it plays.

    Attributes:
        instruments: their names; `global_classes` is their number.
        score_channels: what is told of the notes of a frame, brought to the sample rate.
        partials: of each note. wave_channels: what they are mixed down to.
        sr: samples a second; a frame lasts the product of `upsample` samples.
    """

    local_channels: int = CHANNELS
    upsample: tuple[int, ...] = (10, 16)
    instruments: tuple[str, ...] = ("flute",)
    score_channels: int = 16
    partials: int = 24
    wave_channels: int = 16
    sr: int = 16_000

    def __post_init__(self):
        super().__post_init__()
        if not self.instruments or self.global_classes not in (0, len(self.instruments)):
            raise ValueError(f"{self.global_classes} global classes do not fit the instruments {self.instruments}")
        if self.local_channels != CHANNELS:
            raise ValueError(f"a score has {CHANNELS} channels; got local_channels={self.local_channels}")
        for name in ("score_channels", "partials", "wave_channels", "sr"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; got {getattr(self, name)}")
        object.__setattr__(self, "global_classes", len(self.instruments))

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.upsample)


def notes_of(frames: Tensor) -> Tensor:
    """Frames (B, 528, frames) by their rows, turns and keys: (B, 3, 2, 88, frames)."""
    return frames.unflatten(1, (len(ROWS), TURNS, KEYS))


class ScoreConditioner(nn.Module):
    """A score's frames (B, 528, frames) at the sample rate: (B, score_channels + wave_channels, time).

    The partials of the notes, mixed down; and what their network knows of the notes, brought down to few numbers and
    upsampled. Chapter 5.
    """

    def __init__(self, config: ScoreConfig):
        super().__init__()
        keys = [*range(LOWEST, LOWEST + KEYS)]
        self.partials = Partials(keys, len(config.instruments), config.sr, config.hop, config.partials)
        self.mix = nn.Conv1d(2 * config.partials, config.wave_channels, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(_mixing(config.partials, config.wave_channels)[..., None])
        self.tell = nn.Conv1d(self.partials.hidden, config.score_channels, 1)
        self.upsample = Upsample(config.score_channels, tuple(config.upsample))

    def forward(self, frames: Tensor, instrument: Tensor) -> Tensor:
        with torch.autocast(frames.device.type, enabled=False):  # phases want float32
            waves, known = self.partials(notes_of(frames), instrument)
        return torch.cat([self.upsample(self.tell(known)), self.mix(waves)], dim=1)

    def sketch(self, frames: Tensor, instrument: Tensor) -> Tensor:
        """The wave that the partials alone would make, (B, time)."""
        return self.partials.sketch(notes_of(frames), instrument)


class ScoreWaveNet(WaveNet):
    """A WaveNet that plays a score: its local conditioning is what the 88 keys do, its global one the instrument.

    >>> model = ScoreWaveNet(ScoreConfig(instruments=("flute", "cello")))
    >>> how = model.conditioning(score, "cello", 32_000)  # doctest: +SKIP
    >>> codes = musicai.wavenet.sample(model, 32_000, how)  # doctest: +SKIP

    All layers see what ScoreConditioner makes of the notes. Its partials are learned first (see
    scripts/train_renderer.py), then held. Source: van den Oord et al. 2016, section 2.5; a piano roll
    as conditioning, Hawthorne et al. 2019 (arXiv:1810.12247). Chapter 5.
    """

    config_class = ScoreConfig

    def __init__(self, config: ScoreConfig | None = None, **settings):
        config = config or ScoreConfig(**settings)
        super().__init__(_inner(config))
        self.config = self.shape = config
        self.upsample = ScoreConditioner(config)

    def brought_up(self, local: Tensor, instrument: Tensor | None) -> Tensor:
        """Frames at the sample rate: the partials depend on the instrument."""
        return self.upsample(local, instrument)

    def conditioning(self, score, instrument: str, length: int) -> dict[str, Tensor | int]:
        """What `musicai.wavenet.sample` takes to play the first `length` samples of a score.

        Raises ValueError for an instrument that this model has not learned.
        """
        names = self.config.instruments
        if instrument not in names:
            raise ValueError(f"no such instrument: {instrument!r}; this model plays {', '.join(names)}")
        local = score_frames(score, self.config.sr, self.config.hop, length)
        return {"local": local, "instrument": names.index(instrument)}


def _mixing(partials: int, channels: int) -> Tensor:
    """Where the mixing begins: the sum of all partials, then each of the first; and all a quarter of a turn on."""
    chosen = torch.cat([torch.ones(1, partials), torch.eye(partials)])[: -(-channels // 2)]
    mixed = LOUDER * torch.block_diag(chosen, chosen)[:channels]
    return nn.functional.pad(mixed, (0, 0, 0, channels - len(mixed)))


def _inner(config: ScoreConfig) -> WaveNetConfig:
    """The WaveNet that hears what the conditioner makes of a score."""
    plain = {field.name: getattr(config, field.name) for field in fields(WaveNetConfig)}
    return WaveNetConfig(**plain | {"local_channels": config.score_channels + config.wave_channels})
