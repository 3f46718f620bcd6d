"""Performers: one protocol, whoever plays; notes split into voices, voices drawn as streams, and their sum."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import musicai
from musicai.audio import Audio, AudioError, mu_law_decode
from musicai.gan import InstrumentGenerator
from musicai.notes import Melody, Note, Score, Track, write_midi
from musicai.performance import (
    INSTRUMENTS,
    PROGRAMS,
    GANPerformer,
    SampledPerformer,
    WaveNetPerformer,
    cast,
    find_instrument,
    mix,
    perform,
    performers,
    render,
    sampled,
    voices,
)
from musicai.wavenet import ScoreWaveNet, sample

SMALL = {"layers": 4, "stacks": 2, "residual_channels": 8, "skip_channels": 8, "end_channels": 8}
FLUTE = PROGRAMS.index("flute")
CHORD = Score((Track((Note(60, 0, 0.5), Note(64, 0, 0.25), Note(67, 0.25, 0.25)), FLUTE),), ((0.0, 240.0),))
DRUMS = Score((Track((Note(36, 0, 1),), is_drum=True),))

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


# ---- every performer


@pytest.fixture(scope="module")
def everyone(model):
    """Each performer, its release in seconds, and its number of channels."""
    torch.manual_seed(0)
    generator = InstrumentGenerator(size=4).eval()
    return {
        "sampled": (SampledPerformer(), 0.18, 1),
        "gan": (GANPerformer(generator), 0.108, 1),
        "wavenet": (WaveNetPerformer(model, progress=False), 0.5, 1),
    }


NAMES = ("sampled", "gan", "wavenet")


@pytest.mark.parametrize("name", NAMES)
def test_every_performer_returns_audio_of_the_scores_length(everyone, name):
    performer, release, channels = everyone[name]
    tune = Melody.from_pitches([72, 74], 0.25, tempo=150).to_score(FLUTE)  # two notes of 0.1 s
    audio = performer(tune)
    assert isinstance(audio, Audio)
    assert audio.samples.dtype == torch.float32
    assert audio.sr == 16_000
    assert audio.samples.shape == (channels, round((0.2 + release) * audio.sr))
    assert audio.seconds == pytest.approx(0.2 + release)
    assert audio.samples.isfinite().all()
    assert 0 < audio.samples.abs().max() <= 0.98 + 1e-6
    assert torch.equal(performer(tune).samples, audio.samples)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("score", [Score(()), Melody(()), Score((Track((), FLUTE), Track((), is_drum=True)))])
def test_a_score_without_notes_is_silence(everyone, name, score):
    performer, _, channels = everyone[name]
    audio = performer(score)
    assert audio.samples.shape == (channels, audio.sr // 2)
    assert not audio.samples.any()


@pytest.mark.parametrize("name", NAMES)
def test_every_performer_refuses_what_is_not_a_score(everyone, name):
    with pytest.raises(ValueError, match="cannot play a list: give a"):
        everyone[name][0]([60, 62])


@pytest.mark.parametrize("kind", [SampledPerformer, GANPerformer, WaveNetPerformer])
def test_unknown_instruments_and_parts_are_refused_by_name(everyone, kind):
    own = {} if kind is SampledPerformer else {"model": everyone["gan" if kind is GANPerformer else "wavenet"][0].model}
    for instruments, message in [
        ("fluet", "no instrument 'fluet'; the nearest: flute, pan_flute"),
        ({"melody": "flute"}, "no part is called 'melody'; the parts: 0"),
        ({"": "kazoo"}, "no instrument 'kazoo'; the nearest:"),
        ({1: "flute"}, "no part is called 1"),
        (["flute", "flute"], "2 instruments, but only 1 to cast"),
    ]:
        with pytest.raises(ValueError, match=message):
            kind(**own, instruments=instruments)(CHORD)


def test_what_a_performer_cannot_play_is_refused_with_a_way_out(everyone):
    with pytest.raises(
        ValueError, match=r"part 0: no acoustic_grand_piano here; choose instruments= from flute, cello"
    ):
        everyone["wavenet"][0](Melody.from_pitches([60]))
    low = Melody.from_pitches([72, 20], name="solo").to_score(FLUTE)
    for name, reach in (("gan", r"B3 to C7 \(59 to 96\)"), ("wavenet", r"A0 to C8 \(21 to 108\)")):
        message = rf"part 'solo': G#0 \(20\) is outside the range of flute, {reach}: transpose the part by octaves"
        with pytest.raises(ValueError, match=message):
            everyone[name][0](low)


@pytest.mark.parametrize("name", NAMES)
def test_drums_are_left_out_unless_perform_asks(everyone, name):
    tune = Melody.from_pitches([72], 0.1).to_score(FLUTE)
    with_drums = Score((*tune.tracks, *DRUMS.tracks), tune.tempos)
    assert torch.equal(everyone[name][0](with_drums).samples, everyone[name][0](tune).samples)
    assert not everyone[name][0](DRUMS).samples.any()


def test_sampled_parts_are_those_of_render():
    left, right = Track((Note(60, 0, 1),), FLUTE, pan=-1), Track((Note(48, 0, 1),), 40, pan=1)
    played = render(Score((left, right)))
    stems = dict(SampledPerformer().stems(Score((left, right, *DRUMS.tracks)), {0: "flute", 1: "violin", 2: "drums"}))
    for i in (0, 1):
        np.testing.assert_allclose(played[i, : len(stems[i])], stems[i], atol=1e-6)
    np.testing.assert_allclose(render(DRUMS)[0], stems[2] * np.sqrt(0.5), atol=1e-6)
    tune = Melody.from_pitches([60, 64])
    alone = render(tune.to_score(PROGRAMS.index("harp")))[0] / np.sqrt(0.5)
    torch.testing.assert_close(SampledPerformer("harp")(tune).samples[0], alone)


def test_the_gan_plays_each_note_at_its_time(everyone):
    performer = everyone["gan"][0]
    score = Score((Track((Note(72, 1, 1, 60), Note(76, 1.5, 1)), FLUTE), Track((Note(55, 0, 1),), 40)), ((0.0, 60.0),))
    audio = GANPerformer(performer.model, seed=3)(score).samples[0]
    release = 0.6 * 0.18  # of the recorded flute and violin, shorter since the GAN's falls less steeply
    mix = torch.zeros(40_000 + round(16_000 * release))
    for track, name, seed in (((72, 76), "flute", 3), ((55,), "violin", 4)):
        velocities = [60, 80] if name == "flute" else [80]
        sounds = performer.model.render_notes(track, velocities, name, 1.0, seed=seed, release=release)
        for sound, start in zip(sounds, (16_000, 24_000) if name == "flute" else (0,), strict=True):
            mix[start : start + len(sound)] += sound
    torch.testing.assert_close(audio, limited(mix))


def test_models_are_found_by_name(model, tmp_path):
    model.save_pretrained(tmp_path)
    by_name = WaveNetPerformer(str(tmp_path), seconds=0.01, progress=False)(CHORD)
    assert torch.equal(by_name.samples, WaveNetPerformer(model, seconds=0.01, progress=False)(CHORD).samples)


# ---- a sound


def test_audio_saves_and_shows_itself(tmp_path):
    audio = Audio(0.5 * torch.sin(torch.arange(1600) * 0.1), 16_000)
    assert audio.samples.shape == (1, 1600)
    assert audio.seconds == 0.1
    assert repr(audio) == "Audio(1 channel, 0.10 s at 16000 Hz)"
    audio.save(tmp_path / "tone.wav")
    back, sr = soundfile.read(tmp_path / "tone.wav")
    assert sr == 16_000
    np.testing.assert_allclose(back, audio.samples[0], atol=1e-4)
    page = audio._repr_html_()
    assert page.startswith('<audio controls aria-label="Audio(1 channel')
    assert "data:audio/mpeg;base64," in page  # a tenth of a WAV
    with pytest.raises(AudioError, match=r"samples must be \(channels, time\) or \(time,\); got \(1, 1, 5\)"):
        Audio(torch.zeros(1, 1, 5), 16_000)


# ---- voices as streams


def limited(mix):
    return mix * min(1, 0.98 / mix.abs().max())


def test_one_voice_is_what_sample_draws(model):
    tune = Melody.from_pitches([69, 71], 0.1).to_score(PROGRAMS.index("cello"))
    drawn = sample(model, 1200, model.conditioning(tune, "cello", 1200), temperature=0.8, progress=False)
    audio = WaveNetPerformer(model, temperature=0.8, seconds=0.075, progress=False)(tune)
    assert torch.allclose(audio.samples, limited(mu_law_decode(drawn)))


def test_voices_are_streams_and_the_mix_is_their_sum(model):
    length, parts = 800, [(Note(60, 0, 0.5),), (Note(64, 0, 0.25), Note(67, 0.25, 0.25))]
    given = [model.conditioning(Score((Track(p),), CHORD.tempos), "flute", length)["local"] for p in parts]
    conditioning = {"local": torch.stack(given), "instrument": 0}
    mix = mu_law_decode(sample(model, length, conditioning, streams=2, temperature=0.8, progress=False)).sum(0)
    assert mix.abs().max() > 0.98  # an untrained model is loud: this one would clip
    audio = WaveNetPerformer(model, temperature=0.8, seconds=0.05, progress=False)(CHORD)
    assert torch.allclose(audio.samples[0], limited(mix))


def test_a_quiet_mix_is_left_as_it_is(model, monkeypatch):
    codes = torch.tensor([[128, 140, 100], [128, 120, 130]])
    monkeypatch.setattr(performers, "sample", lambda *_, **__: codes)
    assert torch.equal(WaveNetPerformer(model)(CHORD).samples[0], mu_law_decode(codes).sum(0))


def asked_of(score, **settings):
    """What `sample` is asked for."""
    calls = []

    def fake(model, n, conditioning, **rest):
        calls.append((n, conditioning, rest))
        return torch.full((rest["streams"], n), 128)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(performers, "sample", fake)
        audio = WaveNetPerformer(**settings)(score)
    assert audio.samples.shape == (1, calls[0][0])
    return calls[0]


def test_it_lasts_as_long_as_the_score_and_its_release(model):
    score = Score((Track((Note(60, 0, 1), Note(62, 2, 1)), FLUTE),), ((0.0, 120.0), (1.0, 60.0)))  # 0.5 s + 2 s
    assert asked_of(score, model=model)[0] == 48_000
    assert asked_of(score, model=model, seconds=0.25)[0] == 4000


def test_each_track_has_its_instrument_and_drums_have_none(model):
    high, low = Track((Note(72, 0, 1), Note(76, 0, 1)), name="high"), Track((Note(48, 0, 1),), FLUTE, name="low")
    score = Score((high, Track((Note(36, 0, 9),), is_drum=True), low))
    n, conditioning, rest = asked_of(score, model=model, instruments={"high": "cello"}, seed=7)
    assert conditioning["instrument"].tolist() == [1, 1, 0]
    settings = {"temperature": 0.3, "seed": 7, "precision": "float32", "block": 16_000}
    assert rest == {"streams": 3, "progress": True} | settings
    assert n == 16_000  # the drum's nine beats are not waited for
    down = conditioning["local"].unflatten(1, (-1, 88))[:, 0]
    assert [rows.amax(-1).nonzero().flatten().tolist() for rows in down] == [[51], [55], [27]]
    assert asked_of(score, model=model, instruments="cello")[1]["instrument"].tolist() == [1, 1, 1]


def test_a_mixture_head_gives_values(monkeypatch):
    values = torch.tensor([[0.5, -0.25], [0.25, 0.0]])
    monkeypatch.setattr(performers, "sample", lambda *_, **__: values)
    player = WaveNetPerformer(ScoreWaveNet(mixtures=2, **SMALL).eval())
    assert torch.equal(player(CHORD).samples[0], values.sum(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seconds": 0.0}, "n must be a whole number, 1 or more"),
        ({"seconds": float("nan")}, "NaN"),
        ({"temperature": -1}, "temperature must be 0 or more"),
    ],
)
def test_bad_requests_are_refused_by_name(model, settings, message):
    with pytest.raises(ValueError, match=message):
        WaveNetPerformer(model, **settings)(CHORD)


# ---- perform


@pytest.fixture(scope="module")
def piece():
    """A tune, a bass and a drum."""
    tune = Track((Note(72, 0, 1), Note(74, 1, 1)), FLUTE, name="melody")
    bass = Track((Note(48, 0, 2),), PROGRAMS.index("cello"), name="bass")
    return Score((tune, bass, *DRUMS.tracks), name="Three parts")


def mixed(piece, *plan):
    """The mix of these players' stems."""
    stems = [stem for player, names in plan for stem in player.stems(piece, names)]
    pans = {0: -0.15, 1: 0.15, 2: 0.0}
    return torch.from_numpy(mix((sound, pans[i]) for i, sound in stems))


def test_perform_mixes_what_the_performer_plays_with_recorded_drums(piece):
    names, drums = {0: "flute", 1: "cello"}, (SampledPerformer(), {2: "drums"})
    for performer, player in [
        ("sampled", SampledPerformer()),
        ("gan", GANPerformer(seed=4)),
        ("auto", GANPerformer(seed=4)),
    ]:
        audio = perform(piece, performer=performer, seed=4)
        assert torch.allclose(audio.samples, mixed(piece, drums, (player, names)), atol=1e-6)
        assert audio.sr == 16_000
        assert audio.title == "Three parts"
    with pytest.raises(ValueError, match="no performer 'choir'; choose from auto, gan, sampled, wavenet"):
        perform(piece, performer="choir")
    assert perform(piece, performer=lambda score: score.name) == "Three parts"


def test_auto_lets_recordings_play_what_the_gan_cannot(piece):
    sub = replace(piece, tracks=(piece.tracks[0], Track((Note(20, 0, 2),), PROGRAMS.index("cello")), *DRUMS.tracks))
    plan = [(SampledPerformer(), {2: "drums"}), (GANPerformer(), {0: "flute"}), (SampledPerformer(), {1: "cello"})]
    assert torch.allclose(perform(sub).samples, mixed(sub, *plan), atol=1e-6)
    with pytest.raises(ValueError, match=r"part 1: G#0 \(20\) is outside the range of cello, C2 to A5"):
        perform(sub, performer="gan")


def test_recordings_play_what_the_wavenet_has_not_learned(piece):
    """The cello, and drums as always; the flute is drawn sample by sample."""
    short = replace(piece, tracks=[replace(track, notes=track.notes[:1]) for track in piece.tracks])
    flute = WaveNetPerformer(seed=4, precision="int8", progress=False)
    plan = [(SampledPerformer(), {2: "drums"}), (flute, {0: "flute"}), (SampledPerformer(), {1: "cello"})]
    heard = perform(short, performer="wavenet", seed=4, progress=False).samples
    assert torch.allclose(heard, mixed(short, *plan), atol=1e-6)


def test_parts_are_named_or_counted_and_instruments_by_general_midi(piece):
    wanted = perform(piece, {"melody": "violin", "bass": "nylon_guitar"}, performer="sampled").samples
    for instruments in [
        {0: "Violin", 1: "Acoustic Guitar (nylon)"},
        ["viola", "acoustic guitar (steel)"],
        {"melody": "fiddle", 1: "NYLON GUITAR"},
    ]:
        assert torch.equal(perform(piece, instruments, performer="sampled").samples, wanted)
    assert cast(piece, {1: "harp"}) == {0: "flute", 1: "harp"}
    assert cast(piece, "harp") == {0: "harp", 1: "harp"}
    assert cast(piece) == {0: "flute", 1: "cello"}
    assert cast(piece, {0: "theremin"}, known=("theremin",))[0] == "theremin"


def test_every_general_midi_name_finds_the_instrument_of_its_program():
    assert len(set(sampled.NAMES)) == 128
    for name, instrument in zip(sampled.NAMES, PROGRAMS, strict=True):
        assert find_instrument(name) == instrument
        assert find_instrument(f" {name.upper().replace(' ', '-')} ") == instrument
    assert [find_instrument(name) for name in INSTRUMENTS] == list(INSTRUMENTS)


def test_silence_and_one_sample_are_performed():
    for score in (Score(()), Melody(()), Score((Track(()),))):
        audio = perform(score)
        assert audio.samples.shape == (2, 8000)
        assert not audio.samples.any()
    short = perform(Melody.from_pitches([72], 1e-4).to_score(FLUTE))
    assert short.samples.isfinite().all()
    assert 0 < short.samples.abs().max() <= 10 ** (-1 / 20)


def test_the_seed_and_the_knob_decide(piece):
    def sound(**how):
        return perform(piece, performer="gan", **how).samples

    first = sound(humanize=0.5, seed=1)
    assert torch.equal(sound(humanize=0.5, seed=1), first)
    assert not torch.equal(sound(humanize=0.5, seed=2), first)
    assert not torch.equal(sound(seed=1)[:, : first.shape[1]], first[:, : sound(seed=1).shape[1]])


def test_what_has_a_score_is_played_like_its_score():
    score = Melody.from_pitches([60, 64, 67]).to_score()
    assert torch.equal(musicai.perform(SimpleNamespace(score=score)).samples, perform(score).samples)


def test_a_long_part_is_played_in_pieces_that_join_without_a_gap(monkeypatch):
    """Pieces of a few notes overlap where their notes do: the sum is that of the notes rendered one by one."""
    monkeypatch.setattr(performers, "CHUNK", 3)
    player, score = GANPerformer(instruments="flute", seed=5), Melody.from_pitches(range(67, 75)).to_score()
    ((_, mono),) = player.stems(score, {0: "flute"})
    starts, ends = sampled.spans(score, score.tracks[0])
    fall = performers.STEEPNESS * sampled.BEHAVIOUR["flute"]["release"]
    expected = np.zeros_like(mono)
    for first in (0, 3, 6):
        part = slice(first, first + 3)
        seconds, pitches = (ends - starts)[part] / sampled.SR, [note.pitch for note in score.tracks[0].notes[part]]
        sounds = player.loaded.render_notes(
            pitches, score.tracks[0].notes[0].velocity, "flute", seconds, seed=5 + first, release=fall
        )
        for start, sound in zip(starts[part], sounds, strict=True):
            expected[start : start + len(sound)] += sound.numpy()
    np.testing.assert_allclose(mono, expected, atol=1e-6)


def test_file_number_and_nearest_instrument(tmp_path):
    write_midi(tmp_path / "a.mid", Melody.from_pitches([60, 62]))
    assert musicai.perform(tmp_path / "a.mid", performer="sampled").seconds > 1
    with pytest.raises(ValueError, match="instruments=73: give names"):
        musicai.perform(Melody.from_pitches([60]), 73)
    with pytest.raises(ValueError, match="_sax"):
        musicai.perform(Melody.from_pitches([60]), "saxophone")


def test_wrong_arguments_are_named():
    for wrong, message in [
        ({"performer": None}, "no performer None; choose from auto"),
        ({"performer": []}, r"no performer \[\]"),
        ({"seed": -1}, "seed -1 is not a whole number from 0"),
        ({"seed": 0.5}, "seed 0.5 is not a whole number"),
        ({"like": torch.zeros(2, 9)}, "like= needs a file, an Audio, or a pair"),
    ]:
        with pytest.raises(ValueError, match=message):
            musicai.perform(CHORD, **wrong)
