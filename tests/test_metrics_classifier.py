"""The judge of instruments on real notes it did not learn from, and on sounds made worse in steps."""

import pytest
import torch
import torch.nn.functional as F

from musicai.audio import resample
from musicai.data import MusicAINotes
from musicai.metrics import InstrumentClassifier, Sounds, instrument_accuracy, instrument_classifier, timbre


@pytest.fixture(scope="module")
def notes() -> Sounds:
    return Sounds.from_dataset(MusicAINotes("test"), range(0, 225, 4))


def test_it_knows_the_instruments_of_the_set(notes):
    assert instrument_classifier().names == MusicAINotes("test").instruments
    assert instrument_accuracy(notes.audio, notes.instrument) > 0.95


def test_it_is_small():
    assert sum(p.numel() for p in instrument_classifier().parameters()) < 250_000  # 1 MB of float32


def test_another_instrument_is_wrong(notes):
    assert instrument_accuracy(notes.audio, (notes.instrument + 1) % 17) < 0.03


def test_level_and_a_little_shift_make_no_difference(notes):
    later = F.pad(0.05 * notes.audio, (400, -400))
    assert instrument_accuracy(later, notes.instrument) > 0.93


def test_noise_in_steps_lowers_the_accuracy(notes):
    x, noise = notes.audio, torch.randn(notes.audio.shape, generator=torch.Generator().manual_seed(0))
    level = x.square().mean(-1, keepdim=True).sqrt()
    scores = [instrument_accuracy(x + level * noise * 10 ** (-snr / 20), notes.instrument) for snr in (40, 10, 0, -10)]
    assert scores[0] > 0.85
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.5


def test_the_mixture_of_two_notes_in_steps(notes):
    """A trumpet that fades into a marimba: the trumpet is heard ever less."""
    pairs = [Sounds.from_dataset(MusicAINotes(None, name)) for name in ("trumpet", "marimba")]
    trumpet, marimba = (s.audio[s.pitch < 85][:30] / s.audio[s.pitch < 85][:30].abs().amax() for s in pairs)
    name = pairs[0].instrument[0]
    heard = [instrument_accuracy((1 - w) * trumpet + w * marimba, name) for w in (0, 0.5, 0.95, 1)]
    assert heard == sorted(heard, reverse=True)
    assert heard[0] > 0.9
    assert heard[-1] < 0.1


def test_embedding_does_not_depend_on_the_batch(notes):
    together = timbre(notes.audio[:5])
    assert together.shape == (5, 64)
    torch.testing.assert_close(together[3:4], timbre(notes.audio[3]), rtol=1e-3, atol=1e-3)


def test_saved_and_loaded_it_says_the_same(tmp_path, notes):
    model = InstrumentClassifier(("oboe", "bassoon"), channels=(4, 8)).eval()
    model.save_pretrained(tmp_path)
    again = InstrumentClassifier.from_pretrained(tmp_path)
    assert again.names == ("oboe", "bassoon")
    torch.testing.assert_close(again(notes.audio[:2]), model(notes.audio[:2]))


def test_a_classifier_of_ones_own():
    sure = torch.nn.functional.one_hot(torch.tensor([2, 0, 2]), 3)
    assert instrument_accuracy(torch.ones(3, 16), 2, classifier=lambda x: sure) == pytest.approx(2 / 3)


def test_other_sample_rates_are_converted(notes):
    fast = resample(notes.audio, 16_000, 22_050)
    assert instrument_accuracy(fast, notes.instrument, sr=22_050) > 0.9
    torch.testing.assert_close(timbre(fast[:2], 22_050), timbre(notes.audio[:2]), rtol=0.2, atol=1.0)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (torch.zeros(2, 3839), "at least 0.24 s of sound, not 3839 samples at 16000 Hz"),
        (torch.zeros(2, 3, 16_000), r"not \(2, 3, 16000\)"),
        (torch.zeros(0, 16_000), r"not \(0, 16000\)"),
        (torch.zeros(2, 16_000, dtype=torch.int16), r"floating point, not torch\.int16; divide"),
        (torch.full((2, 16_000), torch.nan), "audio is not finite"),
    ],
)
def test_sounds_it_cannot_hear_are_refused(audio, message):
    for function in (timbre, instrument_classifier(), lambda x: instrument_accuracy(x, 0)):
        with pytest.raises(ValueError, match=message):
            function(audio)
    assert timbre(torch.ones(1, 3840)).shape == (1, 64)


@pytest.mark.parametrize("instrument", [17, -1, torch.tensor([0, 17]), torch.tensor([0, torch.nan])])
def test_instruments_it_does_not_have_are_refused(notes, instrument):
    """They would count as wrong notes without a word."""
    with pytest.raises(ValueError, match="instrument must be from 0 to 16"):
        instrument_accuracy(notes.audio[:2], instrument)
