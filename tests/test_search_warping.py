"""The compiled search agrees with the definition, whatever the key and the tempo, and finds what was sung."""

import numpy as np
import pytest

from musicai.notes import Melody
from musicai.search import Lines
from musicai.search._fast import warping as fast
from musicai.search.contours import Contour, track_contour
from musicai.search.warping import OCTAVE, PACES, beats_per_note, line_frames, pitch_cost, warp


def walk(rng, notes=40):
    """A melody that moves by steps and small leaps, with a rhythm of its own."""
    pitches = 67 + np.cumsum(rng.choice([-4, -2, -1, 0, 1, 2, 3, 5], notes))
    pitches = 60 + (pitches - 60) % 19
    return Melody.from_pitches(pitches.tolist(), rng.choice([0.5, 1.0, 1.0, 2.0], notes).tolist())


def lines_and_melodies(count=60, seed=0):
    rng = np.random.default_rng(seed)
    melodies = [walk(rng) for _ in range(count)]
    return Lines.from_pieces(melodies), melodies


def contour_of(melody, first=8, beats=16, tempo=120.0, shift=0.0, rng=None, rate=100.0):
    """The contour of someone who starts at note `first` and sings `beats` beats of it."""
    start = melody.starts[first]
    times = start + np.arange(int(beats * 60 / tempo * rate)) / rate * tempo / 60
    pitches = melody.pitches[np.searchsorted(melody.starts, times, side="right") - 1] + shift
    noise = 0 if rng is None else rng.normal(0, 0.2, len(times))
    return Contour((pitches + noise).astype(np.float32), np.ones(len(times), np.float32), rate)


def brute_force(costs, bend):
    """The cheapest path by trying all of them."""
    n, m = costs.shape
    best = np.inf

    def go(i, j, total):
        nonlocal best
        if i == n - 1:
            best = min(best, total)
            return
        if j + 1 < m:
            go(i + 1, j + 1, total + costs[i + 1, j + 1])
            if i + 2 < n:
                go(i + 2, j + 1, total + costs[i + 1, j + 1] + costs[i + 2, j + 1] + bend)
        if j + 2 < m:
            go(i + 1, j + 2, total + costs[i + 1, j + 2] + bend)

    for j in range(m):
        go(0, j, costs[0, j])
    return best


@pytest.mark.parametrize("shape", [(1, 1), (4, 5), (5, 4), (6, 6), (5, 2)])
def test_the_definition_finds_the_cheapest_of_all_paths(shape):
    costs = np.random.default_rng(sum(shape)).random(shape)
    assert warp(costs, 0.1)[0] == pytest.approx(brute_force(costs, 0.1))


@pytest.mark.parametrize("seed", range(3))
def test_the_compiled_search_is_that_of_the_definition(seed):
    """In every way and lane: the cost, and a start and an end that have this cost."""
    lines, melodies = lines_and_melodies(3, seed)
    contour = contour_of(melodies[1], beats=5, rng=np.random.default_rng(seed))
    pitches, weights, *_ = query = fast._query(contour, fast.RATE)
    paces, shifts = np.tile(PACES[1:4], (3, 1)), np.tile([0, -7, 5], (3, 1))
    for rows, lanes, octave in ((fast.CLASSES, fast.KEYS, 0), (fast.PITCHES, fast.TUNINGS, OCTAVE)):
        costs, starts, ends = fast._compare(
            [query], lines, np.arange(3), fast.RATE * paces, shifts, rows, lanes, octave
        )
        for i, way, lane in np.ndindex(3, 3, 16):
            if lane % 5:
                continue
            notes = melodies[i]
            step = beats_per_note(notes.starts) / paces[i, way] / fast.RATE
            line = line_frames(notes.pitches, notes.starts, notes.durations, step, len(pitches))
            moved = pitches[:, None] + shifts[i, way] + lanes[lane]
            table = weights[:, None] * pitch_cost(moved - line, octave)
            cost = warp(table)[0]
            assert costs[i, way, lane] * weights.sum() == pytest.approx(cost, abs=0.1)
            start, end = (round((beats[i, way, lane] - notes.starts[0]) / step) for beats in (starts, ends))
            assert warp(table[:, start:end])[0] == pytest.approx(cost, abs=0.1)


@pytest.mark.parametrize("tempo", [84.0, 120.0, 168.0])
@pytest.mark.parametrize("shift", [-17.0, 0.0, 5.3])
def test_key_and_tempo_do_not_matter(tempo, shift):
    lines, melodies = lines_and_melodies()
    contour = contour_of(melodies[17], tempo=tempo, shift=shift, rng=np.random.default_rng(2))
    costs, starts, ends, transpositions, tempos = fast.warp_all([contour], lines)
    assert costs.argmin() == 17
    assert np.sort(costs)[1] > 2 * costs[17]
    assert starts[17] == pytest.approx(melodies[17].starts[8], abs=1.0)
    assert ends[17] - starts[17] == pytest.approx(16, abs=1.5)
    assert transpositions[17] == pytest.approx(-shift, abs=0.3)
    assert tempos[17] == pytest.approx(tempo / 60, rel=0.1)


def test_candidates_are_compared_in_their_order(monkeypatch):
    monkeypatch.setattr(fast, "REFINEMENTS", ((8.0, 100), (16.0, 100)))
    lines, melodies = lines_and_melodies(30)
    contour = contour_of(melodies[4])
    chosen = np.array([20, 4, 9])
    for some, every in zip(fast.warp_all([contour], lines, chosen), fast.warp_all([contour], lines), strict=True):
        np.testing.assert_array_equal(some, every[chosen])
    assert [len(result) for result in fast.warp_all([contour], lines, chosen[:0])] == [0] * 5


def test_lines_that_are_compared_finely_come_first(monkeypatch):
    monkeypatch.setattr(fast, "REFINEMENTS", ((8.0, 5), (16.0, 2)))
    lines, melodies = lines_and_melodies(30)
    costs, starts, *_ = fast.warp_all([contour_of(melodies[4])], lines)
    fine = np.isfinite(starts)
    assert fine.sum() == 5
    assert costs[fine].max() <= costs[~fine].min()
    assert costs.argmin() == 4


def test_two_excerpts_say_more_than_one():
    lines, melodies = lines_and_melodies()
    rng = np.random.default_rng(5)
    parts = [contour_of(melodies[3], first, beats=6, rng=rng) for first in (5, 20)]

    def margin(contours):
        costs = fast.warp_all(contours, lines)[0]
        return np.delete(costs, 3).min() - costs[3]

    assert margin(parts) > max(margin(parts[:1]), margin(parts[1:])) - 0.05
    assert margin(parts) > 0


def test_a_query_without_end_or_a_line_of_one_note_is_no_problem():
    lines = Lines.from_pieces([Melody.from_pitches([60]), walk(np.random.default_rng(0))])
    costs = fast.warp_all([contour_of(walk(np.random.default_rng(0)), beats=20)], lines)[0]
    assert costs[1] < costs[0]
    assert costs[0] == np.inf


def test_a_sung_melody_is_found_among_two_hundred():
    lines, melodies = lines_and_melodies(200, seed=3)
    contour, sr = contour_of(melodies[123], shift=-3.4, tempo=96.0), 16_000
    pitches = np.repeat(contour.pitches, sr // 100) + 0.3 * np.sin(np.arange(len(contour.pitches) * 160) / 460)
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitches - 69) / 12)) / sr
    audio = 0.1 * sum(np.sin(h * phase) / h for h in range(1, 6))
    costs = fast.warp_all([track_contour(audio, sr)], lines)[0]
    assert costs.argmin() == 123
    assert np.sort(costs)[1] > 1.6 * costs[123]


def test_silence_before_and_after_makes_no_difference():
    lines, melodies = lines_and_melodies()
    contour = contour_of(melodies[3], first=0)
    pitches = np.pad(contour.pitches, 150, constant_values=np.nan)
    padded = Contour(pitches, np.isfinite(pitches).astype(np.float32), contour.rate)
    for one, two in zip(fast.warp_all([contour], lines), fast.warp_all([padded], lines), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_contour_without_pitch_says_so():
    lines, _ = lines_and_melodies(3)
    with pytest.raises(ValueError, match="no contour has a pitch"):
        fast.warp_all([Contour(np.full(9, np.nan, np.float32), np.zeros(9, np.float32), 100.0)], lines)


def test_a_tune_may_begin_again():
    lines, melodies = lines_and_melodies()
    tune = melodies[7]
    twice = Melody.from_pitches([*tune.pitches, *tune.pitches], [*tune.durations, *tune.durations])
    contour = contour_of(twice, first=30, beats=20, rng=np.random.default_rng(1))
    costs, starts, ends, *_ = fast.warp_all([contour], lines)
    assert costs.argmin() == 7
    assert starts[7] == pytest.approx(tune.starts[30], abs=1)
    assert ends[7] > tune.duration
