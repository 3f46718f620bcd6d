"""Piano rolls with the literature's splits: Bach's chorales, the Nottingham folk tunes, or any file in their format."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from musicai.data.splits import check_split
from musicai.data.transport import DataError
from musicai.notes import Score

SHIPPED = Path(__file__).parent / "shipped" / "polyphonic"


def _read_rolls(path: Path, split: str) -> list[np.ndarray]:
    """Read one split of a `.mat` file of piano rolls: uint8 matrices (frames, 88) of 0 and 1; column 0 is A0."""
    from scipy.io import loadmat  # imported late: scipy.io takes 0.1 s, which would slow down `import musicai.data`

    key = f"{check_split(split)}data"
    try:
        with path.open("rb") as file:
            rolls = [np.asarray(cell) for cell in loadmat(file)[key].ravel()]
    except Exception as error:  # a damaged file makes scipy raise any of a dozen kinds
        raise DataError(f"{path}: not a readable .mat file with a list {key!r} ({error!r})") from error
    for i, roll in enumerate(rolls):
        if roll.ndim != 2 or roll.shape[1] != 88 or not np.isin(roll, (0, 1)).all():
            raise DataError(f"{path}: {key}[{i}] is {roll.dtype} {roll.shape}, not a matrix (frames, 88) of 0 and 1")
    return [roll.astype(np.uint8) for roll in rolls]


class PianoRolls(Dataset):
    """Piano rolls from a `.mat` file with the lists `traindata`, `validdata`, `testdata` of (frames, 88) matrices.

    >>> PianoRolls("JSB_Chorales.mat", "train")[0]["roll"].shape  # doctest: +SKIP
    torch.Size([88, 129])

    Each item is a dict: roll, float32 (88, frames) of 0 and 1, with A0 in row 0; name. `score(i)` gives it as a Score.

    Args:
        path: the file.
        split: "train", "valid" or "test".
        step: the length of a frame in beats.

    Raises:
        DataError: if the file cannot be read, or a matrix in it is not a piano roll; the message names it.

    Source: Boulanger-Lewandowski, Bengio and Vincent 2012 (arXiv:1206.6392). Chapter 1.
    """

    def __init__(self, path: str | Path, split: str = "train", *, step: float = 0.25):
        self.path, self.split, self.step = Path(path), split, step
        self.rolls = _read_rolls(self.path, split)

    def __len__(self) -> int:
        return len(self.rolls)

    def __getitem__(self, i: int) -> dict:
        return {"roll": torch.from_numpy(self.rolls[i].T.astype(np.float32)), "name": self.name(i)}  # (88, frames)

    def name(self, i: int) -> str:
        """The name of piece `i`: file, split and position, as in "JSB_Chorales-train-000"."""
        return f"{self.path.stem}-{self.split}-{range(len(self))[i]:03d}"

    def score(self, i: int) -> Score:
        """Piece `i` as a score; a key held over several frames becomes one long note."""
        return Score.from_piano_roll(self[i]["roll"] > 0, step=self.step, name=self.name(i))


class JSBChorales(PianoRolls):
    """382 four-part chorales by J. S. Bach, in the splits of 229/76/77 that the literature reports; a frame is a beat.

    >>> JSBChorales("test")[0]["roll"].shape
    torch.Size([88, 84])

    Items and methods are those of `PianoRolls`.

    Args:
        split: "train", "valid" or "test".

    Source: arXiv:1206.6392. Chapter 1.
    """

    def __init__(self, split: str = "train"):
        super().__init__(SHIPPED / "JSB_Chorales.mat", split, step=1.0)


class Nottingham(PianoRolls):
    """1,037 folk tunes with chords, in the splits of 694/173/170 that the literature reports; a frame is half a beat.

    >>> Nottingham("test")[0]["roll"].shape
    torch.Size([88, 192])

    Items and methods are those of `PianoRolls`.

    Args:
        split: "train", "valid" or "test".

    Source: arXiv:1206.6392. Chapter 1.
    """

    def __init__(self, split: str = "train"):
        super().__init__(SHIPPED / "Nottingham.mat", split, step=0.5)
