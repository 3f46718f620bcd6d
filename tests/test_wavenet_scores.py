"""Scores as conditioning: a note's frames coincide with its samples; crops, held-out tunes and bits a sample."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.audio import mu_law_decode
from musicai.data import FolkCorpus, melody_key
from musicai.notes import Melody, Note, Score, Track
from musicai.sampling import sample
from musicai.synth import render
from musicai.wavenet import ScoreConfig, ScoreWaveNet, score_frames

SCRIPTS = Path(__file__).parents[1] / "scripts"
SMALL = {"layers": 4, "stacks": 2, "residual_channels": 8, "skip_channels": 8, "end_channels": 8}


@pytest.fixture(scope="module")
def scripts():
    """scripts/renderings.py, scripts/train_renderer.py and scripts/evaluate_renderer.py."""
    sys.path.insert(0, str(SCRIPTS))
    found = []
    for name in ("renderings", "train_renderer", "evaluate_renderer"):
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(module)
    yield found
    sys.path.remove(str(SCRIPTS))


@pytest.fixture
def small_set(scripts, monkeypatch, tmp_path):
    """Renderings of three made-up tunes, of 1 to 3 seconds."""
    tunes = [
        Melody.from_pitches([60, 64, None, 67], 0.5, name="short"),
        Melody.from_pitches([72, 71, 69, 67, 65, 64], 1.0, name="long"),
        Melody.from_pitches([62], 0.25, name="one note"),
    ]

    def made(split, instruments, *_):
        for i, tune in enumerate(tunes):
            yield scripts[0]._piece(f"{split} {tune.name}", tune.to_score(), instruments[i % len(instruments)])

    monkeypatch.setattr(scripts[0], "pieces", made)
    monkeypatch.setattr(scripts[0], "cache_dir", lambda: tmp_path)
    return scripts[0].Renderings("train", ("flute", "marimba"), 3)


# ---- a score in frames


def test_frames_by_hand():
    score = Score((Track((Note(60, 0.5, 1.0, 127), Note(64, 1.5, 0.5, 64))),), ((0.0, 60.0),))
    rows = score_frames(score, sr=100, hop=20, length=300).reshape(4, 88, 15)  # frames of 0.2 s
    down = rows[0, 60 - 21]  # from 0.5 s to 1.5 s: half of frame 2, frames 3 to 6, half of frame 7
    assert torch.allclose(down, torch.tensor([0, 0, 0.5, 1, 1, 1, 1, 0.5, 0, 0, 0, 0, 0, 0, 0]))
    assert torch.allclose(rows[1, 60 - 21, 2:8], torch.exp(-torch.arange(6.0)))  # a frame lasts as long as the fading
    assert rows[1, 60 - 21].nonzero().flatten().tolist() == [2, 3, 4, 5, 6, 7]
    assert rows[1, 64 - 21].nonzero().flatten().tolist() == [7, 8, 9]
    assert rows[1, 64 - 21, 7].item() == pytest.approx(64 / 127)
    release = rows[2, 60 - 21]
    assert release.nonzero().flatten()[0] == 7  # the frame in which it ends
    assert release[8].item() == pytest.approx(math.exp(-(1.7 - 1.5) / 0.2))
    assert rows.reshape(4, 88, 15)[:, [0, 10, 87]].abs().max() == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(21, 108), st.floats(0, 4), st.floats(0.01, 2), st.integers(1, 127)), max_size=6),
    st.integers(1, 400),
    st.integers(1, 40_000),
)
def test_a_key_is_down_for_exactly_its_samples(notes, hop, length):
    once = {pitch: Note(pitch, start, duration, velocity) for pitch, start, duration, velocity in notes}
    score = Score((Track(tuple(once.values())),))
    rows = score_frames(score, 8000, hop, length).reshape(4, 88, -1)
    assert rows.shape[2] == -(-length // hop)
    assert rows.min() >= 0  # and no NaN
    assert rows.max() <= 1
    for pitch, note in once.items():
        start, end = (round(8000 * score.seconds(beat)) for beat in (note.start, note.end))
        covered = rows.shape[2] * hop
        samples = (min(end, covered) - min(start, covered)) * note.velocity / 127
        assert rows[0, pitch - 21].double().sum().item() * hop == pytest.approx(samples, rel=1e-4, abs=1e-2)
        assert rows[1, pitch - 21].max().item() == pytest.approx(note.velocity / 127 * (start < covered))
        assert rows[1, pitch - 21].argmax() == (start // hop if start < covered else 0)


def test_frames_coincide_with_what_synth_plays():
    melody = Melody.from_pitches([None, 69, None, 76], [0.75, 0.5, 1.5, 0.5])
    audio = render(melody.to_score(12)).abs().amax(0)  # vibraphone: sounds at once
    onsets = score_frames(melody.to_score(), length=len(audio)).reshape(4, 88, -1)[1].amax(0)
    onsets = (onsets >= 80 / 127 - 1e-6).nonzero().flatten()  # as loud as the notes, before it fades
    assert len(onsets) == 2
    for f in onsets.tolist():
        before, after = audio[f * 160 - 800 : f * 160].max(), audio[f * 160 : f * 160 + 320].max()
        assert after > 20 * before + 0.01


def test_unplayable_parts_are_left_out():
    score = Score((Track((Note(20, 0, 1), Note(109, 0, 1))), Track((Note(60, 0, 1),), is_drum=True)))
    assert not score_frames(score).any()
    for bad in ({"hop": 0}, {"length": 0}):
        with pytest.raises(ValueError, match="1 or more"):
            score_frames(score, **bad)


# ---- the network that plays it


def test_score_wavenet_samples_and_comes_back(tmp_path):
    torch.manual_seed(0)
    model = ScoreWaveNet(ScoreConfig(**SMALL, instruments=("flute", "cello"))).eval()
    score = Melody.from_pitches([60, 64]).to_score()
    how = model.conditioning(score, "cello", 400)
    drawn = [sample(model, 400, how, method=method, progress=False) for method in ("naive", "cached", "cpu")]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    model.save_pretrained(tmp_path)
    back = ScoreWaveNet.from_pretrained(tmp_path)
    assert back.config == model.config
    assert torch.equal(sample(back, 400, how, progress=False), drawn[0])
    with pytest.raises(ValueError, match=r"no such instrument: 'kazoo'; this model plays flute, cello"):
        model.conditioning(score, "kazoo", 400)
    with pytest.raises(ValueError, match="do not fit the instruments"):
        ScoreConfig(instruments=("flute",), global_classes=3)
    with pytest.raises(ValueError, match="352 channels"):
        ScoreConfig(local_channels=88)


def test_the_score_matters_where_it_changes():
    torch.manual_seed(0)
    model = ScoreWaveNet(ScoreConfig(**SMALL)).eval()
    codes, who = torch.randint(256, (1, 3200)), torch.tensor([0])
    one = score_frames(Melody.from_pitches([60, 64], 0.2).to_score(), length=3200)[None]
    two = score_frames(Melody.from_pitches([60, 65], 0.2).to_score(), length=3200)[None]
    change = (model.log_prob(codes, one, who) - model.log_prob(codes, two, who)).abs()[0]
    assert change[: 1600 - 2 * 160].max() == 0  # the second note begins at sample 1600; interpolation looks ahead
    assert (change[1600:] > 0).float().mean() > 0.9


# ---- crops


def test_crops_are_a_function_of_seed_and_number(scripts, small_set):
    crops, again = (scripts[0].Crops(small_set, 3, 10, 200, seed=5) for _ in range(2))
    other = scripts[0].Crops(small_set, 3, 10, 200, seed=6)
    for n in (7, 0, 7):
        assert all(torch.equal(a, b) for a, b in zip(crops(n), again(n), strict=True))
    assert crops.places(0) != crops.places(1)
    assert [crops.places(n) for n in range(9)] != [other.places(n) for n in range(9)]


def test_crops_cut_codes_and_frames_alike(scripts, small_set):
    crops = scripts[0].Crops(small_set, 4, 10, 200, seed=0)
    codes, local, instrument = crops(3)
    for row, (i, first) in enumerate(crops.places(3)):
        whole = np.asarray(small_set.codes[i])
        wanted = whole[first * 160 : (first + 10) * 160]
        assert codes[row, crops.valid][: len(wanted)].tolist() == wanted.tolist()
        frames = score_frames(small_set.pieces[i].score, length=len(whole) // 160 * 160)
        ours = local[row, :, crops.context : crops.context + 10]
        assert torch.equal(ours[:, : frames.shape[1] - first], frames[:, first : first + 10])
        assert instrument[row] == ("flute", "marimba").index(small_set.pieces[i].instrument)


@pytest.mark.parametrize("mixtures", [0, 3])
def test_the_loss_counts_only_what_the_network_sees_wholly(scripts, small_set, mixtures):
    torch.manual_seed(0)
    config = ScoreConfig(**SMALL | {"layers": 14}, mixtures=mixtures, instruments=("flute", "marimba"))
    model = ScoreWaveNet(config).eval()
    crops = scripts[0].Crops(small_set, 3, 10, model.receptive_field, seed=0)
    ours = scripts[1].log_prob(model, crops(2))[:, crops.valid]
    for row, (i, first) in enumerate(crops.places(2)):
        frames = -(-int(small_set.lengths[i]) // 160) + 4
        whole = [torch.as_tensor(part)[None] for part in small_set.crop(i, 0, frames)]
        wanted = scripts[1].log_prob(model, whole)[0, first * 160 : (first + 10) * 160]
        torch.testing.assert_close(ours[row, : len(wanted)], wanted, atol=2e-4, rtol=1e-4)


def test_renderings_are_made_once_and_are_the_audio(scripts, small_set, monkeypatch):
    audio = render(small_set.pieces[1].score).mean(0) * 2**0.5
    heard = mu_law_decode(torch.from_numpy(np.asarray(small_set.codes[1]).astype(np.int64)))
    assert (audio - heard).abs().max() < 0.02
    assert torch.corrcoef(torch.stack([audio, heard]))[0, 1] > 0.999
    monkeypatch.setattr(scripts[0], "codes_of", lambda piece: pytest.fail("rendered again"))
    again = scripts[0].Renderings("train", ("flute", "marimba"), 3)
    assert np.array_equal(again.codes[1], small_set.codes[1])


def test_notes_of_the_set_have_the_level_of_renderings(scripts):
    """A recording and the rendering of its score are the same sound while the key is down."""
    notes = [p for p in scripts[0].pieces("valid", ("flute",), 0, 0, True) if p.recording is not None]
    assert notes
    for piece in notes[:4]:
        played = render(piece.score).mean(0)[:12_000] * 2**0.5
        assert (played - piece.recording[:12_000]).abs().max() < 0.02 * piece.recording.abs().max() + 1e-3


def test_no_held_out_piece_is_trained_on(scripts, monkeypatch):
    """Neither a tune nor a chorale nor a note, however transposed."""
    monkeypatch.setattr(scripts[0], "FolkCorpus", lambda split, **_: FolkCorpus(split, limit=192, progress=False))
    sets = {}
    for split in ("train", "valid", "test"):
        found = list(scripts[0].pieces(split, ("flute",), 60, 20, True))
        sets[split] = {melody_key(p.score.melody()) for p in found if p.recording is None}
        sets[split] |= {p.name for p in found if p.recording is not None}
        assert len(found) > 40
    assert not sets["train"] & (sets["valid"] | sets["test"])
    assert not sets["valid"] & sets["test"]


# ---- bits a sample


def test_unigram_bits_of_known_distributions(scripts):
    rng = np.random.default_rng(0)
    uniform = rng.integers(0, 256, 200_000)
    assert scripts[0].unigram_bits(uniform, uniform) == pytest.approx(8, abs=1e-2)
    coin = rng.choice([10, 200], 100_000, p=[0.25, 0.75])
    entropy = 0.25 * 2 + 0.75 * math.log2(4 / 3)
    assert scripts[0].unigram_bits(coin, coin) == pytest.approx(entropy, abs=2e-2)
    assert scripts[0].unigram_bits(coin, np.full(10, 33)) == pytest.approx(math.log2(100_256))  # never seen


def test_bits_of_a_model_that_knows_nothing_and_one_that_knows_all(scripts, small_set):
    model = ScoreWaveNet(ScoreConfig(**SMALL, instruments=("flute", "marimba"))).eval()
    crops = scripts[0].Crops(small_set, 2, 10, model.receptive_field)
    with torch.no_grad():
        model.head.linear.weight.zero_()
        model.head.linear.bias.zero_()
    assert scripts[1].bits(model, crops, 3) == pytest.approx(8, abs=1e-6)
    counts = np.bincount(torch.cat([crops(n)[0][:, crops.valid].flatten() for n in range(3)]).numpy(), minlength=256)
    p = (counts + 1e-9) / counts.sum()
    model.head.linear.bias.data = torch.from_numpy(np.log(p)).float()
    assert scripts[1].bits(model, crops, 3) == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-3)


def test_linear_prediction_of_known_signals(scripts):
    rng = np.random.default_rng(0)
    t = np.arange(8000)
    wave = scripts[0].mu_law_encode(torch.from_numpy(0.4 * np.sin(0.2 * t)).float()).numpy().astype(np.uint8)
    noise = rng.integers(0, 256, 8000).astype(np.uint8)
    tone = scripts[0].linear_bits(wave[:4000], wave[4000:])
    assert tone < scripts[0].unigram_bits(wave[:4000], wave[4000:]) - 2  # a sine is predictable
    assert scripts[0].linear_bits(noise[:4000], noise[4000:]) > 7.9  # noise is not


def test_linear_predictions_masses_sum_to_one(scripts):
    codes = torch.arange(256).numpy()
    guess = np.full(256, 0.03)
    bits = [scripts[0]._laplace_bits(guess[:1], np.array([0.03]), codes[k : k + 1], 0.01) for k in range(256)]
    assert sum(2 ** -np.array(bits)) == pytest.approx(1, abs=1e-4)


def test_a_disturbed_past_keeps_what_it_should(scripts, small_set):
    """A pure function of its seed; whole crops keep clean, the others have noise 40 to 5 dB below them."""
    codes = scripts[0].mu_law_encode(0.5 * torch.sin(0.05 * torch.arange(8000.0)).expand(400, -1))
    disturbed = scripts[1].disturbed(codes, 0.75, (0, 7))
    assert torch.equal(disturbed, scripts[1].disturbed(codes, 0.75, (0, 7)))
    assert torch.equal(scripts[1].disturbed(codes, 0.0, (0, 7)), codes)
    noise = (mu_law_decode(disturbed) - mu_law_decode(codes)).square().mean(1)
    level = 10 * (noise / mu_law_decode(codes).square().mean(1)).log10()
    loud = level[(disturbed != codes).any(1)]
    assert 270 <= len(loud) <= 330
    assert -45 < loud.min() < -30  # the codes' own steps hide some of the softest, and make some louder
    assert -9 < loud.max() < -4


# ---- the command


def test_command_trains_and_goes_on(scripts, small_set, monkeypatch, tmp_path, capsys):
    small_set.instruments = ("flute",)
    small_set.pieces = [piece._replace(instrument="flute") for piece in small_set.pieces]
    monkeypatch.setattr(scripts[1], "Renderings", lambda *_: small_set)
    options = ["--steps", "3", "--every", "2", "--layers", "4", "--stacks", "2", "--seconds", "0.05"]
    options += ["--valid-batches", "1", "--test-batches", "1", "--frames", "4", "--precision", "bf16"]

    def run(out, *more):
        monkeypatch.setattr(sys, "argv", ["train_renderer.py", *options, "--out", str(tmp_path / out), *more])
        scripts[1].main()
        return capsys.readouterr().out.splitlines()[-1]

    assert run("broken", "--minutes", "0").startswith("step 1 of 3")
    assert run("broken") == run("whole")
    models = [ScoreWaveNet.from_pretrained(tmp_path / name / "model") for name in ("broken", "whole")]
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(a, b)
    assert "linear prediction" in (tmp_path / "whole" / "model" / "README.md").read_text()
    assert len(list((tmp_path / "whole" / "ladder").glob("*.mp3"))) >= 2
    assert (
        "mixture head" in (run("mixture", "--head", "mixture"), (tmp_path / "mixture/model/README.md").read_text())[1]
    )
    assert "unigram" in run("alone", "--unconditional")


def test_the_judge_hears_what_synth_plays(scripts, small_set, monkeypatch, tmp_path, capsys):
    model = ScoreWaveNet(ScoreConfig(**SMALL, instruments=("flute", "marimba")))
    model.save_pretrained(tmp_path / "model")
    piece = small_set.pieces[0]  # C, E, a rest, G: a quarter of a second each
    audio = torch.arange(16_000.0)
    sounds, pitches = scripts[2].notes_of(audio, piece)
    assert pitches == [60, 64, 67]
    assert sounds[:, 0].tolist() == [0, 4000, 12_000]
    assert sounds[:, 3999].tolist() == [3999, 7999, 15_999]
    assert not sounds[:, 4000:].any()
    monkeypatch.setattr(scripts[2], "pieces", lambda *_: small_set.pieces[:2])
    arguments = ["evaluate_renderer.py", tmp_path / "model", "--seconds", "1", "--out", tmp_path / "heard"]
    monkeypatch.setattr(sys, "argv", [*map(str, arguments)])
    scripts[2].main()
    said = capsys.readouterr().out
    assert "synth: 100.0 % within half a semitone" in said
    assert "WaveNet: 0.0 % within half a semitone" in said  # it has learned nothing
    assert len(list((tmp_path / "heard").glob("*.mp3"))) == 4
