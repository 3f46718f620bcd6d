"""`TuneWaveNet`: a WaveNet over notes that looks up the tune's own past. Chapter 7.

Everything known before a note is a row of classes: the plan, the note before, where this one begins, and the slots of
`TuneMemory` and `Source`. Their embeddings are added up; a stack of dilated convolutions and attention look back over
the notes; and two heads give logits for the duration and, once that is known, for the pitch. To what each slot advises
the heads add a number of their own: that is the copy path.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.composition.memory import NOTHING, PLACE, SLOTS, STATES, Source, TuneMemory
from musicai.composition.tunes import LENGTHS, LOWEST, PITCHES, REST, Plan, Tune
from musicai.notes.notation import MODES
from musicai.pretrained import Pretrained, check_config
from musicai.wavenet.layers import DilatedStack, dilations_of

METERS = ((2, 2), (4, 4), (2, 4), (6, 8), (9, 8), (3, 4), (3, 8), (12, 8), (6, 4), (5, 4), (3, 2))
D, P, K, HEADS = len(LENGTHS), len(PITCHES) + 1, len(SLOTS), 4
# The columns of the network's input and how many classes each has; class 0 means unknown or none.
PLAN = (len(METERS) + 1, len(MODES) + 1, P, P, 33, 12)  # metre, mode, lowest, highest, density, syncopation
REACH = (14, 14)  # semitones from the tune so far to the lowest and to the highest pitch of the plan
OCTAVE, INTERVALS = 12, 26  # classes of an interval: 0 unknown, then from an octave (or more) down to one up
SIZES = (*PLAN, D + 1, P + 1, *PLACE, *REACH, INTERVALS, *(D + 1, P + 1, STATES) * K)
BEFORE = len(PLAN) + 1  # the pitch of the note before
LEFT, FIRST_SLOT = len(PLAN) + 3, len(SIZES) - 3 * K  # the ticks up to the next bar line; the first slot
RANGE, SOURCE = (2, 3, FIRST_SLOT - 3, FIRST_SLOT - 2), len(SIZES) - 6  # what tells the range; the source begins


@dataclass(frozen=True)
class TuneConfig:
    """The size of a `TuneWaveNet`.

    >>> TuneConfig(width=64).layers
    6

    Args:
        width: channels of the residual path, and of queries, keys and values.
        skip: channels of the skip path.
        slot: size of the embedding of a slot.
        hidden: units of each head.
        layers: dilated convolutions.
        dropout: the share of channels that is dropped in training, for a whole tune at a time.

    Raises:
        ValueError: if a size is below 1, or a field has another type.

    Chapter 7.
    """

    width: int = 128
    skip: int = 192
    slot: int = 32
    hidden: int = 256
    layers: int = 6
    dropout: float = 0.3

    def __post_init__(self):
        check_config(self)


class TuneWaveNet(Pretrained, nn.Module):
    """A WaveNet that writes tunes note by note: a duration, then a pitch given the duration.

    >>> from musicai.composition import encode
    >>> from musicai.notes import Melody
    >>> model = TuneWaveNet(TuneConfig(width=8, skip=8, layers=2))
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
        self.register_buffer("offsets", torch.tensor(np.cumsum((0, *SIZES[: FIRST_SLOT - 1]))), persistent=False)
        self.register_buffer("parts", torch.tensor((0, D + 1, D + P + 2, D + P + 2 + STATES)), persistent=False)
        self.register_buffer("ticks", torch.tensor(LENGTHS), persistent=False)
        self.embed = nn.EmbeddingBag(sum(SIZES[:FIRST_SLOT]), c.width + c.skip, mode="sum")
        self.slot = nn.EmbeddingBag(D + P + 2 + STATES + INTERVALS, c.slot, mode="sum")  # one table for all slots
        self.slots = nn.Linear(K * c.slot, c.width + c.skip)
        self.given = nn.EmbeddingBag(D + PLACE[0] + 1 + 4 + 3 * K, c.hidden, mode="sum")
        for table in (self.embed, self.slot, self.given):
            nn.init.normal_(table.weight, std=0.1)
        self.stack = DilatedStack(dilations_of(c.layers), c.width, c.skip)
        self.recall = Recall(c.skip, c.width)
        self.duration, self.duration_out = nn.Linear(c.skip, c.hidden), nn.Linear(c.hidden, D + K)
        self.pitch, self.pitch_out = nn.Linear(c.skip, c.hidden), nn.Linear(c.hidden, P + K + INTERVALS - 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """The state before each note, (B, T, S), from the classes that are known then, (B, T, columns)."""
        x, skip = self._embedded(inputs)
        x = self._drop(x)
        skip = skip + self.stack(x.mT).mT
        return self._drop(F.relu(skip + self.recall(skip, x)))

    def empty_cache(self, count: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """What `step` needs to remember of `count` tunes: the latest inputs of each block, all keys and all values."""
        width = self.config.width
        rings = [torch.zeros(block.conv.dilation[0], count, width) for block in self.stack.blocks]
        return rings, [torch.zeros(count, width)], []

    def step(self, inputs: Tensor, cache: tuple) -> Tensor:
        """The next state of each tune, (B, S), from the inputs (B, columns); `cache` remembers the notes before."""
        x, skip = self._embedded(inputs)
        (rings, keys, values), t = cache, len(cache[2])
        values.append(self.recall.value(x))
        for block, ring in zip(self.stack.blocks, rings, strict=True):
            past, now = block.conv.weight.unbind(2)
            both = F.linear(ring[t % len(ring)], past, block.conv.bias) + F.linear(x, now)
            ring[t % len(ring)] = x
            filtered, gate = both.chunk(2, dim=1)
            z = (torch.tanh(filtered) * torch.sigmoid(gate))[..., None]
            skip = skip + block.skip(z)[..., 0]
            x = x if block.residual is None else x + block.residual(z)[..., 0]
        q = self.recall.query(skip)[:, None]
        found = self.recall.attend(q, torch.stack(keys, 1), torch.stack(values, 1))[:, 0]
        keys.append(self.recall.key(skip))
        return F.relu(skip + found)

    def duration_logits(self, state: Tensor, inputs: Tensor) -> Tensor:
        """(..., D) from the state (..., S) and the inputs (..., columns)."""
        hidden = self._drop(F.relu(self.duration(state)))
        return _copying(self.duration_out(hidden), inputs[..., FIRST_SLOT::3], D)

    def pitch_logits(self, state: Tensor, inputs: Tensor, durations: Tensor) -> Tensor:
        """(..., P) from the same and the durations (...) of the notes."""
        advice, d = inputs[..., FIRST_SLOT::3], durations[..., None]
        agrees = (advice > 0).long() + (advice == d + 1)  # 0 no advice, 1 another duration, 2 this one
        after = (inputs[..., LEFT, None] - self.ticks[d] + 1).clamp(min=0)  # 0 if the note goes on over the bar line
        ends = (after == 1) * (1 + (inputs[..., LEFT + 2 : LEFT + 4] == 1).sum(-1, keepdim=True))
        slots = D + PLACE[0] + 5 + 3 * torch.arange(K, device=d.device) + agrees
        given = torch.cat([d, D + after, D + PLACE[0] + 1 + ends, slots], -1)
        hidden = self._drop(F.relu(self.pitch(state) + _added(self.given, given)))
        copied, steps = self.pitch_out(hidden).split([P + K, INTERVALS - 1], -1)
        step = interval(inputs[..., BEFORE, None], torch.arange(1, P + 1, device=d.device))
        return _copying(copied, inputs[..., FIRST_SLOT + 1 :: 3], P) + F.pad(steps, (1, 0)).gather(-1, step)

    def _embedded(self, inputs: Tensor) -> list[Tensor]:
        """The embedding of the inputs (..., columns), as it goes to the convolutions and to the skip path."""
        slots = inputs[..., FIRST_SLOT:].unflatten(-1, (K, 3))
        steps = interval(inputs[..., BEFORE, None], slots[..., 1])[..., None]
        both = self.slots(F.relu(_added(self.slot, torch.cat([slots, steps], -1) + self.parts)).flatten(-2))
        both = both + _added(self.embed, inputs[..., :FIRST_SLOT] + self.offsets)
        return both.split([self.config.width, self.config.skip], -1)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout1d(x.mT, self.config.dropout, self.training).mT


class Recall(nn.Module):
    """Attention: what followed the states that were like this one. A look-up that is learned.

    Args:
        channels: S, of the states.
        width: of queries, keys and values, and of the notes' embeddings.

    Source: Vaswani et al. 2017 (arXiv:1706.03762). Chapter 7.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.query, self.key = nn.Linear(channels, width), nn.Linear(channels, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, channels, bias=False)

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        """(B, T, S) from the states (B, T, S) and x (B, T, width), in which x[:, t] has note t - 1.

        So the key that goes with x[:, t] is that of state t - 1, from which this note followed.
        """
        keys = F.pad(self.key(state), (0, 0, 1, 0))[:, :-1]
        future = torch.ones(2 * x.shape[1:2], dtype=torch.bool, device=x.device).triu(1)
        return self.attend(self.query(state), keys, self.value(x), future)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, T, S) from queries (B, T, width), keys and values (B, T', width), of which some may be hidden (T, T')."""
        q, k, v = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in (query, key, value))
        scores = q @ k.mT / math.sqrt(q.shape[-1])  # (B, HEADS, T, T')
        weights = (scores if hidden is None else scores.masked_fill(hidden, -math.inf)).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


def _added(table: nn.EmbeddingBag, places: Tensor) -> Tensor:
    """The sums (..., C) of the embeddings at `places` (..., columns)."""
    return table(places.flatten(0, -2)).unflatten(0, places.shape[:-1])


def _copying(out: Tensor, advice: Tensor, classes: int) -> Tensor:
    """Logits (..., classes): the first outputs, plus one more output per slot for the class that it advises."""
    logits = F.pad(out[..., :classes], (1, 0))  # class 0 takes what the empty slots would add
    return logits.scatter_add(-1, advice, out[..., classes:])[..., 1:]


def interval(one: Tensor, two: Tensor) -> Tensor:
    """The class of the interval between two pitch columns: 0 if one is unknown or a rest, or else 1 to 25."""
    known = (one > 0) & (one < P) & (two > 0) & (two < P)
    return known * ((two - one).clamp(-OCTAVE, OCTAVE) + OCTAVE + 1)


def plan_row(plan: Plan) -> list[int]:
    """The plan's columns of the input."""
    low, high = (min(max(pitch - plan.base - LOWEST, 0), P - 2) + 1 for pitch in plan.range)
    density = 0 if math.isnan(plan.density) else 1 + min(round(8 * plan.density), 31)
    syncopation = 0 if math.isnan(plan.syncopation) else 1 + min(round(20 * plan.syncopation), 10)
    meter = METERS.index(plan.meter) + 1 if plan.meter in METERS else 0
    return [meter, MODES.index(plan.mode) + 1, low, high, density, syncopation]


def input_row(plan: list[int], memory: TuneMemory, source: Source | None = None) -> list[int]:
    """All columns, for the next note: the plan, the note before, the place, the range so far, and the slots."""
    duration, pitch = memory.notes[-1] if memory.notes else (-1, -1)
    missing = memory.low + 1 - plan[2], plan[3] - memory.high - 1
    reach = [1 + min(max(semitones, 0), 12) for semitones in missing]
    advice = source.slots(memory.now) if source else [NOTHING, NOTHING]
    slots = [number for slot in memory.slots + advice for number in slot]
    steps = [b - a for (_, a), (_, b) in pairwise(memory.notes[-2:]) if REST not in (a, b)]
    step = min(max(steps[0], -OCTAVE), OCTAVE) + OCTAVE + 1 if steps else 0
    return [*plan, duration + 1, pitch + 1, *memory.place(), *reach, step, *slots]


def example(tune: Tune) -> np.ndarray:
    """What is known before each note of a tune, with no source: the inputs (T, columns)."""
    memory, plan, rows = TuneMemory(tune.layout), plan_row(tune.plan), []
    for duration, pitch in zip(tune.durations.tolist(), tune.pitches.tolist(), strict=True):
        rows.append(input_row(plan, memory))
        memory.append(duration, pitch)
    return np.array(rows, np.int16)


def add_source(inputs: np.ndarray, tune: Tune, source: Source) -> np.ndarray:
    """The inputs of a tune (T, columns) with what a source plays, followed from its beginning."""
    advice = []
    for now, pitch in zip(tune.onsets.tolist(), tune.pitches.tolist(), strict=True):
        advice.append(sum(source.slots(now), ()))
        source.append(now, pitch)
    return np.hstack([inputs[:, :SOURCE], np.array(advice, inputs.dtype)])


def batch_of(examples: Sequence[tuple[np.ndarray, Tune]]) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (B, T, columns), durations and pitches (B, T) of tunes; -1 (0 in the inputs) where a tune is shorter."""
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
    first = model.duration_logits(state, inputs), durations
    second = model.pitch_logits(state, inputs, durations.clamp(min=0)), pitches
    return tuple(F.cross_entropy(a.flatten(0, 1).float(), b.flatten(), ignore_index=-1) for a, b in (first, second))


@torch.no_grad()
def bits_per_note(model: TuneWaveNet, examples: Sequence, hidden: Sequence[int] = ()) -> tuple[float, float]:
    """Measure how well a model predicts tunes, each note from what precedes it; no source is given.

    Args:
        model: in eval mode.
        examples: inputs from `example`, each with its tune.
        hidden: columns of the input that are left unknown.

    Returns: the mean bits for a duration and for the pitch given the duration; their sum is the bits per note.
    """
    totals, count = np.zeros(2), 0
    examples = sorted(examples, key=lambda pair: len(pair[0]))
    for i in range(0, len(examples), 16):
        inputs, *notes = (part.to(model.offsets.device) for part in batch_of(examples[i : i + 16]))
        inputs[..., list(hidden)] = 0
        size = int((notes[0] >= 0).sum())
        totals += size * np.array([float(loss) for loss in tune_losses(model, inputs, *notes)])
        count += size
    return tuple((totals / count / math.log(2)).tolist())
