"""A copy is seen, whatever was done to it; a new sound is not called a copy. On real notes."""

import pytest
import torch
import torch.nn.functional as F

from musicai.data import MusicAIDrums, MusicAINotes
from musicai.metrics import Sounds, nearest, novelty

CHOSEN = torch.arange(5, 218, 10)


def later(x: torch.Tensor, samples: int) -> torch.Tensor:
    return F.pad(x, (samples, -samples))


@pytest.fixture(scope="module")
def training() -> torch.Tensor:
    """An eighth of the training notes, no two of them one recording at two levels."""
    notes = MusicAINotes("train")
    return Sounds.from_dataset(notes, range(0, len(notes), 8)).audio


@pytest.fixture(scope="module")
def held_out() -> torch.Tensor:
    return Sounds.from_dataset(MusicAINotes("test"), range(0, 225, 3)).audio


def test_an_exact_copy_is_found(training):
    distance, index = nearest(training[CHOSEN], training)
    assert (distance < 0.1).all()
    torch.testing.assert_close(training[index], training[CHOSEN])


def test_copies_that_play_softer_and_earlier_or_later_are_found(training, held_out):
    made = torch.cat([0.2 * later(training[CHOSEN], n) for n in (-333, 64, 700, 1500)])
    distance, ceiling, copied = novelty(made, training, held_out)
    assert copied >= 0.95
    assert distance < 0.5 * ceiling
    assert (nearest(made, training)[1] == CHOSEN.repeat(4)).float().mean() >= 0.9


def test_a_copy_with_some_noise_is_found(training, held_out):
    chosen = training[CHOSEN[::2]]
    noise = torch.randn(chosen.shape, generator=torch.Generator().manual_seed(0))
    noise = noise * chosen.square().mean(-1, keepdim=True).sqrt()
    noisy = torch.cat([chosen + noise * 10 ** (-snr / 20) for snr in (40, 30, 20, 10)])
    near = nearest(noisy, training)[0].view(4, -1).median(1).values / nearest(held_out, training)[0].median()
    assert near.tolist() == sorted(near.tolist())
    assert near[1] < 0.3  # 30 dB
    assert near[2] < 0.6  # 20 dB


def test_held_out_notes_are_new(training, held_out):
    distance, ceiling, copied = novelty(held_out[::2], training, held_out[1::2])
    assert 0.7 < distance / ceiling < 1.4
    assert copied < 0.1


def test_some_copies_among_new_sounds_are_counted(training, held_out):
    mixed = torch.cat([held_out[:30], later(training[CHOSEN[:10]], 100)])
    assert novelty(mixed, training, held_out)[2] == pytest.approx(0.25, abs=0.06)


def test_noise_is_new(training, held_out):
    noise = torch.randn(5, 1, 16_000, generator=torch.Generator().manual_seed(0))
    distance, ceiling, _ = novelty(noise, training, held_out)
    assert distance > 1.5 * ceiling


def test_a_shift_beyond_a_tenth_of_a_second_is_missed(training):
    soon, late = (nearest(later(training[CHOSEN[::3]], n), training)[0].median() for n in (1500, 4000))
    assert soon < late / 2


def test_drums_too():
    kit = Sounds.from_dataset(MusicAIDrums("train"), range(0, 540, 4)).audio
    others = Sounds.from_dataset(MusicAIDrums("test")).audio
    distance, ceiling, _ = novelty(0.5 * later(kit[::9], 300), kit, others)
    assert distance < 0.5 * ceiling


def test_silence_is_no_copy_of_a_sound(training):
    assert nearest(torch.zeros(1, 16_000), training)[0] == 1


def test_sounds_of_another_length_are_refused(training):
    with pytest.raises(ValueError, match="cut them to equal length"):
        nearest(torch.zeros(2, 8000), training)
