"""A known pitch is found again, notes come out of it, and what has no pitch says so."""

import numpy as np
import pytest
import torch

from musicai.search.contours import Contour, track_contour

SR = 16_000


def tone(pitches, sr=SR, harmonics=5):
    """A sound with harmonics whose pitch is given sample by sample."""
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((np.asarray(pitches, dtype=float) - 69) / 12)) / sr
    return 0.2 * sum(np.sin(h * phase) / h for h in range(1, harmonics + 1))


def error(contour, truth, sr=SR):
    """Semitones (frames,) between a contour and the pitch of each sample."""
    middles = np.minimum((np.arange(len(contour.pitches)) * sr / contour.rate).astype(int), len(truth) - 1)
    return contour.pitches - truth[middles]


@pytest.mark.parametrize(("low", "high"), [(36, 60), (55, 79), (72, 98)])
def test_a_sweep_with_vibrato_is_followed(low, high):
    t = np.arange(4 * SR) / SR
    truth = low + (high - low) * t / 4 + 0.3 * np.sin(2 * np.pi * 5.5 * t)
    wrong = np.abs(error(track_contour(tone(truth), SR), truth)[5:-5])
    assert np.isfinite(wrong).all()
    assert np.median(wrong) < 0.05
    assert np.quantile(wrong, 0.95) < 0.2


@pytest.mark.parametrize("sr", [8_000, 22_050, 44_100])
def test_the_sample_rate_does_not_matter(sr):
    truth = np.full(sr, 64.3)
    contour = track_contour(tone(truth, sr), sr)
    assert np.nanmedian(contour.pitches) == pytest.approx(64.3, abs=0.05)


def test_stereo_level_and_kind_of_array_do_not_matter():
    mono = tone(np.full(SR, 60.0)).astype(np.float32)
    one = track_contour(mono, SR)
    two = track_contour(torch.from_numpy(np.stack([mono, mono]) * 0.01), SR)
    np.testing.assert_allclose(one.pitches, two.pitches, atol=1e-3)


def test_a_missing_fundamental_is_heard():
    t = np.arange(SR) / SR
    audio = sum(np.sin(2 * np.pi * 200 * h * t) for h in (2, 3, 4, 5)) / 8
    assert np.nanmedian(track_contour(audio, SR).pitches) == pytest.approx(69 + 12 * np.log2(200 / 440), abs=0.1)


def test_noise_costs_little():
    rng = np.random.default_rng(0)
    truth = np.repeat([60.0, 64, 67, 62], SR // 2)
    audio = tone(truth)
    audio = audio + rng.normal(size=len(audio)) * np.sqrt((audio**2).mean() / 10)  # 10 dB
    wrong = np.abs(error(track_contour(audio, SR), truth))
    assert (wrong < 0.5).mean() > 0.9


def test_silence_between_notes_is_unvoiced():
    audio = np.concatenate([tone(np.full(SR, 60.0)), np.zeros(SR), tone(np.full(SR, 62.0))])
    contour = track_contour(audio, SR)
    assert not contour.voiced[110:190].any()
    assert contour.confidences[110:190].max() == 0
    assert contour.confidences[20:80].min() > 0.9


def test_notes_come_out_of_a_contour():
    truth = np.repeat([60.0, 62, 64, 64, 67], SR // 2)
    audio = tone(truth)
    audio[int(1.4 * SR) : int(1.5 * SR)] = 0  # the same pitch twice, with a breath between
    pitches, starts, durations, confidences = track_contour(audio, SR).notes()
    np.testing.assert_allclose(pitches, [60, 62, 64, 64, 67], atol=0.1)
    np.testing.assert_allclose(starts, [0, 0.5, 1, 1.5, 2], atol=0.05)
    assert (durations > 0.3).all()
    assert (confidences > 0.8).all()


def drums(rng):
    """Kicks that fall in pitch, snares and hats."""
    audio, t = np.zeros(6 * SR), np.arange(SR // 4) / SR
    for i, start in enumerate(range(0, len(audio) - SR // 4, SR // 2)):
        kick = np.sin(2 * np.pi * (50 * t + 5 * (1 - np.exp(-30 * t)))) * np.exp(-25 * t)
        snare = rng.normal(size=len(t)) * np.exp(-25 * t)
        audio[start : start + len(t)] += kick if i % 2 == 0 else snare
    return 0.3 * audio


def brown(rng):
    spectrum = np.fft.rfft(rng.normal(size=4 * SR))
    noise = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 80))
    return 0.3 * noise / np.abs(noise).max()


PITCHLESS = {
    "silence": lambda rng: np.zeros(SR),
    "white noise": lambda rng: 0.1 * rng.normal(size=4 * SR),
    "brown noise": brown,
    "an offset": lambda rng: np.full(SR, 0.5),
    "a tenth of a second": lambda rng: tone(np.full(SR // 10, 60.0)),
    "one sample": lambda rng: np.ones(1),
    "drums": drums,
}


@pytest.mark.parametrize("name", PITCHLESS)
def test_what_has_no_melody_says_so(name):
    audio = PITCHLESS[name](np.random.default_rng(1))
    with pytest.raises(ValueError, match=f"no pitch found in {name}: sing or play"):
        track_contour(audio, SR, name)


@pytest.mark.parametrize("audio", [np.full(SR, np.nan), np.zeros(0), np.zeros((1, 2, 3)), np.full(SR, np.inf)])
def test_what_is_no_sound_says_so(audio):
    with pytest.raises(ValueError, match=r"hum\.wav must hold finite samples"):
        track_contour(audio, SR, "hum.wav")


def test_a_contour_checks_its_shapes():
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        Contour(np.zeros(3, np.float32), np.zeros(2, np.float32), 100.0)


def test_silence_at_both_ends_is_cut_off():
    pitches = np.float32([np.nan, np.nan, 60, np.nan, 62, np.nan])
    contour = Contour(pitches, np.isfinite(pitches).astype(np.float32), 10.0)
    np.testing.assert_array_equal(contour.trimmed().pitches, pitches[2:5])
    assert Contour(pitches[:2], np.zeros(2, np.float32), 10.0).trimmed().seconds == 0
