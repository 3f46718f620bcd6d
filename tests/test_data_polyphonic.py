"""Shipped piano rolls: the files of the literature, unchanged; errors that name file and row."""

import hashlib
from importlib.resources import files

import numpy as np
import pytest
import torch
from scipy.io import savemat

from musicai.data import DataError, JSBChorales, Nottingham, PianoRolls

SHA256 = {
    "JSB_Chorales.mat": "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
    "Nottingham.mat": "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
}


@pytest.mark.parametrize("name", SHA256)
def test_shipped_files_are_the_published_ones(name):
    data = (files("musicai.data") / "shipped" / "polyphonic" / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == SHA256[name]


@pytest.mark.parametrize(
    ("dataset", "split", "pieces", "frames"),
    [
        (JSBChorales, "train", 229, 13_807),
        (JSBChorales, "valid", 76, 4_602),
        (JSBChorales, "test", 77, 4_725),
        (Nottingham, "train", 694, 176_561),
        (Nottingham, "valid", 173, 45_513),
        (Nottingham, "test", 170, 44_463),
    ],
)
def test_standard_splits(dataset, split, pieces, frames):
    rolls = dataset(split)
    assert len(rolls) == pieces
    assert sum(item["roll"].shape[1] for item in (rolls[i] for i in range(pieces))) == frames


def test_item_is_what_the_literature_prints():
    """The first chords of the first training chorale, as printed with the first release of these splits."""
    item = JSBChorales("train")[0]
    assert item["roll"].shape == (88, 129)
    assert item["roll"].dtype == torch.float32
    assert item["name"] == "JSB_Chorales-train-000"
    chords = [(torch.nonzero(item["roll"][:, t])[:, 0] + 21).tolist() for t in range(4)]
    assert chords == [[60, 72, 79, 88], [72, 79, 88], [67, 70, 76, 84], [69, 77, 86]]


@pytest.mark.parametrize(("dataset", "step"), [(JSBChorales, 1.0), (Nottingham, 0.5)])
def test_score_has_the_roll(dataset, step):
    rolls = dataset("valid")
    for i in (0, len(rolls) - 1, -1):
        score, roll = rolls.score(i), rolls[i]["roll"] > 0
        back = score.piano_roll(step=step)
        assert back.shape[0] == 88
        assert torch.equal(back[:, : roll.shape[1]], roll[:, : back.shape[1]])
        assert not roll[:, back.shape[1] :].any()
        assert score.name == rolls[i]["name"]


def test_index_out_of_range():
    with pytest.raises(IndexError):
        JSBChorales("test")[77]


def test_unknown_split():
    with pytest.raises(ValueError, match="'validation' is not one of train, valid, test"):
        JSBChorales("validation")


def cells(*rolls):
    list_of_rolls = np.empty((1, len(rolls)), dtype=object)
    list_of_rolls[0] = rolls
    return list_of_rolls


def mat(tmp_path, **lists):
    good = cells(np.eye(88, dtype=np.uint8), np.zeros((2, 88), dtype=np.uint8))
    savemat(tmp_path / "own.mat", {"traindata": good, "validdata": good, "testdata": good} | lists)
    return tmp_path / "own.mat"


def test_own_file(tmp_path):
    rolls = PianoRolls(mat(tmp_path), "test")
    assert len(rolls) == 2
    assert torch.equal(rolls[0]["roll"], torch.eye(88))
    assert [note.pitch for note in rolls.score(0).notes] == list(range(21, 109))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            cells(np.zeros((4, 87)), np.zeros((4, 88))),
            r"own.mat: traindata\[0\] is .*\(4, 87\), not a matrix \(frames, 88\) of 0 and 1",
        ),
        (cells(np.zeros((4, 88)), np.full((3, 88), 2)), r"own.mat: traindata\[1\] is .*\(3, 88\), not .* of 0 and 1"),
        (cells(np.zeros((4, 88)), np.full((3, 88), np.nan)), r"traindata\[1\] is .*\(3, 88\), not .* of 0 and 1"),
        (np.zeros((4, 88)), r"own.mat: traindata\[0\] is float64 \(\), not a matrix"),
    ],
)
def test_bad_matrices_are_named(tmp_path, bad, message):
    with pytest.raises(DataError, match=message):
        PianoRolls(mat(tmp_path, traindata=bad), "train")


def test_missing_key_missing_file_damaged_file(tmp_path):
    savemat(tmp_path / "own.mat", {"traindata": cells(np.zeros((1, 88)), np.zeros((1, 88)))})
    with pytest.raises(DataError, match=r"own.mat: not a readable .mat file with a list 'testdata'"):
        PianoRolls(tmp_path / "own.mat", "test")
    with pytest.raises(DataError, match=r"none.mat: not a readable .*No such file"):
        PianoRolls(tmp_path / "none.mat", "test")
    whole = mat(tmp_path).read_bytes()
    for size in (0, 100, 200, len(whole) // 2):
        (tmp_path / "own.mat").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"own.mat"):
            PianoRolls(tmp_path / "own.mat", "test")
