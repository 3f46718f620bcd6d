"""The search that needs no preparation: an index of the tunes at hand, built once and kept in the cache. Chapter 6."""

import sys
from functools import cache
from importlib import metadata, util
from os import PathLike
from os.path import expanduser
from pathlib import Path

from tqdm.auto import tqdm

from musicai.notes import Melody, Score, read_abc, read_score
from musicai.storage import cache_dir

from ._scale.store import VERSION
from .index import Match, MelodyIndex
from .queries import NOTATION, read_query


def find(query, k: int = 10, *, index: "MelodyIndex | str | PathLike | None" = None) -> list[Match]:
    """Find the melodies that sound most like the query, best first.

    >>> matches = find("D5 C5 B4 G4 G4 D4 G4 G4 B4 G4 B4 D5", k=3)  # doctest: +SKIP
    >>> matches[0].title, matches[0].start, matches[0].probability  # doctest: +SKIP

    Neither the key nor the octave nor the tempo matters, and wrong, missing and additional notes are forgiven.

    Args:
        query: note names, ABC, MIDI numbers, a Melody or Score, a sound, a file of any of these; see `read_query`.
        k: the most matches to return.
        index: a MelodyIndex, or the path of one. None searches the folk corpus if music21 is installed, and the shipped
            Nottingham tunes and chorales otherwise; this index is built the first time and kept in the cache folder.

    Returns: the matches. Those with `unlikely` set are probably not the tune that was meant.

    Raises:
        FileNotFoundError: if the query or the index names a file that does not exist.
        ValueError: if the query holds nothing that can be searched for.

    Chapter 6.
    """
    query = read_query(query)  # before the index is built: a typing mistake should not wait for it
    index = default_index() if index is None else index
    return (index if isinstance(index, MelodyIndex) else MelodyIndex.open(index)).find(query, k)


def default_index() -> MelodyIndex:
    """Open the index of the tunes at hand, and build it first if it is not in the cache folder.

    >>> len(default_index())  # doctest: +SKIP
    4248

    Returns: the index of the folk corpus, or of the shipped tunes where music21 is not installed.

    Chapter 6.
    """
    folk = util.find_spec("music21") is not None
    name = f"folk-music21-{metadata.version('music21')}" if folk else "shipped"
    path = cache_dir() / "search" / f"{name}-{VERSION}.index"
    if path.is_file():
        try:
            return MelodyIndex.open(path)
        except ValueError:  # damaged: build it again
            path.unlink()
            _build.cache_clear()
    return _build(folk, path)


@cache  # for a folder that cannot keep it
def _build(folk: bool, path: Path) -> MelodyIndex:
    """Build the index in the cache folder or, if that is full or read-only, in memory."""
    from musicai.data import FolkCorpus

    what = "the folk corpus" if folk else "the shipped tunes (with the extra `corpus` there would be 4,248 folk tunes)"
    print(f"Building the search index of {what}, once; this takes about half a minute: {path}", file=sys.stderr)
    tunes = FolkCorpus(expand_repeats=True) if folk else _shipped()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return MelodyIndex.build(tunes, path)
    except OSError as error:
        print(f"It can't be kept there ({error.strerror}); set MUSICAI_CACHE to another folder.", file=sys.stderr)
        return MelodyIndex.build(tunes)


def _shipped() -> list[Score]:
    from musicai.data import SPLITS, JSBChorales, Nottingham

    rolls = [collection(split) for collection in (Nottingham, JSBChorales) for split in SPLITS]
    return [one.score(i) for one in rolls for i in range(len(one))]


def read_folder(folder: str | PathLike) -> tuple[list[Melody | Score], list[str]]:
    """Read every MIDI, MusicXML and ABC file below a folder, leaving out those that cannot be read, with a warning.

    >>> pieces, ids = read_folder("~/midi")  # doctest: +SKIP

    Args:
        folder: where to look, or a file, such as an ABC file with many tunes.

    Returns: the pieces, and for each the path of its file below the folder.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if no file in it can be read.

    Chapter 6.
    """
    top = Path(expanduser(folder))
    if not top.exists():
        raise FileNotFoundError(f"{top}: no such folder")
    top, found = (top, top.rglob("*")) if top.is_dir() else (top.parent, [top])
    paths = sorted(path for path in found if path.suffix.lower() in NOTATION and not path.name.startswith("."))
    pieces, ids, problems = [], [], []
    for path in tqdm([path for path in paths if not path.is_dir()], desc="reading", unit="file", delay=1):
        name = path.relative_to(top).as_posix().encode(errors="backslashreplace").decode()  # it may not be UTF-8
        try:
            several = path.suffix.lower() == ".abc"
            found = read_abc(path, expand_repeats=True) if several else [read_score(path, expand_repeats=True)]
        except (ValueError, OSError) as error:
            problems.append(f"{name}: {error}")
            continue
        pieces += found
        ids += [name] if len(found) == 1 else [f"{name}#{i}" for i in range(1, len(found) + 1)]
    for problem in [*problems[:10], *[f"{len(problems) - 10} more files"][: len(problems) > 10]]:
        print(f"left out {problem:.300}", file=sys.stderr)
    if not pieces:
        raise ValueError(f"{folder}: no file ending in {', '.join(NOTATION)} that can be read")
    return pieces, ids
