"""The recipe's settings, the table for any file of piano rolls, and the shipped models' figures."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from musicai.data import PianoRolls
from musicai.recipes import polyphony
from musicai.recipes.shared import warm_cosine
from musicai.wavenet import RollWaveNet, nats_per_frame

ROOT = Path(__file__).parents[1]


def load(path: str):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(monkeypatch, path: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
    load(path).main()


@pytest.fixture(scope="module")
def mat(tmp_path_factory) -> Path:
    """Pieces of 1 to 300 frames, of 0 to 20 keys a frame over all of the keyboard, silence and an empty piece too."""
    rng = np.random.default_rng(0)
    contents = {}
    for name, lengths in (("traindata", (40, 1, 300, 9)), ("validdata", (30, 2)), ("testdata", (25, 0, 3))):
        cells = np.empty((1, len(lengths)), dtype=object)
        for i, length in enumerate(lengths):
            roll = (rng.random((length, 88)) < rng.choice([0, 0.03, 0.2], (length, 1))).astype(np.uint8)
            cells[0, i] = roll.reshape(length, 88)
        contents[name] = cells
    path = tmp_path_factory.mktemp("mat") / "Strange.mat"
    savemat(path, contents)
    return path


def test_table_of_any_file(mat, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    model = RollWaveNet()
    model.save_pretrained(tmp_path)
    run(monkeypatch, "benchmarks/polyphony.py", "--data", mat, "--model", tmp_path)
    out = capsys.readouterr().out
    score = nats_per_frame(RollWaveNet.from_pretrained(tmp_path), [item["roll"] for item in PianoRolls(mat, "test")])
    assert str(round(score, 3)) in out
    assert "28 frames in the test split" in out


def test_counting_by_hand():
    counting = load("benchmarks/polyphony.py").counting
    roll = torch.zeros(88, 4)
    roll[5, :2] = 1.0  # down, down, up, up
    others = 87 * -np.log(4.5 / 5)
    alone = -(2 * np.log(2.5 / 5) + 2 * np.log(2.5 / 5)) / 4 + others
    assert counting([roll], [roll], after=False) == pytest.approx(alone, rel=1e-6)
    # After up: once down, once up. After down: once down, once up.
    assert counting([roll], [roll], after=True) == pytest.approx(-np.log(1.5 / 3) + others, rel=1e-6)


def test_the_learning_rate_rises_and_falls():
    rates = [warm_cosine(n, 1200, end=0.01) for n in range(1200)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[0] < 0.03
    assert rates[-1] < 0.02


@pytest.mark.parametrize(
    ("name", "data", "bar"), [("wavenet-chorales", "chorales", 4.74), ("wavenet-nottingham", "nottingham", 2.2)]
)
def test_shipped_models_are_as_good_as_their_cards_say(name, data, bar):
    """On part of the test split, within what the choice of pieces may change; the card has the whole."""
    from musicai.pretrained import SHIPPED

    if not (SHIPPED / name).is_dir():
        pytest.skip(f"{name} is not there yet")
    model = RollWaveNet.from_pretrained(name)
    card = (SHIPPED / name / "README.md").read_text()
    told = float(card.split("| test | ")[1].split(" ")[0])
    rolls = polyphony.rolls_of(data, "test")[::10]
    assert told < bar
    assert nats_per_frame(model, rolls) == pytest.approx(told, rel=0.15)
