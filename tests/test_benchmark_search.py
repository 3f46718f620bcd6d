"""The measures, the made-up tunes and the peers of the search benchmark, against values worked out by hand."""

import importlib
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from musicai.notes import Melody

ROOT = Path(__file__).parents[1]
SCALE = Melody.from_pitches([60, 62, 64, 65, 67, 69, 71, 72], 0.5)
SONG = Melody.from_pitches([67, 64, 64, 65, 62, 62, 60, 62, 64], [0.5, 0.5, 1, 0.5, 0.5, 1, 0.5, 0.5, 0.5])


@pytest.fixture(scope="module")
def load():
    """Import a script of the folder by name, as if it were run there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module


def test_measures_by_hand(load):
    search = load("search")
    assert search.rank_of([4, 7, 9], {9, 7}) == 2
    assert search.rank_of([4], {5}) == math.inf
    ranks = [1, 4, 11, math.inf]
    assert search.reciprocal_rank(ranks).tolist() == [1, 0.25, 1 / 11, 0]
    assert search.in_top_10(ranks).tolist() == [1, 1, 0, 0]
    # In the lowest bin, 0.05 on average and none right; in the highest, 0.95 and one of two right.
    assert search.calibration_error([0.05, 0.9, 1.0], [0, 1, 0]) == pytest.approx((0.05 + 2 * 0.45) / 3)
    assert search.calibration_error([1, 0, 1], [1, 0, 1]) == 0


def test_bootstrap_over_groups(load):
    interval = load("search").interval
    assert interval([1, 1, 1]) == (1, 1)
    values = np.random.default_rng(0).random(400) < 0.3
    low, high = interval(values)
    deviation = 1.96 * np.sqrt(values.mean() * (1 - values.mean()) / 400)
    assert low == pytest.approx(values.mean() - deviation, abs=0.01)
    assert high == pytest.approx(values.mean() + deviation, abs=0.01)
    # Four equal answers per recording are worth one.
    wide = interval(np.repeat(values[:100], 4), np.repeat(np.arange(100), 4))
    assert wide[1] - wide[0] > 1.7 * (high - low)


def test_peers_find_what_they_are_asked_for(load):
    matchers = load("matchers")
    friend = matchers.FolkFriendStyle([SCALE, SONG])
    assert friend.rank(SONG.pitches[2:7], SONG.durations[2:7], 0.5)[0] == 1
    assert friend.rank(SCALE.pitches[2:7], SCALE.durations[2:7] * 0.37)[0] == 0  # seconds; the median is an eighth
    assert friend.rank(SCALE.transpose(6).pitches, SCALE.durations, 0.5) == []  # it knows no transposition
    assert matchers.letters([60, 71], [2, 0.1]).tolist() == [0, 0, 11]
    query, text = np.array([1, 2, 3]), np.array([9, 1, 2, 5, 3, 9])
    assert matchers.needleman_wunsch(query, text) == 2 + 2 - 1 + 2
    pytest.importorskip("music21")
    assert matchers.Music21Windows([SCALE, SONG]).rank(SONG.pitches[2:7])[0] == 1


@pytest.fixture(scope="module")
def model(load):
    music21 = pytest.importorskip("music21")
    assert music21
    distractors = load("distractors")
    return distractors, distractors.TuneModel(distractors.FolkCorpus(limit=60))


def test_made_up_tunes_are_tunes(model):
    _, tunes = model
    (lines,) = tunes.lines(50, seed=1, near_copies=True)
    assert len(lines) == 50
    assert np.diff(lines.offsets).min() >= 16
    for first, last in pairwise(lines.offsets):
        starts, durations = lines.starts[first:last], lines.durations[first:last]
        assert starts[0] == 0
        assert durations.min() > 0
        assert (starts[:-1] + durations[:-1] <= starts[1:] + 1e-5).all()
        assert np.ptp(lines.pitches[first:last].astype(int)) < 48
    for seed in (1, 2):
        (again,) = tunes.lines(50, seed=seed, near_copies=True)
        assert np.array_equal(again.pitches, lines.pitches) == (seed == 1)


def test_no_made_up_tune_shares_a_long_run_with_the_corpus(model):
    distractors, tunes = model

    def runs(pitches: np.ndarray) -> set[bytes]:
        intervals = np.diff(pitches.astype(int))
        intervals = intervals[intervals != 0]
        n = distractors.RUN
        return {intervals[i : i + n].tobytes() for i in range(len(intervals) - n + 1)}

    real = set().union(*(runs(tune.pitches) for tune in distractors.FolkCorpus(limit=60)))
    for near_copies in (False, True):
        (lines,) = tunes.lines(200, near_copies=near_copies, chunk=2000)
        shared = [bool(runs(lines.pitches[a:b]) & real) for a, b in pairwise(lines.offsets)]
        assert any(shared) == near_copies


def test_a_contour_gets_its_pauses_back(load):
    search = load("search")
    notes = [[0.1, 0.5, 60.0], [1.0, 0.4, 64.0], [2.0, 1.0, 62.0]]  # onset, duration, pitch
    whole = np.full(round(3 * search.RATE), np.nan)
    for start, duration, pitch in notes:
        whole[round(search.RATE * start) : round(search.RATE * (start + duration))] = pitch
    heard = whole[~np.isnan(whole)]
    contour = search.contour_of(440 * 2 ** ((heard - 69) / 12), notes)
    np.testing.assert_allclose(contour.pitches, whole, atol=1e-3)
    # A pause within a note cannot be placed, but no frame is lost and the order stays.
    contour = search.contour_of(440 * 2 ** ((np.delete(heard, slice(20, 40)) - 69) / 12), notes)
    assert contour.voiced.sum() == len(heard) - 20
    assert len(contour.pitches) == len(whole)
    np.testing.assert_allclose(contour.pitches[contour.voiced], np.delete(heard, slice(20, 40)), atol=1e-3)
