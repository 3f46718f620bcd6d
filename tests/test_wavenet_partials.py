"""The partials of a score: known curves give known sines, sample by sample; the network tells whose they are."""

import itertools
import json
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.notes import Note, Score, Track, midi_to_hz
from musicai.pretrained import PretrainedError
from musicai.wavenet import Partials, ScoreConfig, ScoreWaveNet, score_frames
from musicai.wavenet.scores import CHANNELS, LOUDER, ScoreConditioner, notes_of

SR, HOP, COUNT = 8000, 80, 3
KEYS = range(21, 109)
SECONDS = ((0.0, 60.0),)  # the tempo at which a beat is a second
NUMBERS = st.floats(-1, 1)
CURVES = st.lists(NUMBERS, min_size=2 * COUNT + 1, max_size=2 * COUNT + 1)
NOTES, FEW = (
    st.builds(Note, st.sampled_from(keys), st.floats(0, 0.9), st.floats(0.02, 1.0), st.integers(1, 127))
    for keys in (KEYS, (57, 69))
)


def score_of(*notes: Note) -> Score:
    return Score((Track(tuple(notes)),), SECONDS)


def frames_of(*notes: Note, seconds: float = 1.0) -> torch.Tensor:
    return score_frames(score_of(*notes), SR, HOP, round(seconds * SR))


def constant(curves: list[float], instruments: int = 1) -> Partials:
    """Partials whose network says the same of all notes at all times."""
    partials = Partials([*KEYS], instruments, SR, HOP, len(curves) // 2).requires_grad_(False)
    partials.curves.weight.zero_()
    partials.curves.bias.copy_(torch.tensor(curves))
    return partials


def untrained(instruments: int = 2) -> Partials:
    torch.manual_seed(0)
    return Partials([*KEYS], instruments, SR, HOP, COUNT)


def heard(partials: Partials, frames: torch.Tensor, instrument: int = 0) -> np.ndarray:
    """Waves (2 x count, time)."""
    with torch.no_grad():
        return partials(notes_of(frames[None]), torch.tensor([instrument]))[0][0].double().numpy()


def alike(waves: np.ndarray, others: np.ndarray) -> bool:
    """Equal but for rounding: the last bit of a matrix product depends on how many rows it has and on the processor,
    and after thousands of turns, a float32's last bit is a few thousandths of a radian."""
    return np.allclose(waves, others, rtol=0, atol=5e-3 * np.abs(others).max(initial=0))


def truth(notes: tuple[Note, ...], curves: list[float], samples: int) -> np.ndarray:
    """What `constant(curves)` should play, (2 x count, samples): the docstring's formula, note by note, in NumPy."""
    count, waves, now = len(curves) // 2, np.zeros((2, len(curves) // 2, samples)), np.arange(samples)
    c, s, drift = np.array(curves[:count]), np.array(curves[count : 2 * count]), curves[-1]
    for note, until in sounding(notes):
        start, hz = round(SR * note.start), midi_to_hz(note.pitch)
        turns = hz * (now - start) / SR + drift
        on = (now >= start) & (now < until)
        for k in (k for k in range(1, count + 1) if k * hz < SR / 2):
            for half, quarter in enumerate((0, 0.25)):
                angle = 2 * np.pi * (k * turns + quarter)
                wave = c[k - 1] * np.sin(angle) + s[k - 1] * np.cos(angle)
                waves[half, k - 1] += on * wave * (note.velocity / 127) ** 2
    return waves.reshape(2 * count, samples)


def sounding(notes: tuple[Note, ...]) -> list[tuple[Note, int]]:
    """Each note, and the sample from which it is heard no more: half a second past its end, in whole frames; or where
    the next but one of its key needs its place.
    """
    by_key, found = defaultdict(list), []
    for note in score_of(*notes).tracks[0].notes:
        by_key[note.pitch].append(note)
    for same in by_key.values():
        for i, note in enumerate(same):
            until = (round(SR * note.end) + SR // 2) // HOP * HOP + HOP
            later = [round(SR * other.start) // HOP * HOP for other in same[i + 2 :]]
            found.append((note, min([until, *later])))
    return found


# ---- the waves


@settings(max_examples=60, deadline=None)
@given(NOTES, CURVES)
def test_a_note_is_its_partials_from_its_first_sample(note, curves):
    """Level, phase and drift; silence before, to the sample; nothing above sr / 2."""
    waves = heard(constant(curves), frames_of(note))
    assert np.allclose(waves, truth((note,), curves, SR), atol=5e-3)  # float32 counts up to 4000 turns
    assert not waves[:, : round(SR * note.start)].any()
    too_high = [k for k in range(1, COUNT + 1) if k * midi_to_hz(note.pitch) >= SR / 2]
    assert not waves.reshape(2, COUNT, SR)[:, [k - 1 for k in too_high]].any()


@pytest.mark.parametrize("offset", [0, 1, 7, 13, 31, 79])
def test_the_first_sample_is_heard_wherever_it_lies_in_its_frame(offset):
    start = 2 * HOP + offset
    waves = heard(constant([0.0, 1.0, 0.0]), frames_of(Note(69, start / SR, 0.5, 127)))  # a cosine: it begins with 1
    assert waves[0].nonzero()[0][0] == start
    assert waves[0, start] == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(st.lists(NOTES | FEW, max_size=6), CURVES)
def test_notes_are_summed(notes, curves):
    """Those of one key too; but the third takes the first one's place."""
    waves = heard(constant(curves), frames_of(*notes))
    assert np.allclose(waves, truth(tuple(notes), curves, SR), atol=5e-3 * max(len(notes), 1))


def test_a_note_played_again_begins_anew_while_the_first_fades():
    again = tuple(Note(69, start, 0.2, 127) for start in (0.101, 0.301, 0.501, 0.901))
    curves = [0.5, 0.0, 0.0, 0.0, 0.3, 0.0, 0.1]
    waves = heard(constant(curves), frames_of(*again))
    assert np.allclose(waves, truth(again, curves, SR), atol=5e-3)
    alone = heard(constant(curves), frames_of(again[0]))
    assert np.allclose(waves[:, :2408], alone[:, :2408])  # up to the second note
    later = waves[:, 2408:4000] - alone[:, 2408:4000]  # the first note's end is heard beneath it
    assert np.allclose(later, alone[:, 808:2400], atol=5e-3)


def test_silence_gives_zeros():
    partials = untrained()
    waves, known = partials(torch.zeros(2, 3, 2, 88, 5), torch.tensor([0, 1]))
    assert waves.shape == (2, 2 * COUNT, 5 * HOP)
    assert known.shape == (2, partials.hidden, 5)
    assert not waves.any()
    assert not known.any()


@settings(max_examples=30, deadline=None)
@given(st.lists(NOTES, min_size=1, max_size=4), st.lists(st.integers(1, 99), max_size=3))
def test_frames_can_be_cut_anywhere(notes, cuts):
    """What is played of a frame depends on that frame alone."""
    partials, frames = untrained(), frames_of(*notes)
    edges = [0, *sorted(set(cuts)), 100]
    parts = [heard(partials, frames[:, a:b]) for a, b in itertools.pairwise(edges)]
    assert alike(np.concatenate(parts, axis=1), heard(partials, frames))


def test_a_held_note_goes_round():
    """Past the loop's end, the sound is what it was a loop earlier, but for the network's knowing that it is held."""
    partials, end, length = untrained(), 0.4 + 0.5 / SR, 0.25
    partials.loops[39] = torch.tensor([end, length])
    partials.layers[0].weight.data[:, -1] = 0  # it is not told
    waves = heard(partials, frames_of(Note(60, 0.0, 3.0), seconds=3.0))
    begin, step, last = round((end - length) * SR) + HOP, round(length * SR), round(2.9 * SR)
    assert np.allclose(waves[:, begin : last - step], waves[:, begin + step : last], atol=1e-5)
    early = slice(begin - 2 * HOP, begin)
    assert not np.allclose(waves[:, early], waves[:, early.start + step : early.stop + step], atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.lists(NOTES, min_size=1, max_size=4))
def test_the_sketch_is_the_sum_of_the_waves(notes):
    partials, frames = untrained(), notes_of(frames_of(*notes)[None])
    with torch.no_grad():
        sketch = partials.sketch(frames, torch.tensor([1]))[0].numpy()
    assert np.allclose(sketch, heard(partials, frames_of(*notes), 1)[:COUNT].sum(0), atol=1e-4)


# ---- the network


def test_curves_are_interpolated_within_a_frame():
    """A level of (10 t)^2 and a drift of t: exact where frames begin, straight between."""
    partials = untrained()

    def known(who, velocity, age, ended, rounds):
        curves = age.new_zeros(len(age), 2 * COUNT + 1)
        curves[:, 0], curves[:, -1] = (10 * age) ** 2, age
        return age.new_zeros(len(age), partials.hidden), curves

    partials.predict = known
    waves = heard(partials, frames_of(Note(60, 0.0, 1.0), seconds=0.5))
    now = np.arange(SR // 2) / SR
    edges = np.arange(51) * HOP / SR
    angle = 2 * np.pi * (midi_to_hz(60) * now + now)
    assert np.allclose(waves[0], np.interp(now, edges, (10 * edges) ** 2) * np.sin(angle), atol=2e-2)
    assert np.abs(waves[0]).max() > 20  # so 2e-2 is a thousandth
    assert np.allclose(waves[COUNT], np.interp(now, edges, (10 * edges) ** 2) * np.cos(angle), atol=2e-2)
    assert not waves[[1, 2, 4, 5]].any()


def test_instrument_and_key_have_an_embedding_of_their_own():
    """Only the row of the one and the other hears of a loss; and all the rest of the network does."""
    partials, frames = untrained(instruments=3), frames_of(Note(60, 0.1, 0.4), Note(64, 0.3, 0.4))
    partials(notes_of(frames[None]), torch.tensor([2]))[0].square().sum().backward()
    rows = partials.key.weight.grad.abs().sum(1).nonzero().flatten()
    assert rows.tolist() == [2 * 88 + 60 - 21, 2 * 88 + 64 - 21]
    for name, parameter in partials.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert partials.curves.weight.grad.any(1).all()  # of levels, phases and drift


def test_each_of_a_batch_has_its_instrument():
    partials = untrained(instruments=3)
    frames = torch.stack([frames_of(Note(60, 0.1, 0.4)), frames_of(Note(60, 0.1, 0.4)), frames_of(Note(67, 0.2, 0.1))])
    with torch.no_grad():
        waves = partials(notes_of(frames), torch.tensor([0, 2, 2]))[0].numpy()
    for i, instrument in enumerate((0, 2, 2)):
        assert alike(waves[i], heard(partials, frames[i], instrument))
    assert np.abs(waves[0] - waves[1]).max() > 0.1 * np.abs(waves[0]).max()


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 0.6), st.floats(0.02, 0.3), st.floats(0.02, 0.3))
def test_nobody_knows_when_a_key_will_be_let_go(start, one, other):
    partials = untrained()
    waves = [heard(partials, frames_of(Note(60, start, duration))) for duration in (one, other)]
    until = round(SR * (start + min(one, other))) // HOP * HOP  # the frame of the first end
    assert alike(*(wave[:, :until] for wave in waves))
    assert np.abs(waves[0]).max() > 0


def test_before_its_first_sample_a_note_has_no_age():
    partials, who, half = untrained(), torch.tensor([39, 39]), torch.tensor([0.5, 0.5])
    with torch.no_grad():
        curves = partials.predict(who, half, torch.tensor([-0.009, 0.0]), -half)[1]
        later = partials.predict(who, half, torch.tensor([0.009, 0.0]), -half)[1]
    assert torch.equal(curves[0], curves[1])
    assert not torch.equal(later[0], later[1])


def test_louder_notes_are_louder():
    """Levels go with the square of the velocity, whatever else the network makes of it; the drift does not."""
    partials = constant([0.2, 0.1, -0.1, 0.3, 0.0, 0.0, 0.25])
    loud, soft = (heard(partials, frames_of(Note(60, 0.0, 1.0, velocity))) for velocity in (120, 30))
    assert np.allclose(loud, 16 * soft, atol=1e-5)


# ---- what a WaveNet is given of them


def test_the_conditioner_mixes_partials_and_upsamples_what_is_known():
    """At first: the sum of all partials and then single ones, LOUDER; and both a quarter of a turn on."""
    torch.manual_seed(0)
    shape = {"partials": COUNT, "wave_channels": 6, "score_channels": 4}
    conditioner = ScoreConditioner(ScoreConfig(upsample=(8, 10), sr=SR, instruments=("flute", "cello"), **shape))
    frames, who = frames_of(Note(60, 0.1, 0.4), Note(67, 0.3, 0.4))[None], torch.tensor([1])
    with torch.no_grad():
        told = conditioner(frames, who)[0].double().numpy()
        sketch = conditioner.sketch(frames, who)[0].double().numpy()
    waves = heard(conditioner.partials, frames[0], 1)
    assert told.shape == (4 + 6, SR)
    wanted = [waves[:COUNT].sum(0), waves[0], waves[1], waves[COUNT:].sum(0), waves[COUNT], waves[COUNT + 1]]
    assert np.allclose(told[4:], LOUDER * np.array(wanted), atol=1e-5)
    assert np.allclose(sketch, waves[:COUNT].sum(0), atol=1e-6)
    assert np.abs(sketch).max() > 1e-3


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40))
def test_any_number_of_partials_and_channels_fits(partials, channels):
    config = ScoreConfig(upsample=(2, 2), partials=partials, wave_channels=channels, score_channels=1)
    with torch.no_grad():
        assert ScoreConditioner(config)(torch.zeros(1, CHANNELS, 3), torch.tensor([0])).shape == (1, 1 + channels, 12)


@pytest.mark.parametrize("name", ["score_channels", "partials", "wave_channels", "sr"])
def test_nothing_cannot_be_asked_for(name):
    with pytest.raises(ValueError, match=f"{name} must be 1 or more; got 0"):
        ScoreConfig(**{name: 0})


def test_a_trillion_samples_a_frame_are_refused_at_once(tmp_path):
    """A stranger's configuration may not fill the memory: forty small layers, whose product is 2^40."""
    small = {"residual_channels": 2, "skip_channels": 2, "end_channels": 2}
    ScoreWaveNet(layers=2, stacks=1, **small).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"upsample": [2] * 40}))
    with pytest.raises(PretrainedError, match="far larger than its weights"):
        ScoreWaveNet.from_pretrained(tmp_path)


def test_many_threads_sum_in_one_order():
    """Rounding depends on the order of a sum, and a WaveNet's draws on rounding: the same seed gives the same sound."""
    partials, threads = untrained(), torch.get_num_threads()
    frames = frames_of(*(Note(key, 0.01 * key / 40, 0.9) for key in range(40, 90)))
    torch.set_num_threads(2)
    try:
        first, *others = [heard(partials, frames) for _ in range(5)]
    finally:
        torch.set_num_threads(threads)
    assert all(np.array_equal(first, other) for other in others)
