"""Piano rolls with the literature's splits: Bach's chorales, the Nottingham folk tunes, any file in their format."""

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from musicai.data.errors import DataError
from musicai.data.splits import check_split

KEYS = (21, 109)  # the piano's keys as MIDI pitches: column 0 is A0, column 87 is C8
MATRICES = {"train": "traindata", "valid": "validdata", "test": "testdata"}


def read_rolls(path: str | Path, split: str) -> list[np.ndarray]:
    """Read one split of a `.mat` file of piano rolls: matrices (frames, 88) of 0 and 1, as uint8.

    Raises DataError that names the file, the matrix and, for a bad value, its row.
    """
    key = MATRICES[check_split(split)]
    contents = _load_mat(Path(path))
    if key not in contents:
        found = ", ".join(sorted(name for name in contents if not name.startswith("__"))) or "nothing"
        raise DataError(f"{path}: no matrix list {key!r} (found {found}); a piano-roll file holds {_wanted()}")
    cells = np.atleast_1d(contents[key]).ravel()
    if contents[key].dtype != object or not len(cells):
        raise DataError(f"{path}: {key} is not a list of matrices but {contents[key].dtype} {contents[key].shape}")
    return [_check_roll(cell, f"{path}: {key}[{i}]") for i, cell in enumerate(cells)]


def _load_mat(path: Path) -> dict:
    from scipy.io import loadmat  # late: scipy.io costs 0.1 s that `import musicai.data` need not pay

    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a .mat file that holds {_wanted()}")
    try:
        return loadmat(path)
    except Exception as error:  # scipy raises a dozen kinds for a damaged file
        raise DataError(f"{path}: not a readable MATLAB 5 file ({type(error).__name__}: {error})") from error


def _wanted() -> str:
    return ", ".join(MATRICES.values())


def _check_roll(cell: object, where: str) -> np.ndarray:
    roll = np.asarray(cell)
    if roll.ndim != 2 or roll.shape[1] != KEYS[1] - KEYS[0] or roll.dtype.kind not in "buif":
        raise DataError(f"{where}: expected a matrix (frames, 88), got {roll.dtype} {roll.shape}")
    bad = np.argwhere((roll != 0) & (roll != 1))
    if len(bad):
        row, column = bad[0]
        raise DataError(f"{where}, row {row}, column {column}: {roll[row, column]!r} is neither 0 nor 1")
    return roll.astype(np.uint8)


class PianoRolls(Dataset):
    """Piano rolls from a `.mat` file with the lists `traindata`, `validdata`, `testdata` of (frames, 88) matrices.

    >>> PianoRolls("JSB_Chorales.mat", "train")[0]["roll"].shape  # doctest: +SKIP
    torch.Size([88, 129])

    Args: path of the file; split "train", "valid" or "test"; step, the length of a frame in beats.
    Item: {"roll": float32 (88, frames) of 0 and 1, row 0 is A0; "name": str}. `score(i)` gives it as a Score.
    Raises DataError naming file and row. Pieces are parsed once, when the set is made.
    Source: Boulanger-Lewandowski, Bengio and Vincent 2012 (arXiv:1206.6392). Chapter 1.
    """

    def __init__(self, path: str | Path, split: str = "train", *, step: float = 0.25):
        self.path, self.split, self.step = Path(path), split, step
        self.rolls = read_rolls(path, split)

    def __len__(self) -> int:
        return len(self.rolls)

    def __getitem__(self, i: int) -> dict:
        roll = torch.from_numpy(self.rolls[i].T.astype(np.float32))  # (88, frames)
        return {"roll": roll, "name": self.name(i)}

    def name(self, i: int) -> str:
        """The name of piece `i`: file, split and position, as in "JSB_Chorales-train-000"."""
        return f"{self.path.stem}-{self.split}-{range(len(self))[i]:03d}"

    def score(self, i: int):
        """Piece `i` as a `musicai.notes.Score`; keys held over several frames become one long note."""
        from musicai.notes import Score

        return Score.from_piano_roll(self[i]["roll"] > 0, step=self.step, name=self.name(i))


class _Shipped(PianoRolls):
    file: str
    beats: float

    def __init__(self, split: str = "train"):
        with as_file(files("musicai.data") / "shipped" / "polyphonic" / self.file) as path:
            super().__init__(path, split, step=self.beats)


class JSBChorales(_Shipped):
    """382 four-part chorales by J. S. Bach, in the splits of 229/76/77 that the literature reports; a frame is a beat.

    The interface is that of PianoRolls. Source: arXiv:1206.6392. Chapter 1.
    """

    file, beats = "JSB_Chorales.mat", 1.0


class Nottingham(_Shipped):
    """1,037 folk tunes with chords, in the splits of 694/173/170 that the literature reports; a frame is half a beat.

    The interface is that of PianoRolls. Source: arXiv:1206.6392. Chapter 1.
    """

    file, beats = "Nottingham.mat", 0.5
