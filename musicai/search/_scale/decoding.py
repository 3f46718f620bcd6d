"""From the file's bytes back to notes."""

import json

import numpy as np

from musicai.notes import Melody, Note
from musicai.search._scale.builder import TICKS
from musicai.search._scale.store import Store
from musicai.search._scale.words import compiled
from musicai.search.lines import Lines

TOGETHER = 256  # runs of notes that are read before their pages are let go


def read_runs(store: Store, lines: np.ndarray, firsts: np.ndarray, lasts: np.ndarray) -> Lines:
    """Read runs of notes, each from a line, as if they were lines; `pieces` says whose they are.

    A run that begins with its line has the line's own times, and any other begins at 0.
    """
    offsets = np.cumsum([0, *(lasts - firsts)], dtype=np.int64)
    columns = tuple(np.empty(offsets[-1], dtype) for dtype in (np.uint8, np.float32, np.float32))
    origins = np.where(firsts == store["offsets"][lines], store["firsts"][lines], 0)
    notes = (store["pitches"], store["rhythms"], store["table"].reshape(-1, 2))
    for i in range(0, len(lines), TOGETHER):
        some = slice(i, i + TOGETHER)
        _copy(firsts[some], lasts[some], origins[some], offsets[some], *notes, *columns)
        store.release()
    return Lines(offsets, store["pieces"][lines], *columns)


@compiled
def _copy(firsts, lasts, origins, offsets, all_pitches, rhythms, table, pitches, starts, durations):
    for run in range(len(firsts)):
        at, onset = offsets[run], np.int64(origins[run])
        for i in range(firsts[run], lasts[run]):
            step, duration = table[rhythms[i]]
            pitches[at], starts[at], durations[at] = all_pitches[i], onset / TICKS, duration / TICKS
            onset += step
            at += 1


def read_melody(store: Store, line: int) -> tuple[str, Melody]:
    """Read a line, exactly as it was put in, as a melody with the name of its piece; also return the piece's id."""
    first, last = store["offsets"][line : line + 2].tolist()
    steps, durations = store["table"].reshape(-1, 2)[store["rhythms"][first:last]].T
    starts = store["firsts"][line] + np.cumsum(steps, dtype=np.int64) - steps
    rows = zip(store["pitches"][first:last].tolist(), starts / TICKS, durations / TICKS, strict=True)
    begin, end = store["text_offsets"][store["pieces"][line] :][:2]
    name, title, key, tempo, *meter = json.loads(bytes(store["texts"][begin:end]))
    return name, Melody(tuple(Note(*row) for row in rows), title, key, tempo, tuple(meter))
