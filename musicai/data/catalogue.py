"""Every set that musicai can read: what it is, whether it is here, where, and under which licence. Loads no torch.

>>> SETS["groove"].licence
'CC BY 4.0'
"""

import csv
import hashlib
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

from musicai.storage import cache_dir

from .errors import DataError
from .transport import download, extract

__all__ = ["SETS", "KnownSet"]

SHIPPED = Path(__file__).parent / "shipped"
TUNES = {"ryansMammoth": 1059, "oneills1850": 2009, "airdsAirs": 1180}  # by collection of music21's corpus


@dataclass(frozen=True)
class KnownSet:
    """A set that musicai can read; this one travels in the package, its subclasses do not.

    >>> SETS["chorales"].place().name
    'polyphonic'

    Attributes:
        name: what the command line calls it.
        about: what it holds, in a few words.
        licence: its terms.
        folder: its folder: in the package, in music21's corpus, or in the cache folder.
        pattern: which files of that folder belong to it.

    Chapter 1.
    """

    name: str
    about: str
    licence: str
    folder: str
    pattern: str = "*"

    def place(self) -> Path | None:
        """The folder that holds the set on this machine, None if it is not here."""
        folder = self._root() / self.folder
        return folder if folder.is_dir() and any(map(self._owns, folder.rglob(self.pattern))) else None

    def absence(self) -> str:
        """What to do when the set is not here."""
        return "install musicai again"

    def fetch(self, root: str | Path, *, progress: bool = True) -> Path:
        """Download the set, if it is one that can be."""
        raise DataError(f"{self.name} is not downloaded by itself: {self.absence()}")

    def files(self) -> list[Path]:
        """The set's files on this machine."""
        place = self.place()
        return list(filter(self._owns, place.rglob(self.pattern))) if place else []

    def cached(self) -> list[Path]:
        """What `musicai data remove` may remove: paths in the cache folder only."""
        return []

    def problems(self) -> Iterator[str]:
        """Check what is here; yield one line for each thing that is wrong."""
        sums = [line.split() for line in (SHIPPED / self.folder / "SHA256SUMS").read_text().splitlines()]
        for known, name in ((known, name) for known, name in sums if fnmatch(name, self.pattern)):
            path = SHIPPED / self.folder / name
            if not path.is_file():
                yield f"{path} is missing; {self.absence()}"
            elif hashlib.sha256(path.read_bytes()).hexdigest() != known:
                yield f"{path} is damaged: its SHA-256 is not {known}; {self.absence()}"

    def _root(self) -> Path:
        return SHIPPED

    def _owns(self, path: Path) -> bool:
        return path.is_file() and not path.name.startswith(".") and path.name != "SHA256SUMS"  # .DS_Store is no music


class FolkSet(KnownSet):
    """The tunes in the installed music21 wheel; our cache folder keeps what we parsed of them. Chapter 1."""

    def absence(self) -> str:
        """What to do when music21 is not installed."""
        return "pip install 'musicai[corpus]'"

    def cached(self) -> list[Path]:
        """The parsed tunes."""
        return _existing(cache_dir(create=False) / "folk")

    def problems(self) -> Iterator[str]:
        """Count the tunes of each collection."""
        for collection, count in TUNES.items():
            texts = [path.read_bytes() for path in self.files() if path.parent.name == collection]
            found = sum(len(re.findall(rb"^[ \t]*X:", text, re.MULTILINE)) for text in texts)
            if found != count:
                yield f"{self.place() / collection} holds {found:,} tunes, not {count:,}; install music21 again"

    def _root(self) -> Path:
        spec = find_spec("music21")  # does not import it, which would take a second
        return Path(spec.submodule_search_locations[0]) if spec else SHIPPED / "nowhere"

    def _owns(self, path: Path) -> bool:
        return path.parent.name in TUNES


@dataclass(frozen=True)
class PublishedSet(KnownSet):
    """A published archive that is downloaded on request.

    >>> SETS["groove"].fetch("data")  # doctest: +SKIP
    PosixPath('data/groove')

    Attributes:
        url: the archive's address.
        known_hash: its hash as its publisher or a well-known loader gives it, "sha256:..." or "md5:...".
        size: of the archive, for people.
        loader: the class in `musicai.data` that reads it.
        counts: items by split, as published.
        recordings: how many of `files` there must be, 0 for any number.

    Chapter 1.
    """

    url: str = ""
    known_hash: str = ""
    size: str = ""
    loader: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    recordings: int = 0

    def absence(self) -> str:
        """How to get it."""
        return f"musicai data fetch {self.name} ({self.size})"

    def cached(self) -> list[Path]:
        """The set's folder, and an archive that could not be unpacked."""
        return _existing(self._root() / self.folder, self._root() / self.url.rsplit("/", 1)[-1])

    def fetch(self, root: str | Path, *, progress: bool = True) -> Path:
        """Download the archive into `root`, unpack it there, remove the archive, and return the set's folder."""
        folder = Path(root) / self.folder
        if folder.exists():
            raise DataError(f"{folder} exists already, but does not hold all of {self.name}; remove or move it first")
        archive = Path(root, self.url.rsplit("/", 1)[-1])
        download(self.url, archive, known_hash=self.known_hash, progress=progress)
        extract(archive, folder)
        archive.unlink()
        return folder

    def problems(self) -> Iterator[str]:
        """Count and read every item; a large set takes minutes."""
        from tqdm.auto import tqdm

        if self.recordings and len(self.files()) != self.recordings:
            yield f"{self.place()} holds {len(self.files()):,} recordings, not {self.recordings:,}"
        for split, count in self.counts.items():
            try:
                items = getattr(importlib.import_module("musicai.data"), self.loader)(self._root(), split)
                if len(items) != count:
                    yield f"{self.place()}: split {split!r} has {len(items):,} items, not {count:,}"
                for i in tqdm(range(len(items)), desc=f"reading {self.name} {split}", leave=False, disable=None):
                    items[i]
            except DataError as error:
                yield str(error)

    def _root(self) -> Path:
        return cache_dir(create=False)


def _existing(*paths: Path) -> list[Path]:
    return [path for path in paths if path.exists() or path.is_symlink()]


def _read_catalogue() -> Iterator[KnownSet]:
    with (SHIPPED / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            known = {key: row[key] for key in ("name", "about", "licence", "folder", "pattern")}
            if row["url"]:
                known |= {key: row[key] for key in ("url", "known_hash", "size", "loader")}
                counts = {split: int(row[split]) for split in ("train", "valid", "test") if row[split]}
                yield PublishedSet(**known, counts=counts, recordings=int(row["recordings"] or 0))
            else:
                yield (FolkSet if known["name"] == "folk" else KnownSet)(**known)


SETS = {known.name: known for known in _read_catalogue()}
