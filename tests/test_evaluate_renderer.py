"""scripts/evaluate_renderer.py: both players play the same notes equally loud, and its table adds up."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from musicai.metrics import HeardNote
from musicai.notes import Melody, Note, Score, Track
from musicai.performance import PROGRAMS, render

SCRIPTS = Path(__file__).parents[1] / "scripts"
CHORD = Score((Track((Note(60, 0, 2), Note(67, 0, 1), Note(72, 1, 1)), program=PROGRAMS.index("trumpet")),))


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("evaluate_renderer", SCRIPTS / "evaluate_renderer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(SCRIPTS))


def piece_of(script, score, instrument="trumpet", name="made up"):
    return script.Piece(name, score, instrument)


def test_an_opening_has_only_whole_notes(script):
    tune = Melody.from_pitches([60, 62, 64, 65], 1.0).to_score()  # half a second each
    pitches = {s: script.opening(piece_of(script, tune), s).score.notes for s in (0.4, 0.5, 1.2, 9.0)}
    assert [len(notes) for notes in pitches.values()] == [0, 1, 2, 4]


def test_synth_plays_voice_by_voice_what_it_plays_at_once(script):
    """The sum of the voices is the chord, but for three times the mu-law's rounding."""
    at_once = script.fitted(render(CHORD).mean(0) * 2**0.5, 20_000)
    apart = script.by_synth(piece_of(script, CHORD), 20_000)
    assert apart.shape == (20_000,)
    assert 0 < (apart - at_once).square().mean().sqrt() < 0.03 * at_once.square().mean().sqrt()


def test_equally_loud(script):
    x, y = torch.randn(1000), 5 * torch.randn(800)
    assert script.as_loud_as(x, y).square().mean().item() == pytest.approx(y.square().mean().item(), rel=1e-4)
    assert not script.as_loud_as(torch.zeros(10), y).any()


def heard(score, semitones=0):
    return [HeardNote(score.seconds(n.start), score.seconds(n.end), n.pitch + semitones) for n in score.notes]


def test_the_table_adds_up(script, monkeypatch):
    """Of two instruments' pieces, the WaveNet plays the flute's a semitone too high."""
    tune = Melody.from_pitches([60, 62, 64, 65], 1.0).to_score()
    sounds = {name: torch.full((40_000,), 2.0 if name == "WaveNet" else 1.0) for name in script.PLAYERS}
    judged = script.Judged()
    for instrument in ("flute", "trumpet"):
        wrong = instrument == "flute"
        monkeypatch.setattr(script, "transcribe", lambda x, _, wrong=wrong: heard(tune, wrong and x[0] == 2))
        judged.hear(piece_of(script, tune, instrument), sounds)
    lines = [" ".join(line.split()) for line in judged.report()]
    assert lines[:6] == [
        "flute: 1 pieces, 4 notes; precision, recall, F1 of what is heard",
        "synth 100.0 100.0 100.0",
        "WaveNet 0.0 0.0 0.0",
        "sketch 100.0 100.0 100.0",
        "synth without mu-law 100.0 100.0 100.0",
        "WaveNet's F1 less synth's: -100.0 points (standard error nan)",
    ]
    assert lines[11] == "WaveNet's F1 less synth's: +0.0 points (standard error nan)"
    assert lines[12] == "all: 2 pieces, 8 notes; precision, recall, F1 of what is heard"
    assert lines[14] == "WaveNet 50.0 50.0 50.0"
    assert lines[17] == "WaveNet's F1 less synth's: -50.0 points (standard error 50.0)"


def test_without_the_transcriber_the_pitches_are_judged_still(script, monkeypatch):
    tune = Melody.from_pitches([60, 64, 67], 1.0).to_score(PROGRAMS.index("flute"))
    sound = script.by_synth(piece_of(script, tune, "flute"), 24_000)

    def deaf(*_):
        raise ModuleNotFoundError("type this")

    monkeypatch.setattr(script, "transcribe", deaf)
    judged = script.Judged()
    judged.hear(piece_of(script, tune, "flute"), dict.fromkeys(script.PLAYERS, sound))
    assert list(judged.report()) == [
        "notes were not transcribed: type this",
        "synth: 100.0 % within half a semitone, of 3 notes",
        "WaveNet: 100.0 % within half a semitone, of 3 notes",
        "sketch: 100.0 % within half a semitone, of 3 notes",
    ]


def test_of_many_voices_the_pitch_judge_is_not_asked(script, monkeypatch):
    monkeypatch.setattr(script, "transcribe", lambda *_: [])
    judged = script.Judged()
    judged.hear(piece_of(script, CHORD), dict.fromkeys(script.PLAYERS, torch.ones(20_000)))
    assert not judged.pitches
    assert len(judged.heard) == 1
