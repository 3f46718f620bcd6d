"""Every data set that musicai can read: what it is, whether and where it is stored, its licence. Doesn't load torch.

>>> SETS["groove"].licence
'CC BY 4.0'
"""

import csv
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from musicai.storage import cache_dir

from .transport import DataError, download, extract

__all__ = ["SETS", "KnownSet"]

SHIPPED = Path(__file__).parent / "shipped"
AUDIO = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aif", ".aiff")  # what musicai.audio.load reads


@dataclass(frozen=True)
class KnownSet:
    """A row of shipped/catalogue.csv: a set that comes with a package, or one that is downloaded into the cache folder.

    >>> SETS["chorales"].place().name
    'polyphonic'

    Attributes:
        name: what the command line calls it.
        about: what it holds, in a few words.
        licence: its terms.
        package: the package that it comes with; empty if it is in the cache folder.
        folder: its folder, within that of the package or within the cache folder.
        pattern: a regular expression for the names of its files, seen from that folder.
        absence: what to do if it is not here.
        url: the address of a published archive. This and the fields below are empty for sets that come with a package.
        known_hash: its hash, "sha256:..." or "md5:...", as given by its publisher or a well-known loader.
        size: the archive's size, as text for people to read.

    Chapter 1.
    """

    name: str
    about: str
    licence: str
    package: str
    folder: str
    pattern: str
    absence: str
    url: str
    known_hash: str
    size: str

    def files(self) -> list[Path]:
        """The set's files on this machine, without hidden ones."""
        folder = self._home() / self.folder
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file()]
        return [folder / name for name in names if re.fullmatch(self.pattern, name)]

    def place(self) -> Path | None:
        """The folder that holds the set on this machine, or None if it is not here."""
        return self._home() / self.folder if self.files() else None

    def fetch(self, root: str | Path) -> Path:
        """Download the archive into `root`, unpack it there, remove the archive, and return the set's folder."""
        if not self.url:
            raise DataError(f"{self.name} cannot be downloaded by itself: {self.absence}")
        folder = Path(root, self.folder)
        if folder.exists():
            raise DataError(f"{folder} already exists, but does not hold all of {self.name}; remove or move it first")
        archive = download(self.url, Path(root, self.url.rsplit("/", 1)[-1]), known_hash=self.known_hash)
        extract(archive, folder)
        archive.unlink()
        return folder

    def _home(self) -> Path:
        """The folder that holds the set's folder; a package is found without importing it, which may take a second."""
        if not self.package:
            return cache_dir()
        found = find_spec(self.package)
        return Path(found.submodule_search_locations[0] if found else "not installed")


with (SHIPPED / "catalogue.csv").open(encoding="utf-8", newline="") as _file:
    SETS = {row["name"]: KnownSet(**row) for row in csv.DictReader(_file)}
