"""Density, coverage and modes on sets whose answers are known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.data import MusicAINotes
from musicai.metrics import Sounds, density_coverage, mode_coverage
from musicai.metrics.features import embed


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_same_distribution_has_the_coverage_of_the_paper():
    """Naeem et al.: density 1, coverage 1 - (1/2)^k for many samples."""
    for k in (1, 3, 5):
        density, coverage = density_coverage(draw(0, 2000, 3), draw(1, 2000, 3), k)
        assert density == pytest.approx(1, abs=0.06)
        assert coverage == pytest.approx(1 - 0.5**k, abs=0.03)


def test_a_line_by_hand():
    """Real 0, 1, 3: with k=1 the balls are [-1, 1], [0, 2], [1, 5]. Fake 0.5 lies in two, 9 in none."""
    real, fake = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.5], [9.0]])
    assert density_coverage(real, fake, 1) == pytest.approx((1.0, 2 / 3))


def test_copies_of_one_sample_are_dense_but_cover_nothing():
    real = draw(0, 500, 4)
    centre = real[real.norm(dim=1).argmin()]
    density, coverage = density_coverage(real, centre.expand(500, 4))
    assert density > 1
    assert coverage < 0.1


def test_dropped_modes_cost_coverage_in_steps():
    centres = 20 * torch.eye(6)
    real = (centres[torch.arange(600) % 6]) + draw(0, 600, 6)
    covered = [density_coverage(real, centres[torch.arange(600) % m] + draw(1, 600, 6))[1] for m in range(1, 7)]
    for m, coverage in enumerate(covered, 1):
        assert coverage == pytest.approx(m / 6, abs=0.05)


def test_one_outlier_does_not_fool_density():
    """Its ball reaches all generated samples, which precision would call perfect (Naeem et al.)."""
    real = torch.cat([draw(0, 200, 2), torch.tensor([[30.0, 0.0]])])
    fake = draw(1, 200, 2) + torch.tensor([15.0, 0.0])
    assert density_coverage(real, fake)[0] < 0.4


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.integers(1, 6))
def test_scale_place_and_order_make_no_difference(seed, scale, k):
    real, fake = draw(seed, 30, 3).double(), draw(seed + 1, 25, 3).double() * 1.5
    moved = density_coverage(scale * real.flip(0) + 7, scale * fake.flip(0) + 7, k)
    assert moved == pytest.approx(density_coverage(real, fake, k), abs=0.02)


def test_real_notes_cover_held_out_ones_and_one_instrument_does_not():
    train, test = MusicAINotes("train"), Sounds.from_dataset(MusicAINotes("test"))
    real = embed(test.audio)
    some = embed(Sounds.from_dataset(train, range(0, len(train), 8)).audio)
    violins = embed(Sounds.from_dataset(MusicAINotes("train", "violin")).audio)
    whole, few = density_coverage(real, some), density_coverage(real, violins)
    assert whole[1] > 0.6
    assert few[1] < whole[1] / 2
    noise = embed(draw(0, 200, 16_000))
    assert density_coverage(real, noise) == (0, 0)


@pytest.mark.parametrize("k", [0, 3])
def test_k_beyond_the_samples_is_refused(k):
    with pytest.raises(ValueError, match="k="):
        density_coverage(torch.zeros(3, 2), torch.zeros(9, 2), k)


def test_samples_that_are_not_finite_are_refused():
    fake = torch.zeros(9, 2)
    fake[4, 1] = torch.inf
    with pytest.raises(ValueError, match="finite samples"):
        density_coverage(torch.zeros(9, 2), fake)


# ---- modes of a known mixture

MEANS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_samples_of_the_mixture_reach_every_mode():
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    labels = weights.multinomial(20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    scales = torch.tensor([[0.5, 1.0], [1.0, 0.5], [1.0, 1.0], [0.3, 0.3]])
    x = MEANS[labels] + scales[labels] * draw(1, 20_000, 2)
    modes, quality, imbalance = mode_coverage(x, MEANS, scales.square().diag_embed(), weights)
    assert modes == 1
    assert quality == pytest.approx(1 - math.exp(-4.5), abs=0.003)  # a Rayleigh variable within 3
    assert imbalance < 0.01
    assert mode_coverage(x, MEANS, scales.square().diag_embed()).imbalance == pytest.approx(0.2, abs=0.01)


def test_collapse_is_seen():
    x = MEANS[1] + 0.1 * draw(0, 1000, 2)
    assert mode_coverage(x, MEANS, torch.eye(2).expand(4, 2, 2)) == pytest.approx((0.25, 1.0, 0.75))
    assert mode_coverage(x + 5, MEANS, torch.eye(2).expand(4, 2, 2)) == (0, 0, 1)


def test_a_turned_covariance_counts_along_its_axes():
    covariance = torch.tensor([[[5.0, 4.9], [4.9, 5.0]]])  # long along (1, 1), short across
    along, across = torch.tensor([[3.0, 3.0]]), torch.tensor([[3.0, -3.0]])
    assert mode_coverage(along, torch.zeros(1, 2), covariance).quality == 1
    assert mode_coverage(across, torch.zeros(1, 2), covariance).quality == 0


def test_mixtures_that_do_not_fit_are_refused():
    covariances = torch.eye(2).repeat(4, 1, 1)
    with pytest.raises(ValueError, match=r"of equal width, .* got \(5, 3\) and \(4, 2\)"):
        mode_coverage(torch.zeros(5, 3), MEANS, covariances)
    covariances[2, 0, 0] = -1
    with pytest.raises(RuntimeError, match=r"Batch element 2.*not positive-definite"):
        mode_coverage(torch.zeros(5, 2), MEANS, covariances)
