"""What `scripts/note_measures.py` hears, of sounds whose attack, noise and level are known."""

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from note_measures import apart, attack_time, level, noise_between_partials

SR = 16_000


def harmonic(f0: float = 220.0, count: int = 10) -> torch.Tensor:
    """Ten cosines of amplitude 0.1, with a power of 0.05."""
    t = torch.arange(SR) / SR
    return 0.1 * sum(torch.cos(2 * math.pi * n * f0 * t + n) for n in range(1, count + 1))[None]


@pytest.mark.parametrize("seconds", [0.05, 0.2])
def test_the_attack_of_a_ramp_takes_four_fifths_of_it(seconds):
    ramp = (torch.arange(SR) / SR / seconds).clamp(max=1)
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(SR) / SR)
    assert attack_time((ramp * tone)[None]).item() == pytest.approx(0.8 * seconds, abs=0.004)
    assert attack_time((ramp * tone)[None], 0.2, 0.8).item() == pytest.approx(0.6 * seconds, abs=0.004)
    assert attack_time((0.01 * ramp * tone)[None]).item() == pytest.approx(0.8 * seconds, abs=0.004)


@pytest.mark.parametrize("decibels", [-20.0, -40.0, -60.0])
def test_noise_between_partials_is_told_from_them(decibels):
    noise = torch.randn(1, SR, generator=torch.Generator().manual_seed(0)) * (0.05 * 10 ** (decibels / 10)) ** 0.5
    heard = noise_between_partials(harmonic() + noise, torch.tensor([57])).item()
    assert heard == pytest.approx(decibels, abs=1.0)


def test_a_swing_of_the_level_is_heard_as_noise_and_a_slow_one_is_not():
    t = torch.arange(SR) / SR
    clean, slow, fast = (
        noise_between_partials(harmonic() * (1 + 0.1 * torch.sin(2 * math.pi * f * t)), torch.tensor([57])).item()
        for f in (0.0, 5.0, 40.0)
    )
    assert clean < -70
    assert slow < -60
    sidebands = 10 * math.log10(0.1**2 / 2)  # both together, of each partial's power
    share = 220 / (220 - 2 * 5 * SR / 4096)  # the spectrum is larger than what lies between the partials
    assert fast == pytest.approx(sidebands + 10 * math.log10(share), abs=1.0)


def test_levels_and_distances_in_decibels():
    assert level(harmonic()).item() == pytest.approx(10 * math.log10(0.05), abs=0.01)
    noise = 0.1 * torch.randn(1, SR, generator=torch.Generator().manual_seed(0))
    assert apart(noise, noise).item() == 0
    assert apart(noise, 2 * noise).item() == pytest.approx(20 * math.log10(2), abs=0.01)
