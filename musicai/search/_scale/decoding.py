"""From the file's bytes back to notes."""

import json

import numpy as np
from numba import njit

from musicai.notes import Melody, Note
from musicai.search._scale.builder import TICKS
from musicai.search._scale.store import Store
from musicai.search.lines import Lines

TOGETHER = 256  # runs of notes that are read before their pages are let go


def read_runs(store: Store, lines: np.ndarray, firsts: np.ndarray, lasts: np.ndarray) -> Lines:
    """Read runs of notes, each from a line, as if they were lines; `pieces` says whose they are.

    A run that begins with its line has the line's own times, and any other begins at 0.
    """
    offsets = np.cumsum([0, *(lasts - firsts)], dtype=np.int64)
    pitches, starts, durations = (np.empty(offsets[-1], dtype) for dtype in (np.uint8, np.float32, np.float32))
    origins = np.where(firsts == store["offsets"][lines], store["firsts"][lines], 0)
    table = store["table"].reshape(-1, 2)
    for i in range(0, len(lines), TOGETHER):
        some = slice(i, i + TOGETHER)
        out = (offsets[some], pitches, starts, durations)
        _copy(firsts[some], lasts[some], origins[some], store["pitches"], store["rhythms"], table, *out)
        store.release()
    return Lines(offsets, store["pieces"][lines], pitches, starts, durations)


@njit(cache=True, error_model="numpy", nogil=True)
def _copy(firsts, lasts, origins, all_pitches, rhythms, table, offsets, pitches, starts, durations):
    for run in range(len(firsts)):
        at, onset = offsets[run], np.int64(origins[run])
        for i in range(firsts[run], lasts[run]):
            pitches[at], starts[at] = all_pitches[i], onset / TICKS
            durations[at] = table[rhythms[i], 1] / TICKS
            onset += table[rhythms[i], 0]
            at += 1


def read_melody(store: Store, line: int) -> tuple[str, Melody]:
    """Read a line as a melody, exactly as it was put in, with the name of its piece; and the piece's id."""
    first, last = store["offsets"][line : line + 2].tolist()
    steps, durations = store["table"].reshape(-1, 2)[store["rhythms"][first:last]].T
    starts = store["firsts"][line] + np.concatenate([[0], np.cumsum(steps, dtype=np.int64)[:-1]])
    rows = zip(store["pitches"][first:last].tolist(), starts / TICKS, durations / TICKS, strict=True)
    begin, end = store["text_offsets"][store["pieces"][line] :][:2]
    name, title, key, tempo, *meter = json.loads(bytes(store["texts"][begin:end]))
    return name, Melody(tuple(Note(*row) for row in rows), title, key, tempo, tuple(meter))
