"""The folk corpus: thousands of tunes from the installed music21 wheel, parsed once, cached, split without leaks."""

import gzip
import hashlib
import json
import multiprocessing
import os
import re
import signal
import sys
import warnings
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path

from torch.utils.data import Dataset
from tqdm.auto import tqdm

from musicai.data.abc import PARSER_VERSION, parse_block
from musicai.data.splits import check_split, group_duplicates, melody_key, split_of
from musicai.notes import Melody, Note
from musicai.storage import cache_dir

COLLECTIONS = ("ryansMammoth", "oneills1850", "airdsAirs")
ESSEN = "essenFolksong"
ESSEN_NOTICE = (
    "essenFolksong: the legal status of the Essen folksong database is unclear, as many people entered its data. It is "
    "given for non-commercial distribution and use with music21 (E. Dahlig-Turek; ABC files by S. Schlien). Read "
    "music21/corpus/essenFolksong/license.txt before you pass on anything made from it."
)
BLOCK = 64  # tunes that are parsed and cached together: a fifth of a second of work to lose at an interruption


@dataclass(frozen=True)
class FolkTune(Melody):
    """A Melody that knows its collection and the number it has there."""

    collection: str = ""
    number: str = ""


class FolkCorpus(Dataset):
    """Folk tunes as melodies: Ryan's Mammoth (1,059), O'Neill's 1850 (2,009), Aird's Airs (1,180); Essen on request.

    >>> tunes = FolkCorpus(limit=200)  # doctest: +SKIP
    >>> tunes[0].name, tunes[0].key, tunes[0].time_signature  # doctest: +SKIP
    ('42d Highland Regiment -- Strathspey', 'A minor', (4, 4))

    Args: split, "train", "valid", "test" or None for all; collections, names of music21's corpus (add "essenFolksong"
    for 8,514 more, whose terms are then printed); limit, at most so many tunes, taken evenly from the collections;
    workers, processes that parse (default: one a core); progress, show a bar.
    Item: FolkTune, a Melody with name, key, tempo, time_signature, collection, number. Ties are joined, grace notes and
    chord symbols dropped, of a chord the top note is kept, repeats stay as written, of several voices the first is
    read. `skipped` names the tunes that music21 cannot parse, with the reason.
    Near-copies and transpositions of a tune are always in the same split; which split is fixed for given collections
    and limit. The first use parses (seconds) and keeps the result in `cache_dir()`, later ones read it there.
    Raises ImportError without music21, ValueError for an unknown split or collection. Chapter 1.
    """

    def __init__(self, split=None, *, collections=COLLECTIONS, limit=None, workers=None, progress=True):
        collections = (collections,) if isinstance(collections, str) else tuple(collections)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise ValueError(f"limit={limit!r}: give a number of tunes of 1 or more, or None for all")
        if split is not None:
            check_split(split)
        self.split, self.collections, self.limit = split, collections, limit
        tunes, self.skipped = _tunes(collections, limit, workers, progress)
        if split is not None:
            splits = _splits(collections, limit, workers, progress)
            tunes = tuple(tune for tune, where in zip(tunes, splits, strict=True) if where == split)
        self.tunes: tuple[FolkTune, ...] = tunes

    def __len__(self) -> int:
        return len(self.tunes)

    def __getitem__(self, i: int) -> FolkTune:
        return self.tunes[i]

    def __repr__(self) -> str:
        counts = Counter(tune.collection for tune in self.tunes)
        inside = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        return f"FolkCorpus({len(self):,} tunes, split={self.split!r}: {inside}; {len(self.skipped)} skipped)"


@lru_cache(maxsize=4)
def _tunes(collections, limit, workers, progress) -> tuple[tuple[FolkTune, ...], tuple[str, ...]]:
    """All tunes of the collections, and a line for each one that could not be parsed."""
    if ESSEN in collections:
        print(ESSEN_NOTICE, file=sys.stderr)
    wanted = {name: _blocks(name) for name in collections}
    if limit is not None:
        shares = [limit // len(collections) + (i < limit % len(collections)) for i in range(len(collections))]
        wanted = {
            name: blocks[: -(-share // BLOCK)] for (name, blocks), share in zip(wanted.items(), shares, strict=True)
        }
    parsed = _parse([block for blocks in wanted.values() for block in blocks], workers, progress)
    tunes, skipped = [], []
    for i, (name, blocks) in enumerate(wanted.items()):
        rows = [row for block in blocks for row in parsed[block]]
        for row in rows if limit is None else rows[: shares[i]]:
            if "error" in row:
                skipped.append(f"{name} {row['number']} {row['name']!r}: {row['error']}")
            else:
                tunes.append(_tune(row, name))
    return tuple(tunes), tuple(skipped)


@lru_cache(maxsize=4)
def _splits(collections, limit, workers, progress) -> tuple[str, ...]:
    """The split of each tune: that of the first tune of its group of near-duplicates."""
    tunes, _ = _tunes(collections, limit, workers, progress)
    return tuple(split_of(melody_key(tunes[first])) for first in group_duplicates(tunes))


def _tune(row: dict, collection: str) -> FolkTune:
    notes = tuple(Note(pitch, start, duration) for pitch, start, duration in zip(*row["notes"], strict=True))
    return FolkTune(
        notes, row["name"], row["key"], row["tempo"], tuple(row["time_signature"]), collection, row["number"]
    )


# ---- the texts, in blocks


@lru_cache(maxsize=8)
def _blocks(collection: str) -> tuple[tuple[str, ...], ...]:
    """The ABC texts of a collection in blocks of BLOCK tunes, in the order of files and of tunes in them."""
    folder = corpus_folder() / collection
    if not folder.is_dir() or not (paths := sorted(folder.glob("*.abc"))):
        raise ValueError(
            f"{collection!r} is no ABC collection of music21's corpus; try {', '.join((*COLLECTIONS, ESSEN))}"
        )
    texts = [text for path in paths for text in split_tunes(path.read_text("utf-8", errors="replace"))]
    return tuple(tuple(texts[i : i + BLOCK]) for i in range(0, len(texts), BLOCK))


def corpus_folder() -> Path:
    """The folder of the installed music21's corpus, found without importing music21 (which takes a second)."""
    spec = util.find_spec("music21")
    if spec is None:
        raise ImportError("the folk corpus comes with music21, which is not installed: pip install musicai[corpus]")
    return Path(spec.submodule_search_locations[0]) / "corpus"


def split_tunes(text: str) -> list[str]:
    """The tunes of an ABC file, each from its `X:` line up to the next one."""
    starts = [match.start() for match in re.finditer(r"^[ \t]*X:", text, re.MULTILINE)]
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


# ---- parsing and the cache


def _parse(blocks, workers, progress) -> dict[tuple[str, ...], list[dict]]:
    """Rows of every block: from the cache where it has them, else parsed in processes and cached as they come."""
    paths = _cache_paths(blocks)
    parsed = {block: _read_cache(paths[block]) for block in blocks}
    todo = [block for block in blocks if parsed[block] is None]
    bar = tqdm(total=sum(map(len, todo)), desc="parsing tunes", unit="tune", disable=not (progress and todo))
    # closing: an interruption here must reach the generator, which then calls its processes off
    with bar, closing(_parsed(todo, workers or os.cpu_count() or 1)) as ready:
        for block, rows in ready:
            _write_cache(paths[block], rows)
            parsed[block] = rows
            bar.update(len(block))
    return parsed


def _parsed(blocks, workers: int):
    """Pairs (block, rows) as they get ready."""
    workers = min(workers, len(blocks))
    if workers <= 1:
        yield from ((block, parse_block(block)) for block in blocks)
        return
    # fork needs no `if __name__ == "__main__"` in the reader's script; where there is none, do without processes
    if "fork" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin":
        yield from _parsed(blocks, 1)
        return
    parse_block(())  # imports music21 before the fork: once, not once a process
    # workers ignore Ctrl-C, which reaches them too: the parent tells them when to stop
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), signal.signal, ignore) as pool:
        with warnings.catch_warnings():  # about threads and fork: the children run music21 alone, which has no threads
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            futures = {pool.submit(parse_block, block): block for block in blocks}
        try:
            yield from ((futures[future], future.result()) for future in as_completed(futures))
        finally:
            for future in futures:  # one by one: shutdown(cancel_futures=True) forgets it if the pool is collected
                future.cancel()


def _cache_paths(blocks) -> dict[tuple[str, ...], Path | None]:
    """Where each block is kept: its name is a hash of its texts, so that a changed text is parsed again."""
    try:
        folder = cache_dir() / "folk" / f"music21-{metadata.version('music21')}-parser-{PARSER_VERSION}"
    except OSError as error:
        warnings.warn(f"parsed tunes are not cached: {error}", stacklevel=2)
        return dict.fromkeys(blocks)
    digests = {block: hashlib.blake2b("\0".join(block).encode(), digest_size=12).hexdigest() for block in blocks}
    return {block: folder / f"{digest}.json.gz" for block, digest in digests.items()}


def _read_cache(path: Path | None) -> list[dict] | None:
    """The rows of a cached block, or None where there are none to use: missing, damaged, or of another form."""
    try:
        rows = json.loads(gzip.decompress(path.read_bytes())) if path else None  # gzip compares a checksum
        return rows if rows and all("notes" in row or "error" in row for row in rows) else None
    except (OSError, EOFError, ValueError, TypeError, zlib.error):
        return None


def _write_cache(path: Path | None, rows: list[dict]) -> None:
    """Store a block; a cache that cannot be written costs time, not the result."""
    if path is None:
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(gzip.compress(json.dumps(rows).encode(), 1))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        warnings.warn(f"parsed tunes are not cached: {path.parent}: {error}", stacklevel=2)
