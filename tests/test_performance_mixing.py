"""Mixing: known loudness and known peaks, equal power, an echo that is a convolution, and the bar on any material."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.performance import add_room, limiter, loudness, master, mix, mixing, place, room, seats, true_peaks

SR = mixing.SR


def tone(hertz=997.0, seconds=2.0, level=0.0, phase=0.0):
    """A sine, its peaks at `level` dB."""
    time = np.arange(round(seconds * SR)) / SR
    return (10 ** (level / 20) * np.sin(2 * np.pi * hertz * time + phase)).astype(np.float32)


def stereo(left, right=None):
    return np.stack([left, left if right is None else right])


def decibels(x):
    return 20 * np.log10(np.max(x))


def strokes(rng, seconds=8):
    """Percussion without mercy: bursts of noise 3 ms long, twice a second."""
    sound = np.zeros(round(seconds * SR), np.float32)
    for first in range(0, len(sound) - 800, SR // 2):
        sound[first : first + 800] += rng.standard_normal(800) * np.exp(-np.arange(800) / 48)
    return sound


def test_a_997_hz_sine_has_the_loudness_of_the_standard():
    """BS.1770-4: at full scale in one channel it reads -3.01 LKFS; a second channel adds 3 dB."""
    one = np.stack([tone(), np.zeros(2 * SR, np.float32)])
    assert loudness(one) == pytest.approx(-3.01, abs=0.1)
    assert loudness(stereo(tone(level=-20))) == pytest.approx(-20, abs=0.1)


def test_silence_around_a_sound_does_not_count():
    sound, silence = stereo(tone(seconds=10)), np.zeros((2, 20 * SR), np.float32)
    assert loudness(np.concatenate([silence, sound, silence], 1)) == pytest.approx(loudness(sound), abs=0.3)
    assert loudness(silence) == -np.inf


def test_blocks_make_no_difference(monkeypatch):
    rng = np.random.default_rng(0)
    sound = rng.standard_normal((2, 40_000)).astype(np.float32) * np.linspace(0.05, 0.3, 40_000, dtype=np.float32)
    whole = loudness(sound), true_peaks(sound), add_room(sound)
    monkeypatch.setattr(mixing, "BLOCK", 8192)
    assert loudness(sound) == pytest.approx(whole[0], abs=0.3)
    np.testing.assert_allclose(true_peaks(sound), whole[1], rtol=1e-3)
    np.testing.assert_allclose(add_room(sound), whole[2], atol=1e-5)


def test_peaks_between_samples_are_found():
    """A quarter of the sample rate, an eighth of a period late: every sample is 3.01 dB below the peak."""
    x = tone(SR / 4, phase=np.pi / 4)
    assert decibels(np.abs(x)) == pytest.approx(-3.01, abs=0.01)
    middle = true_peaks(stereo(x, 0 * x))[20:-20]
    np.testing.assert_allclose(20 * np.log10(middle), 0, atol=0.02)


def test_no_sample_is_above_its_true_peak():
    x = np.random.default_rng(0).uniform(-1, 1, (2, 5000)).astype(np.float32)
    peaks = true_peaks(x)
    assert len(peaks) == -(-5000 // mixing.HOP)
    hops = np.pad(np.abs(x).max(0), (0, -5000 % mixing.HOP)).reshape(-1, mixing.HOP).max(1)
    assert (peaks >= hops - 1e-6).all()


@given(st.floats(-1, 1))
def test_every_place_has_equal_power(pan):
    left, right = place(pan)
    assert left**2 + right**2 == pytest.approx(1, abs=1e-6)
    assert (left >= right) == (pan <= 1e-7) or abs(pan) < 1e-6


def test_seats_are_balanced_and_inner_parts_sit_outside():
    assert seats(0) == []
    for count in range(1, 9):
        assert len(seats(count)) == count
        assert abs(sum(seats(count))) <= mixing.INNER
    assert seats(3) == [-0.15, -0.45, 0.15]


def test_the_room_is_a_convolution_that_dies_away_by_60_db():
    click = np.zeros((2, 3), np.float32)
    click[:, 0] = 1
    heard = add_room(click, wet=0.5)
    heard[:, :3] -= click
    np.testing.assert_allclose(heard[:, : room().shape[1]], 0.5 * room(), atol=1e-6)
    np.testing.assert_allclose(np.square(room()).sum(1), 1, rtol=1e-5)
    power = np.square(room()).reshape(2, -1, 400).mean((0, 2))
    slope = np.polyfit(np.arange(1, len(power)) * 400 / SR, 10 * np.log10(power[1:]), 1)[0]
    assert slope == pytest.approx(-60 / mixing.REVERBERATION, rel=0.05)


def test_the_limiter_keeps_every_peak_below_and_leaves_quiet_music_alone():
    rng = np.random.default_rng(1)
    peaks = rng.uniform(0, 1, 500) ** 6 * 4
    gains = limiter(peaks, -1.0)
    assert (gains * peaks <= 10 ** (-1 / 20) + 1e-9).all()
    for shift in (-1, 1):  # also between hops, where the gain is interpolated
        assert (np.roll(gains, shift)[1:-1] * peaks[1:-1] <= 10 ** (-1 / 20) + 1e-9).all()
    assert (limiter(np.full(100, 0.75)) == 1).all()
    assert np.abs(np.diff(gains)).max() < 0.2


@pytest.mark.parametrize("what", ["tone", "noise", "strokes", "a stroke", "quiet", "short"])
def test_everything_is_as_loud_as_it_should_be_and_no_peak_is_too_high(what):
    rng = np.random.default_rng(2)
    noise = rng.standard_normal(6 * SR).astype(np.float32)
    sound = {
        "tone": tone(220, 5, -30),
        "noise": noise,
        "strokes": strokes(rng),
        "a stroke": strokes(rng, 0.6),
        "quiet": 1e-3 * noise,
        "short": tone(440, 0.1),
    }[what]
    mixed = mix([(sound, -0.3), (0.5 * sound[::-1], 0.6)])
    assert mixed.dtype == np.float32
    assert mixed.shape == (2, len(sound) + room().shape[1])
    assert decibels(true_peaks(mixed)) <= -1 + 1e-3
    assert loudness(mixed) == pytest.approx(-16, abs=1)


@pytest.mark.parametrize("parts", [[], [(np.zeros(5000, np.float32), 0.0)], [(np.zeros(0, np.float32), 0.0)]])
def test_silence_stays_silent(parts):
    mixed = mix(parts)
    assert mixed.shape[0] == 2
    assert not mixed.any()


def test_parts_are_placed_and_added():
    left, right = (mix([(tone(seconds=1), pan)]) for pan in (-1, 1))
    assert left[0].any()
    assert right[1].any()
    assert not left[1].any()
    assert np.abs(right[0]).max() < 1e-6
    parts = [(tone(300, 1), 0.0), (tone(500, 2), 0.2)]
    np.testing.assert_allclose(mix(parts), mix(iter(parts[::-1])), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3000), st.floats(1e-3, 100), st.integers(0, 1000))
def test_any_sound_is_mastered(length, scale, seed):
    sound = scale * np.random.default_rng(seed).standard_normal((2, length)).astype(np.float32)
    mastered = master(sound)
    assert mastered.shape == (2, length)
    assert np.isfinite(mastered).all()
    assert decibels(true_peaks(mastered)) <= -1 + 1e-3
