"""A WaveNet over the frames of a piano roll, and the batches it learns from. Chapter 5."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from musicai.notes.note import require
from musicai.pretrained import Pretrained, check_config
from musicai.train.loop import modes_kept
from musicai.wavenet.heads import PianoRollHead
from musicai.wavenet.layers import DilatedStack, dilations_of
from musicai.wavenet.lookup import FRAME_FEATURES, KEYS, LAGS, features_of, history, planes_of

Points = tuple[Tensor, Tensor]  # rows and keys, int64 (M,) each
CHUNK = 256  # frames whose keys are evaluated at a time
MODES = {None: (0.0, 0.0), "major": (1.0, 0.0), "minor": (0.0, 1.0)}  # what the network is told
REACH = (24, *[12] * (LAGS + 1), 6, 6, 0)  # semitones to either side that a key sees of each plane of the past


@dataclass(frozen=True)
class RollConfig:
    """The shape of a RollWaveNet.

    >>> RollConfig(layers=6, head_channels=64).residual_channels
    64

    Attributes:
        layers: blocks of the WaveNet over time.
        stacks: runs of dilations 1, 2, 4, ... that the blocks form.
        residual_channels: R, as in WaveNetConfig.
        skip_channels: S, as in WaveNetConfig.
        end_channels: A, as in WaveNetConfig.
        key_channels: how many numbers the WaveNet passes to each key.
        head_channels: H, the channels of the PianoRollHead.
        head_layers: hidden layers of the PianoRollHead.
        dropout: the dropout rate of the WaveNet in training.
        head_dropout: the dropout rate of the head in training.
        voices: how many voices `compose` writes strictly, without parallels and overlong notes; 0 for any texture.

    Raises:
        ValueError: if a size is below 1, or a field has another type.

    Chapter 5.
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
    voices: int = 0

    def __post_init__(self):
        check_config(self, may_be_zero=("head_layers", "voices"))


class RollWaveNet(Pretrained, nn.Module):
    """A WaveNet over time that predicts whole frames: the joint distribution of the piano's 88 keys.

    >>> model = RollWaveNet.from_pretrained("wavenet-chorales")  # doctest: +SKIP
    >>> model.log_prob(roll).mean()  # roll (88, frames): nats per frame  # doctest: +SKIP

    The mode can be given (major or minor, for music with C for its tonic), or left for the model to guess.

    The parts in order: `input` (the previous frame, its features and the mode -> R), `stack` (R -> S), ReLU, `output`
    (S -> A), ReLU; `to_keys` passes different features to each key and `to_all` the same features to all; `around` adds
    what a key sees around itself in the past; and `head` decides one key after another. Internally the highest key
    comes first, because the head decides from the top down: the melody, then what goes with it.

    Args:
        config: the shape; None for `RollConfig(**settings)`.
        settings: fields of RollConfig, used when there is no config.

    Sources: van den Oord et al. 2016 (arXiv:1609.03499); weights shared over keys, as in Johnson 2017, "Generating
    polyphonic music using tied parallel networks". Chapter 5.
    """

    config_class = RollConfig

    def __init__(self, config: RollConfig | None = None, **settings):
        super().__init__()
        self.config = c = config or RollConfig(**settings)
        r, s, a, h = c.residual_channels, c.skip_channels, c.end_channels, c.head_channels
        self.dropout = nn.Dropout(c.dropout)
        self.input = nn.Linear(KEYS + FRAME_FEATURES + 2, r)
        self.stack = DilatedStack(dilations_of(c.layers, c.stacks), r, s)
        self.receptive_field = self.stack.receptive_field  # in frames; the look-up sees many more
        self.output = nn.Linear(s, a)
        self.shortcut = nn.Linear(FRAME_FEATURES + 2, a, bias=False)
        self.to_keys = nn.Linear(a, KEYS * c.key_channels)
        self.to_all = nn.Linear(a, h)
        self.around = nn.Linear(sum(2 * reach + 1 for reach in REACH) + c.key_channels, h)
        self.degree = nn.Parameter(0.1 * torch.randn(12, h))
        self.register = nn.Parameter(torch.zeros(KEYS, h))
        self.head = PianoRollHead(h, c.head_layers, c.head_dropout)
        self.register_buffer("base", torch.full((KEYS,), -3.0))  # log-odds of each key in the training data

    @torch.no_grad()
    def log_prob(self, roll: Tensor, mode: str | None = None) -> Tensor:
        """The log probability, in nats, of each frame of a roll (88, frames) given those before it: (frames,).

        The mode is "major" or "minor" if that is given too, and None if it isn't. Raises ValueError for another mode, a
        roll of another shape, or one with numbers other than 0 and 1.
        """
        frames = as_frames(roll).to(self.base.device)
        past = history(frames).to(frames.device)
        whole = self.context(past[None], self.told([mode]))[0, :-1], frames, past[:-1]
        logits = torch.cat([self.logits(*chunk) for chunk in zip(*(x.split(CHUNK) for x in whole), strict=True)])
        return -F.binary_cross_entropy_with_logits(logits.view_as(frames), frames, reduction="none").sum(-1)

    def told(self, modes: Sequence[str | None]) -> Tensor:
        """Modes as the network reads them: (B, 2), zeros for None."""
        for mode in modes:
            require(mode in MODES, f'mode must be "major", "minor" or None; got {mode!r}')
        return torch.tensor([MODES[mode] for mode in modes], device=self.base.device)

    def forward(self, frames: Tensor, past: Tensor, modes: Tensor, points: Points | None = None) -> Tensor:
        """Logits (M,) of the keys at the points being down.

        Args:
            frames: (B, T, 88), the highest key first.
            past: (B, T, PAST), their history.
            modes: (B, 2), as `told` gives them.
            points: rows (0 to B T - 1) and keys, int64 (M,) each; None for all keys of all frames.
        """
        return self.logits(*(x.flatten(0, 1) for x in (self.context(past, modes), frames, past)), points)

    def context(self, past: Tensor, modes: Tensor) -> Tensor:
        """The WaveNet over time: pasts (B, T, PAST) and modes (B, 2) -> (B, T, A)."""
        previous, modes = planes_of(past)[..., 0, :], modes[:, None].expand(-1, past.shape[1], -1)
        features = torch.cat([features_of(past), modes], dim=-1)
        x = self.dropout(torch.cat([previous, features], dim=-1))
        x = self.dropout(self.input(x)).transpose(1, 2)  # (B, R, T)
        x = F.relu(self.stack(x)).transpose(1, 2)  # (B, T, S)
        return self.dropout(F.relu(self.output(x) + self.shortcut(features)))

    def logits(self, context: Tensor, frames: Tensor, past: Tensor, points: Points | None = None) -> Tensor:
        """Logits (M,) at the points of F frames (F, 88), with their context (F, A) and past (F, PAST)."""
        points = torch.ones_like(frames).nonzero(as_tuple=True) if points is None else points
        features, previous = self.features(context, past, points), planes_of(past)[:, 0]
        return self.base[points[1]] + self.head(features, frames, previous, points)

    def features(self, context: Tensor, past: Tensor, points: Points) -> Tensor:
        """What the past says about the keys at the points of F frames: (M, H)."""
        rows, keys = points
        parts = []
        for plane, reach in zip(planes_of(past).unbind(1), REACH, strict=True):
            parts.append(F.pad(plane, (reach, reach)).unfold(-1, 2 * reach + 1, 1)[points])  # (M, 2 x reach + 1)
        parts.append(self.to_keys(context).unflatten(-1, (KEYS, -1))[points])  # (M, key_channels)
        x = self.around(torch.cat(parts, dim=-1)) + self.to_all(context)[rows]
        return x + self.register[keys] + self.degree[keys % 12]


def as_roll(name: str, roll: Tensor, free: bool = False) -> Tensor:
    """A piano roll as float32 (88, frames); a ValueError unless it holds only 0 and 1 (or NaN, if keys may be free)."""
    roll = torch.as_tensor(roll).float()
    if roll.dim() != 2 or len(roll) != KEYS:
        raise ValueError(f"{name} must be a piano roll ({KEYS}, frames); got {tuple(roll.shape)}")
    if not ((roll == 0) | (roll == 1) | (roll.isnan() & free)).all():
        raise ValueError(f"{name} must hold 0 and 1{', and NaN for free keys' * free}; it holds other numbers")
    return roll


def as_frames(roll: Tensor) -> Tensor:
    """A roll (88, frames) of zeros and ones as float frames (frames, 88), the highest key first."""
    return as_roll("roll", roll).T.flip(-1)


def mode_in_c(roll: Tensor) -> str:
    """The mode of a roll (88, frames) whose tonic is C: minor if the E flats in it outnumber the Es."""
    flat, natural = (as_roll("roll", roll)[key::12].sum() for key in (6, 7))  # row 0 is an A
    return "minor" if flat > natural else "major"


def transposed(frames: Tensor, up: int) -> Tensor:
    """Transpose frames (..., 88), the highest key first, `up` semitones; keys that leave the keyboard are dropped."""
    first = max(up, 0)
    return F.pad(frames, (first - up, first))[..., first : first + KEYS]


def nats_per_frame(model: RollWaveNet, rolls: Sequence[Tensor]) -> float:
    """The exact average negative log-likelihood of all frames of all rolls, each given all frames before it.

    >>> nats_per_frame(model, [item["roll"] for item in JSBChorales("test")])  # doctest: +SKIP
    4.451

    Args:
        model: evaluated without dropout, whatever mode it is in.
        rolls: piano rolls (88, frames).

    Returns: nats per frame.

    Raises:
        ValueError: for a roll of another shape, or with other numbers than 0 and 1.

    Source: Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392), table 1. Chapter 5.
    """
    with modes_kept(model):
        model.eval()
        total = sum(float(model.log_prob(roll).double().sum()) for roll in rolls)
    return -total / sum(roll.shape[1] for roll in rolls)


def log_odds(rolls: Sequence[Tensor]) -> Tensor:
    """The log-odds of each key over all frames, the initial value of a model's `base`.

    >>> log_odds([torch.zeros(88, 10)]).shape
    torch.Size([88])

    Args:
        rolls: piano rolls (88, frames).

    Returns: (88,), the highest key first.

    Chapter 5.
    """
    down, count = sum(as_frames(roll).sum(0) for roll in rolls), sum(roll.shape[1] for roll in rolls)
    return ((down + 0.05) / (count - down + 1)).log()


# ---- learning


class RollBatches:
    """Training crops of piano rolls: `batches(n)` is batch n, a pure function of (seed, n).

    >>> frames, past, modes, weights = RollBatches([torch.eye(88)] * 2, batch_size=2)(0)
    >>> frames.shape, past.shape, modes.shape, weights.shape
    (torch.Size([2, 88, 88]), torch.Size([2, 88, 843]), torch.Size([2, 2]), torch.Size([2, 88, 88]))

    A batch holds frames (B, T, 88), the highest key first, with shorter pieces padded with silence; their `history`
    (B, T, 843); the modes (B, 2), hidden from half of the crops, so that the model also learns to do without; and what
    each key counts for in the loss, (B, T, 88), which is 0 for padding and for most keys.

    In most frames, most keys are obviously up. So only some of the keys that are up are used, each with a probability
    that grows with how often it was down lately, and a weight of one over that probability. The loss stays unbiased and
    becomes several times cheaper.

    Args:
        rolls: the pieces, (88, frames) each.
        batch_size: B.
        length: frames per crop; shorter pieces are padded. A piece is drawn in proportion to its own length.
        seed: the seed for choosing pieces, crops and points.

    Raises:
        ValueError: for a roll of another shape, or with other numbers than 0 and 1.

    Chapter 5.
    """

    def __init__(self, rolls: list[Tensor], batch_size: int = 12, length: int = 128, seed: int = 0):
        self.pieces = [(x, history(x)[:-1], torch.ones(len(x))) for x in map(as_frames, rolls)]
        self.sizes = np.array([len(frames) for frames, *_ in self.pieces])
        self.modes = torch.tensor([MODES[mode_in_c(roll)] for roll in rolls])
        self.batch_size, self.length, self.seed = batch_size, length, seed

    def __call__(self, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Batch n: frames, past, modes and weights."""
        rng = np.random.default_rng([self.seed, n])
        chosen = rng.choice(len(self.sizes), self.batch_size, p=self.sizes / self.sizes.sum())
        starts = rng.integers(np.maximum(self.sizes[chosen] - self.length, 0) + 1)
        crops = [[x[at : at + self.length] for x in self.pieces[i]] for i, at in zip(chosen, starts, strict=True)]
        frames, past, real = (pad_sequence(parts, batch_first=True) for parts in zip(*crops, strict=True))
        modes = self.modes[chosen] * torch.from_numpy(rng.random((len(chosen), 1)) < 0.5)
        return frames, past, modes, weights_of(frames, past, real, rng)


def weights_of(frames: Tensor, past: Tensor, real: Tensor, rng: np.random.Generator) -> Tensor:
    """The weight of each key (B, T, 88): in real frames, all keys that are down and some that are up get one."""
    previous, recalled, used = planes_of(past)[:, :, [0, LAGS, LAGS + 3]].unbind(2)
    chance = (0.06 + 0.5 * used + previous + recalled).clamp(max=1.0)
    chance = torch.where(frames > 0, 1.0, chance) * real[..., None]
    drawn = torch.from_numpy(rng.random(chance.shape, dtype=np.float32)) < chance
    return torch.where(drawn, 1 / chance, 0.0) / real.sum()


def roll_loss(model: RollWaveNet, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """The average negative log-likelihood of a batch, in nats per frame, estimated from the keys with a weight.

    >>> roll_loss(RollWaveNet(), RollBatches([torch.eye(88)], batch_size=2)(0)).backward()

    Args:
        model: the network to train.
        batch: what `RollBatches` gives; it is moved to the model's device.

    Returns: a scalar whose expectation over the choice of keys is the exact loss.

    Chapter 5.
    """
    frames, past, modes, weights = (x.to(model.base.device) for x in batch)
    points = weights.flatten(0, 1).nonzero(as_tuple=True)
    down, weight = (x.flatten(0, 1)[points] for x in (frames, weights))
    return F.binary_cross_entropy_with_logits(model(frames, past, modes, points), down, weight, reduction="sum")
