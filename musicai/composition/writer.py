"""Writing tunes note by note, several at once; a step costs one pass over one note of each. Chapter 7."""

from collections.abc import Sequence

import numpy as np
import torch

from musicai.composition.memory import Source, TuneMemory
from musicai.composition.network import TuneWaveNet, input_row, plan_row
from musicai.composition.tunes import LOWEST, REST, TICKS, Plan, TuneLayout
from musicai.notes import Melody


class TuneWriter:
    """Writes tunes with a `TuneWaveNet`: ask for logits, draw, append, until all are finished.

    >>> from musicai.composition import TuneConfig
    >>> writer = TuneWriter(TuneWaveNet(TuneConfig(width=8, skip=8, layers=2)), [Plan(2, "major", (4, 4), (4, 4))] * 2)
    >>> while not writer.finished.all():
    ...     durations = writer.duration_logits().argmax(1)
    ...     writer.append(durations, writer.pitch_logits(durations).argmax(1))
    >>> float(writer.position.min()) >= 32
    True

    Args:
        model: the network, which is put in eval mode.
        plans: one for each tune.
        sources: for each tune a melody in its key and on its time axis, or None; None if no tune has one.

    Chapter 7.
    """

    def __init__(self, model: TuneWaveNet, plans: Sequence[Plan], sources: Sequence[Melody | None] | None = None):
        self.model = model.eval()
        pairs = zip(sources or [None] * len(plans), plans, strict=True)
        self.sources = [source and source_of(source, plan) for source, plan in pairs]
        self.memories = [TuneMemory(TuneLayout.of(plan)) for plan in plans]
        self.rows = [plan_row(plan) for plan in plans]
        self.cache = model.empty_cache(len(plans))
        self._look()

    @property
    def position(self) -> np.ndarray:
        """Beats since each tune began, the pickup included, float64 (B,)."""
        return np.array([memory.now for memory in self.memories]) / TICKS

    @property
    def finished(self) -> np.ndarray:
        """Whether each tune has reached its end, bool (B,)."""
        return np.array([memory.now >= memory.layout.end for memory in self.memories])

    @torch.no_grad()
    def duration_logits(self) -> np.ndarray:
        """For the next note of each tune, float32 (B, D)."""
        return self.model.duration_logits(self.state, self.inputs).numpy()

    @torch.no_grad()
    def pitch_logits(self, durations: np.ndarray) -> np.ndarray:
        """For the next note of each tune, given its duration (int64 (B,)), float32 (B, P)."""
        return self.model.pitch_logits(self.state, self.inputs, torch.as_tensor(durations)).numpy()

    def append(self, durations: np.ndarray, pitches: np.ndarray) -> None:
        """Append a note to each tune that isn't finished: its duration and its pitch, int64 (B,) each."""
        for i in np.flatnonzero(~self.finished):
            memory, source, pitch = self.memories[i], self.sources[i], int(pitches[i])
            if source:
                source.append(memory.now, pitch)
            memory.append(int(durations[i]), pitch)
        if not self.finished.all():
            self._look()

    @torch.no_grad()
    def _look(self) -> None:
        """Compute the state before the next note."""
        known = zip(self.rows, self.memories, self.sources, strict=True)
        self.inputs = torch.tensor([input_row(*parts) for parts in known])
        self.state = self.model.step(self.inputs, self.cache)


def source_of(melody: Melody, plan: Plan) -> Source:
    """Read a melody in a plan's key and on its time axis as a source; its rests become notes of the class REST.

    >>> source_of(Melody.from_pitches([62, 64, None, 66]), Plan(2, "major", (4, 4), (1,))).pitches
    [24, 26, 61, 28]
    """
    rows, now = [], 0
    for note in melody.notes:
        start, end = round(note.start * TICKS), round(note.end * TICKS)
        rows += [(now, start - now, REST)] * (start > now)
        rows.append((start, max(end - start, 1), min(max(note.pitch - plan.base - LOWEST, 0), REST - 1)))
        now = end
    return Source(*zip(*rows, strict=True))
