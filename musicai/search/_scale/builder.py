"""From pieces to the columns of the file, chunk by chunk, so that memory does not grow with the collection, and back.

A note takes three bytes as a rule: its symbol (see `sliding.py`), as bit planes, and one number for its pitch, the low
seven bits, and its rhythm, the row of a table with the time to the next note and the duration. What is needed together
lies together, since pages take most of the time. Times are whole numbers of TICKS per beat, which is exact for all
usual note values and for MIDI files.
"""

import json
from pathlib import Path
from typing import BinaryIO

import numpy as np

from musicai.notes import Melody, Note, Score
from musicai.search._scale.planes import planes_of
from musicai.search._scale.sliding import END, compiled, symbols_of
from musicai.search._scale.store import Column, Store, write
from musicai.search.lines import Lines, flatten

TICKS = 20160  # per beat: divisible by 64, 9, 5 and 7, and so by the 480 and 960 of MIDI files
BATCH = 1000  # pieces whose notes are converted at once
TOGETHER = 64  # runs of notes that are read before their pages are let go
DTYPES = {"notes": "<u4", "offsets": "<i8", "pieces": "<i4", "firsts": "<i4", "table": "<i4"}
DTYPES |= {"texts": "u1", "text_offsets": "<i8", "symbols": "u1", "symbol_counts": "<i8", "planes": "<u8"}


def facts_of(piece: Melody | Score) -> list:
    """The name, key, tempo and metre of a piece."""
    if isinstance(piece, Melody):
        return [piece.name, piece.key, piece.tempo, *piece.time_signature]
    return [piece.name, piece.key, piece.tempos[0][1], *piece.time_signatures[0][1:]]


class Builder:
    """Collects pieces in columns; `finish` writes the file."""

    def __init__(self, folder: Path | None):
        self.columns = {name: Column(dtype, folder, [0] * name.endswith("offsets")) for name, dtype in DTYPES.items()}
        self.codes: dict[int, int] = {}  # (step, duration) as one number -> its row in the table
        self.pieces, self.waiting, self.names, self.counts = 0, [], set(), np.zeros(256, np.int64)

    def add(self, piece: Melody | Score | Lines, name: str | None = None) -> None:
        """Add a piece, or `Lines` for many pieces without names."""
        if not isinstance(piece, Lines):
            self.waiting.append((piece, name))
            return self._flush() if len(self.waiting) == BATCH else None
        self._flush()
        self._append_lines(piece.offsets, piece.pieces, piece.pitches, piece.starts, piece.durations)
        numbers = range(self.pieces, self.pieces + int(piece.pieces.max(initial=-1)) + 1)
        return self._append_texts([[str(number), "", "", 120.0, 4, 4] for number in numbers])

    def _flush(self) -> None:
        self._append_lines(*flatten(piece for piece, _ in self.waiting))
        self._append_texts([self._describe(i, *item) for i, item in enumerate(self.waiting, self.pieces)])
        self.waiting = []

    def _append_lines(self, offsets, owners, pitches, starts, durations) -> None:
        full, base = np.diff(offsets) > 0, self.columns["notes"].length
        begins, ends = offsets[:-1][full], offsets[1:][full]
        on, off = (np.rint(times * TICKS).astype(np.int64) for times in (starts.astype(float), starts + durations))
        steps = np.diff(on, append=0)
        steps[ends - 1] = off[ends - 1] - on[ends - 1]  # the last note has no next one
        steps = np.maximum(steps, 1)
        unique, inverse = np.unique(steps << 32 | np.clip(off - on, 1, steps), return_inverse=True)
        codes = [self.codes.setdefault(pair, len(self.codes)) for pair in unique.tolist()]
        notes = np.array(codes, dtype=np.uint32)[inverse] << 7 | pitches.astype(np.uint32)
        found = {"notes": notes, "firsts": on[begins]}
        found |= {"offsets": ends + base, "pieces": np.asarray(owners, dtype=np.int64)[full] + self.pieces}
        found["symbols"] = symbols_of(pitches, steps, ends - 1)
        self.counts += np.bincount(found["symbols"], minlength=256)
        for name, values in found.items():
            self.columns[name].append(values)

    def _append_texts(self, rows: list[list]) -> None:
        texts = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
        self.columns["text_offsets"].append(np.cumsum([len(text) for text in texts]) + self.columns["texts"].length)
        self.columns["texts"].append(np.frombuffer(b"".join(texts), np.uint8))
        self.pieces += len(rows)

    def _describe(self, position: int, piece: Melody | Score, name: str | None) -> list:
        if name is None:
            name = f"{piece.collection}/{piece.number}" if getattr(piece, "number", "") else str(position)
        name = f"{name}#{position}" if name in self.names else name
        self.names.add(name)
        return [name, *facts_of(piece)]

    def finish(self, file: BinaryIO) -> None:
        """Write everything that was added."""
        self._flush()
        table = np.array([(pair >> 32, pair & 0xFFFFFFFF) for pair in self.codes], dtype=np.int32).reshape(-1, 2)
        self.columns["table"].append(table.ravel())
        self.columns["symbol_counts"].append(self.counts)
        for block in planes_of(self.columns.pop("symbols"), END):
            self.columns["planes"].append(block)
        write(file, self.columns, {"notes": np.min_scalar_type(max(1, len(table)) * 128 - 1)})


def read_runs(store: Store, lines: np.ndarray, firsts: np.ndarray, lasts: np.ndarray) -> Lines:
    """Read runs of notes, each from a line, as if they were lines; `pieces` says whose they are.

    A run that begins with its line has the line's own times, and any other begins at 0.
    """
    offsets = np.cumsum([0, *(lasts - firsts)], dtype=np.int64)
    columns = tuple(np.empty(offsets[-1], dtype) for dtype in (np.uint8, np.float32, np.float32))
    origins = np.where(firsts == store["offsets"][lines], store["firsts"][lines], 0)
    notes = (store["notes"], store["table"].reshape(-1, 2))
    for i in range(0, len(lines), TOGETHER):
        some = slice(i, i + TOGETHER)
        _copy(firsts[some], lasts[some], origins[some], offsets[some], *notes, *columns)
        store.release()
    return Lines(offsets, store["pieces"][lines], *columns)


@compiled
def _copy(firsts, lasts, origins, offsets, notes, table, pitches, starts, durations):
    for run in range(len(firsts)):
        at, onset = offsets[run], np.int64(origins[run])
        for i in range(firsts[run], lasts[run]):
            step, duration = table[notes[i] >> 7]
            pitches[at], starts[at], durations[at] = notes[i] & 127, onset / TICKS, duration / TICKS
            onset += step
            at += 1


def read_melody(store: Store, line: int) -> tuple[str, Melody]:
    """Read a line, exactly as it was put in, as a melody with the name of its piece; also return the piece's id."""
    first, last = store["offsets"][line : line + 2].tolist()
    notes = store["notes"][first:last]
    steps, durations = store["table"].reshape(-1, 2)[notes >> 7].T
    starts = store["firsts"][line] + np.cumsum(steps, dtype=np.int64) - steps
    rows = zip((notes & 127).tolist(), starts / TICKS, durations / TICKS, strict=True)
    begin, end = store["text_offsets"][store["pieces"][line] :][:2]
    name, title, key, tempo, *meter = json.loads(bytes(store["texts"][begin:end]))
    return name, Melody(tuple(Note(*row) for row in rows), title, key, tempo, tuple(meter))
