import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.data.musicai_notes import MusicAIDrums, MusicAINotes
from musicai.notes import Melody, Note, Score, Track
from musicai.performance import INSTRUMENTS, PROGRAMS, render
from musicai.performance.sampled import BEHAVIOUR, extend, find_loop, layers

SR = 16_000
CENTRE = np.sqrt(0.5)


def play(pitch=60, seconds=0.8, velocity=75, program=0, **fields):
    """One note at a beat a second, left channel, with the loss of the centre pan undone."""
    track = Track((Note(pitch, 0, seconds, velocity),), program, **fields)
    return render(Score((track,), ((0.0, 60.0),)))[0].numpy() / CENTRE


def program_of(name):
    return PROGRAMS.index(name)


def middle(name):
    pitches = sorted(layers(name))
    return pitches[len(pitches) // 2]


def cents(x, pitch):
    """How far librosa.pyin hears x from a pitch: the median of its voiced frames."""
    hz = librosa.midi_to_hz(pitch)
    f0, voiced, _ = librosa.pyin(x, fmin=max(25, hz / 2.5), fmax=min(7000, max(250, hz * 2.5)), sr=SR, hop_length=1024)
    f0 = f0[voiced] if voiced.any() else f0
    return 1200 * np.log2(np.nanmedian(f0) / hz) if np.isfinite(f0).any() else np.inf


def roughness(x):
    """Energy at high frequencies (a fourth difference) in frames of 4 ms."""
    d = np.diff(x, 4)
    return np.sqrt(np.square(d[: len(d) // 64 * 64]).reshape(-1, 64).mean(axis=1))


def test_there_is_an_instrument_for_every_program():
    assert MusicAINotes(None).instruments == INSTRUMENTS
    assert len(PROGRAMS) == 128
    assert set(PROGRAMS) == set(INSTRUMENTS)
    assert [PROGRAMS[p] for p in (0, 11, 19, 24, 33, 40, 42, 46, 48, 52, 56, 60, 65, 71, 73)] == [
        "acoustic_grand_piano", "vibraphone", "church_organ", "nylon_guitar", "electric_bass", "violin", "cello",
        "harp", "string_ensemble", "choir", "trumpet", "french_horn", "alto_sax", "clarinet", "flute",
    ]  # fmt: skip


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_a_sampled_note_is_its_recording(name):
    pitch = middle(name)
    recording = layers(name)[pitch][75].audio().numpy()[: int(0.9 * SR)]
    made = play(pitch, 0.9, 75, program_of(name))[: int(0.9 * SR)]
    as_it_is = int(0.3 * SR) if not BEHAVIOUR[name]["decays"] else len(made)  # before the loop, which is levelled
    np.testing.assert_allclose(made[:as_it_is], recording[:as_it_is], atol=0.01 * np.abs(recording).max())
    assert np.corrcoef(made, recording)[0, 1] > 0.99


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_a_note_ends_without_a_click(name):
    seconds, pitch = 0.5, middle(name)
    x = play(pitch, seconds, 100, program_of(name))
    end = int(seconds * SR / 64)
    rough = roughness(x)
    before = rough[end - 20 : end - 2].max()  # the 72 ms before the end
    assert rough[end - 2 :].max() < 1.3 * before
    assert np.abs(x[-16:]).max() < 1e-4
    if name not in ("marimba", "violin"):  # one is silent by now, the other's own treble hides a cut: the rest show it
        cut = int(seconds * SR) + int(np.abs(x[int(seconds * SR) :][:64]).argmax())
        assert roughness(np.where(np.arange(len(x)) < cut, x, 0))[end - 2 : end + 3].max() > 1.3 * before


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_pitch_is_right_on_sampled_moved_and_held_notes(name):
    pitches = sorted(layers(name))
    for pitch in (pitches[len(pitches) // 4], pitches[len(pitches) // 2]):
        if abs(cents(layers(name)[pitch][100].audio().numpy()[1600:12_000], pitch)) > 30:
            continue  # the tracker is wrong on the recording itself
        held = play(pitch, 2.4, 100, program_of(name))
        part = held[int(1.3 * SR) : int(2.3 * SR)] if not BEHAVIOUR[name]["decays"] else held[1600 : 2 * SR]
        assert abs(cents(part, pitch)) < 30, pitch


@pytest.mark.parametrize(("name", "move"), [("violin", -4), ("cello", 6), ("trumpet", -5), ("flute", 5), ("harp", 9)])
def test_a_pitch_that_was_not_sampled_is_moved_from_its_neighbour(name, move):
    pitch = min(layers(name)) + move if move < 0 else max(layers(name)) + move
    assert pitch not in layers(name)
    assert abs(cents(play(pitch, 0.8, 100, program_of(name))[1600:12_000], pitch)) < 30


@pytest.mark.parametrize("name", [name for name in INSTRUMENTS if not BEHAVIOUR[name]["decays"]])
def test_a_held_note_goes_on(name):
    x = play(middle(name), 6, 100, program_of(name))
    level = np.sqrt(np.square(x[SR // 2 : 6 * SR - SR // 2]).reshape(-1, SR // 2).mean(axis=1))
    assert 20 * np.log10(level.max() / level.min()) < 6
    rough = roughness(x)
    assert rough[250:1500].max() < 1.6 * rough[50:240].max()  # no clicks where the loop closes


@pytest.mark.parametrize("name", [name for name in INSTRUMENTS if BEHAVIOUR[name]["decays"]])
def test_a_plucked_note_dies_away(name):
    x = play(middle(name), 5, 100, program_of(name))
    level = np.sqrt(np.square(x[: 5 * SR]).reshape(-1, SR).mean(axis=1))
    assert (level[1:] < level[:-1] + 1e-9).all()
    assert level[4] < 0.3 * level[0]


@pytest.mark.parametrize(("rate", "decays"), [(-2.0, True), (0.0, False)])
def test_a_sine_held_past_its_recording_is_the_longer_sine(rate, decays):
    t = np.arange(4 * SR) / SR
    truth = np.exp(rate * t) * np.sin(2 * np.pi * 440 * t)
    recording = truth[:SR].copy()
    recording[-320:] *= np.linspace(1, 0, 320)
    made = extend(recording, len(t), decays, find_loop(recording))
    np.testing.assert_allclose(made, truth, atol=0.02)


def test_velocity_scales_by_its_square_within_a_layer_and_grows_throughout():
    loud, soft = play(velocity=84, program=0), play(velocity=70, program=0)
    np.testing.assert_allclose(soft, loud * (70 / 84) ** 2, atol=1e-6)
    power = [np.square(play(velocity=v, program=56)).mean() for v in range(10, 111, 10)]
    assert (np.diff(power) > 0).all()


def test_pan_is_equal_power():
    def sides(pan):
        return render(Score((Track((Note(60, 0, 1),), pan=pan),))).square().sum(dim=1)

    total = sides(0.0).sum()
    assert float(sides(-1.0)[1] / total) < 1e-12
    assert float(sides(1.0)[0] / total) < 1e-12
    for pan in (-1.0, -0.4, 0.7, 1.0):
        torch.testing.assert_close(sides(pan).sum(), total, rtol=1e-4, atol=0)
    assert sides(-0.4)[0] > sides(-0.4)[1]


def test_tracks_add_up():
    a = Track((Note(60, 0, 1, 50), Note(67, 1, 1, 50)), program=40, pan=-0.5)
    b = Track((Note(48, 0.5, 2, 50),), program=42, pan=0.5)
    both, one, two = (render(Score(tracks)) for tracks in ((a, b), (a,), (b,)))
    length = max(one.shape[1], two.shape[1])
    assert both.shape[1] == length
    sum_ = sum(torch.nn.functional.pad(x, (0, length - x.shape[1])) for x in (one, two))
    torch.testing.assert_close(both, sum_, atol=1e-6, rtol=0)


def test_a_loud_mix_is_scaled_down_as_a_whole():
    notes = tuple(Note(pitch, 0, 1, 127) for pitch in range(40, 80, 2))
    loud = render(Score((Track(notes, program=19),)))
    soft = render(Score((Track(tuple(Note(n.pitch, 0, 1, 88) for n in notes[:1]), program=19),)))
    assert float(loud.abs().max()) == pytest.approx(0.98, abs=1e-5)
    assert float(soft.abs().max()) < 0.98
    shapes = [render(Score((Track(tuple(Note(n.pitch, 0, 1, v) for n in notes), program=19),))) for v in (100, 127)]
    torch.testing.assert_close(*shapes, atol=1e-5, rtol=0)


def test_tempo_changes_are_followed():
    score = Score((Track((Note(60, 0, 0.1), Note(60, 4, 0.1), Note(60, 6, 0.1))),), ((0.0, 120.0), (4.0, 60.0)))
    x = render(score)[0].numpy()
    for start in (0, 2, 4):  # seconds
        assert np.abs(x[int((start - 0.05) * SR) : start * SR]).max(initial=0) < 1e-4
        assert np.abs(x[start * SR : int((start + 0.05) * SR)]).max() > 0.01


def test_drums_play_their_recording_and_ring_out():
    snare = next(e for e in MusicAIDrums(None).manifest if e.note == "standard_kit-038-100")
    x = play(38, 0.05, 100, is_drum=True)
    np.testing.assert_allclose(x[: SR // 2], 2 * snare.audio().numpy()[: SR // 2], atol=1e-5)
    jazz, brush = (play(38, 0.05, 100, program, is_drum=True) for program in (32, 40))
    assert np.abs(jazz - brush).max() > 0.01
    for key in (0, 27, 34, 82, 127):
        assert np.abs(play(key, 0.1, 100, is_drum=True)).max() > 0.01


def test_a_closed_hi_hat_ends_an_open_one():
    def tail(keys):
        notes = tuple(Note(key, 0.25 * i, 0.1, 60) for i, key in enumerate(keys))
        x = render(Score((Track(notes, is_drum=True),), ((0.0, 60.0),)))[0]
        return float(x[int(0.6 * SR) : int(0.9 * SR)].square().mean())

    assert tail([46, 42]) < 0.2 * tail([46])


@pytest.mark.parametrize(
    ("score", "words"),
    [
        ([60, 62], "cannot play a list"),
        (Melody((Note(60, 0, 10_000),)), "83 minutes; render at most 60"),
    ],
)
def test_what_cannot_be_rendered_is_refused(score, words):
    with pytest.raises(ValueError, match=words):
        render(score)


NOTES = st.builds(
    Note, st.integers(0, 127), st.floats(0, 4), st.floats(1e-4, 4), st.integers(1, 127)
)  # any pitch, overlaps, very short and very long
TRACKS = st.builds(
    Track, st.lists(NOTES, min_size=1, max_size=6), st.integers(0, 127), st.booleans(), pan=st.floats(-1, 1)
)


@settings(max_examples=30, deadline=None)
@given(st.lists(TRACKS, min_size=1, max_size=3), st.floats(30, 300))
def test_any_score_becomes_sound(tracks, bpm):
    score = Score(tuple(tracks), ((0.0, bpm),))
    x = render(score)
    assert x.dtype == torch.float32
    assert x.shape[0] == 2
    assert x.isfinite().all()
    assert float(x.abs().max()) <= 0.98 + 1e-6
    starts = [score.seconds(note.start) for note in score.notes]
    assert max(starts) < x.shape[1] / SR <= score.seconds(score.duration) + 1.001
    assert torch.equal(x, render(score))
