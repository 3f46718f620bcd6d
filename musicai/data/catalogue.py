"""Every data set that musicai can read: what it is, whether and where it is stored, its licence. Doesn't load torch.

>>> SETS["groove"].licence
'CC BY 4.0'
"""

import csv
import hashlib
import importlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

from musicai.storage import cache_dir

from .transport import DataError, download, extract

__all__ = ["SETS", "KnownSet"]

SHIPPED = Path(__file__).parent / "shipped"
COLLECTIONS, TUNES = ("ryansMammoth", "oneills1850", "airdsAirs"), 4248  # of music21's corpus


@dataclass(frozen=True)
class KnownSet:
    """A row of shipped/catalogue.csv: a set that ships with the package, or (in the subclasses) one from elsewhere.

    >>> SETS["chorales"].place().name
    'polyphonic'

    Attributes:
        name: what the command line calls it.
        about: what it holds, in a few words.
        licence: its terms.
        folder: its folder within the package, music21's corpus or the cache folder.
        pattern: which files of that folder belong to it.
        url: the address of a published archive. This and the fields below are empty for other sets.
        known_hash: its hash, "sha256:..." or "md5:...", as given by its publisher or a well-known loader.
        size: the archive's size, as text for people to read.
        loader: the class in `musicai.data` that reads it.
        train: how many items the split has, as published; the same goes for `valid` and `test`.
        recordings: how many files there must be; empty if any number will do.

    Chapter 1.
    """

    name: str
    about: str
    licence: str
    folder: str
    pattern: str
    url: str
    known_hash: str
    size: str
    loader: str
    train: str
    valid: str
    test: str
    recordings: str

    def root(self) -> Path:
        """The folder that holds the set's folder."""
        return SHIPPED

    def place(self) -> Path | None:
        """The folder that holds the set on this machine, or None if it is not here."""
        return self.root() / self.folder if self.files() else None

    def files(self) -> list[Path]:
        """The set's files on this machine."""
        found = (self.root() / self.folder).rglob(self.pattern)
        return [path for path in found if path.is_file() and path.name[0] != "." and path.name != "SHA256SUMS"]

    def absence(self) -> str:
        """What to do if the set is not here."""
        return "install musicai again"

    def fetch(self, root: str | Path, *, progress: bool = True) -> Path:
        """Download the set, if it can be downloaded."""
        raise DataError(f"{self.name} cannot be downloaded by itself: {self.absence()}")

    def cached(self) -> list[Path]:
        """The paths that `musicai data remove` may remove, all in the cache folder."""
        return []

    def problems(self) -> Iterator[str]:
        """Check what is here and yield one line per problem."""
        for line in (SHIPPED / self.folder / "SHA256SUMS").read_text().splitlines():
            known, name = line.split()
            path = SHIPPED / self.folder / name
            if fnmatch(name, self.pattern) and not path.is_file():
                yield f"{path} is missing; {self.absence()}"
            elif fnmatch(name, self.pattern) and hashlib.sha256(path.read_bytes()).hexdigest() != known:
                yield f"{path} is damaged: its SHA-256 is not {known}; {self.absence()}"


class FolkSet(KnownSet):
    """The tunes in the installed music21 wheel. Chapter 1."""

    def root(self) -> Path:
        """The folder of music21, found without importing it, which would take a second."""
        spec = find_spec("music21")
        return Path(spec.submodule_search_locations[0]) if spec else SHIPPED / "nowhere"

    def files(self) -> list[Path]:
        """The files of the collections that `FolkCorpus` reads by default."""
        return [path for path in super().files() if path.parent.name in COLLECTIONS]

    def absence(self) -> str:
        """What to do if music21 is not installed."""
        return "pip install 'musicai[corpus]'"

    def problems(self) -> Iterator[str]:
        """Count the tunes."""
        found = sum(len(re.findall(rb"(?m)^[ \t]*X:", path.read_bytes())) for path in self.files())
        if found != TUNES:
            yield f"{self.place()} holds {found:,} tunes, not {TUNES:,}; install music21 again"


class PublishedSet(KnownSet):
    """A published archive that is downloaded on request. Chapter 1."""

    def root(self) -> Path:
        """The cache folder."""
        return cache_dir()

    def absence(self) -> str:
        """How to get it."""
        return f"musicai data fetch {self.name} ({self.size})"

    def cached(self) -> list[Path]:
        """The set's folder, and an archive that could not be unpacked."""
        paths = (self.root() / self.folder, self.root() / self.url.rsplit("/", 1)[-1])
        return list(filter(os.path.lexists, paths))

    def fetch(self, root: str | Path, *, progress: bool = True) -> Path:
        """Download the archive into `root`, unpack it there, remove the archive, and return the set's folder."""
        folder = Path(root) / self.folder
        if folder.exists():
            raise DataError(f"{folder} already exists, but does not hold all of {self.name}; remove or move it first")
        archive = Path(root, self.url.rsplit("/", 1)[-1])
        download(self.url, archive, known_hash=self.known_hash, progress=progress)
        extract(archive, folder)
        archive.unlink()
        return folder

    def problems(self) -> Iterator[str]:
        """Count and read every item; a large set takes minutes."""
        from tqdm.auto import tqdm

        if self.recordings and len(self.files()) != int(self.recordings):
            yield f"{self.place()} holds {len(self.files()):,} recordings, not {int(self.recordings):,}"
        for split, count in {"train": self.train, "valid": self.valid, "test": self.test}.items():
            if count:
                try:
                    items = getattr(importlib.import_module("musicai.data"), self.loader)(self.root(), split)
                    if len(items) != int(count):
                        yield f"{self.place()}: split {split!r} has {len(items):,} items, not {int(count):,}"
                    for i in tqdm(range(len(items)), desc=f"reading {self.name} {split}", leave=False, disable=None):
                        items[i]
                except DataError as error:
                    yield str(error)


with (SHIPPED / "catalogue.csv").open(encoding="utf-8", newline="") as _file:
    SETS = {
        row["name"]: (PublishedSet if row["url"] else FolkSet if row["name"] == "folk" else KnownSet)(**row)
        for row in csv.DictReader(_file)
    }
