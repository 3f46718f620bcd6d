"""Scores as conditioning: a note's frames coincide with its samples, and the network that plays it comes back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.audio import mu_law_decode
from musicai.notes import Melody, Note, Score, Track
from musicai.performance import render
from musicai.wavenet import ScoreConfig, ScoreWaveNet, sample, score_frames, total_variation

SMALL = {"layers": 4, "stacks": 2, "residual_channels": 8, "skip_channels": 8, "end_channels": 8}


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


def test_the_score_matters_where_it_changes():
    torch.manual_seed(0)
    model = ScoreWaveNet(ScoreConfig(**SMALL)).eval()
    codes, who = torch.randint(256, (1, 3200)), torch.tensor([0])
    one = score_frames(Melody.from_pitches([60, 64], 0.2).to_score(), length=3200)[None]
    two = score_frames(Melody.from_pitches([60, 65], 0.2).to_score(), length=3200)[None]
    change = (model.log_prob(codes, one, who) - model.log_prob(codes, two, who)).abs()[0]
    assert change[: 1600 - 2 * 160].max() == 0  # the second note begins at sample 1600; interpolation looks ahead
    assert (change[1600:] > 0).float().mean() > 0.9


# ---- a network that draws what the sketch leaves


def residual(samples=900, **more) -> tuple[ScoreWaveNet, object, dict]:
    torch.manual_seed(0)
    model = ScoreWaveNet(ScoreConfig(**SMALL, mixtures=3, residual=True, **more)).eval()
    score = Melody.from_pitches([60, 64], 0.2).to_score()
    return model, score, model.conditioning(score, "flute", samples)


def test_what_is_drawn_is_added_to_the_sketch():
    """It is what a network that knows no sketch draws from the same past, plus the sketch; whatever the sampler."""
    model, _, how = residual(360)
    plain = ScoreWaveNet(replace(model.config, residual=False)).eval()
    plain.load_state_dict(model.state_dict())
    sketch = model.upsample.sketch(how["local"][None], torch.tensor([0]))[:, :360].detach()
    for method in ("naive", "cached", "cpu"):
        options = {"method": method, "block": 100, "progress": False}
        drawn = sample(model, 360, how, **options)
        torch.testing.assert_close(drawn, sample(plain, 360, how, **options) + sketch)
        opened = sample(model, 260, how, opening=drawn[0, :100], uniforms=uniforms_of(360)[:, 100:], **options)
        whole = sample(model, 360, how, uniforms=uniforms_of(360), **options)
        assert opened.shape == (1, 260)
        assert torch.isfinite(whole).all()
    assert sketch.abs().max() > 1e-3


def uniforms_of(n: int) -> torch.Tensor:
    return torch.rand(1, n, 2, generator=torch.Generator().manual_seed(1))


def test_its_codes_have_probabilities_that_sum_to_one():
    model, _, how = residual()
    score = how["local"][None], torch.tensor([0])
    past = torch.randint(256, (1, 900), generator=torch.Generator().manual_seed(2))
    last = [torch.cat([past[:, :-1], torch.tensor([[code]])], 1) for code in range(256)]
    with torch.no_grad():
        total = sum(model.log_prob_of_codes(codes, *score)[0, -1].exp() for codes in last)
        density = model.log_prob(mu_law_decode(past), *score)
    assert total.item() == pytest.approx(1, abs=1e-4)
    assert density.shape == (1, 900)
    assert total_variation(model, mu_law_decode(past), how, precision="float32").max() < 1e-4


def test_only_values_have_differences():
    with pytest.raises(ValueError, match="residual=True needs mixtures"):
        ScoreConfig(residual=True)
