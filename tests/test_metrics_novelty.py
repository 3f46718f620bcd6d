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
    found = nearest(training[CHOSEN], training)
    assert (found.distance < 0.1).all()
    assert (found.shift == 0).all()
    torch.testing.assert_close(training[found.index], training[CHOSEN])


def test_copies_that_play_softer_and_earlier_or_later_are_found(training, held_out):
    delays = (-333, 64, 700, 1500)
    result = novelty(torch.cat([0.2 * later(training[CHOSEN], n) for n in delays]), training, held_out)
    assert result.copied >= 0.95
    assert result.ratio < 0.5
    found = result.generated
    assert (found.index == CHOSEN.repeat(4)).float().mean() >= 0.9
    for shift, n in zip(found.shift.chunk(4), delays, strict=True):
        assert (shift.median() - n / 16_000).abs() <= 0.008


def test_a_copy_with_some_noise_is_found(training, held_out):
    chosen = training[CHOSEN[::2]]
    noise = torch.randn(chosen.shape, generator=torch.Generator().manual_seed(0))
    noise = noise * chosen.square().mean(-1, keepdim=True).sqrt()
    noisy = torch.cat([chosen + noise * 10 ** (-snr / 20) for snr in (40, 30, 20, 10)])
    near = (
        nearest(noisy, training).distance.view(4, -1).median(1).values / nearest(held_out, training).distance.median()
    )
    assert near.tolist() == sorted(near.tolist())
    assert near[1] < 0.3  # 30 dB
    assert near[2] < 0.6  # 20 dB


def test_held_out_notes_are_new(training, held_out):
    result = novelty(held_out[::2], training, held_out[1::2])
    assert 0.7 < result.ratio < 1.4
    assert result.copied < 0.1


def test_some_copies_among_new_sounds_are_counted(training, held_out):
    mixed = torch.cat([held_out[:30], later(training[CHOSEN[:10]], 100)])
    assert novelty(mixed, training, held_out).copied == pytest.approx(0.25, abs=0.06)


def test_noise_is_new(training, held_out):
    noise = torch.randn(5, 1, 16_000, generator=torch.Generator().manual_seed(0))
    assert novelty(noise, training, held_out).ratio > 1.5


def test_a_longer_shift_than_was_looked_for_is_missed(training):
    late = later(training[CHOSEN[::3]], 4000)
    assert nearest(late, training, max_shift=0.3).distance.median() < nearest(late, training).distance.median() / 2
    with pytest.raises(ValueError, match="max_shift=-1 must be 0 or more"):
        nearest(late, training, max_shift=-1)


def test_drums_too():
    kit = Sounds.from_dataset(MusicAIDrums("train"), range(0, 540, 4)).audio
    others = Sounds.from_dataset(MusicAIDrums("test")).audio
    copies = novelty(0.5 * later(kit[::9], 300), kit, others)
    assert copies.ratio < 0.5


def test_silence_is_no_copy_of_a_sound(training):
    assert nearest(torch.zeros(1, 16_000), training).distance == 1


def test_sounds_of_another_length_are_refused(training):
    with pytest.raises(ValueError, match="cut them to one length"):
        nearest(torch.zeros(2, 8000), training)
