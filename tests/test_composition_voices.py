"""Four voices: the melody is kept, every beat is full, nothing moves in parallel, and the key is the melody's."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from musicai.composition.harmony import load_tables
from musicai.composition.voices import build_chain, four_voices, parallels, states_below
from musicai.notes import Melody, Note
from scripts.fit_harmony import learn_voices

LINE = [66, 66, 67, 69, 69, 67, 66, 64, 62, 62, 64, 66]
ODE = [*LINE, 66, 66, 64, 64, *LINE, 64, 64, 62, 62]
TUNE = Melody.from_pitches(ODE, key="D major")


def chords_of(score, beats) -> np.ndarray:
    """The pitches (beats, 4) at some beats."""
    return np.array([[next(n.pitch for n in t.notes if n.start <= b < n.end) for t in score.tracks] for b in beats])


@pytest.fixture(scope="module")
def ode():
    return four_voices(TUNE)


def test_the_melody_is_kept(ode):
    assert [track.name for track in ode.tracks] == ["soprano", "alto", "tenor", "bass"]
    assert ode.tracks[0].notes == TUNE.notes
    assert ode.key == "D major"
    assert all(len(track.notes) == 32 for track in ode.tracks)  # all voices repeat with the melody


def test_every_beat_has_four_notes_in_order(ode):
    chords = chords_of(ode, range(32))
    assert (np.diff(chords, axis=1) < 0).all()


def test_nothing_moves_in_parallel_fifths_or_octaves(ode):
    for one, two in pairwise(chords_of(ode, range(32)).tolist()):
        for a, b in combinations(range(4), 2):
            same = (one[a] - one[b]) % 12 == (two[a] - two[b]) % 12 in (0, 7)
            assert not (same and one[a] != two[a])


def test_it_begins_and_ends_at_home(ode):
    chords = chords_of(ode, range(32))
    assert set(chords[0] % 12) <= {2, 6, 9}
    assert chords[-1, 3] % 12 == 2


@pytest.mark.parametrize("mode", ["major", "minor", "dorian", "mixolydian", "phrygian", "lydian", "locrian"])
def test_it_opens_in_the_mode(mode):
    scale = {"major": (0, 4), "mixolydian": (0, 4), "lydian": (0, 4)}.get(mode, (0, 3))
    melody = Melody.from_pitches([67, 67 + scale[1], 74, 74, 67 + scale[1], 67], key=f"G {mode}")
    for seed in range(4):
        opening = chords_of(four_voices(melody, temperature=1.0, seed=seed), [0])[0]
        assert (7 + (7 - scale[1])) % 12 not in opening % 12  # the third of the other mode


def test_the_same_seed_gives_the_same_voices():
    assert four_voices(TUNE, seed=3) == four_voices(TUNE, seed=3)
    assert len({four_voices(TUNE, seed=seed).tracks for seed in range(4)}) > 1


@pytest.mark.parametrize("up", [-30, -12, 12, 30])
def test_melodies_outside_a_soprano_are_kept_too(up):
    melody = TUNE.transpose(up)
    score = four_voices(melody)
    assert score.tracks[0].notes == melody.notes
    chords = chords_of(score, range(32))
    assert (chords[:, 1] < chords[:, 0]).all()
    if up > 0:  # the other voices stay at home
        assert 48 <= np.median(chords[:, 2]) <= 67


@pytest.mark.parametrize("meter", [(2, 4), (3, 4), (6, 8), (9, 8), (2, 2), (3, 8), (7, 8), (5, 4), (1, 4)])
def test_every_metre_and_short_notes(meter):
    melody = Melody.from_pitches([72, 74, 76, 77, 79, 76, 72, 71, 72] * 3, 0.25, key="C major", time_signature=meter)
    score = four_voices(melody)
    assert score.duration == melody.duration
    assert score.time_signatures == ((0.0, *meter),)


def test_rests_and_long_notes():
    notes = (Note(72, 1.0, 13.0), Note(74, 20.5, 0.25), Note(71, 21.0, 1.0), Note(73, 24.0, 4.0))
    score = four_voices(Melody(notes, key="C major"))
    for track in score.tracks[1:]:
        assert max(note.duration for note in track.notes) <= 4  # struck again with each bar
        assert not any(14 <= note.start < 20 for note in track.notes)
        assert min(note.start for note in track.notes) == 1


def test_beats_begin_after_a_pickup():
    melody = Melody.from_pitches([67, 72, 76, 79, 72], [0.5, 1, 1, 0.5, 1], key="C major")
    assert [note.start for note in four_voices(melody, pickup=0.5).tracks[3].notes] == [0, 0.5, 1.5, 2.5, 3.5]
    jig = Melody.from_pitches([67, *[72, 76, 79] * 4], 0.5, key="C major", time_signature=(6, 8))
    assert [note.start for note in four_voices(jig, pickup=0.5).tracks[3].notes] == [0, 0.5, 2, 3.5, 5]


def test_silence_is_refused():
    with pytest.raises(ValueError, match="without notes"):
        four_voices(Melody(()))


def test_parallels_by_hand():
    fifths = [[67, 60], [69, 62]]
    assert parallels(*map(np.array, fifths)) == 1
    assert parallels(np.array([67, 60]), np.array([67, 60])) == 0  # nobody moves
    assert parallels(np.array([67, 60]), np.array([69, 60])) == 0
    assert parallels(np.array([72, 60]), np.array([74, 50])) == 1  # an octave and a double octave


def test_tables_of_a_small_chorale():
    roll = np.zeros((3, 88), np.uint8)
    for frame, pitches in enumerate([(60, 67, 76, 84), (59, 67, 74, 86), (60, 67, 76, 84)]):
        roll[frame, np.array(pitches) - 21] = 1
    tables = learn_voices([roll])
    assert tables["chords"].tolist() == [[84, 76, 67, 60], [86, 74, 67, 59]]
    home, away = tables["harmony"]
    assert tables["steps"][0, home].argmax() == away
    assert tables["first"][0].argmax() == tables["last"][0].argmax() == home
    np.testing.assert_allclose(np.exp(tables["steps"]).sum(-1), 1)
    assert tables["moves"][1, 1].argmax() == 12  # the tenor stays while the soprano moves


def test_states_have_the_melody_on_top():
    for top in (60, 67, 72, 73, 85, 93, 94, 100):
        states, numbers = states_below(top, top)
        assert len(states) == len(numbers) > 0
        assert (states[:, 0] == top).all()
        assert (states[:, 1] <= top).all()
    assert len(load_tables("voices")["chords"]) == 2113


def test_the_chain_forbids_what_its_definition_forbids():
    states, scores, step = build_chain([(84, 84), (86, 86), (84, 84)], "major")
    table = step(0)
    assert table.shape == (len(scores[0]), len(scores[1]))
    wrong = np.array([[parallels(x, y) for y in states[1]] for x in states[0][:20]]) > 0
    assert table[:20][wrong].max() < table[:20][~wrong].max() - 4
