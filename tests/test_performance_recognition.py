"""Whose sound is it? Held-out notes, tunes, other levels, rates and formats; silence is refused."""

import numpy as np
import pytest
import torch

from musicai.audio import Audio, resample
from musicai.data import MusicAINotes
from musicai.notes import Melody, Note, Score, Track
from musicai.performance import PROGRAMS, perform, recognise_instrument, render

SR = 16_000
FAMILIAR = ("flute", "violin", "trumpet", "acoustic_grand_piano")


def tune(name, pitches=(72, 74, 76, 77, 79, 77, 76, 74, 72)):
    return render(Melody.from_pitches(pitches).to_score(PROGRAMS.index(name)))


@pytest.mark.parametrize("name", FAMILIAR)
def test_held_out_notes_are_mostly_recognised(name):
    notes = MusicAINotes("test", instruments=name)
    right = [recognise_instrument((notes[i]["audio"], SR)) == name for i in range(len(notes))]
    assert np.mean(right) > 0.6


@pytest.mark.parametrize("name", FAMILIAR)
def test_tunes_are_recognised_at_any_level_and_rate(name):
    sound = tune(name)
    for clip in [(sound, SR), Audio(1e-3 * sound, SR), (sound[0].double(), SR), (resample(sound, SR, 44_100), 44_100)]:
        assert recognise_instrument(clip) == name


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_files_are_recognised(tmp_path, suffix):
    Audio(tune("trumpet"), SR).save(tmp_path / f"clip{suffix}")
    assert recognise_instrument(str(tmp_path / f"clip{suffix}")) == "trumpet"


def test_silence_is_refused():
    with pytest.raises(ValueError, match="like= needs the sound of an instrument; this clip is silent"):
        recognise_instrument((torch.zeros(SR), SR))


def test_the_melody_is_played_like_the_clip():
    bass, melody = (Track((Note(p, 0, 1),), name=n) for p, n in ((50, "bass"), (72, "melody")))
    duo, clip = Score((bass, melody)), (tune("violin"), SR)
    played = perform(duo, ["cello", "harp"], like=clip, performer="sampled").samples
    assert torch.equal(played, perform(duo, ["cello", "violin"], performer="sampled").samples)
    solo = Score((bass,))
    assert torch.equal(
        perform(solo, like=clip, performer="sampled").samples, perform(solo, "violin", performer="sampled").samples
    )
