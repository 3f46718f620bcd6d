"""The simulated singer: asked-for error rates, seeds, pitch as intended, noise, level."""

import librosa
import numpy as np
import pytest

from musicai.notes import Melody
from musicai.search import excerpt, hum, perturb, sing

STEPS = np.random.default_rng(7).choice([1, 2, 3], 160) * np.resize([1, 1, -1, -1, 1, -1], 160)
TUNE = Melody.from_pitches(60 + np.cumsum(STEPS), 0.5, name="a tune", tempo=100)


def ladder(notes: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Notes that lie so far apart that each can be told by its pitch alone."""
    return 100.0 * np.arange(notes), np.arange(notes) / 2, np.full(notes, 0.4)


def within(count: int, n: int, chance: float) -> bool:
    """Whether a binomial count is within four and a half standard deviations of what was asked for."""
    return abs(count - n * chance) <= 4.5 * np.sqrt(n * chance * (1 - chance))


@pytest.mark.parametrize("times", [1, 2])
def test_errors_are_as_frequent_as_asked(times):
    notes = 4000
    pitches, starts, durations = perturb(ladder(notes), 3, times=times)
    origin, off = np.round(pitches / 100).astype(int), np.abs(pitches - 100 * np.round(pitches / 100))
    extra = np.r_[False, np.diff(origin) == 0]
    kept = off[~extra]
    # An extra note whose own note is missing looks like a substitution, which happens once in 600 notes.
    assert within(np.count_nonzero(kept == 12), notes, 0.02 * times)
    assert within(np.count_nonzero((kept > 0) & (kept < 12)), notes, 0.08 * times + 0.04 * 0.04 * times**2)
    assert within(np.count_nonzero(extra), notes, 0.04 * times * (1 - 0.04 * times))
    assert within(notes - len(np.unique(origin)), notes, 0.04 * times * (1 - 0.04 * times))
    steps = np.diff(starts) / 0.5
    assert steps.min() >= 1 - 0.15 * times
    assert steps.max() <= 1 + 0.15 * times
    assert steps.std() == pytest.approx(0.15 * times / np.sqrt(3), rel=0.05)
    assert np.allclose(durations[:-1] / np.diff(starts), 0.8)


def test_no_errors_change_nothing_and_all_notes_missing_leave_one():
    for got, given in zip(perturb(ladder(50), 1, times=0), ladder(50), strict=True):
        np.testing.assert_allclose(got, given, atol=1e-12)
    pitches, starts, durations = perturb(TUNE, 1, deletions=1, insertions=0)
    assert len(pitches) == len(starts) == len(durations) == 1
    with pytest.raises(ValueError, match="no notes"):
        perturb(Melody(()))


def test_excerpts_are_consecutive_and_from_everywhere():
    firsts = set()
    for seed in range(60):
        part = excerpt(TUNE, 150, seed)
        assert (len(part), part.starts[0], part.name, part.tempo) == (150, 0, "a tune", 100)
        matches = [i for i in range(11) if np.array_equal(TUNE.pitches[i : i + 150], part.pitches)]
        assert len(matches) == 1
        firsts |= set(matches)
    assert firsts == set(range(11))
    assert len(excerpt(TUNE, 500)) == 160


def test_seeds_decide_everything():
    settings = {"seconds": 2, "room": 0.3, "snr": 10}
    one, again, other = (hum(TUNE, seed, **settings)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.01
    generator = np.random.default_rng(1)
    np.testing.assert_array_equal(hum(TUNE, generator, **settings)[0], one)
    assert not np.array_equal(hum(TUNE, generator, **settings)[0], one)
    np.testing.assert_array_equal(perturb(TUNE, 5)[0], perturb(TUNE, 5)[0])


def plateaus(pitches: np.ndarray) -> np.ndarray:
    """The pitches on which a curve rests for 24 ms."""
    flat = [x[-1] for x in np.lib.stride_tricks.sliding_window_view(pitches, 6) if np.ptp(x) < 0.03]
    return np.array([x for i, x in enumerate(flat) if i == 0 or abs(x - flat[i - 1]) > 0.3])


def test_a_flawless_singer_sings_the_tune_in_another_key():
    for seed in range(5):
        pitches, loudness, rate = sing(TUNE, seed, seconds=6, errors=0)
        assert len(pitches) == len(loudness) == 6 * rate
        sung = plateaus(pitches)
        assert len(sung) > 10
        moved = np.diff(sung)
        np.testing.assert_allclose(moved, np.round(moved), atol=0.05)
        steps = np.round(moved).astype(int)
        windows = np.lib.stride_tricks.sliding_window_view(TUNE.intervals, len(steps))
        assert (windows == steps).all(1).any()


def test_a_person_drifts_but_keeps_to_the_tune():
    errors = []
    for seed in range(40):
        person, flawless = (sing(TUNE, seed, seconds=4, errors=e)[0] for e in (1, 0))
        errors.append(np.nanmedian(np.abs(person - flawless)[:500]))
    assert 0.1 < np.median(errors) < 1.5


@pytest.mark.parametrize("voice", ["vowel", "hum", "whistle"])
def test_another_tracker_hears_the_intended_pitch(voice):
    generator = np.random.default_rng(4)  # `hum` and `sing` draw the same person from the same generator
    register = (82, 4) if voice == "whistle" else (53, 5)
    intended, loudness, rate = sing(TUNE, 4, seconds=2.5, errors=0, register=register)
    audio, sr = hum(TUNE, generator, seconds=2.5, errors=0, voice=voice)
    lowest = 400 if voice == "whistle" else 80
    f0, voiced, _ = librosa.pyin(audio, fmin=lowest, fmax=5 * lowest, sr=sr, frame_length=1024, hop_length=256)
    at = np.minimum((np.arange(len(f0)) * 256 / sr * rate).astype(int), len(intended) - 1)
    both = voiced & ~np.isnan(intended[at]) & (loudness[at] > 0.3)
    assert both.sum() > 0.6 * np.count_nonzero(~np.isnan(intended[at]))
    near = np.abs(librosa.hz_to_midi(f0[both]) - intended[at][both]) < 0.5
    assert near.mean() > 0.85


@pytest.mark.parametrize("snr", [0, 10, 20])
def test_noise_is_as_loud_as_asked(snr):
    clean, noisy = (hum(TUNE, 2, seconds=3, room=0.3, snr=s)[0].astype(float) for s in (None, snr))
    scale = np.dot(clean, noisy) / np.dot(clean, clean)  # the sum may have been turned down
    noise = noisy - scale * clean
    assert 10 * np.log10(np.sum((scale * clean) ** 2) / np.sum(noise**2)) == pytest.approx(snr, abs=0.5)


def test_levels_are_sane():
    for seed in range(12):
        for snr in (None, -10):
            audio, sr = hum(TUNE, seed, seconds=2, room=0.5 * (seed % 2), snr=snr)
            assert (audio.dtype, sr, audio.shape) == (np.float32, 16_000, (32_000,))
            assert np.isfinite(audio).all()
            assert np.abs(audio).max() <= 0.99
            assert 10 ** (-32 / 20) < np.sqrt(np.mean(audio**2)) < 10 ** (-8 / 20)
    short, _ = hum(Melody.from_pitches([60]), seconds=1)
    assert np.isfinite(short).all()
    with pytest.raises(ValueError, match="'yodel' is unknown"):
        hum(TUNE, voice="yodel")


def test_echoes_ring_on_after_the_last_note():
    for seed in range(4):
        tune = Melody.from_pitches([60, 62, 64, 65])
        loudness = sing(tune, np.random.default_rng(seed), seconds=4)[1]
        dry, wet = (hum(tune, seed, seconds=4, room=room, voice="hum")[0] for room in (0, 1.0))
        end = int((np.flatnonzero(loudness > 0.01)[-1] / 250 + 0.1) * 16_000)
        assert np.mean(wet[end : end + 3200] ** 2) > 10 * np.mean(dry[end : end + 3200] ** 2)
