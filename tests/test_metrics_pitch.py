"""Pitch judged on tones with a known frequency, and on real notes where the answer is known too."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.audio import resample
from musicai.data import MusicAINotes
from musicai.metrics import Sounds, estimate_pitch, pitch_accuracy, pitch_errors, pyin_pitch

SR = 16_000
T = torch.arange(SR) / SR


def tone(f: float, harmonics: list[float], seed: int = 0) -> torch.Tensor:
    """Harmonics of these amplitudes at random phases, those below half the sample rate."""
    phases = torch.rand(len(harmonics), generator=torch.Generator().manual_seed(seed)) * 2 * torch.pi
    parts = [a * torch.sin(2 * torch.pi * f * (k + 1) * T + phases[k]) for k, a in enumerate(harmonics)]
    return sum(part for k, part in enumerate(parts) if f * (k + 1) < SR / 2)


@pytest.fixture(scope="module")
def notes() -> Sounds:
    """Every other pitch of the test split, at one of its velocities."""
    return Sounds.from_dataset(MusicAINotes("test"), range(0, 225, 6))


@settings(max_examples=15, deadline=None)
@given(st.floats(30, 4200), st.integers(1, 12), st.floats(0.1, 1), st.integers(0, 99))
def test_a_tone_has_its_fundamental_to_a_few_cents(f, count, decay, seed):
    found = estimate_pitch(tone(f, [decay**k for k in range(count)], seed))
    assert 1200 * abs(np.log2(found.item() / f)) < (10 if f < 2500 else 20)


def test_a_missing_fundamental_is_heard():
    assert pitch_errors(tone(220, [0, 1, 0.8, 0.6, 0.5]), 57).abs() < 3


def test_other_sample_rates():
    x = resample(tone(523.25, [1, 0.5, 0.3]), SR, 44_100)
    assert pitch_errors(x, 72, 44_100).abs() < 3


def test_silence_and_a_constant_have_no_pitch():
    found = estimate_pitch(torch.stack([torch.zeros(SR), torch.ones(SR), tone(440, [1])]))
    assert found[:2].isnan().all()
    assert found[2] == pytest.approx(440, rel=1e-3)
    assert pitch_accuracy(torch.zeros(3, SR), 60) == 0


def test_level_and_batch_make_no_difference(notes):
    x = notes.audio[:12]
    together = estimate_pitch(x)
    alone = torch.cat([estimate_pitch(0.01 * sound[None]) for sound in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=0)


def test_real_notes_have_the_pitch_they_are_named_for(notes):
    assert pitch_accuracy(notes.audio, notes.pitch) >= 0.97
    assert pitch_errors(notes.audio, notes.pitch).abs().nanmedian() < 5


def test_wrong_notes_are_wrong(notes):
    x = notes.audio
    for shift in (-12, 12, 1, -1, 7):
        assert pitch_accuracy(x, notes.pitch + shift) <= 0.03
    played_up = torch.stack([resample(sound, SR, SR // 2) for sound in x])  # an octave up, half as long
    assert pitch_accuracy(played_up, notes.pitch) <= 0.05
    assert pitch_accuracy(played_up[notes.pitch < 84], notes.pitch[notes.pitch < 84] + 12) >= 0.9


def test_50_cents_is_the_border():
    bent = torch.stack([tone(440 * 2 ** (cents / 1200), [1, 0.5]) for cents in (-55, -45, 0, 45, 55)])
    assert pitch_accuracy(bent, 69) == pytest.approx(0.6)
    assert pitch_accuracy(bent, 69, estimator=None) == pytest.approx(0.6)


def test_noise_in_steps_lowers_the_accuracy(notes):
    x, noise = notes.audio, torch.randn(notes.audio.shape, generator=torch.Generator().manual_seed(0))
    level = x.square().mean(-1, keepdim=True).sqrt()
    scores = [pitch_accuracy(x + level * noise * 10 ** (-snr / 20), notes.pitch) for snr in (30, 0, -10, -20, -30)]
    assert scores[0] > 0.95
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.1


def test_pyin_agrees_on_real_notes(notes):
    pytest.importorskip("librosa")
    few = slice(6, 38, 16)
    ours, theirs = estimate_pitch(notes.audio[few]), pyin_pitch(notes.audio[few])
    assert (1200 * (ours / theirs).log2().abs() < 20).all()


def test_any_estimator_may_judge():
    def deaf(audio, sr):
        return torch.tensor([440.0, torch.nan])

    assert pitch_accuracy(torch.ones(2, 1, SR), torch.tensor([69, 69]), estimator=deaf) == 0.5


@pytest.mark.parametrize(
    ("audio", "pitch", "message"),
    [
        (torch.zeros(2, 3, 100), 60, r"must be .* not \(2, 3, 100\)"),
        (torch.zeros(0, 100), 60, "must be"),
        (torch.full((2, SR), torch.nan), 60, "audio is not finite"),
        (torch.zeros(2, SR), 440.5, r"pitch must be from 0 to 127, not 440\.5"),  # hertz
        (torch.zeros(2, SR), torch.tensor([60, torch.nan]), "pitch must be from 0 to 127, not nan"),
        (torch.zeros(2, SR, dtype=torch.int16), 60, "floating point"),
    ],
)
def test_what_cannot_be_judged_is_refused(audio, pitch, message):
    with pytest.raises(ValueError, match=message):
        pitch_accuracy(audio, pitch)


def test_as_many_pitches_as_sounds_are_asked_for():
    with pytest.raises(RuntimeError, match=r"expanded size .* \(2\) must match the existing size \(3\)"):
        pitch_accuracy(torch.zeros(2, SR), torch.tensor([60, 61, 62]))
