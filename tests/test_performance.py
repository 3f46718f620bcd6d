"""Whole scores: notes split into voices, voices drawn as streams, and their sum."""

import itertools
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.audio import mu_law_decode
from musicai.notes import Melody, Note, Score, Track
from musicai.sampling import perform, sample, voices
from musicai.wavenet import ScoreWaveNet, WaveNet

SMALL = {"layers": 4, "stacks": 2, "residual_channels": 8, "skip_channels": 8, "end_channels": 8}
CHORD = Score((Track((Note(60, 0, 0.5), Note(64, 0, 0.25), Note(67, 0.25, 0.25))),), ((0.0, 240.0),))
PLAIN = {"temperature": 0.8, "progress": False, "method": "cached"}

MODULE = sys.modules["musicai.sampling.perform"]  # by that name the package has the function

# Times on a grid meet often; 1/3 brings sums that miss by a rounding error.
times = st.sampled_from([k / 4 for k in range(24)] + [k / 3 for k in range(18)])
some_notes = st.lists(st.builds(Note, st.integers(21, 108), times, times.filter(bool)), max_size=30)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ScoreWaveNet(instruments=("flute", "cello"), **SMALL).eval().requires_grad_(False)


# ---- voices


@settings(max_examples=200, deadline=None)
@given(some_notes)
def test_every_note_is_in_one_voice_that_has_one_note_at_a_time(notes):
    found = voices(notes)
    assert sorted((n for voice in found for n in voice), key=repr) == sorted(notes, key=repr)
    for voice in found:
        assert all(later.start >= note.end - 1e-6 for note, later in itertools.pairwise(voice))


@settings(max_examples=200, deadline=None)
@given(some_notes)
def test_as_few_voices_as_notes_sound_at_once(notes):
    at_once = [sum(n.start <= note.start < n.end - 1e-6 for n in notes) for note in notes]
    assert len(voices(notes)) == max(at_once, default=0)


@settings(max_examples=50, deadline=None)
@given(some_notes, st.randoms())
def test_the_order_of_the_notes_does_not_matter(notes, random):
    assert voices(random.sample(notes, len(notes))) == voices(notes)


def test_a_note_goes_on_with_the_nearest_voice():
    low, high = Note(48, 0, 1), Note(72, 0, 1)
    assert voices([low, high, Note(71, 1, 1), Note(50, 1, 1)]) == [(low, Note(50, 1, 1)), (high, Note(71, 1, 1))]


def test_thirds_of_a_beat_are_one_voice():
    notes, start = [], 0.0
    for _ in range(9):
        notes.append(Note(60, start, 1 / 3 + 1e-9))
        start += 1 / 3
    assert len(voices(notes)) == 1


# ---- performing


def limited(mix):
    return mix * min(1, 0.98 / mix.abs().max())


def test_one_voice_is_what_sample_draws(model):
    tune = Melody.from_pitches([69, 71], 0.1)
    drawn = sample(model, 1200, model.conditioning(tune.to_score(), "cello", 1200), **PLAIN)
    assert torch.allclose(perform(model, tune, "cello", seconds=0.075, **PLAIN), limited(mu_law_decode(drawn[0])))


def test_voices_are_streams_and_the_mix_is_their_sum(model):
    length, parts = 800, [(Note(60, 0, 0.5),), (Note(64, 0, 0.25), Note(67, 0.25, 0.25))]
    given = [model.conditioning(Score((Track(p),), CHORD.tempos), "flute", length)["local"] for p in parts]
    conditioning = {"local": torch.stack(given), "instrument": 0}
    streams = mu_law_decode(sample(model, length, conditioning, streams=2, **PLAIN))
    mix = streams.sum(0)
    assert mix.abs().max() > 0.98  # an untrained model is loud: this one would clip
    audio = perform(model, CHORD, seconds=0.05, **PLAIN)
    assert torch.allclose(audio, limited(mix))


def test_a_quiet_mix_is_left_as_it_is(model, monkeypatch):
    codes = torch.tensor([[128, 140, 100], [128, 120, 130]])
    monkeypatch.setattr(MODULE, "sample", lambda *_, **__: codes)
    assert torch.equal(perform(model, CHORD), mu_law_decode(codes).sum(0))


def asked_of(model, score, instrument=None, **how):
    """What `sample` is asked for."""
    calls = []

    def fake(model, n, conditioning, **rest):
        calls.append((n, conditioning, rest))
        return torch.full((rest["streams"], n), 128)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "sample", fake)
        audio = perform(model, score, instrument, **how)
    assert audio.shape == (calls[0][0],)
    return calls[0]


def test_it_lasts_as_long_as_the_score_and_its_release(model):
    score = Score((Track((Note(60, 0, 1), Note(62, 2, 1))),), ((0.0, 120.0), (1.0, 60.0)))  # 0.5 s + 2 s
    assert asked_of(model, score)[0] == 48_000
    assert asked_of(model, score, seconds=0.25)[0] == 4000


def test_each_track_has_its_instrument_and_drums_have_none(model):
    high, low = Track((Note(72, 0, 1), Note(76, 0, 1))), Track((Note(48, 0, 1),))
    score = Score((high, Track((Note(36, 0, 9),), is_drum=True), low))
    n, conditioning, rest = asked_of(model, score, ["cello", "flute"], seed=7)
    assert conditioning["instrument"].tolist() == [1, 1, 0]
    assert rest == {"streams": 3, "temperature": 0.3, "seed": 7}
    assert n == 16_000  # the drum's nine beats are not waited for
    down = conditioning["local"].unflatten(1, (-1, 88))[:, 0]
    assert [rows.amax(-1).nonzero().flatten().tolist() for rows in down] == [[51], [55], [27]]
    assert asked_of(model, score)[1]["instrument"].tolist() == [0, 0, 0]
    assert asked_of(model, score, "cello")[1]["instrument"].tolist() == [1, 1, 1]


def test_a_mixture_head_gives_values(monkeypatch):
    model = ScoreWaveNet(mixtures=2, **SMALL).eval()
    values = torch.tensor([[0.5, -0.25], [0.25, 0.0]])
    monkeypatch.setattr(MODULE, "sample", lambda *_, **__: values)
    assert torch.equal(perform(model, CHORD), values.sum(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"instrument": "kazoo"}, "no such instrument: 'kazoo'.*flute, cello"),
        ({"instrument": ["flute", "cello"]}, "2 instruments for 1 tracks"),
        ({"score": Score((Track((Note(36, 0, 1),), is_drum=True),))}, "no notes to play"),
        ({"score": Score(())}, "no notes to play"),
        ({"seconds": 0.0}, "seconds must be above 0.*0.0"),
        ({"seconds": float("nan")}, "seconds must be above 0.*nan"),
        ({"temperature": -1}, "temperature must be 0 or more"),
    ],
)
def test_bad_requests_are_refused_by_name(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        perform(model, **{"score": CHORD} | arguments)


def test_a_model_that_hears_no_score_is_refused():
    with pytest.raises(TypeError, match="which hears a score; got WaveNet"):
        perform(WaveNet(**SMALL), CHORD)
