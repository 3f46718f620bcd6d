"""scripts/evaluate_renderer.py: both players play the same notes equally loud, and its table adds up."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from musicai.audio import mu_law_decode, mu_law_encode
from musicai.notes import Melody, Note, Score, Track
from musicai.performance import PROGRAMS, render
from musicai.wavenet import ScoreConfig, ScoreWaveNet

SCRIPTS = Path(__file__).parents[1] / "scripts"
SMALL = {"layers": 4, "stacks": 2, "residual_channels": 8, "skip_channels": 8, "end_channels": 8}
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


def test_the_table_adds_up(script, monkeypatch):
    """Of two instruments' pieces, the WaveNet plays the flute's a semitone too high."""
    tune = Melody.from_pitches([60, 62, 64, 65], 1.0).to_score()
    sounds = {name: torch.full((40_000,), 2.0 if name == "WaveNet" else 1.0) for name in script.PLAYERS}
    judged = script.Judged()
    for instrument in ("flute", "trumpet"):
        wrong = instrument == "flute"
        monkeypatch.setattr(script, "transcribe", lambda x, _, wrong=wrong: tune.transpose(int(wrong and x[0] == 2)))
        judged.hear(piece_of(script, tune, instrument), sounds)
    lines = [" ".join(line.split()) for line in judged.report()]
    assert lines[:6] == [
        "flute: 1 pieces, 4 notes; precision, recall, F1 of what is heard",
        "synth 100.0 100.0 100.0",
        "WaveNet 0.0 0.0 0.0",
        "sketch 100.0 100.0 100.0",
        "synth without mu-law 100.0 100.0 100.0",
        "WaveNet's F1 minus the sampled instruments': -100.0 points (standard error nan)",
    ]
    assert lines[11] == "WaveNet's F1 minus the sampled instruments': +0.0 points (standard error nan)"
    assert lines[12] == "all: 2 pieces, 8 notes; precision, recall, F1 of what is heard"
    assert lines[14] == "WaveNet 50.0 50.0 50.0"
    assert lines[17] == "WaveNet's F1 minus the sampled instruments': -50.0 points (standard error 50.0)"


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
    monkeypatch.setattr(script, "transcribe", lambda *_: Score(()))
    judged = script.Judged()
    judged.hear(piece_of(script, CHORD), dict.fromkeys(script.PLAYERS, torch.ones(20_000)))
    assert not judged.pitches
    assert len(judged.heard) == 1


def test_unigram_bits_of_known_distributions(script):
    rng = np.random.default_rng(0)
    uniform = rng.integers(0, 256, 200_000)
    assert script.unigram_bits(uniform, uniform) == pytest.approx(8, abs=1e-2)
    coin = rng.choice([10, 200], 100_000, p=[0.25, 0.75])
    entropy = 0.25 * 2 + 0.75 * math.log2(4 / 3)
    assert script.unigram_bits(coin, coin) == pytest.approx(entropy, abs=2e-2)
    assert script.unigram_bits(coin, np.full(10, 33)) == pytest.approx(math.log2(100_256))  # never seen


def test_linear_prediction_of_known_signals(script):
    rng = np.random.default_rng(0)
    t = np.arange(8000)
    wave = mu_law_encode(torch.from_numpy(0.4 * np.sin(0.2 * t)).float()).numpy().astype(np.uint8)
    noise = rng.integers(0, 256, 8000).astype(np.uint8)
    tone = script.linear_bits(wave[:4000], wave[4000:])
    assert tone < script.unigram_bits(wave[:4000], wave[4000:]) - 2  # a sine is predictable
    assert script.linear_bits(noise[:4000], noise[4000:]) > 7.9  # noise is not


def test_linear_prediction_makes_use_of_a_sketch(script):
    """Noise cannot be predicted from its past, but from a sketch of it; a useless sketch changes next to nothing."""
    rng = np.random.default_rng(1)
    codes = rng.integers(60, 196, 12_000).astype(np.uint8)
    truth = mu_law_decode(torch.from_numpy(codes.astype(np.int64))).double().numpy()
    alone = script.linear_bits(codes[:8000], codes[8000:])
    useless = rng.standard_normal(12_000)
    for sketch, low, high in ((truth, 0.0, alone - 3), (useless, alone - 0.1, alone + 0.1)):
        assert low <= script.linear_bits(codes[:8000], codes[8000:], sketches=(sketch[:8000], sketch[8000:])) < high


def test_linear_predictions_masses_sum_to_one(script):
    codes = torch.arange(256).numpy()
    guess = np.full(256, 0.03)
    bits = [script._laplace_bits(guess[:1], np.array([0.03]), codes[k : k + 1], 0.01) for k in range(256)]
    assert sum(2 ** -np.array(bits)) == pytest.approx(1, abs=1e-4)


def test_the_judge_hears_what_synth_plays(script, monkeypatch, tmp_path, capsys):
    model = ScoreWaveNet(ScoreConfig(**SMALL, instruments=("flute",)))
    model.save_pretrained(tmp_path / "model")
    tunes = [Melody.from_pitches([60, 64, None, 67], 0.5), Melody.from_pitches([72, 71, 69, 67, 65, 64], 1.0)]
    pieces = [piece_of(script, tune.to_score(), "flute") for tune in tunes]
    piece = pieces[0]  # C, E, a rest, G: a quarter of a second each
    audio = torch.arange(16_000.0)
    sounds, pitches = script.notes_of(audio, piece)
    assert pitches == [60, 64, 67]
    assert sounds[:, 0].tolist() == [0, 4000, 12_000]
    assert sounds[:, 3999].tolist() == [3999, 7999, 15_999]
    assert not sounds[:, 4000:].any()
    asked = []
    monkeypatch.setattr(script, "pieces", lambda *given: asked.append(given) or pieces)
    arguments = ["evaluate_renderer.py", tmp_path / "model", "--seconds", "1", "--out", tmp_path / "heard"]
    arguments += ["--split", "valid"]
    monkeypatch.setattr(sys, "argv", [*map(str, arguments)])
    script.main()
    said = capsys.readouterr().out
    assert all("valid" in given for given in asked)
    assert asked
    assert "synth: 100.0 % within half a semitone" in said
    assert "WaveNet: 0.0 % within half a semitone" in said  # it has learned nothing
    assert len(list((tmp_path / "heard").glob("*.mp3"))) == 6


def test_adaptive_prediction_follows_what_changes(script):
    """It beats fixed weights on a gliding sine, needs nothing if told the sound, and finds no order in noise."""
    t = np.arange(16_000)
    glide = mu_law_encode(torch.from_numpy(0.4 * np.sin((0.1 + 2e-5 * t) * t)).float()).numpy().astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, 16_000).astype(np.uint8)
    values = mu_law_decode(torch.from_numpy(glide.astype(np.int64))).double().numpy()
    adaptive = script.adaptive_bits([glide], [glide], 8, 0.1)
    assert adaptive < script.linear_bits(glide, glide, 8) - 0.5
    assert script.adaptive_bits([glide], [glide], 8, 0.1, [values], [values]) < 0.1
    assert script.adaptive_bits([noise], [noise], 8, 0.1) > 7.9


def test_noise_between_partials_is_noise_between_partials(script):
    (piece,) = [piece for piece in script.held_notes("flute") if piece.name == "69"]
    t = torch.arange(56_000).double() / 16_000
    tone = sum(torch.sin(2 * math.pi * 440 * k * t) / k for k in range(1, 18)).float()
    noise = torch.randn(56_000, generator=torch.Generator().manual_seed(0))
    levels = [script.between(tone + level * noise, piece) for level in (0.0, 0.01, 0.1)]
    assert levels[0] < -80
    assert levels[2] - levels[1] == pytest.approx(20, abs=0.2)
