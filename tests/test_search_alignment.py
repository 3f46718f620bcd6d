"""Alignment: known answers, invariances, and the compiled one against the definition."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.notes import Melody
from musicai.search._fast import alignment as fast
from musicai.search.alignment import align, likelihood
from musicai.search.costs import ERRORS, EXTRA, IN_TIME, MISSING, OCTAVE, STEPS, Costs
from musicai.search.lines import Lines

COSTS = Costs.default()
JOY = np.array([64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62])
BEATS = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13.5, 14])


def random_lines(seed: int, count: int = 12) -> Lines:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 50, count)
    pitches = rng.integers(55, 75, sizes.sum()).astype(np.uint8)
    starts = np.concatenate([np.cumsum(rng.choice([0.25, 0.5, 1, 1 / 3], n)) for n in sizes]).astype(np.float32)
    return Lines(np.append(0, sizes.cumsum()), np.arange(count, dtype=np.int32), pitches, starts, starts)


def notes_of(lines: Lines, k: int) -> tuple[np.ndarray, np.ndarray]:
    where = slice(lines.offsets[k], lines.offsets[k + 1])
    return lines.pitches[where], lines.starts[where]


def query_from(lines: Lines, seed: int, timed: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """A few notes of a line, many of them wrong."""
    rng = np.random.default_rng(seed)
    pitches, _ = notes_of(lines, rng.integers(len(lines)))
    first, count = rng.integers(len(pitches)), rng.integers(1, 20)
    wrong = rng.choice([0, 0, 0, 1, 12, -5, 0.3], len(pitches))
    query = (pitches + wrong)[first : first + count]
    return query, np.cumsum(rng.choice([0.25, 0.5, 1], len(query))) if timed else None


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_fast_is_the_definition(seed, timed):
    lines = random_lines(seed)
    pitches, starts = query_from(lines, seed + 100, timed)
    scores, shifts = fast.align_all(pitches, starts, lines)
    assert scores.dtype == np.float32
    assert shifts.dtype == np.int8
    for k in range(len(lines)):
        slow, quick = (one(pitches, starts, *notes_of(lines, k)) for one in (align, fast.align))
        np.testing.assert_array_equal(slow.pairs, quick.pairs)
        assert (slow.start, slow.end, slow.transposition) == (quick.start, quick.end, quick.transposition)
        assert slow.score == pytest.approx(quick.score, abs=0.01)
        assert slow.score == pytest.approx(scores[k], abs=0.01)
        assert slow.transposition == shifts[k]


def best_chains_by_brute_force(weights, line) -> list[int]:
    """The best score of all chains that end at each note of the line, by trying them all."""
    edge, change, slip, wrong, octave, *_ = weights.rates.tolist()
    last = len(weights.pitches) - 1

    def pair(i, j, back):
        """Notes so many before (i, j), as a wrong pair."""
        error = abs(int(line[j] - line[j - back]) - int(weights.pitches[i] - weights.pitches[i - back]))
        return int(weights.gains[i - back]) + (octave if error == 12 else slip if error <= 2 else wrong)

    def ending(i, j):
        scores = [edge * i]
        for number, (a, b) in enumerate(STEPS[: len(weights.steps)]):
            if a <= i and b <= j:
                same = line[j] - line[j - b] == weights.pitches[i] - weights.pitches[i - a]
                if same or number == 0:
                    step = weights.steps[number] if same else change
                    between = sum(pair(i, j, back) for back in range(1, a)) if a == b else 0
                    scores.append(ending(i - a, j - b) + int(step) + int(weights.gains[i]) + between)
        return max(scores)

    return [max(ending(i, j) + edge * (last - i) for i in range(last + 1)) for j in range(len(line))]


@pytest.mark.parametrize("seed", range(5))
def test_dynamic_programming_finds_the_best_of_all_chains(seed):
    rng = np.random.default_rng(seed)
    line = rng.integers(60, 66, 7)
    query = rng.integers(60, 66, 6)
    weights = COSTS.weigh(query)
    best = np.array(best_chains_by_brute_force(weights, line)) / weights.units
    assert align(query, None, line, None).score == pytest.approx(np.log(np.exp(best).mean()))


def test_an_example_by_hand():
    """One wrong note: three steps that agree and one past the wrong note, in another key."""
    found = align([60, 62, 63, 65, 67], None, [80, 67, 69, 71, 72, 74, 80], None, COSTS)
    assert found.pairs.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]
    assert (found.start, found.end, found.transposition) == (1, 6, 7)
    rarity = -sum(COSTS.intervals[24 + step] for step in (2, 1, 2, 2))
    chain_score = rarity + 3 * COSTS.right + COSTS.slip
    assert found.score == pytest.approx(chain_score - np.log(7), abs=0.2)  # in sixteenths, and one of seven places


def test_missing_and_extra_notes_are_stepped_over():
    missing = align(np.delete(JOY, 6), None, JOY, None)
    assert missing.pairs[:, 1].tolist() == [j for j in range(15) if j != 6]
    extra = align(np.insert(JOY, 6, 71), None, JOY, None)
    assert extra.pairs[:, 0].tolist() == [i for i in range(16) if i != 6]


@given(st.integers(-12, 12), st.floats(0.05, 20), st.floats(-0.4, 0.4))
@settings(max_examples=15)
def test_neither_key_nor_tempo_nor_tuning_matters(shift, factor, cents):
    plain = align(JOY[3:12], BEATS[3:12], JOY, BEATS)
    moved = align(JOY[3:12] + shift + cents, 7 + factor * (BEATS[3:12] - 3), JOY, BEATS)
    assert moved.score == pytest.approx(plain.score, abs=0.5)  # times are rounded to a 32nd of an octave
    np.testing.assert_array_equal(moved.pairs, plain.pairs)
    assert moved.transposition == -shift


@pytest.mark.parametrize("timed", [False, True])
def test_an_error_never_raises_the_score(timed):
    starts = BEATS if timed else None
    best = fast.align(JOY, starts, JOY, BEATS).score
    for i in range(len(JOY)):
        for error in (-12, -3, 1, 2, 12):
            wrong = JOY + error * (np.arange(len(JOY)) == i)
            # a rare interval is worth more where it agrees: compare with what that query is worth in its own line
            assert fast.align(wrong, starts, JOY, BEATS).score < fast.align(wrong, starts, wrong, BEATS).score
            assert fast.align(JOY, starts, wrong, BEATS).score < best
        assert fast.align(JOY, starts, np.delete(JOY, i), np.delete(BEATS, i)).score < best


def test_rhythm_tells_apart_what_pitch_cannot():
    scores = [align(JOY, BEATS, JOY, starts).score for starts in (BEATS, 2 * BEATS, np.sqrt(BEATS) * 4)]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
    assert scores[2] < scores[0] - 5


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_pairs_increase(seed, timed):
    lines = random_lines(seed)
    pitches, starts = query_from(lines, seed, timed)
    for k in range(len(lines)):
        found = align(pitches, starts, *notes_of(lines, k))
        assert (np.diff(found.pairs, axis=0) > 0).all()
        assert found.start == found.pairs[0, 1]
        assert found.end == found.pairs[-1, 1] + 1


def test_a_long_query_fits_into_sixteen_bits():
    rng = np.random.default_rng(0)
    pitches, starts = rng.integers(50, 80, 1000), np.cumsum(rng.choice([0.5, 1], 1000))
    found = fast.align(pitches, starts, pitches, starts)
    np.testing.assert_array_equal(found.pairs, np.stack([np.arange(1000)] * 2, axis=1))
    assert found.score > fast.align(pitches[::-1], starts, pitches, starts).score


def test_candidates_keep_their_order():
    lines = random_lines(3)
    everything, _ = fast.align_all(JOY, BEATS, lines)
    some, _ = fast.align_all(JOY, BEATS, lines, np.array([7, 2, 11]))
    np.testing.assert_array_equal(some, everything[[7, 2, 11]])
    none, shifts = fast.align_all(JOY, BEATS, lines, np.array([], dtype=int))
    assert len(none) == len(shifts) == 0


def test_lines_do_not_touch():
    """A query across the border of two lines matches neither as a whole."""
    both = Lines.from_pieces([Melody.from_pitches(JOY[:7]), Melody.from_pitches(JOY[7:])])
    whole = Lines.from_pieces([Melody.from_pitches(JOY)])
    assert fast.align_all(JOY, None, both)[0].max() < fast.align_all(JOY, None, whole)[0][0] - 5


@pytest.mark.parametrize("one", [align, fast.align])
def test_nothing_cannot_be_aligned(one):
    with pytest.raises(ValueError, match="needs a note or more"):
        one([], None, JOY, None)
    with pytest.raises(ValueError, match="3 notes, 2 starts"):
        one([60, 62, 64], [0, 1], JOY, BEATS)
    with pytest.raises(ValueError, match="no notes"):
        one(JOY, None, [], None)


def test_other_costs_can_be_given():
    hasty = replace(COSTS, deletion=COSTS.deletion - 5)
    without = np.delete(JOY, 6)
    assert align(without, None, JOY, None, hasty).score < align(without, None, JOY, None).score


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_likelihood_is_the_sum_over_all_ways_to_make_the_query(seed, timed):
    rng = np.random.default_rng(seed)
    query, line, shift = rng.integers(58, 64, 4), rng.integers(60, 66, 5), 2
    steps, line_steps, tempo = rng.integers(0, 20, 3), rng.integers(0, 20, 5), 3

    def pair(i: int, j: int) -> float:
        off = abs(steps[i] - line_steps[j] - tempo) if timed and i < 3 else None  # the last note may last any time
        return ERRORS[abs(line[j] - query[i] - shift)] * (1 if off is None else IN_TIME[min(off, 12)])

    def ways(i: int, j: int) -> float:
        """The weight of all that may follow once i notes of the query and j of the line are accounted for."""
        total = float(i == len(query))
        if i < len(query):
            total += EXTRA[abs(query[i] - query[i - 1])] * ways(i + 1, j)
        if j < len(line):
            total += MISSING * ways(i, j + 1)
        if i < len(query) and j < len(line):
            total += pair(i, j) * ways(i + 1, j + 1)
        return total

    first = [pair(0, j) * ways(1, j + 1) for j in range(len(line))]
    rhythm = (steps, line_steps, tempo) if timed else ()
    assert likelihood(query, line, shift, *rhythm) == pytest.approx(sum(first) / len(line))


@pytest.mark.parametrize("timed", [False, True])
def test_lines_are_weighed_by_their_likelihood_whatever_the_key(timed):
    lines = random_lines(0)
    pitches, starts = query_from(lines, 100, timed)
    _, shifts = fast.align_all(pitches, starts, lines)
    scores, weights = fast.weigh(pitches, starts, lines, shifts), COSTS.weigh(pitches, starts)
    whole, steps = weights.pitches.astype(int), weights.spans[:-1, 1].astype(int)

    def chance(k: int) -> float:
        line, onsets = notes_of(lines, k)
        times = np.diff(onsets, append=onsets[-1] + lines.durations[lines.offsets[k + 1] - 1])
        line_steps = np.rint(OCTAVE * np.log2(np.rint(48 * times) / 48)).astype(int)
        tempos = round(steps.mean() - line_steps.mean()) + fast.TEMPOS if timed else [0]
        rhythm = (steps, line_steps) if timed else (None, None)
        return np.mean([likelihood(whole, line.astype(int), int(shifts[k]), *rhythm, tempo) for tempo in tempos])

    np.testing.assert_allclose(np.diff(scores), np.diff(np.log([chance(k) for k in range(len(lines))])))
    np.testing.assert_allclose(scores, fast.weigh(pitches + 3, starts, lines, shifts.astype(int) - 3))


def test_lines_are_weighed_whatever_the_tempo():
    lines = Lines.from_pieces([Melody.from_pitches(JOY, np.diff(BEATS, append=16)), Melody.from_pitches(JOY)])
    scores, slower = (fast.weigh(JOY[3:], BEATS[3:] * f, lines, np.zeros(2, int)) for f in (1, 1.7))
    np.testing.assert_allclose(scores, slower, atol=0.3)
    assert scores[0] > scores[1] + 1  # the same pitches, in another rhythm
