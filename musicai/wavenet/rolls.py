"""A WaveNet over the frames of a piano roll: `RollWaveNet` gives each frame's probability from all before it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.pretrained import Pretrained
from musicai.wavenet.history import FRAME_FEATURES, LAGS, History, history
from musicai.wavenet.layers import DilatedStack, dilations_of
from musicai.wavenet.piano import PianoRollHead, Points

KEYS, LOWEST = 88, 21
CHUNK = 256  # frames whose keys are weighed at a time
REACH = (24, *[12] * (LAGS + 1), 6, 6, 0)  # semitones to either side that a key sees of each plane of the history


@dataclass(frozen=True)
class RollConfig:
    """The shape of a RollWaveNet.

    Attributes:
        layers, stacks, residual_channels, skip_channels, end_channels: of the WaveNet over time, see WaveNetConfig.
        key_channels: what the WaveNet says to each key. head_channels, head_layers: of the PianoRollHead.
        dropout: in training, of the WaveNet. head_dropout: of the head.
    """

    layers: int = 5
    stacks: int = 1
    residual_channels: int = 64
    skip_channels: int = 128
    end_channels: int = 96
    key_channels: int = 8
    head_channels: int = 96
    head_layers: int = 2
    dropout: float = 0.3
    head_dropout: float = 0.2


class RollWaveNet(Pretrained, nn.Module):
    """A WaveNet over time, whose every output is a distribution over frames: the joint one of the piano's 88 keys.

    >>> model = RollWaveNet.from_pretrained("wavenet-chorales")  # doctest: +SKIP
    >>> model.log_prob(roll).mean()                              # roll (88, frames): nats a frame  # doctest: +SKIP

    The parts in order: `front` (previous frame and its `history` -> R), `stack` (R -> S), ReLU, `end` (S -> A), ReLU;
    `to_keys` says something to each key and `to_all` to all alike; `around` adds what a key sees around itself in the
    past; and `head` decides key after key. Inside, the highest key comes first, because the head decides from the top:
    the melody, then what goes with it.

    Sources: van den Oord et al. 2016; weights shared over keys, as in Johnson 2017, "Generating polyphonic music using
    tied parallel networks". Chapter 5.
    """

    config_class = RollConfig

    def __init__(self, config: RollConfig | None = None, **settings):
        super().__init__()
        self.config = c = config or RollConfig(**settings)
        r, s, a, h = c.residual_channels, c.skip_channels, c.end_channels, c.head_channels
        self.dropout = nn.Dropout(c.dropout)
        self.front = nn.Linear(KEYS + FRAME_FEATURES, r)
        self.stack = DilatedStack(dilations_of(c.layers, c.stacks), r, s)
        self.end = nn.Linear(s, a)
        self.pass_by = nn.Linear(FRAME_FEATURES, a, bias=False)
        self.to_keys = nn.Linear(a, KEYS * c.key_channels)
        self.to_all = nn.Linear(a, h)
        self.around = nn.Linear(sum(2 * reach + 1 for reach in REACH) + c.key_channels, h)
        self.degree = nn.Parameter(0.1 * torch.randn(12, h))
        self.register = nn.Parameter(torch.zeros(KEYS, h))
        self.head = PianoRollHead(h, c.head_layers, c.head_dropout)
        self.register_buffer("base", torch.full((KEYS,), -3.0))  # log-odds of each key in the training data

    @property
    def receptive_field(self) -> int:
        """Frames that the stack sees; the history sees them all."""
        return self.stack.receptive_field

    @torch.no_grad()
    def log_prob(self, roll: Tensor) -> Tensor:
        """The log probability in nats of each frame of a roll (88, frames) given those before it: (frames,).

        Raises ValueError for a roll of another shape, or with anything but 0 and 1.
        """
        frames = flipped(roll).to(self.base.device)
        if not len(frames):
            return frames.new_zeros(0)
        past = history(frames)[:-1].to(self.base.device).batched()
        said, found = self.context(past)[0], []
        for rows in torch.arange(len(frames), device=said.device).split(CHUNK):
            points = Points.all(rows, KEYS)
            logits = self.logits(said, frames, past.flat(), points).view(-1, KEYS)
            found.append(-F.binary_cross_entropy_with_logits(logits, frames[rows], reduction="none").sum(-1))
        return torch.cat(found)

    def forward(self, frames: Tensor, past: History, points: Points | None = None) -> Tensor:
        """Logits (M,) that the keys at the points are down.

        Args:
            frames: (B, T, 88), the highest key first. past: their history, batched.
            points: rows 0 to B T - 1; None: all keys, M = B T 88. Nothing else depends on which are chosen.
        """
        flat = frames.flatten(0, 1)
        points = points or Points.all(torch.arange(len(flat), device=flat.device), KEYS)
        return self.logits(self.context(past).flatten(0, 1), flat, past.flat(), points)

    def context(self, past: History) -> Tensor:
        """The WaveNet over time: (B, T, A)."""
        x = self.dropout(torch.cat([past.previous, past.frame], dim=-1))
        x = self.dropout(self.front(x)).transpose(1, 2)  # (B, R, T)
        x = F.relu(self.stack(x)).transpose(1, 2)  # (B, T, S)
        return self.dropout(F.relu(self.end(x) + self.pass_by(past.frame)))

    def logits(self, said: Tensor, frames: Tensor, past: History, points: Points) -> Tensor:
        """Logits (M,) at the points of F frames (F, 88), whose context is `said` (F, A)."""
        return self.base[points.keys] + self.head(self.features(said, past, points), frames, past.previous, points)

    def features(self, said: Tensor, past: History, points: Points) -> Tensor:
        """What the past says about the keys at the points of F frames: (M, H)."""
        to_keys = points.of(self.to_keys(said).unflatten(-1, (KEYS, -1)))  # (M, key_channels)
        around = [points.around(x, reach, reach) for x, reach in zip(past.planes.unbind(1), REACH, strict=True)]
        x = self.around(torch.cat([*around, to_keys], dim=-1)) + self.to_all(said)[points.rows]
        return x + self.register[points.keys] + self.degree[points.keys % 12]


def flipped(roll: Tensor) -> Tensor:
    """A roll (88, frames) as float frames (frames, 88), the highest key first.

    Raises ValueError for another shape, and for anything but 0 and 1.
    """
    if roll.dim() != 2 or roll.shape[0] != KEYS:
        raise ValueError(f"a roll of the piano is ({KEYS}, frames); this has shape {tuple(roll.shape)}")
    frames = roll.T.flip(-1).float()
    if not ((frames == 0) | (frames == 1)).all():
        raise ValueError("a roll holds 0 and 1 only; this one holds other numbers")
    return frames
