"""Write the index that the front page searches: the default collection, small enough for a page. Chapter 8.

The page finds tunes as `musicai.find` does, so it needs what a MelodyIndex holds: titles, ids and every note. The tunes
are written once, with repeats as signs, and `book/_static/studio/collection.js` plays the repeats out. Most notes take
one byte: the number of a pair (interval from the note before, rhythm) among the 255 most common ones.

    python scripts/studio_index.py book/_static/studio

Nothing of this is ever committed: the page's data are derived from the installed packages when the book is built.
"""

import argparse
import base64
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import util
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np

from musicai import search
from musicai.composition.tunes import encode
from musicai.data import FolkCorpus, FolkTune, JSBChorales, Nottingham
from musicai.notes import Melody
from musicai.notes.notation import unfold_repeats
from musicai.search._scale.builder import TICKS
from musicai.search.costs import ERRORS, EXTRA, IN_TIME, MISSING, SPREAD

COMMON = 255  # pairs of an interval and a rhythm that fit into a byte; the byte 255 announces any other pair
GRID = TICKS // 4  # repeats are written in sixteenth notes
FITTED = Path(search.__file__).with_name("fitted.json")


@dataclass(frozen=True)
class Row:
    """A tune as written and as played."""

    id: str
    written: Melody
    played: Melody


def write_index(folder: str | Path, rows: Sequence[Row] | None = None) -> Path:
    """Write the collection as `index.data.js`.

    >>> write_index("book/_static/studio")  # doctest: +SKIP

    Args:
        folder: where to.
        rows: the tunes; by default, those that `musicai.find` searches.

    Returns: the file, which sets `STUDIO_DATA.index` to the bytes that `TuneIndex` takes, in base64.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    text = base64.b64encode(pack(default_rows() if rows is None else rows)).decode()
    path = Path(folder) / "index.data.js"
    path.write_text(f'globalThis.STUDIO_DATA = {{ ...globalThis.STUDIO_DATA, index: "{text}" }};\n')
    return path


def default_rows() -> list[Row]:
    """The folk corpus if music21 is installed, and the melodies of the shipped tunes and chorales otherwise."""
    if util.find_spec("music21") is not None:
        return folk_rows(FolkCorpus(), FolkCorpus(expand_repeats=True))
    splits = [sort(split) for sort in (Nottingham, JSBChorales) for split in ("train", "valid", "test")]
    lines = [rolls.score(i).melody() for rolls in splits for i in range(len(rolls))]
    return [Row(str(i), line, line) for i, line in enumerate(lines)]


def folk_rows(written: Iterable[FolkTune], played: Iterable[FolkTune]) -> list[Row]:
    """Pair tunes with themselves played out, and name them as `MelodyIndex.build` does."""
    rows, names = [], set()
    for position, (tune, sounding) in enumerate(zip(written, played, strict=True)):
        name = f"{tune.collection}/{tune.number}" if tune.number else str(position)
        name = f"{name}#{position}" if name in names else name
        names.add(name)
        rows.append(Row(name, tune, sounding))
    return rows


def pack(rows: Sequence[Row]) -> bytes:
    """Pack tunes into bytes: the length of a JSON header, the header, and the streams that it lists.

    Args:
        rows: the tunes.

    Returns: what `Collection` in collection.js reads.
    """
    tables = {name: _Table() for name in ("rhythms", "meters", "keys", "tempos", "sections", "firsts")}
    pairs = Counter(pair for row in rows for pair in _pairs(row.written, tables["rhythms"]))
    common = [pair for pair, _ in pairs.most_common(COMMON)]
    codes = {pair: i for i, pair in enumerate(common)}
    facts, notes = bytearray(), bytearray()
    for row in rows:
        for melody, numbers in _records(row, tables):
            facts += b"".join(map(_varint, numbers))
            notes += b"".join(_code(pair, codes) for pair in _pairs(melody, tables["rhythms"]))
    titles = "\n".join(row.written.name.replace("\n", " ") for row in rows).encode()
    streams = {
        "titles": titles,
        "ids": _short_ids([row.id for row in rows]),
        "facts": bytes(facts),
        "notes": bytes(notes),
    }
    header = {
        "ticks": TICKS,
        "grid": GRID,
        "count": len(rows),
        "pairs": common,
        "fitted": json.loads(FITTED.read_text()),
        "mistakes": {
            "errors": ERRORS.tolist(),
            "extra": EXTRA.tolist(),
            "missing": MISSING,
            "inTime": IN_TIME.tolist(),
            "spread": SPREAD,
        },
    }
    header |= {name: list(table) for name, table in tables.items()}
    header |= {"streams": {name: len(stream) for name, stream in streams.items()}}
    packed = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return len(packed).to_bytes(4, "little") + packed + b"".join(streams.values())


class _Table(dict):
    """Distinct values and the numbers that stand for them."""

    def __missing__(self, value) -> int:
        return self.setdefault(value, len(self))


def _records(row: Row, tables: dict[str, _Table]) -> Iterable[tuple[Melody, list[int]]]:
    """A tune, and if its signs do not tell how it's played, that as well; with each the numbers that describe it."""
    tonic, mode, sections, pickup = _plan(row.written)
    spans = _spans(row)
    numbers = [tables["keys"][tonic, mode], tables["meters"][row.written.time_signature]]
    numbers += [tables["tempos"][row.written.tempo], tables["sections"][sections, pickup]]
    yield row.written, [*numbers, *_beginning(row.written, tables["firsts"]), len(spans), *_relative(spans)]
    if not spans:
        yield row.played, _beginning(row.played, tables["firsts"])


def _beginning(melody: Melody, firsts: _Table) -> list[int]:
    return [len(melody), melody.notes[0].pitch, firsts[int(_times(melody)[0][0])]]


def _plan(tune: Melody) -> tuple[int | None, str | None, tuple[int, ...], float]:
    """The tonic, the mode, the bars of each section, and the beats of the pickup."""
    try:
        plan = encode(tune).plan
    except ValueError:  # no key, or a rhythm that the tune model does not know
        beats, part = tune.time_signature
        return None, None, (max(1, ceil(tune.notes[-1].end * part / 4 / beats)),), 0.0
    return plan.tonic, plan.mode, plan.sections, plan.pickup


def _times(melody: Melody) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When each note begins, how long it lasts until the next one, and how long it sounds: in ticks, as in an index."""
    starts, durations = melody.starts, melody.durations
    on, off = (np.rint(times * TICKS).astype(np.int64) for times in (starts, starts + durations))
    steps = np.maximum(np.diff(on, append=off[-1]), 1)
    return on, steps, np.clip(off - on, 1, steps)


def _pairs(melody: Melody, rhythms: _Table) -> list[tuple[int, int]]:
    """For each note, the interval from the one before and the number of its rhythm."""
    _, steps, durations = _times(melody)
    intervals = np.diff(melody.pitches.astype(int), prepend=int(melody.pitches[0]))
    times = zip(steps.tolist(), durations.tolist(), strict=True)
    return [(interval, rhythms[time]) for interval, time in zip(intervals.tolist(), times, strict=True)]


def _spans(row: Row) -> list[tuple[int, int]]:
    """The spans of the written tune, in units of GRID, that make the played one; none if there are no such spans."""
    bars: dict[float, str] = {}
    for beat, signs in getattr(row.written, "bars", ()):
        bars[beat] = f"{bars.get(beat, '')} {signs}"
    stop = max(row.written.notes[-1].end, *bars, 0)
    ticks = [[round(x * TICKS) for x in span] for span in _merge(unfold_repeats(bars, stop))]
    fits = all(x % GRID == 0 for span in ticks for x in span) and _same(row, ticks)
    return [(a // GRID, b // GRID) for a, b in ticks] if fits else []


def _merge(spans: Iterable[tuple[float, float]]) -> list[list[float]]:
    merged: list[list[float]] = []
    for a, b in spans:
        if merged and merged[-1][1] == a:
            merged[-1][1] = b
        else:
            merged.append([a, b])
    return merged


def _same(row: Row, spans: Iterable[Sequence[int]]) -> bool:
    """Whether these spans of the written tune sound exactly like the played one."""
    (on, _, durations), now, found = _times(row.written), 0, []
    for a, b in spans:
        found += [(p, o - a + now, d) for p, o, d in zip(row.written.pitches, on, durations, strict=True) if a <= o < b]
        now += b - a
    on, _, durations = _times(row.played)
    notes = zip(row.played.pitches, on, durations, strict=True)
    return len(found) == len(row.played) and all(map(np.array_equal, found, notes))


def _relative(spans: Iterable[tuple[int, int]]) -> list[int]:
    """Each span as two small numbers: how far from the end of the one before it begins, and how long it is."""
    edges = [(0, 0), *spans]
    return [x for (_, before), (a, b) in pairwise(edges) for x in (_unsigned(a - before), b - a)]


def _unsigned(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def _varint(number: int) -> bytes:
    """Seven bits per byte, the lowest first; the eighth says that there are more."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _code(pair: tuple[int, int], codes: dict) -> bytes:
    number = codes.get(pair, COMMON)
    return bytes([number]) if number < COMMON else bytes([COMMON, pair[0] + 128]) + _varint(pair[1])


def _short_ids(ids: Sequence[str]) -> bytes:
    """Ids by line; an empty line is the id before, with a number that is higher by one."""
    lines, expected = [], None
    for name in ids:
        lines.append("" if name == expected else name)
        head, slash, number = name.rpartition("/")
        expected = f"{head}{slash}{int(number) + 1}" if number.isdecimal() else None
    return "\n".join(lines).encode()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    written = write_index(parser.parse_args().folder)
    print(f"{written}: {written.stat().st_size / 1e6:.2f} MB")
