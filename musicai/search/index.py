"""The melodies of a collection in one file, searched in a fraction of a second. Chapter 6."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise, repeat
from numbers import Integral
from os import PathLike
from os.path import expanduser
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from tqdm.auto import tqdm

from musicai.data.splits import group_duplicates
from musicai.notes import Melody
from musicai.search._fast.alignment import align, align_all, weigh
from musicai.search._fast.warping import warp_all
from musicai.search._scale.builder import Builder, read_melody, read_runs
from musicai.search._scale.sliding import find_places
from musicai.search._scale.store import Store
from musicai.search.confidence import measure_margin, probability, threshold
from musicai.search.costs import Costs, QueryWeights
from musicai.search.lines import Lines
from musicai.search.queries import Query, read_query
from musicai.storage import atomic_write
from musicai.threads import share

LEAST = 3  # notes of a query
EXHAUSTIVE = 600_000  # notes: in smaller collections, every line is aligned; without rhythm, in twice as large ones
CANDIDATES = 100_000  # places at which it is aligned otherwise, divided by the number of its notes,
FEWER = 12  # and once more by how many times as long it is as this: the longer, the surer are the first places
APART = 8  # notes: places that are closer are aligned together
SUNG = 20_000  # lines that a contour is compared with at most
TOGETHER = 1024  # lines or runs that a thread aligns before it takes more
WEIGHED, TIMED = 500, 100  # lines whose alignments are all weighed, without and with rhythm
LONG, PART, PARTS = 40, 24, 24  # notes: a longer query is searched for by parts, which overlap by half, at most so many
RIVALS = 12  # matches that are looked at to judge the best: near-copies of it, and at least four other tunes


@dataclass(frozen=True, eq=False)
class Match:
    """Where a query was found: in which piece, at which beat, how sure that is, and which notes belong together.

    >>> index = MelodyIndex.build([Melody.from_pitches([60, 62, 64, 65, 67], name="Scale")], progress=False)
    >>> match = index.find([67, 69, 71, 72])[0]
    >>> match.title, match.transposition, match.start, match.end
    ('Scale', -7, 0.0, 4.0)

    Args:
        piece: the line that matches, with the name, key, tempo and time signature of its piece.
        title: the piece's name.
        id: what the index calls the piece.
        score: higher is better; comparable between the matches of one query.
        probability: that this is the right piece, from 0 to 1.
        start, end: of the match in the piece, in beats.
        transposition: semitones from the query to the piece.
        tempo_ratio: beats of the piece per unit of the query's time; NaN if the query has no rhythm.
        pairs: int64 (pairs, 2), note of the query and note of the piece; none for sound.
        unlikely: whether fewer than 1 in 100 queries for something that is not there have a match as good as this.

    Chapter 6.
    """

    piece: Melody
    title: str
    id: str
    score: float
    probability: float
    start: float
    end: float
    transposition: int
    tempo_ratio: float = np.nan
    pairs: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))
    unlikely: bool = False


class MelodyIndex:
    """A collection of melodies that can be searched, in a file or in memory.

    >>> index = MelodyIndex.build([Melody.from_pitches([60, 62, 64, 65, 67], name="Scale")], progress=False)
    >>> len(index), index.find("D4 E4 F#4 G4")[0].title
    (1, 'Scale')

    Make one with `build` or `open`. The query is aligned with every line of a small collection. In a large one, it
    is first compared at every place, roughly, to find those where this is worth it.

    Args:
        store: the file's arrays; `build` and `open` take care of this.

    Chapter 6.
    """

    def __init__(self, store: Store):
        self._store = store

    @classmethod
    def build(cls, pieces: Iterable, path: str | PathLike | None = None, *, ids=None, progress=True) -> "MelodyIndex":
        """Index a collection: of each score, the highest voice and every track.

        Args:
            pieces: of Melody or Score, read once, so that a generator can yield more than would fit into memory.
                `Lines` stand for as many pieces without names.
            path: the file to write; None keeps the index in a temporary file that vanishes with it.
            ids: strings, what to call the pieces. By default, a FolkTune is called by its collection and number, and
                any other piece by its position.
            progress: whether to show a bar.

        Returns: the index.

        Raises:
            FileNotFoundError: if the folder of `path` does not exist.
            ValueError: if there are not as many ids as pieces.
        """
        folder = None if path is None else Path(expanduser(path)).parent
        if folder and not folder.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {folder}; create it first")
        builder = Builder(folder)
        bar = tqdm(pieces, "indexing", unit="piece", disable=not progress, delay=1)
        for piece, name in zip(bar, repeat(None) if ids is None else ids, strict=ids is not None):
            builder.add(piece, name)
        if folder:
            with atomic_write(path) as file:
                builder.finish(file)
            return cls.open(path)
        with TemporaryFile() as file:
            builder.finish(file)
            file.flush()
            return cls(Store(file, "the index"))

    @classmethod
    def open(cls, path: str | PathLike) -> "MelodyIndex":
        """Open an index; this takes no time, as only what a query needs is read.

        Args:
            path: a file that `build` wrote, or "lance://" and the folder of a LanceDB database.

        Returns: the index.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is empty, not an index, of another version, damaged or cut short.
        """
        if str(path).startswith("lance://"):
            from musicai.search._scale.lance import open_lance

            return open_lance(str(path))
        if not Path(expanduser(path)).is_file():
            raise FileNotFoundError(f"{path}: no such index; make one with `musicai index` or MelodyIndex.build")
        with Path(expanduser(path)).open("rb") as file:
            return cls(Store(file, str(path)))

    def __len__(self) -> int:
        return len(self._store["text_offsets"]) - 1

    def __repr__(self) -> str:
        return f"MelodyIndex({len(self):,} pieces, {len(self._store['pieces']):,} lines)"

    @cached_property
    def lines(self) -> Lines:
        """All lines, read into memory: 9 bytes per note."""
        offsets = self._store["offsets"]
        return read_runs(self._store, np.arange(len(offsets) - 1), offsets[:-1], offsets[1:])

    def read_line(self, i: int) -> tuple[str, Melody]:
        """Read line i of `lines`: the id of its piece, and its notes with the piece's name, key and time signature."""
        return read_melody(self._store, i)

    def titles(self) -> list[tuple[str, str]]:
        """List the id and the title of every piece."""
        texts, bounds = bytes(self._store["texts"]), self._store["text_offsets"].tolist()
        return [tuple(json.loads(texts[first:last])[:2]) for first, last in pairwise(bounds)]

    def find(self, query, k: int = 10) -> list[Match]:
        """Find the pieces that a query may be from, best first.

        Args:
            query: anything that `musicai.search.read_query` takes.
            k: the most matches to return.

        Returns: at most one match per piece; equally good ones are in the order of the collection.

        Raises:
            ValueError: if the query has fewer than three notes, or k is below 1.
        """
        query = read_query(query)
        if not isinstance(k, Integral) or k < 1:
            raise ValueError(f"k={k!r}: ask for a whole number of matches, at least 1")
        if not query.contours and len(query.pitches) < LEAST:
            raise ValueError(f"one or two notes are found everywhere; give at least {LEAST}, not {len(query.pitches)}")
        if not len(self._store["pieces"]):
            return []
        if query.contours:
            return self._find_sound(query, k)
        return self._find_long(query, k) if len(query.pitches) > LONG else self._find_notes(query, k)

    def _find_notes(self, query: Query, k: int) -> list[Match]:
        """Weigh all alignments with the best lines, in the key of the best one."""
        small = EXHAUSTIVE if query.starts is not None else 2 * EXHAUSTIVE  # pitches tell less and take half the time
        which, scores, shifts = self._align(query, small)
        offsets, some = self._store["offsets"], WEIGHED if query.starts is None else TIMED
        best = np.sort(_best(scores, self._store["pieces"][which], max(k, some)))
        which = which[best]
        lines = read_runs(self._store, which, offsets[which], offsets[which + 1])
        return self._matches(query, which, weigh(query.pitches, query.starts, lines, shifts[best]), k)

    def _find_long(self, query: Query, k: int) -> list[Match]:
        """Find parts of a long query, each on its own, and add up how well each line matches them.

        Versions of a tune often differ in repeats and in the order of their parts, which no single alignment allows.
        """
        count, found = min(PARTS, -(-2 * len(query.pitches) // PART) - 1), []
        for first in np.linspace(0, len(query.pitches) - PART, count).astype(int).tolist():
            which, scores, _ = self._align(query.part(first, first + PART), EXHAUSTIVE // count)
            lines, place = np.unique(which, return_inverse=True)
            best = np.zeros(len(lines))  # a part that isn't there is no evidence against a line
            np.maximum.at(best, place, scores)
            found.append((lines, best))
        lines, scores = (np.concatenate(column) for column in zip(*found, strict=True))
        which, place = np.unique(lines, return_inverse=True)
        return self._matches(query, which, np.bincount(place, scores) * len(query.pitches) / (count * PART), k)

    def _align(self, query: Query, small: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The lines of the candidates, with scores and transpositions; see `_candidates`."""
        which, firsts, lasts = self._candidates(query, small)
        weights = Costs.one_key().weigh(query.pitches, query.starts)

        def score(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            runs = None if firsts is None else read_runs(self._store, which[some], firsts[some], lasts[some])
            return align_all(query.pitches, query.starts, runs or self.lines, None if runs else some, weights)

        parts = np.array_split(np.arange(len(which)), max(1, -(-len(which) // TOGETHER)))
        scores, shifts = (np.concatenate(x) for x in zip(*share(score, parts), strict=True))
        # a score is that of a random place in a run; make it that of one in the whole line
        part = 1.0 if firsts is None else (lasts - firsts) / np.diff(self._store["offsets"])[which]
        return which, scores.astype(float) + np.log(part), shifts

    def _matches(self, query: Query, which: np.ndarray, scores: np.ndarray, k: int) -> list[Match]:
        """The matches with the best of some lines, one of each piece, given the lines' scores."""
        pieces, weights = self._store["pieces"], Costs.one_key().weigh(query.pitches, query.starts)
        best = _best(scores, pieces[which], max(k, RIVALS))
        return _judge([self._match(query, which[i], scores[i], weights) for i in best], query, len(pieces))[:k]

    def _candidates(self, query: Query, small: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """The runs of notes that are worth aligning: which line each is in, its first note, and the one after it.

        In a collection of up to `small` notes, these are all lines, and there are no notes to tell.
        """
        offsets = self._store["offsets"]
        if offsets[-1] <= small:
            return np.arange(len(offsets) - 1), None, None
        notes, room = len(query.pitches), 2 + len(query.pitches) // 6
        places = find_places(self._store, query.pitches, query.starts, CANDIDATES // max(notes, notes**2 // FEWER))
        ends = np.flatnonzero(np.diff(places, append=offsets[-1] + 99) > APART)
        firsts = np.maximum(places[np.concatenate([[0], ends + 1])[: len(ends)]] - room, 0)
        lasts = np.minimum(places[ends] + notes + room, offsets[-1])
        low, high = np.searchsorted(offsets, [firsts, lasts - 1], side="right") - 1
        parts = high - low + 1  # what crosses the border between two lines is a run in each
        which = np.repeat(low - np.cumsum(parts) + parts, parts) + np.arange(parts.sum())
        firsts = np.maximum(np.repeat(firsts, parts), offsets[which])
        lasts = np.minimum(np.repeat(lasts, parts), offsets[which + 1])
        keep = lasts - firsts >= LEAST
        return which[keep], firsts[keep], lasts[keep]

    def _match(self, query: Query, line: int, score: float, weights: QueryWeights) -> Match:
        name, piece = read_melody(self._store, line)
        found = align(query.pitches, query.starts, piece.pitches, piece.starts, weights)
        ratio = np.nan
        if query.starts is not None and len(found.pairs) > 1:
            (q0, p0), (q1, p1) = found.pairs[[0, -1]]
            ratio = float((piece.starts[p1] - piece.starts[p0]) / (query.starts[q1] - query.starts[q0]))
        start, end = piece.notes[found.start].start, piece.notes[found.end - 1].end
        span = (start, end, int(found.transposition), ratio, found.pairs)
        return Match(piece, piece.name, name, float(score), 0.0, *span)

    def _find_sound(self, query: Query, k: int) -> list[Match]:
        which, lines = self._sung_candidates(query)
        costs, *spans = warp_all(query.contours, lines)
        matches = []
        for i in _best(-costs.astype(float), lines.pieces, max(k, RIVALS)):
            name, piece = read_melody(self._store, which[i])
            start, end, shift, ratio = (float(column[i]) for column in spans)
            span = (start, end, round(np.nan_to_num(shift)), ratio)
            matches.append(Match(piece, piece.name, name, -float(costs[i]), 0.0, *span))
        return _judge(matches, query, len(self._store["pieces"]))[:k]

    def _sung_candidates(self, query: Query) -> tuple[np.ndarray, Lines]:
        """The lines that are worth warping: of a large collection, those with which the notes in the contours agree."""
        offsets = self._store["offsets"]
        if len(offsets) - 1 <= SUNG:
            return np.arange(len(offsets) - 1), self.lines
        melodies = [notes[:2] for contour in query.contours if len((notes := contour.notes())[0])]
        places = [find_places(self._store, *melody, SUNG // len(query.contours)) for melody in melodies]
        which = np.unique(np.searchsorted(offsets[1:-1], np.concatenate([*places, []]), side="right"))
        return which, read_runs(self._store, which, offsets[which], offsets[which + 1])


def _best(scores: np.ndarray, pieces: np.ndarray, k: int) -> np.ndarray:
    """The best run of each of the k best pieces."""
    order = np.lexsort((pieces, -scores))
    firsts = np.sort(np.unique(pieces[order], return_index=True)[1])
    return order[firsts[:k]]


def _judge(matches: list[Match], query: Query, size: int) -> list[Match]:
    """Say how likely each match is right: by its margin over the next tunes, and if none before it is."""
    tunes, left, judged = group_duplicates([match.piece for match in matches]), 1.0, []
    for i, match in enumerate(matches):
        others = [other.score for other, tune in zip(matches[i:], tunes[i:], strict=True) if tune != tunes[i]]
        above = measure_margin(match.score, others, query.kind)
        share = left * probability(match.score, above, query.length, size, query.kind)
        share = min([share, *(other.probability for other in judged[-1:])])  # a lower score is no likelier
        judged.append(replace(match, probability=share, unlikely=share < threshold(query.kind, query.length)))
        left -= share if tunes[i] not in tunes[i + 1 :] else 0.0
    return judged
