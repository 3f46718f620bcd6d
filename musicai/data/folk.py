"""The folk corpus: thousands of tunes from the installed music21 wheel, split without leaks."""

import csv
import gc
import re
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache

from torch.utils.data import Dataset

from musicai.data.catalogue import SETS, SHIPPED
from musicai.data.splits import check_split, split_tunes
from musicai.notes import Melody
from musicai.notes.abc import label_of, parse_tune, tunes_in

COLLECTIONS, ESSEN = ("ryansMammoth", "oneills1850", "airdsAirs"), "essenFolksong"
ESSEN_NOTICE = (
    "essenFolksong: the legal status of the Essen folksong database is unclear, as many people entered its data. It is "
    "given for non-commercial distribution and use with music21 (E. Dahlig-Turek; ABC files by S. Schlien). Read "
    "music21/corpus/essenFolksong/license.txt before you pass on anything made from it."
)


@dataclass(frozen=True)
class FolkTune(Melody):
    """A Melody that knows which collection it comes from and its number there.

    >>> from musicai.notes import Note
    >>> FolkTune((Note(62, 0.0, 1.0),), name="Scale", collection="oneills1850", position=6).id
    'oneills1850/6'

    Args:
        notes, name, key, tempo, time_signature: as in `Melody`.
        collection: the collection's name in music21's corpus.
        number: the content of its `X:` field, which several tunes may share.
        position: its place in the collection, counted from 0.
        bars: the bar lines as written, with the beat and the signs of each, such as ``(16.0, ":|")``; empty if
            repeats are written out.

    Chapter 1.
    """

    collection: str = ""
    number: str = ""
    position: int = 0
    bars: tuple[tuple[float, str], ...] = ()

    @property
    def id(self) -> str:
        """Its collection and position, such as "oneills1850/7", which no other tune has."""
        return f"{self.collection}/{self.position}"


class FolkCorpus(Dataset):
    """Folk tunes as melodies: Ryan's Mammoth (1,059), O'Neill's 1850 (2,009) and Aird's Airs (1,180); Essen on request.

    >>> tunes = FolkCorpus(limit=200)
    >>> tunes[0].name, tunes[0].key, tunes[0].time_signature
    ('42d Highland Regiment -- Strathspey', 'A minor', (4, 4))

    Each item is a `FolkTune`, a Melody with name, key, tempo, time_signature, collection and number. Tied notes are
    joined, grace notes and chord symbols are dropped, and only the top note of a chord and the first of several voices
    are kept. Near-copies, transpositions and namesakes of a tune are always in the same split (see
    `musicai.data.splits`), and the splits never change for the same collections and limit. Parsing takes seconds, but
    only once per process. `skipped` lists the tunes that cannot be parsed, and why.

    Args:
        split: "train", "valid" or "test", or None for all tunes.
        collections: names in music21's corpus; add "essenFolksong" for 8,514 more tunes, whose terms are then printed.
        limit: the most tunes to load, taken evenly from the collections.
        expand_repeats: whether to write out repeats, as they are played.

    Raises:
        ImportError: if music21 is not installed.
        ValueError: for an unknown split or collection, or a limit below 1.

    Source: the corpus of music21, which names the transcribers. Chapter 1.
    """

    def __init__(
        self, split: str | None = None, *, collections: str | tuple[str, ...] = COLLECTIONS,
        limit: int | None = None, expand_repeats: bool = False,
    ):  # fmt: skip
        collections = (collections,) if isinstance(collections, str) else tuple(collections)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise ValueError(f"limit={limit!r}: give a number of tunes of 1 or more, or None for all")
        if ESSEN in collections:
            print(ESSEN_NOTICE, file=sys.stderr)
        self.split, self.collections, self.limit = split and check_split(split), collections, limit
        self.tunes, self.skipped = _tunes(collections, limit, expand_repeats)
        if split is not None:
            splits = _splits(collections, limit)
            self.tunes = tuple(tune for tune, where in zip(self.tunes, splits, strict=True) if where == split)

    def __len__(self) -> int:
        return len(self.tunes)

    def __getitem__(self, i: int) -> FolkTune:
        return self.tunes[i]

    def __repr__(self) -> str:
        counts = Counter(tune.collection for tune in self.tunes)
        inside = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        return f"FolkCorpus({len(self):,} tunes, split={self.split!r}: {inside}; {len(self.skipped)} skipped)"


@cache
def _splits(collections: tuple[str, ...], limit: int | None) -> list[str]:
    tunes = _tunes(collections, limit)[0]
    places = {tune.id: i for i, tune in enumerate(tunes)}
    known = [(places[a], places[b]) for a, b, same in variants() if same and a in places and b in places]
    return split_tunes(tunes, known)


def variants() -> list[tuple[str, str, bool]]:
    """List pairs of tunes of one title from different collections of the folk corpus, and whether they are one tune.

    >>> variants()[0]
    ('ryansMammoth/19', 'airdsAirs/595', False)

    Pairs were found by title, spelling variants included. Where a local alignment over all transpositions scores 62 %
    of the shorter tune, they are taken to be the same; below that, both were compared bar by bar in scale degrees. A
    tune stays the same in another mode or metre, or with its parts exchanged. A pair in doubt was left out.

    Returns: (id, id, same) for each pair; the ids are those of `FolkTune`.

    Chapter 6.
    """
    with (SHIPPED / "variants.csv").open(newline="") as file:
        return [(row["first"], row["second"], row["same"] == "1") for row in csv.DictReader(file)]


def _tunes(collections: tuple[str, ...], limit: int | None, expand: bool = False) -> tuple[tuple, tuple]:
    """All tunes of the collections, and a line for each one that could not be parsed."""
    found, was_on = [], gc.isenabled()
    gc.disable()  # else Python would search ever more notes for cycles, of which there are none
    try:
        for i, name in enumerate(collections):
            share = None if limit is None else limit // len(collections) + (i < limit % len(collections))
            found += [_tune(text, name, k, expand) for k, text in enumerate(read_texts(name)[:share])]
    finally:
        (gc.enable if was_on else gc.disable)()
    return tuple(x for x in found if isinstance(x, FolkTune)), tuple(x for x in found if isinstance(x, str))


@cache
def _tune(text: str, collection: str, position: int, expand: bool) -> FolkTune | str:
    """The tune, or the reason why it cannot be parsed; each text is parsed once per process."""
    try:
        return FolkTune(**parse_tune(text, expand), collection=collection, position=position)
    except ValueError as error:
        return f"{collection} {label_of(text)}: {error}"


@cache
def read_texts(collection: str) -> list[str]:
    """The ABC text of every tune in a collection, in the order of the files and of the tunes in them."""
    corpus = SETS["folk"].place()
    if corpus is None:
        raise ImportError(f"the folk corpus comes with music21, which is not installed: {SETS['folk'].absence}")
    if not (paths := sorted((corpus / collection).glob("*.abc"))):
        choice = ", ".join((*COLLECTIONS, ESSEN))
        raise ValueError(f"{collection!r} is not an ABC collection in music21's corpus; choose from {choice}")
    return [tune for path in paths for tune in tunes_in(_mended(path.read_text("utf-8", errors="replace")))]


def _mended(text: str) -> str:
    """Remove what e-mail did to Ryan's Mammoth."""
    return re.sub(r"=(20)?$", "", text.replace("=3D", "="), flags=re.MULTILINE)
