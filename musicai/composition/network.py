"""`TuneWaveNet`: a WaveNet over notes that looks up the tune's own past. Chapter 7.

Everything known before a note is a handful of classes: the note before it, where it begins, the plan, and the slots of
`TuneMemory` and `Source`. Their embeddings are added up, a stack of dilated convolutions looks back over the notes, and
two heads give logits for the duration and, once that is known, for the pitch. To each slot's advice the heads add a
number of their own: that is the copy path.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.composition.memory import BARS, NOTHING, POSITIONS, SECTIONS, SLOTS, STATES, Source, TuneMemory
from musicai.composition.tunes import LENGTHS, LOWEST, PITCHES, Plan, Tune
from musicai.notes.notation import MODES
from musicai.pretrained import Pretrained
from musicai.wavenet.layers import DilatedStack, dilations_of

METERS = ((2, 2), (4, 4), (2, 4), (6, 8), (9, 8), (3, 4), (3, 8), (12, 8), (6, 4), (5, 4), (3, 2))
D, P, K = len(LENGTHS), len(PITCHES) + 1, len(SLOTS)
# The columns of the network's input and how many classes each has; class 0 means unknown or none.
PLAN = (len(METERS) + 1, len(MODES) + 1, P, P, 33, 12)  # metre, mode, lowest, highest, density, syncopation
NOTE = (D + 1, P + 1, POSITIONS, POSITIONS, BARS, BARS, BARS, SECTIONS)  # the note before, and `TuneMemory.place`
SIZES = (*PLAN, *NOTE, *(D + 1, P + 1, STATES) * K)
FIRST_SLOT = len(PLAN) + len(NOTE)
LEFT = len(PLAN) + 3  # the column of the ticks up to the next bar line
SOURCE = len(SIZES) - 6  # the columns of the source begin here
PITCH_COLUMNS = (2, 3, len(PLAN) + 1, *range(FIRST_SLOT + 1, len(SIZES), 3))


@dataclass(frozen=True)
class TuneConfig:
    """The size of a `TuneWaveNet`.

    Args:
        width: channels of the residual path.
        skip: channels of the skip path.
        hidden: units of each head.
        layers: dilated convolutions.
        stacks: how often the dilations start again at 1.
        dropout: the share of activations dropped in training.

    Chapter 7.
    """

    width: int = 128
    skip: int = 192
    hidden: int = 256
    layers: int = 6
    stacks: int = 1
    dropout: float = 0.2


class TuneWaveNet(Pretrained, nn.Module):
    """A WaveNet that writes tunes note by note: a duration, then a pitch given the duration.

    >>> model = TuneWaveNet(TuneConfig(width=8, skip=8, hidden=8, layers=2, stacks=1))
    >>> tune = encode(Melody.from_pitches([62, 64, 66, 62], key="D major"))
    >>> inputs, durations, pitches = batch_of([(example(tune), tune)])
    >>> state = model(inputs)
    >>> model.duration_logits(state, inputs).shape, model.pitch_logits(state, inputs, durations).shape
    (torch.Size([1, 4, 25]), torch.Size([1, 4, 62]))

    Args:
        config: its size.

    Source: van den Oord et al. 2016 (arXiv:1609.03499); copying, Gu et al. 2016 (arXiv:1603.06393). Chapter 7.
    """

    config_class = TuneConfig

    def __init__(self, config: TuneConfig = TuneConfig()):
        super().__init__()
        self.config, c = config, config
        self.embed = nn.EmbeddingBag(sum(SIZES), c.width, mode="sum")
        self.register_buffer("offsets", torch.tensor((0, *np.cumsum(SIZES)[:-1])), persistent=False)
        self.register_buffer("ticks", torch.tensor(LENGTHS), persistent=False)
        self.register_buffer("slots", torch.arange(K), persistent=False)
        self.stack = DilatedStack(dilations_of(c.layers, c.stacks), c.width, c.skip)
        self.direct = nn.EmbeddingBag(sum(SIZES), c.skip, mode="sum")
        self.recall = Recall(c.skip, c.width)
        self.drop = Dropout(c.dropout)
        self.duration = nn.Sequential(nn.Linear(c.skip, c.hidden), nn.ReLU(), self.drop, nn.Linear(c.hidden, D + K))
        self.given = nn.EmbeddingBag(D + POSITIONS + 1 + 3 * K, c.hidden, mode="sum")
        self.pitch = nn.Linear(c.skip, c.hidden)
        self.pitch_out = nn.Linear(c.hidden, P + K)
        for table in (self.embed, self.direct, self.given):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, inputs: Tensor) -> Tensor:
        """The state before each note, (B, T, S), from the classes that are known then, (B, T, columns)."""
        places = (inputs + self.offsets).flatten(0, 1)
        x = self.drop(self.embed(places).unflatten(0, inputs.shape[:2]))
        skip = self.stack(x.transpose(1, 2)).transpose(1, 2) + self.direct(places).unflatten(0, inputs.shape[:2])
        return self.drop(torch.relu(skip + self.recall(skip, x)))

    def empty_cache(self, count: int) -> list[Tensor]:
        """What `step` remembers of `count` tunes: for each block the latest inputs, and the keys and values."""
        width, heads = self.config.width, self.recall.heads
        rings = [torch.zeros(block.conv.dilation[0], count, width) for block in self.stack.blocks]
        return [*rings, torch.zeros(2, count, heads, 0, 128 // heads), torch.zeros(count, 128)]

    def step(self, inputs: Tensor, cache: list) -> Tensor:
        """The next state of each tune, (B, S), from the inputs (B, columns); `cache` remembers the notes before."""
        places, t = inputs + self.offsets, cache[-2].shape[3]
        x = first = self.embed(places)
        skip = self.direct(places)
        for block, ring in zip(self.stack.blocks, cache, strict=False):
            past, now = block.conv.weight.unbind(2)
            both = F.linear(ring[t % len(ring)], past, block.conv.bias) + F.linear(x, now)
            ring[t % len(ring)] = x
            filtered, gate = both.chunk(2, dim=1)
            z = torch.tanh(filtered) * torch.sigmoid(gate)
            skip = skip + F.linear(z, block.skip.weight[..., 0], block.skip.bias)
            x = x if block.residual is None else x + F.linear(z, block.residual.weight[..., 0], block.residual.bias)
        split = self.recall.split
        cache[-2] = torch.cat(
            [cache[-2], torch.stack([split(cache[-1]), split(self.recall.value(first))])[:, :, :, None]], 3
        )
        k, v = cache[-2]
        cache[-1] = self.recall.key(skip)
        found = F.scaled_dot_product_attention(split(self.recall.query(skip))[:, :, None], k, v)[:, :, 0]
        return torch.relu(skip + self.recall.out(found.flatten(1)))

    def duration_logits(self, state: Tensor, inputs: Tensor) -> Tensor:
        """(..., D) from the state (..., S) and the inputs (..., columns)."""
        return _copying(self.duration(state), inputs[..., FIRST_SLOT::3], D)

    def pitch_logits(self, state: Tensor, inputs: Tensor, durations: Tensor) -> Tensor:
        """(..., P) from the same and the durations (...) of the notes."""
        advice, d = inputs[..., FIRST_SLOT::3], durations[..., None]
        agrees = (advice > 0).long() + (advice == d + 1)  # 0 no advice, 1 another duration, 2 this one
        after = (inputs[..., LEFT, None] - self.ticks[d] + 1).clamp(min=0)  # 0 if the note goes on over the bar line
        given = torch.cat([d, D + after, D + POSITIONS + 1 + 3 * self.slots + agrees], -1)
        hidden = self.pitch(state) + self.given(given.flatten(0, -2)).unflatten(0, durations.shape)
        return _copying(self.pitch_out(self.drop(torch.relu(hidden))), inputs[..., FIRST_SLOT + 1 :: 3], P)


class Recall(nn.Module):
    """Attention."""

    def __init__(self, channels: int, width: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(channels, 128), nn.Linear(channels, 128)
        self.value, self.out = nn.Linear(width, 128), nn.Linear(128, channels, bias=False)

    def split(self, y: Tensor) -> Tensor:
        """(..., 128) -> (..., heads, 32)."""
        return y.unflatten(-1, (self.heads, -1))

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        """x[t] holds note t - 1; so the value that belongs to key j is x[j + 1]."""
        q, k, v = self.query(state), F.pad(self.key(state), (0, 0, 1, 0))[:, :-1], self.value(x)
        q, k, v = (self.split(y).transpose(1, 2) for y in (q, k, v))
        # position i of k is state i-1, of v note i-1: both known at t >= i
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class Dropout(nn.Module):
    """Drops channels for the whole tune."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or not self.p:
            return x
        keep = torch.empty(x.shape[0], *[1] * (x.dim() - 2), x.shape[-1], device=x.device).bernoulli_(1 - self.p) / (
            1 - self.p
        )
        return x * keep.to(x.dtype)


def _copying(out: Tensor, advice: Tensor, classes: int) -> Tensor:
    """Logits (..., classes): the first outputs, plus one more output per slot for the class that it advises."""
    logits = F.pad(out[..., :classes], (1, 0))  # class 0 takes what the empty slots would add
    return logits.scatter_add(-1, advice, out[..., classes:])[..., 1:]


def plan_row(plan: Plan) -> list[int]:
    """The plan's columns of the input."""
    low, high = (min(max(pitch - plan.base - LOWEST, 0), P - 2) + 1 for pitch in plan.range)
    density = 0 if math.isnan(plan.density) else 1 + min(round(8 * plan.density), 31)
    syncopation = 0 if math.isnan(plan.syncopation) else 1 + min(round(20 * plan.syncopation), 10)
    meter = METERS.index(plan.meter) + 1 if plan.meter in METERS else 0
    return [meter, MODES.index(plan.mode) + 1, low, high, density, syncopation]


def note_row(memory: TuneMemory, source: Source | None) -> list[int]:
    """The other columns: the note before, the place, the tune's own slots and the source's."""
    before = (memory.notes[-1][0] + 1, memory.notes[-1][1] + 1) if memory.notes else (0, 0)
    advice = source.slots(memory.now) if source else [NOTHING, NOTHING]
    return [*before, *memory.place(), *(number for slot in (*memory.found, *advice) for number in slot)]


def example(tune: Tune) -> np.ndarray:
    """What is known before each note of a tune, with no source: the inputs (T, columns)."""
    memory, plan, rows = TuneMemory(tune.layout), plan_row(tune.plan), []
    for duration, pitch in zip(tune.durations.tolist(), tune.pitches.tolist(), strict=True):
        rows.append([*plan, *note_row(memory, None)])
        memory.append(duration, pitch)
    return np.array(rows, np.int16)


def add_source(inputs: np.ndarray, tune: Tune, source: Source) -> np.ndarray:
    """The inputs of a tune (T, columns) with what a source plays, followed from its beginning."""
    advice = []
    for now, pitch in zip(tune.onsets.tolist(), tune.pitches.tolist(), strict=True):
        advice.append([number for slot in source.slots(now) for number in slot])
        source.append(now, pitch)
    return np.hstack([inputs[:, :SOURCE], np.array(advice, inputs.dtype)])


def batch_of(examples: Sequence[tuple[np.ndarray, Tune]]) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (B, T, columns), durations and pitches (B, T) of tunes; where one is shorter, -1 (and 0 in the inputs)."""
    longest = max(len(rows) for rows, _ in examples)
    inputs = np.zeros((len(examples), longest, len(SIZES)), np.int64)
    notes = np.full((2, len(examples), longest), -1)
    for i, (rows, tune) in enumerate(examples):
        inputs[i, : len(rows)] = rows
        notes[:, i, : len(rows)] = tune.durations, tune.pitches
    return torch.from_numpy(inputs), *torch.from_numpy(notes)


def tune_losses(model: TuneWaveNet, inputs: Tensor, durations: Tensor, pitches: Tensor) -> tuple[Tensor, Tensor]:
    """The negative log-likelihood of the durations and of the pitches, in nats per note."""
    state = model(inputs)
    d = F.cross_entropy(
        model.duration_logits(state, inputs).flatten(0, 1).float(), durations.flatten(), ignore_index=-1
    )
    logits = model.pitch_logits(state, inputs, durations.clamp(min=0))
    return d, F.cross_entropy(logits.flatten(0, 1).float(), pitches.flatten(), ignore_index=-1)


@torch.no_grad()
def bits_per_note(
    model: TuneWaveNet, examples: Sequence[tuple[np.ndarray, Tune]], open_plan: bool = False
) -> tuple[float, float]:
    """Measure how well a model predicts tunes from what precedes each note; no source is given.

    Args:
        model: in eval mode.
        examples: inputs from `example`, each with its tune.
        open_plan: whether to hide the range, the density and the syncopation.

    Returns: the mean bits for a duration and for the pitch given the duration; their sum is the bits per note.
    """
    totals, count = np.zeros(2), 0
    examples = sorted(examples, key=lambda pair: len(pair[0]))
    for i in range(0, len(examples), 16):
        inputs, *notes = (part.to(model.offsets.device) for part in batch_of(examples[i : i + 16]))
        if open_plan:
            inputs[..., 2 : len(PLAN)] = 0
        size = int((notes[0] >= 0).sum())
        totals += size * np.array([float(loss) for loss in tune_losses(model, inputs, *notes)])
        count += size
    return tuple((totals / count / math.log(2)).tolist())
