"""Piano rolls: a hand-made picture, and notes that come back from theirs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musicai.notes import Melody, Note, Score, Track


def test_roll_by_hand():
    score = Melody.from_pitches([22, 21, 21], [0.5, 0.25, 0.25]).to_score()
    assert score.piano_roll().shape == (88, 4)
    assert score.piano_roll().dtype == torch.bool
    assert score.piano_roll(keys=(21, 23)).int().tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert score.piano_roll(keys=(21, 23), onsets=True).int().tolist() == [[0, 0, 1, 1], [1, 0, 0, 0]]


def test_roll_rounds_to_the_nearest_frame_and_keeps_short_notes():
    score = Score((Track([Note(60, 0.1, 0.02), Note(62, 0.13, 0.5)]),))
    roll = score.piano_roll(0.25, keys=(60, 63))
    assert roll.int().tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]


def test_drums_and_keys_outside_are_left_out():
    score = Score((Track([Note(20, 0, 1), Note(108, 0, 1)]), Track([Note(60, 0, 9)], is_drum=True)))
    roll = score.piano_roll(1)
    assert roll.shape == (88, 1)
    assert np.flatnonzero(roll[:, 0]).tolist() == [87]


def test_empty_score_and_bad_arguments():
    assert Score(()).piano_roll().shape == (88, 0)
    assert Score.from_piano_roll(torch.zeros(88, 0)).notes == ()
    score = Melody.from_pitches([60]).to_score()
    with pytest.raises(ValueError, match=r"step 0\.0 is not a finite number above 0"):
        score.piano_roll(0)
    with pytest.raises(ValueError, match=r"\(keys, frames\); this has shape \(3,\)"):
        Score.from_piano_roll(torch.zeros(3))
    with pytest.raises(ValueError, match=r"onsets have shape \(88, 2\), the roll \(88, 3\)"):
        Score.from_piano_roll(torch.zeros(88, 3), onsets=torch.zeros(88, 2))


rolls = st.tuples(st.integers(1, 6), st.integers(0, 12)).flatmap(
    lambda shape: st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
        lambda cells: torch.tensor(cells, dtype=torch.bool).reshape(shape)
    )
)


@given(roll=rolls, step=st.sampled_from([0.25, 0.5, 1 / 3, 1 / 12]))
def test_any_roll_comes_back(roll, step):
    score = Score.from_piano_roll(roll, step, lowest=60)
    back = score.piano_roll(step, keys=(60, 60 + roll.shape[0]))
    width = back.shape[1]  # silence at the end is no note
    assert torch.equal(back, roll[:, :width])
    assert not roll[:, width:].any()


def without_overlaps(cells: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    ends: dict[int, int] = {}
    kept = []
    for pitch, start, length in sorted(cells, key=lambda c: c[1]):
        if start >= ends.get(pitch, 0):
            kept.append((pitch, start, length))
            ends[pitch] = start + length
    return kept


@given(st.lists(st.tuples(st.integers(21, 108), st.integers(0, 30), st.integers(1, 6)), max_size=30))
def test_scores_on_the_grid_come_back_with_their_repeated_notes(cells):
    notes = [Note(p, start * 0.25, length * 0.25) for p, start, length in without_overlaps(cells)]
    score = Score((Track(notes),))
    back = Score.from_piano_roll(score.piano_roll(), onsets=score.piano_roll(onsets=True))
    assert back.notes == score.notes


def test_from_roll_takes_an_instrument():
    roll = torch.zeros(88, 4)
    roll[39, 1:3] = 0.7
    score = Score.from_piano_roll(roll.numpy(), 0.5, program=19, tempo=90, name="organ")
    assert score == Score((Track([Note(60, 0.5, 1)], 19, name="organ"),), ((0, 90),), name="organ")
