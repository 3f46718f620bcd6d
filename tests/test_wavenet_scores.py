"""Scores as conditioning: a note's frames coincide with its samples; crops, held-out tunes and bits a sample."""

import importlib.util
import math
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.audio import mu_law_decode
from musicai.data import FolkCorpus, melody_key
from musicai.notes import Melody, Note, Score, Track
from musicai.wavenet import sample
from musicai.synth import render
from musicai.train import load_checkpoint
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


def rows_of(score, *how) -> np.ndarray:
    """Velocity, age and ended: (3, turns, keys, frames)."""
    return score_frames(score, *how).unflatten(0, (3, 2, 88)).double().numpy()


def test_frames_by_hand():
    score = Score((Track((Note(60, 0.5, 1.0, 127), Note(64, 1.5, 0.5, 64))),), ((0.0, 60.0),))
    rows = rows_of(score, 100, 20, 300)  # frames of 0.2 s
    velocity, age, ended = rows[:, 0, 60 - 21]  # from 0.5 s to 1.5 s, and told of until 2.0 s: frames 2 to 10
    assert velocity.tolist() == [0, 0, *[1] * 9, 0, 0, 0, 0]
    assert np.allclose(age[2:11], [-0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5])
    assert np.allclose(ended[2:11], [-1.1, -0.9, -0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5])
    velocity, age, ended = rows[:, 0, 64 - 21]  # from 1.5 s to 2.0 s, and told of until 2.5 s: frames 7 to 12
    assert np.allclose(velocity[7:13], 64 / 127)
    assert np.allclose(age[7:13], [-0.1, 0.1, 0.3, 0.5, 0.7, 0.9])
    assert np.allclose(ended[7:13], [-0.6, -0.4, -0.2, 0.0, 0.2, 0.4])
    rows[:, 0, 60 - 21, 2:11] = 0
    rows[:, 0, 64 - 21, 7:13] = 0
    assert not rows.any()  # and nothing else


def test_notes_of_a_key_take_turns():
    """The third is written over what is left of the first, from the frame in which it begins, for good."""
    notes = (Note(60, 0.0, 1.0, 10), Note(60, 0.3, 0.3, 20), Note(60, 0.65, 0.1, 30), Note(67, 0.65, 0.3, 40))
    rows = rows_of(Score((Track(notes),), ((0.0, 60.0),)), 100, 10, 200)
    first, second = (127 * rows[0, :, 60 - 21]).round().tolist()
    assert first == [10] * 6 + [30] * 7 + [0] * 7
    assert second == [0] * 3 + [20] * 9 + [0] * 8
    assert np.allclose(rows[1, 0, 60 - 21, 5:8], [0.5, -0.05, 0.05])
    assert np.allclose(rows[2, 0, 60 - 21, 5:8], [-0.5, -0.15, -0.05])
    assert rows[0, 0, 67 - 21].any()  # another key's first note
    assert not rows[0, 1, 67 - 21].any()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(21, 108), st.floats(0, 4), st.floats(0.01, 2), st.integers(1, 127)), max_size=6),
    st.integers(1, 400),
    st.integers(1, 40_000),
)
def test_a_note_is_told_of_to_the_sample(notes, hop, length):
    once = {pitch: Note(pitch, start, duration, velocity) for pitch, start, duration, velocity in notes}
    score = Score((Track(tuple(once.values())),), ((0.0, 90.0), (1.0, 150.0)))
    rows = rows_of(score, 8000, hop, length)
    edges = np.arange(rows.shape[-1]) * hop
    assert len(edges) == -(-length // hop)
    for pitch, note in once.items():
        start, end = (round(8000 * score.seconds(beat)) for beat in (note.start, note.end))
        velocity, age, ended = rows[:, 0, pitch - 21]
        told = (edges + hop > start) & (edges <= end + 4000)  # its first sample to half a second after its end
        assert np.allclose(velocity, told * (note.velocity / 127))
        assert np.array_equal((8000 * age).round(), told * (edges - start))
        assert np.array_equal((8000 * ended).round(), told * (edges - end))
        rows[:, 0, pitch - 21] = 0
    assert not rows.any()


def test_a_note_of_many_minutes_is_told_of_to_the_sample():
    score = Score((Track((Note(60, 1 / 3, 900),)),), ((0.0, 60.0),))
    age = rows_of(score, 16_000, 1600)[1, 0, 60 - 21]
    edges = np.arange(len(age)) * 1600
    assert np.array_equal((16_000 * age[3:]).round(), (edges - 5333)[3:])


def test_frames_coincide_with_what_synth_plays():
    melody = Melody.from_pitches([None, 69, None, 76], [0.75, 0.5, 1.5, 0.5])
    audio = render(melody.to_score(12)).abs().amax(0)  # vibraphone: sounds at once
    velocity, age, _ = rows_of(melody.to_score(), 16_000, 160, len(audio))
    turn, key, frame = ((velocity > 0) & (age > -0.01) & (age <= 0)).nonzero()  # those in which a note begins
    assert (turn.tolist(), (key + 21).tolist()) == ([0, 0], [69, 76])
    for begin in frame * 160 - (16_000 * age[turn, key, frame]).round().astype(int):
        before, after = audio[begin - 800 : begin].max(), audio[begin : begin + 160].max()
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
    with pytest.raises(ValueError, match="528 channels"):
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


def test_linear_prediction_makes_use_of_a_sketch(scripts):
    """Noise cannot be predicted from its past, but from a sketch of it; a useless sketch changes next to nothing."""
    rng = np.random.default_rng(1)
    codes = rng.integers(60, 196, 12_000).astype(np.uint8)
    truth = mu_law_decode(torch.from_numpy(codes.astype(np.int64))).double().numpy()
    alone = scripts[0].linear_bits(codes[:8000], codes[8000:])
    useless = rng.standard_normal(12_000)
    for sketch, low, high in ((truth, 0.0, alone - 3), (useless, alone - 0.1, alone + 0.1)):
        assert low <= scripts[0].linear_bits(codes[:8000], codes[8000:], sketches=(sketch[:8000], sketch[8000:])) < high


def test_linear_predictions_masses_sum_to_one(scripts):
    codes = torch.arange(256).numpy()
    guess = np.full(256, 0.03)
    bits = [scripts[0]._laplace_bits(guess[:1], np.array([0.03]), codes[k : k + 1], 0.01) for k in range(256)]
    assert sum(2 ** -np.array(bits)) == pytest.approx(1, abs=1e-4)


def test_a_disturbed_past_keeps_what_it_should(scripts, small_set):
    """A pure function of its seed; some crops stay clean, the others have noise and an echo, from loud to soft."""
    wave = 0.2 * torch.sin(0.05 * torch.arange(8000.0)).expand(400, -1)
    codes = scripts[0].mu_law_encode(wave)
    disturbed = scripts[1].disturbed(codes, (0, 7), 0.75)
    assert torch.equal(disturbed, scripts[1].disturbed(codes, (0, 7), 0.75))
    assert torch.equal(scripts[1].disturbed(codes, (0, 7), 0.0), codes)
    apart = mu_law_decode(disturbed) - mu_law_decode(codes)
    spectra = torch.fft.rfft(apart * torch.hann_window(8000)).abs().square()
    line = round(0.05 / (2 * math.pi) * 8000)
    echo, noise = spectra[:, line - 4 : line + 5].sum(1), spectra[:, 10 * line :].sum(1)
    chosen = (disturbed != codes).any(1)
    assert 270 <= chosen.sum() <= 330
    for part, whole in ((echo, 1.0), (noise, 1 - 20 * line / 8000)):  # of the power of a wave of the same loudness
        power = torch.fft.rfft(wave[0] * torch.hann_window(8000)).abs().square().sum()
        level = 10 * (part[chosen] / power / whole).log10()
        assert -3 < level.max() < 2
        assert -40 < level.min() < -25


# ---- learning


def test_partials_learn_what_notes_sound_like(scripts, small_set, tmp_path):
    """In 80 steps more than half of the error is gone; what is not of the partials stays as it was."""
    torch.manual_seed(0)
    model = ScoreWaveNet(ScoreConfig(**SMALL, partials=4, instruments=("flute", "marimba")))
    settings = scripts[1].Config(partial_steps=80)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    crops = scripts[0].Crops(small_set, 16, 20, 1, seed=5)
    errors = [error_of(scripts, model, crops)]
    scripts[1].learn_partials(model, Namespace(settings=settings, out=tmp_path, minutes=None, seed=0), *[small_set] * 2)
    errors.append(error_of(scripts, model, crops))
    assert 0.8 < errors[0] < 1.5  # as good as silence, about
    assert errors[1] < 0.6 * errors[0]
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {f"upsample.partials.{name}" for name, _ in model.upsample.partials.named_parameters()}


def error_of(scripts, model, crops) -> float:
    with torch.no_grad():
        return scripts[1].sketch_error(model, crops(0)).mean().item()


def test_the_error_of_silence_is_all_and_of_the_truth_none(scripts):
    model = ScoreWaveNet(ScoreConfig(**SMALL))
    codes = scripts[0].mu_law_encode(0.5 * torch.sin(0.05 * torch.arange(1600.0)))[None]
    batch = codes, torch.zeros(1, 528, 10), torch.tensor([0])
    assert scripts[1].sketch_error(model, batch).item() == pytest.approx(1, abs=1e-3)
    model.upsample.sketch = lambda *_: 0.9 * mu_law_decode(codes)
    assert scripts[1].sketch_error(model, batch).item() == pytest.approx(0.01, abs=1e-4)


# ---- the command


def test_command_trains_and_goes_on(scripts, small_set, monkeypatch, tmp_path, capsys):
    small_set.instruments = ("flute",)
    small_set.pieces = [piece._replace(instrument="flute") for piece in small_set.pieces]
    monkeypatch.setattr(scripts[1], "Renderings", lambda *_: small_set)
    options = ["--steps", "3", "--every", "2", "--layers", "4", "--stacks", "2", "--seconds", "0.05"]
    options += ["--valid-batches", "1", "--test-batches", "1", "--frames", "4", "--precision", "bf16"]
    options += ["--partial_steps", "2"]

    def run(out, *more):
        monkeypatch.setattr(sys, "argv", ["train_renderer.py", *options, "--out", str(tmp_path / out), *more])
        scripts[1].main()
        return capsys.readouterr().out.splitlines()[-1]

    with pytest.raises(SystemExit, match=r"step 1 of 2 of the partials: call again to go on"):
        run("broken", "--minutes", "0")
    assert not (tmp_path / "broken" / "run.safetensors").exists()
    assert run("broken", "--minutes", "0").startswith("step 1 of 3")
    assert run("broken") == run("whole")
    models = [ScoreWaveNet.from_pretrained(tmp_path / name / "model") for name in ("broken", "whole")]
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(a, b)
    partials = ScoreWaveNet(models[1].config).upsample.partials
    load_checkpoint(tmp_path / "whole" / "partials.safetensors", {"partials": partials})
    for a, b in zip(partials.parameters(), models[1].upsample.partials.parameters(), strict=True):
        assert torch.equal(a, b)  # the WaveNet's steps, and the average of its weights, leave them as they were
    assert "linear prediction" in (tmp_path / "whole" / "model" / "README.md").read_text()
    assert len(list((tmp_path / "whole" / "ladder").glob("*.mp3"))) >= 2
    run("codes", "--head", "categorical")
    assert "categorical head" in (tmp_path / "codes" / "model" / "README.md").read_text()
    assert "histogram" in run("alone", "--unconditional")
    run("from", "--start", str(tmp_path / "whole" / "model"))
    started = ScoreWaveNet.from_pretrained(tmp_path / "from" / "model")
    assert not (tmp_path / "from" / "partials.safetensors").exists()  # they come with the weights
    assert torch.equal(started.upsample.partials.curves.weight, partials.curves.weight)
    assert not torch.equal(started.upsample.mix.weight, models[1].upsample.mix.weight)


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
    asked = []
    monkeypatch.setattr(scripts[2], "pieces", lambda *given: asked.append(given) or small_set.pieces[:2])
    arguments = ["evaluate_renderer.py", tmp_path / "model", "--seconds", "1", "--out", tmp_path / "heard"]
    arguments += ["--split", "valid"]
    monkeypatch.setattr(sys, "argv", [*map(str, arguments)])
    scripts[2].main()
    said = capsys.readouterr().out
    assert all("valid" in given for given in asked)
    assert asked
    assert "synth: 100.0 % within half a semitone" in said
    assert "WaveNet: 0.0 % within half a semitone" in said  # it has learned nothing
    assert len(list((tmp_path / "heard").glob("*.mp3"))) == 6
