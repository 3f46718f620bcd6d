"""Collections beyond one machine: every piece and its words in a LanceDB table, on a disk or in `s3://`. Chapter 6.

Ray's workers write the table and its full-text index in parallel. To answer a query, LanceDB finds the pieces that
share most words with it, wherever they are stored, and `MelodyIndex` then ranks these as it would rank them in a file
of its own. The extra `scale` brings what this needs: `pip install 'musicai[scale]'`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import count, islice, pairwise
from os.path import expanduser
from pathlib import Path

import numpy as np

from musicai.extras import require
from musicai.notes import Melody, Score
from musicai.search._scale.builder import facts_of
from musicai.search.index import RIVALS, Match, MelodyIndex, _judge
from musicai.search.lines import Lines, lines_of
from musicai.search.ngrams import PATTERNS, WIDEST
from musicai.search.queries import Query, read_query

SCHEME, TABLE = "lance://", "melodies"
BLOCK = 10_000  # pieces that one task of Ray gets, and that one file of the table holds
FEW = 6_000  # pieces: the query is aligned with all of them, as in a small file
CANDIDATES = 3_000  # pieces that it is aligned with otherwise
ARRAYS = {"sizes": "<i4", "pitches": "u1", "starts": "<f4", "durations": "<f4"}  # of a piece, line after line
FACTS = ("id", "name", "key", "tempo", "numerator", "denominator")


def write_lance(pieces: Iterable[Melody | Score], address: str, *, ids=None, workers: int = 2) -> None:
    """Write a collection into a LanceDB database, with a full-text index of its words; an old one is replaced.

    >>> write_lance(FolkCorpus(), "lance://s3://bucket/folk", workers=8)  # doctest: +SKIP

    Args:
        pieces: melodies and scores.
        address: "lance://" and the database: a folder, or "s3://" with a bucket and a path.
        ids: a name for each piece that only it has; by default its position.
        workers: how many of Ray's workers write and index, each with a core. A cluster that Ray is already connected to
            is used as it is.

    Raises:
        ModuleNotFoundError: if the extra `scale` is not installed.

    Chapter 6.
    """
    ray = require("ray", "scale", "an index in LanceDB")
    lance_ray = require("lance_ray", "scale", "an index in LanceDB")
    table, ours = f"{_folder(address)}/{TABLE}.lance", not ray.is_initialized()
    if ours:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        blocks = [ray.put(block) for block in _blocks(pieces, ids)]  # what memory cannot hold goes to Ray's disk
        rows = ray.data.from_arrow_refs(blocks).map_batches(_add_words, batch_format="pyarrow", batch_size=None)
        lance_ray.write_lance(rows, table, mode="overwrite", min_rows_per_file=1, max_rows_per_file=BLOCK)
        plain = {"stem": False, "remove_stop_words": False, "base_tokenizer": "whitespace", "with_position": False}
        lance_ray.create_scalar_index(table, column="words", index_type="INVERTED", num_workers=workers, **plain)
    finally:
        if ours:
            ray.shutdown()


def open_lance(address: str) -> "LanceIndex":
    """Open a database that `write_lance` made; `MelodyIndex.open` calls this.

    >>> open_lance("lance://s3://bucket/folk").find("E4 E4 F4 G4")  # doctest: +SKIP

    Args:
        address: as for `write_lance`.

    Returns: the index.

    Raises:
        FileNotFoundError: if there is no such database, or it holds no melodies.
        ModuleNotFoundError: if the extra `scale` is not installed.

    Chapter 6.
    """
    lancedb = require("lancedb", "scale", "an index in LanceDB")
    try:
        return LanceIndex(lancedb.connect(_folder(address)).open_table(TABLE))
    except ValueError as error:
        raise FileNotFoundError(f"{address}: there is no table {TABLE!r}; write_lance makes one") from error


class LanceIndex(MelodyIndex):
    """A `MelodyIndex` whose pieces are the rows of a LanceDB table. Chapter 6."""

    def __init__(self, table):
        self._table = table

    def __len__(self) -> int:
        return self._table.count_rows()

    def __repr__(self) -> str:
        return f"LanceIndex({len(self):,} pieces)"

    @property
    def lines(self) -> Lines:
        """All lines, read into memory."""
        return _lines(self._rows())

    def find(self, query, k: int = 10) -> list[Match]:
        """Find the pieces that a query may be from, best first, as `MelodyIndex.find` does."""
        query = read_query(query)
        rows, index = self._few or _searchable(self._rows(query))
        matches = index.find(query, RIVALS if k in range(1, RIVALS) else k)
        matches = _judge(matches, query, len(self))[:k]  # by the size of the whole collection
        return [_named(match, rows.slice(int(match.id), 1).to_pylist()[0]) for match in matches]

    @cached_property
    def _few(self) -> tuple | None:
        """All rows and their index, if they are so few that each query may as well be aligned with all of them."""
        return _searchable(self._rows()) if len(self) <= FEW else None

    def _rows(self, query: Query | None = None):
        """The pieces that share most words with the query, or all, in their order, as an Arrow table."""
        if query is None:
            found = self._table.search().limit(None)
        else:
            melodies = [contour.notes()[0] for contour in query.contours] or [query.pitches]
            words = " ".join(_words(pitches) for pitches in melodies)
            found = self._table.search(words, query_type="fts", fts_columns="words").limit(CANDIDATES)
        columns = ["number", *FACTS, *ARRAYS, *(["_score"] if query else [])]
        return found.select(columns).to_arrow().sort_by("number")


def _folder(address: str) -> str:
    """The database's address for LanceDB: paths are made absolute, as Ray's workers run in folders of their own."""
    place = address.removeprefix(SCHEME)
    return place.rstrip("/") if "://" in place else str(Path(expanduser(place)).resolve())


def _blocks(pieces: Iterable[Melody | Score], ids: Iterable[str] | None) -> Iterator:
    """Arrow tables of BLOCK pieces, without words."""
    import pyarrow as pa

    named = enumerate(zip(pieces, map(str, count()) if ids is None else ids, strict=False))
    while block := [_row(number, *item) for number, item in islice(named, BLOCK)]:
        yield pa.Table.from_pylist(block)


def _row(number: int, piece: Melody | Score, name: str) -> dict:
    flat = Lines.from_pieces(lines_of(piece))
    arrays = vars(flat) | {"sizes": np.diff(flat.offsets)}
    notes = {key: arrays[key].astype(kind).tobytes() for key, kind in ARRAYS.items()}
    return {"number": number, **dict(zip(FACTS, [name, *facts_of(piece)], strict=True)), **notes}


def _add_words(rows):
    """Append the column of words; this is what Ray's workers do."""
    import pyarrow as pa

    lines, words = _lines(rows), [[] for _ in range(len(rows))]
    for piece, (first, last) in zip(lines.pieces, pairwise(lines.offsets), strict=True):
        words[piece].append(_words(lines.pitches[first:last]))
    return rows.append_column("words", pa.array([" ".join(some) for some in words], pa.string()))


def _words(pitches: np.ndarray) -> str:
    """A line's `ngrams.words_of` without rhythm, as numbers."""
    pitches, base = np.rint(pitches).astype(int), 2 * WIDEST + 1
    numbers = np.full((len(pitches), len(PATTERNS)), -1)
    for p, pattern in enumerate(PATTERNS):
        notes = pitches[np.add.outer(np.arange(max(0, len(pitches) - pattern[-1])), pattern)]
        steps = np.diff(notes).clip(-WIDEST, WIDEST) + WIDEST
        numbers[: len(steps), p] = steps @ base ** np.arange(len(pattern) - 1) + p * base**3
    return " ".join(map(str, numbers[numbers >= 0].tolist()))


def _lines(rows) -> Lines:
    """The lines of an Arrow table's pieces, which are numbered as they stand there."""
    voices = [len(blob) // 4 for blob in rows["sizes"].to_pylist()]
    arrays = {key: np.frombuffer(b"".join(rows[key].to_pylist()), kind) for key, kind in ARRAYS.items()}
    offsets = np.cumsum([0, *arrays.pop("sizes")], dtype=np.int64)
    return Lines(offsets, np.repeat(np.arange(len(voices), dtype=np.int32), voices), **arrays)


def _searchable(rows) -> tuple:
    """The rows, and an index whose ids are their positions."""
    return rows, MelodyIndex.build([_lines(rows)] if len(rows) else [], progress=False)


def _named(match: Match, row: dict) -> Match:
    """The match with what the table knows of its piece."""
    signature = (row["numerator"], row["denominator"])
    piece = replace(match.piece, name=row["name"], key=row["key"], tempo=row["tempo"], time_signature=signature)
    return replace(match, piece=piece, title=row["name"], id=row["id"])
