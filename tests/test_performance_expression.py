"""Expression: nothing at 0, more with the knob, the same with the seed, and never a note out of order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.notes import Melody, Note, Score, Track
from musicai.performance import humanize_score

times = st.sampled_from([k / 4 for k in range(40)] + [k / 3 for k in range(30)])
bodies = st.lists(st.tuples(times, times.filter(bool), st.integers(1, 127)), max_size=40)
signatures = st.sampled_from([(4, 4), (3, 4), (6, 8), (9, 8), (2, 2), (5, 4)])


@st.composite
def scores(draw):
    """Three tracks in which every note has a pitch of its own, by which it can be found again."""
    notes = [Note(20 + i, *body) for i, body in enumerate(draw(bodies))]
    turn, tempo = draw(st.sampled_from([1.0, 3.5, 6.0])), draw(st.floats(20, 400))
    signature = draw(signatures)
    tracks = tuple(Track(notes[i::3]) for i in range(3))
    return Score(tracks, ((0.0, tempo), (turn, 2 * tempo)), ((0.0, *signature), (turn, 3, 4)))


def table(score):
    """A row for each note, in the order of their pitches: start and end in seconds, velocity."""
    rows = [(n.pitch, score.seconds(n.start), score.seconds(n.end), n.velocity) for n in score.notes]
    return np.array(sorted(rows)).reshape(-1, 4)[:, 1:]


@given(scores(), st.integers(0, 99))
def test_nothing_happens_at_zero(score, seed):
    assert humanize_score(score, 0, seed) == score


@settings(max_examples=100, deadline=None)
@given(scores(), st.floats(0.01, 1), st.integers(0, 99))
def test_notes_keep_their_order_and_do_not_begin_to_overlap(score, amount, seed):
    played = humanize_score(score, amount, seed)
    assert played == humanize_score(score, amount, seed)
    assert (played.tempos, played.time_signatures) == (score.tempos, score.time_signatures)
    assert [len(t.notes) for t in played.tracks] == [len(t.notes) for t in score.tracks]
    (start, end, _), (begin, stop, _) = table(score).T, table(played).T
    later = start > start[:, None] + 1e-5
    assert (begin > begin[:, None])[later].all()  # whatever began later still does
    after = start > end[:, None] - 1e-9
    assert (begin > stop[:, None] - 1e-6)[after].all()  # whatever began after another's end still does
    assert (stop > begin).all()


@settings(max_examples=100, deadline=None)
@given(scores(), st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted), st.integers(0, 99))
def test_every_deviation_grows_with_the_knob(score, amounts, seed):
    less, more = (np.abs(table(humanize_score(score, amount, seed)) - table(score)) for amount in amounts)
    assert (less <= more + 1e-6).all()


@settings(max_examples=50, deadline=None)
@given(scores(), st.integers(0, 99))
def test_what_begins_together_stays_together(score, seed):
    start, begin = table(score)[:, 0], table(humanize_score(score, 1.0, seed))[:, 0]
    together = np.abs(start - start[:, None]) < 1e-9
    assert np.abs(begin - begin[:, None])[together].max(initial=0) <= 0.006 + 1e-6


def test_another_seed_is_another_performance():
    scale = Melody.from_pitches(range(60, 76)).to_score()
    assert humanize_score(scale, 0.5, 1) != humanize_score(scale, 0.5, 2)


def test_downbeats_are_louder_than_beats_and_beats_than_what_is_between():
    for signature, beat, strong in (((4, 4), 1.0, 4.0), ((6, 8), 1.5, 3.0), ((3, 4), 1.0, 3.0)):
        notes = [Note(60, 0.5 * i, 0.5) for i in range(96)]
        played = humanize_score(Score((Track(notes),), time_signatures=((0.0, *signature),)), 1.0)
        at, velocity = np.arange(96) / 2, np.array([n.velocity for n in played.tracks[0].notes])
        down, on = at % strong == 0, (at % beat == 0) & (at % strong != 0)
        off = ~down & ~on
        assert velocity[down].mean() > velocity[on].mean() + 2 > velocity[off].mean() + 4


def test_a_phrase_swells_and_dies_away_and_hurries_in_its_middle():
    tune = Melody.from_pitches([60] * 16, 4.0).to_score()  # four phrases of four bars, a note a bar
    played = [humanize_score(tune, 1.0, seed) for seed in range(40)]
    loud = np.mean([[note.velocity for note in p.notes] for p in played], 0).reshape(4, 4)
    late = np.mean([starts_of(p) - starts_of(tune) for p in played], 0).reshape(4, 4)
    assert (loud[:, 2] > loud[:, 0] + 4).all()
    assert (late[:, 2] < late[:, 0] - 0.005).all()


def starts_of(score):
    return np.array([score.seconds(note.start) for note in score.notes])


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_the_knob_goes_from_zero_to_one(amount):
    with pytest.raises(ValueError, match="humanize 'x' is not a finite number"):
        humanize_score(Score([]), "x")
    with pytest.raises(ValueError, match="humanize"):
        humanize_score(Score(()), amount)
