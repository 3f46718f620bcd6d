"""The monophonic lines of a collection, laid end to end: what every search reads. Chapter 6."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from musicai.notes import Melody, Score


@dataclass(frozen=True)
class Lines:
    """All lines of a collection in flat arrays; line i has the notes `offsets[i]` to `offsets[i + 1]`.

    >>> lines = Lines.from_pieces([Melody.from_pitches([60, 62, 64]), Melody.from_pitches([67, 65])])
    >>> lines.offsets.tolist(), lines.pitches.tolist()
    ([0, 3, 5], [60, 62, 64, 67, 65])

    Args:
        offsets: int64 (lines + 1,).
        pieces: int32 (lines,), the piece that each line belongs to; the lines of one piece are neighbours.
        pitches: uint8 (notes,), MIDI numbers.
        starts: float32 (notes,), in beats.
        durations: float32 (notes,), in beats.

    Chapter 6.
    """

    offsets: np.ndarray
    pieces: np.ndarray
    pitches: np.ndarray
    starts: np.ndarray
    durations: np.ndarray

    @classmethod
    def from_pieces(cls, pieces: Iterable[Melody | Score]) -> "Lines":
        """Lay out the lines of melodies and scores, as `lines_of` finds them in each piece."""
        offsets, owners, pitches, starts, durations = flatten(pieces)
        return cls(offsets, owners, pitches.astype(np.uint8), starts.astype(np.float32), durations.astype(np.float32))

    def __len__(self) -> int:
        return len(self.pieces)


def lines_of(piece: Melody | Score) -> list[Melody]:
    """Find a piece's lines: a melody is its own; a score has its skyline and each voice, without duplicates.

    >>> len(lines_of(Melody.from_pitches([60, 62])))
    1

    Args:
        piece: a Melody or a Score; drums are left out.

    Returns: the lines that hold notes, the skyline first.

    Chapter 6.
    """
    if isinstance(piece, Melody):
        return [piece] if piece.notes else []
    voices = [Score((track,), piece.tempos, piece.time_signatures) for track in piece.tracks if not track.is_drum]
    lines = {line.notes: line for line in (piece.melody(), *(voice.melody() for voice in voices)) if line.notes}
    return list(lines.values())


def flatten(pieces: Iterable[Melody | Score]) -> tuple[np.ndarray, ...]:
    """Lay the lines of pieces end to end: the arrays of `Lines`, but pitches, starts and durations in float64.

    >>> offsets, owners, pitches, starts, durations = flatten([Melody.from_pitches([60, 62])])
    >>> offsets.tolist(), starts.tolist()
    ([0, 2], [0.0, 1.0])

    Args:
        pieces: melodies and scores.

    Returns: offsets, pieces, pitches, starts and durations.

    Chapter 6.
    """
    owned = [(i, line) for i, piece in enumerate(pieces) for line in lines_of(piece)]
    rows = [(note.pitch, note.start, note.duration) for _, line in owned for note in line.notes]
    offsets = np.cumsum([0, *(len(line) for _, line in owned)], dtype=np.int64)
    return offsets, np.array([i for i, _ in owned], np.int32), *np.array(rows, dtype=float).reshape(-1, 3).T
