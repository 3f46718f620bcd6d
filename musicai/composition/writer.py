"""Writing tunes note by note, several at once: each step costs one pass over one note, nothing is computed twice. Chapter 7."""

from collections.abc import Sequence

import numpy as np
import torch

from musicai.composition.memory import Source, TuneMemory
from musicai.composition.network import TuneWaveNet, note_row, plan_row
from musicai.composition.tunes import LOWEST, REST, TICKS, Layout, Plan
from musicai.notes import Melody


class TuneWriter:
    """Writes tunes with a `TuneWaveNet`: ask for logits, draw, append, until all are finished.

    >>> model = TuneWaveNet.from_pretrained("tunes")
    >>> writer = TuneWriter(model, [Plan(2, "major", (4, 4), (4, 4))] * 2)
    >>> while not writer.finished.all():
    ...     durations = writer.duration_logits().argmax(1)
    ...     writer.append(durations, writer.pitch_logits(durations).argmax(1))
    >>> decode(*writer.tune(0), plan)  # doctest: +SKIP

    Args:
        model: the network, which is put in eval mode.
        plans: one for each tune.
        sources: for each tune a melody in its key and on its time axis, or None; None for no sources at all.

    Chapter 7.
    """

    def __init__(self, model: TuneWaveNet, plans: Sequence[Plan], sources: Sequence[Melody | None] | None = None):
        self.model, self.plans = model.eval(), list(plans)
        self.sources = [
            s and read_source_notes(s, plan) for s, plan in zip(sources or [None] * len(plans), plans, strict=True)
        ]
        self.memories = [TuneMemory(Layout.of(plan)) for plan in plans]
        self.rows = [plan_row(plan) for plan in plans]
        self.ends = np.array([memory.layout.end for memory in self.memories])
        self.cache = model.empty_cache(len(plans))
        self._look()

    @property
    def position(self) -> np.ndarray:
        """Beats since each tune began, the pickup included, float64 (B,)."""
        return np.array([memory.now for memory in self.memories]) / TICKS

    @property
    def finished(self) -> np.ndarray:
        """Whether each tune has reached its end, bool (B,)."""
        return np.array([memory.now for memory in self.memories]) >= self.ends

    def tune(self, row: int) -> tuple[list[int], list[int]]:
        """The durations and pitches of one tune so far, for `decode`."""
        durations, pitches = zip(*self.memories[row].notes, strict=True)
        return list(durations), list(pitches)

    @torch.no_grad()
    def duration_logits(self) -> np.ndarray:
        """For the next note of each tune, float32 (B, D)."""
        return self.model.duration_logits(self.state, self.inputs).numpy()

    @torch.no_grad()
    def pitch_logits(self, durations: np.ndarray) -> np.ndarray:
        """For the next note of each tune if it has these durations (int64 (B,)), float32 (B, P)."""
        return self.model.pitch_logits(self.state, self.inputs, torch.as_tensor(durations)).numpy()

    def append(self, durations: np.ndarray, pitches: np.ndarray) -> None:
        """Append one note to each tune that isn't finished, from its duration and its pitch (int64 (B,) each)."""
        for row, (memory, source) in enumerate(zip(self.memories, self.sources, strict=True)):
            if memory.now < self.ends[row]:
                if source:
                    source.append(memory.now, int(pitches[row]))
                memory.append(int(durations[row]), int(pitches[row]))
        if not self.finished.all():
            self._look()

    @torch.no_grad()
    def _look(self) -> None:
        """Compute the state before the next note."""
        rows = [
            [*plan, *note_row(memory, source)]
            for plan, memory, source in zip(self.rows, self.memories, self.sources, strict=True)
        ]
        self.inputs = torch.tensor(rows)
        self.state = self.model.step(self.inputs, self.cache)


def read_source_notes(melody: Melody, plan: Plan) -> Source:
    """Read a melody in a plan's key and on its time axis as a `Source`; rests become notes of the class REST.

    >>> read_source_notes(Melody.from_pitches([62, 64, None, 66]), Plan(2, "major", (4, 4), (1,))).pitches
    [24, 26, 61, 28]
    """
    onsets, ticks, pitches = [], [], []
    for note in melody.notes:
        start, now = round(note.start * TICKS), onsets[-1] + ticks[-1] if onsets else 0
        rows = [(now, start - now, REST)] * (start > now)
        rows.append(
            (start, max(1, round(note.duration * TICKS)), min(max(note.pitch - plan.base - LOWEST, 0), REST - 1))
        )
        for row in rows:
            for column, value in zip((onsets, ticks, pitches), row, strict=True):
                column.append(value)
    return Source(onsets, ticks, pitches)
