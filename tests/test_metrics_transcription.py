"""The judge of notes: F1 on cases with a known answer and beside mir_eval; basic-pitch on sounds with known notes."""

import importlib.util
import logging
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.audio import resample
from musicai.metrics import NoteF1, note_f1, transcribe
from musicai.notes import Melody, Note, Score, Track
from musicai.performance import render

SCALE = Melody.from_pitches([60, 62, 64, 65, 67, 69, 71, 72], 0.5).to_score()  # a note each 0.25 s
PERFECT, NOTHING = NoteF1(1.0, 1.0, 1.0), NoteF1(0.0, 0.0, 0.0)


def of(*starts_and_pitches):
    """A score in seconds."""
    return Score((Track(tuple(Note(pitch, start, 0.2) for start, pitch in starts_and_pitches)),), ((0.0, 60.0),))


several = st.lists(st.tuples(st.floats(0, 3), st.integers(60, 63)), max_size=12).map(lambda notes: of(*notes))


def moved(score, seconds):
    return of(*((score.seconds(note.start) + seconds, note.pitch) for note in score.notes))


# ---- F1


def test_the_same_notes_are_all_right_in_any_order():
    notes = of((0, 60), (0, 64), (0.5, 60), (1.0, 60))
    assert note_f1(notes, notes) == PERFECT
    assert note_f1(SCALE, SCALE) == PERFECT


def test_another_pitch_or_another_time_is_wrong():
    assert note_f1(SCALE.transpose(1), SCALE) == NOTHING
    assert note_f1(SCALE.transpose(-12), SCALE) == NOTHING  # an octave error is an error
    notes = of((0.5, 60), (1.0, 62))
    assert note_f1(moved(notes, 0.06), notes) == note_f1(moved(notes, -0.06), notes) == NOTHING
    assert note_f1(moved(notes, 0.05), notes) == note_f1(moved(notes, -0.05), notes) == PERFECT


def test_what_is_missing_costs_recall_and_what_is_more_costs_precision():
    first, notes = of((0, 60)), of((0, 60), (1, 62), (2, 64), (3, 65))
    assert note_f1(first, notes) == NoteF1(1.0, 0.25, pytest.approx(0.4))
    assert note_f1(notes, first) == NoteF1(0.25, 1.0, pytest.approx(0.4))


def test_a_note_serves_once():
    once = of((1, 60))
    assert note_f1(of((1, 60), (1, 60), (1.01, 60)), once) == NoteF1(pytest.approx(1 / 3), 1.0, 0.5)


def test_as_many_pairs_as_can_be():
    """The first estimated note fits both written ones, the second only the first: nearest-first would find one pair."""
    assert note_f1(of((1.04, 60), (0.96, 60)), of((1.0, 60), (1.08, 60))) == PERFECT


def test_the_ends_do_not_count():
    assert note_f1(of((1, 60)), Score((Track((Note(60, 1, 7),)),), ((0.0, 60.0),))) == PERFECT


def test_nothing_is_never_right():
    assert note_f1(of(), of()) == note_f1(of(), of((1, 60))) == note_f1(of((1, 60)), of()) == NOTHING


def test_a_score_is_read_in_seconds_without_its_drums():
    score = Score(
        (Track((Note(60, 0, 1), Note(62, 2, 1))), Track((Note(60, 1, 1),), is_drum=True)), ((0.0, 60.0), (1.0, 30.0))
    )
    assert note_f1(of((0, 60), (3, 62)), score) == PERFECT  # one beat of a second, one of two


@settings(max_examples=150)
@given(several, several)
def test_invariants(estimated, reference):
    score = note_f1(estimated, reference)
    assert all(0 <= share <= 1 for share in score)
    back = note_f1(reference, estimated)
    assert (back.precision, back.recall, back.f1) == (score.recall, score.precision, score.f1)
    pairs = score.recall * len(reference.notes)
    assert pairs == pytest.approx(round(pairs))
    assert note_f1(estimated.transpose(12), reference.transpose(12)) == score
    assert note_f1(reference, reference) == (PERFECT if reference.notes else NOTHING)


@settings(max_examples=150)
@given(several, several)
def test_it_is_mir_evals(estimated, reference):
    transcription = pytest.importorskip("mir_eval.transcription", reason="mir_eval comes with the extra judges")

    def table(score):
        rows = [(n.start, n.start + 1, 440 * 2 ** ((n.pitch - 69) / 12)) for n in score.notes]
        rows = np.array(rows).reshape(-1, 3)
        return rows[:, :2], rows[:, 2]

    with warnings.catch_warnings(action="ignore"):  # it warns of empty lists
        theirs = transcription.precision_recall_f1_overlap(*table(reference), *table(estimated), offset_ratio=None)
    assert note_f1(estimated, reference) == pytest.approx(theirs[:3])


# ---- the ear

NEEDED = ("basic_pitch", "onnxruntime", "pretty_midi", "mir_eval", "resampy", "librosa")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
needs_ear = pytest.mark.skipif(bool(MISSING), reason=f"basic-pitch is not complete: no {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def piano():
    return render(SCALE).mean(0)


@needs_ear
def test_it_hears_a_piano(piano):
    notes = transcribe(piano)
    assert note_f1(notes, SCALE).f1 > 0.95
    assert [note.pitch for note in notes.notes] == [note.pitch for note in SCALE.notes]


@needs_ear
def test_it_hears_what_is_played_not_what_was_asked_for(piano):
    assert note_f1(transcribe(piano), SCALE.transpose(1)).f1 < 0.2
    octave = render(SCALE.transpose(12)).mean(0)
    assert note_f1(transcribe(octave), SCALE).f1 < 0.2
    late = torch.nn.functional.pad(piano, (1600, 0))  # 0.1 s
    assert note_f1(transcribe(late), SCALE).f1 < 0.2
    assert note_f1(moved(transcribe(late), -0.1), SCALE).f1 > 0.9


@needs_ear
def test_neither_loudness_nor_rate_matters(piano):
    assert note_f1(transcribe(0.03 * piano), SCALE).f1 > 0.9
    assert note_f1(transcribe(resample(piano, 16_000, 44_100), 44_100), SCALE).f1 > 0.9


@needs_ear
def test_the_more_noise_the_fewer_notes(piano):
    noise = piano.std() * torch.randn(piano.shape, generator=torch.Generator().manual_seed(0))
    scores = [note_f1(transcribe(piano + loud * noise), SCALE).f1 for loud in (0.1, 1.0, 10.0)]
    assert scores[0] > 0.9
    assert scores[1] > scores[2]
    assert scores[2] < 0.3


@needs_ear
@pytest.mark.parametrize("length", [1, 100, 20_000])
def test_near_silence_holds_no_notes(length):
    assert transcribe(torch.zeros(length)).notes == transcribe(torch.full((length,), 1e-12)).notes == ()


@needs_ear
def test_it_leaves_the_log_and_the_terminal_alone(piano, capsys):
    handlers = logging.root.handlers[:]
    transcribe(piano)
    assert logging.root.handlers == handlers
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (torch.zeros(0), "audio must be"),
        (torch.ones(2, 100), r"one sound \(time,\), not \(2, 100\)"),
        (torch.tensor([0.0, float("nan")]), "not finite"),
    ],
)
def test_bad_sounds_are_named(audio, message):
    with pytest.raises(ValueError, match=message):
        transcribe(audio)


def test_what_it_hears_becomes_a_score_in_seconds(monkeypatch):
    heard = [(0.5, 0.75, np.int64(62), np.float32(0.001), None), (0.25, 0.5, np.int64(60), np.float32(1), None)]
    monkeypatch.setattr("musicai.metrics.pitch._heard", lambda x, sr: heard)
    score = transcribe(torch.ones(100))
    assert score.notes == (Note(60, 0.25, 0.25, 127), Note(62, 0.5, 0.25, 1))
    assert score.seconds(0.5) == 0.5
    assert transcribe(torch.zeros(100)).notes == ()


def test_without_basic_pitch_it_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "basic_pitch", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"pip install 'musicai\[judges\]' && pip install --no-deps basic-pitch$"
    ):
        transcribe(torch.ones(16_000))
