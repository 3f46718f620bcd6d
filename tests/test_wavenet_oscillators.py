"""The oscillators of a score: each note's own sine, whole and in pieces."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.notes import Note, Score, Track, midi_to_hz
from musicai.wavenet import Oscillators, ScoreConfig, score_frames
from musicai.wavenet.scores import KEYS, ScoreConditioner

SR, HOP = 8000, 80


def heard(frames: torch.Tensor, harmonics: int = 2) -> np.ndarray:
    """The oscillators' channels (2 x harmonics, time) of a score's frames."""
    config = ScoreConfig(upsample=(8, 10), sr=SR, score_channels=3, harmonics=harmonics)
    with torch.no_grad():
        return ScoreConditioner(config)(frames[None])[0, 3:].double().numpy()


@settings(max_examples=40, deadline=None)
@given(st.integers(21, 108), st.floats(0, 0.5), st.floats(0.02, 1.0), st.integers(1, 127))
def test_a_note_is_its_harmonics_from_its_first_sample(pitch, start, duration, velocity):
    score = Score((Track((Note(pitch, start, duration, velocity),)),), ((0.0, 60.0),))  # a beat is a second
    first, last = round(SR * start), round(SR * (start + duration))
    waves = heard(score_frames(score, SR, HOP, SR))
    inside = np.arange(-(-first // HOP) * HOP, min(last, SR) // HOP * HOP)  # the frames in which the key is always down
    angle = 2 * math.pi * midi_to_hz(pitch) * (inside - first) / SR
    wanted = np.stack([np.sin(angle), np.sin(2 * angle), np.cos(angle), np.cos(2 * angle)]) * velocity / 127
    wanted[[1, 3]] *= 2 * midi_to_hz(pitch) < SR / 2
    wanted[[0, 2]] *= midi_to_hz(pitch) < SR / 2
    assert np.allclose(waves[:, inside], wanted, atol=2e-3)
    assert not waves[:, : first // HOP * HOP].any()


def test_voices_are_summed():
    one, two = (Score((Track((Note(pitch, 0.25, 1.0),)),)) for pitch in (60, 64))
    both = Score((one.tracks[0], two.tracks[0]))
    parts = [heard(score_frames(score, SR, HOP, SR)) for score in (one, two, both)]
    assert np.allclose(parts[0] + parts[1], parts[2], atol=1e-5)


def test_a_note_played_again_begins_anew():
    score = Score((Track((Note(69, 0.0, 0.5), Note(69, 0.5, 0.5))),), ((0.0, 60.0),))
    waves = heard(score_frames(score, SR, HOP, SR))
    assert np.allclose(waves[:, :4000], waves[:, 4000:8000], atol=2e-3)


def test_frames_can_be_cut_anywhere():
    score = Score((Track((Note(60, 0.1, 1.0), Note(67, 0.7, 1.0))),))
    frames = score_frames(score, SR, HOP, SR)
    whole, parts = heard(frames), [heard(part) for part in (frames[:, :37], frames[:, 37:])]
    assert np.allclose(whole, np.concatenate(parts, axis=1), atol=1e-6)


def test_silence_and_no_oscillators():
    assert not heard(torch.zeros(4 * KEYS, 5)).any()
    assert heard(torch.ones(4 * KEYS, 5), harmonics=0).shape == (0, 400)
    assert Oscillators([69], SR, HOP, 3)(torch.zeros(2, 2, 7)).shape == (2, 6, 560)
    with pytest.raises(ValueError, match="harmonics=-1"):
        ScoreConfig(harmonics=-1)
