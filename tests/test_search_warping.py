"""The compiled search agrees with the definition, whatever the key and the tempo, and finds what was sung."""

import numpy as np
import pytest

from musicai.notes import Melody
from musicai.search import Lines
from musicai.search._fast import warping as fast
from musicai.search.contours import Contour, track_contour
from musicai.search.warping import BEND, TEMPOS, line_frames, pitch_cost, warp


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


def test_the_compiled_path_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    for n, m in ((1, 3), (3, 9), (20, 60), (60, 40), (40, 10)):
        table, line = rng.random((n, 30), np.float32), rng.integers(0, 30, m).astype(np.int16)
        cost, start, end = warp(table[:, line])
        found = fast.warp_line(table, line, BEND)
        if np.isfinite(cost):
            assert found == (pytest.approx(cost, rel=1e-5), start, end)
        else:
            assert found[0] == np.inf


def test_all_keys_at_once_agree_with_the_definition():
    lines, melodies = lines_and_melodies(3)
    contour = contour_of(melodies[1], rng=np.random.default_rng(1))
    rough = fast._rough(contour, lines, np.arange(3))
    pitches, weights, _ = fast._query(contour, fast.ROUGH)
    for i, melody in enumerate(melodies):
        for k, tempo in enumerate(TEMPOS):
            line = line_frames(melody.pitches, melody.starts, melody.durations, tempo / fast.ROUGH)
            for key in range(0, 12, 5):
                difference = pitches[:, None] + key - line
                costs = weights[:, None] * pitch_cost(difference - 12 * np.round(difference / 12))
                assert rough[i, k, key] == pytest.approx(warp(costs)[0] / weights.sum(), abs=0.02)


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


def test_candidates_are_compared_in_their_order():
    lines, melodies = lines_and_melodies(30)
    contour = contour_of(melodies[4])
    chosen = np.array([20, 4, 9])
    for some, every in zip(fast.warp_all([contour], lines, chosen), fast.warp_all([contour], lines), strict=True):
        np.testing.assert_array_equal(some, every[chosen])
    assert all(len(result) == 0 for result in fast.warp_all([contour], lines, chosen[:0]))


def test_lines_that_are_compared_finely_come_first(monkeypatch):
    monkeypatch.setattr(fast, "REFINED", 5)
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
