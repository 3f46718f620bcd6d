"""Collections beyond one machine: every piece and its words in a LanceDB table, on a disk or in `s3://`. Chapter 6.

Ray's workers write the table and its full-text index in parallel. To answer a query, LanceDB finds the pieces that
share most words with it, wherever they are stored, and `MelodyIndex` then ranks these as it would rank them in a file
of its own. The extra `scale` brings what this needs: `pip install 'musicai[scale]'`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import numpy as np
from musicai.search.index import Match, MelodyIndex
from musicai.search.ngrams import words_of

from musicai.extras import require
from musicai.notes import Melody, Score
from musicai.search.lines import Lines, lines_of
from musicai.search.queries import Query, read_query

SCHEME = "lance://"
BLOCK = 10_000  # pieces that one task of Ray gets, and that one file of the table holds
CANDIDATES = 2_000  # pieces that are aligned with the query
ARRAYS = {"sizes": "<i4", "pitches": "u1", "starts": "<f4", "durations": "<f4"}  # of a piece, line after line
FACTS = ("id", "name", "key", "tempo", "numerator", "denominator")


def write_lance(
    pieces: Iterable[Melody | Score], address: str, *, ids: Iterable[str] | None = None, workers: int = 2
) -> None:
    """Write pieces, their words and a full-text index into a table, replacing it if it exists.

    >>> write_lance(FolkCorpus(), "lance://s3://bucket/folk", workers=8)  # doctest: +SKIP

    Args:
        pieces: melodies and scores.
        address: "lance://" and the place of the table: a path, or "s3://" with bucket and path.
        ids: a name for each piece that only it has; by default its position.
        workers: how many of Ray's workers write and index; on one machine, each takes a core.

    Raises:
        ModuleNotFoundError: if the extra `scale` is not installed.

    Chapter 6.
    """
    ray = require("ray", "scale", "an index in LanceDB")
    lance_ray = require("lance_ray", "scale", "an index in LanceDB")
    folder, name = _place(address)
    uri, ours = f"{folder}/{name}.lance", not ray.is_initialized()
    if ours:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        blocks = [ray.put(block) for block in _blocks(pieces, ids)]
        rows = ray.data.from_arrow_refs(blocks).map_batches(_add_words, batch_format="pyarrow", batch_size=None)
        lance_ray.write_lance(rows, uri, mode="overwrite", min_rows_per_file=1, max_rows_per_file=BLOCK)
        plain = {"stem": False, "remove_stop_words": False, "lower_case": False, "ascii_folding": False}
        plain |= {"base_tokenizer": "whitespace", "with_position": False}
        lance_ray.create_scalar_index(uri, column="words", index_type="INVERTED", num_workers=workers, **plain)
    finally:
        if ours:
            ray.shutdown()


class LanceIndex(MelodyIndex):
    """A `MelodyIndex` whose pieces are in a LanceDB table; `MelodyIndex.open("lance://...")` opens it.

    >>> index = MelodyIndex.open("lance://s3://bucket/folk")  # doctest: +SKIP

    Args:
        address: as for `write_lance`.

    Raises:
        FileNotFoundError: if there is no such table.
        ModuleNotFoundError: if the extra `scale` is not installed.

    Chapter 6.
    """

    def __init__(self, address: str):
        lancedb = require("lancedb", "scale", "an index in LanceDB")
        folder, name = _place(address)
        try:
            self.table = lancedb.connect(folder).open_table(name)
        except ValueError as error:
            raise FileNotFoundError(f"{address}: there is no such table; write_lance makes one") from error

    def __len__(self) -> int:
        return self.table.count_rows()

    def find(self, query, k: int = 10) -> list[Match]:
        """Find the pieces that fit the query best, as `MelodyIndex.find` does."""
        query = read_query(query)
        rows = self._candidates(query).sort_by("number")
        if not len(rows):
            return []
        index = MelodyIndex.build([_lines(rows)], progress=False)
        return [_named(match, rows.slice(int(match.id), 1).to_pylist()[0]) for match in index.find(query, k)]

    def _candidates(self, query: Query):
        """The rows (an Arrow table) of the pieces that share most words with the query, or all if they are few."""
        columns = ["number", *FACTS, *ARRAYS]
        if len(self) <= CANDIDATES:
            return self.table.search().select(columns).limit(None).to_arrow()
        notes = [contour.notes()[:2] for contour in query.contours] or [(query.pitches, query.starts)]
        words = " ".join(sorted({word for pitches, starts in notes for word in words_of(pitches, starts)}))
        found = self.table.search(words, query_type="fts", fts_columns="words").limit(CANDIDATES)
        return found.select([*columns, "_score"]).to_arrow()


def _place(address: str) -> tuple[str, str]:
    """The folder and the name of a table."""
    place = address.removeprefix(SCHEME).rstrip("/")
    folder, _, name = (place if "://" in place else str(Path(place).expanduser().resolve())).rpartition("/")
    return folder, name.removesuffix(".lance")


def _blocks(pieces: Iterable[Melody | Score], ids: Iterable[str] | None) -> Iterator:
    """Arrow tables of BLOCK pieces, without words."""
    import pyarrow as pa

    rows = _rows(pieces, ids)
    while block := list(islice(rows, BLOCK)):
        yield pa.Table.from_pylist(block)


def _rows(pieces: Iterable[Melody | Score], ids: Iterable[str] | None) -> Iterator[dict]:
    ids = map(str, count()) if ids is None else ids
    for number, (piece, name) in enumerate(zip(pieces, ids, strict=False)):
        lines = lines_of(piece)
        first = lines[0] if lines else Melody(())
        facts = (name, piece.name, piece.key, first.tempo, *first.time_signature)
        flat = Lines.from_pieces(lines)
        arrays = {"sizes": np.diff(flat.offsets), **{key: getattr(flat, key) for key in list(ARRAYS)[1:]}}
        notes = {key: values.astype(ARRAYS[key]).tobytes() for key, values in arrays.items()}
        yield {"number": number, **dict(zip(FACTS, facts, strict=True)), **notes}


def _add_words(rows):
    """Append the column of words; Ray's workers do this."""
    import pyarrow as pa

    lines, words = _lines(rows), [[] for _ in range(len(rows))]
    for piece, a, b in zip(lines.pieces, lines.offsets, lines.offsets[1:], strict=False):
        words[piece] += words_of(lines.pitches[a:b].astype(np.int16), lines.starts[a:b])
    return rows.append_column("words", pa.array(map(" ".join, words), pa.string()))


def _lines(rows) -> Lines:
    """The lines of an Arrow table's pieces, which are numbered as they stand there."""
    blobs = {key: rows[key].to_pylist() for key in ARRAYS}
    sizes, pitches, starts, durations = (np.frombuffer(b"".join(blobs[key]), kind) for key, kind in ARRAYS.items())
    voices = [len(blob) // 4 for blob in blobs["sizes"]]
    owners = np.repeat(np.arange(len(voices), dtype=np.int32), voices)
    return Lines(np.cumsum([0, *sizes], dtype=np.int64), owners, pitches, starts, durations)


def _named(match: Match, row: dict) -> Match:
    """The match with what the table knows of its piece."""
    signature = (row["numerator"], row["denominator"])
    piece = replace(match.piece, name=row["name"], key=row["key"], tempo=row["tempo"], time_signature=signature)
    return replace(match, piece=piece, title=row["name"], id=row["id"])
