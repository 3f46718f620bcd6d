"""The Frechet distance against closed forms and scipy; its audio form on cases with a known order."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.data import MusicAINotes
from musicai.metrics import Sounds, frechet_audio_distance, frechet_distance, log_mel_statistics, timbre
from musicai.metrics.features import embed


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(seed: int, d: int, rank: int) -> torch.Tensor:
    root = draw(seed, d, rank)
    return root @ root.mT


def test_one_dimension_has_a_closed_form():
    one = torch.ones(1)
    found = frechet_distance(3 * one, 4 * one[None], -1 * one, 25 * one[None])
    assert found == pytest.approx(16 + (2 - 5) ** 2)


def test_commuting_covariances_have_a_closed_form():
    a, b = torch.tensor([1.0, 4.0, 9.0, 0.0]), torch.tensor([4.0, 4.0, 0.0, 0.0])
    turn = torch.linalg.qr(draw(0, 4, 4))[0]
    A, B = (turn @ torch.diag(x.double()) @ turn.mT for x in (a, b))
    zero = torch.zeros(4)
    assert frechet_distance(zero, A, zero, B) == pytest.approx((a.sqrt() - b.sqrt()).square().sum().item())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_full_rank_as_scipy(d, seed, scale):
    A, B = scale * covariance(seed, d, d + 2), scale * covariance(seed + 1, d, d + 2)
    m, n = draw(seed + 2, d), draw(seed + 3, d)
    root = scipy.linalg.sqrtm((A @ B).numpy()).real
    wanted = (m - n).square().sum() + A.trace() + B.trace() - 2 * np.trace(root)
    assert frechet_distance(m, A, n, B) == pytest.approx(wanted.item(), rel=1e-6, abs=1e-6 * scale)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(1, 19), st.integers(1, 19), st.integers(0, 10**6))
def test_rank_deficient_by_another_formula(d, rank_a, rank_b, seed):
    """With C = F F^T, tr (C_a C_b)^(1/2) is the nuclear norm of F_a^T F_b for any factors F, of any rank."""
    F, G = draw(seed, d, min(rank_a, d)), draw(seed + 1, d, min(rank_b, d))
    shared = np.linalg.svd((F.mT @ G).numpy(), compute_uv=False).sum()
    wanted = F.square().sum().item() + G.square().sum().item() - 2 * shared
    zero = torch.zeros(d)
    assert frechet_distance(zero, F @ F.mT, zero, G @ G.mT) == pytest.approx(wanted, rel=1e-6, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.integers(0, 10**6))
def test_it_is_a_squared_metric(d, seed):
    triple = [(draw(seed + i, d), covariance(seed + 10 * i, d, 1 + i)) for i in range(3)]
    (a, b, c) = triple
    assert frechet_distance(*a, *a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(*a, *b) == pytest.approx(frechet_distance(*b, *a), rel=1e-6, abs=1e-9)
    ab, bc, ac = (frechet_distance(*x, *y) ** 0.5 for x, y in ((a, b), (b, c), (a, c)))
    assert ac <= ab + bc + 1e-6


def test_it_is_the_transport_cost_of_many_samples():
    """In one dimension the optimal transport pairs sorted samples."""
    x, y = 2 * draw(0, 200_000) + 1, 0.5 * draw(1, 200_000) - 1
    cost = (x.sort().values - y.sort().values).square().mean().item()
    assert frechet_audio_distance(x[:, None], y[:, None], features=True) == pytest.approx(cost, rel=1e-2)


def test_features_are_described_as_numpy_does():
    x, y = draw(0, 40, 5), 2 * draw(1, 30, 5)
    mean_and_cov = [torch.from_numpy(part) for z in (x.numpy(), y.numpy()) for part in (z.mean(0), np.cov(z.T))]
    assert frechet_audio_distance(x, y, features=True) == pytest.approx(frechet_distance(*mean_and_cov), rel=1e-9)


def test_gaussians_that_do_not_fit_are_refused():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        frechet_distance(torch.zeros(2), torch.eye(2), torch.zeros(3), torch.eye(3))
    assert np.isnan(frechet_distance(torch.zeros(2), torch.full((2, 2), torch.nan), torch.zeros(2), torch.eye(2)))
    with pytest.raises(ValueError, match=r"of equal width, .* got \(9, 4\) and \(9, 5\)"):
        frechet_audio_distance(torch.zeros(9, 4), torch.zeros(9, 5), features=True)


# ---- sounds


@pytest.fixture(scope="module")
def sets() -> tuple[Sounds, Sounds]:
    train = MusicAINotes("train")
    return Sounds.from_dataset(train, range(0, len(train), 6)), Sounds.from_dataset(
        MusicAINotes("test"), range(0, 225, 3)
    )


EMBEDDINGS = pytest.mark.parametrize("embedding", [log_mel_statistics, timbre])


@EMBEDDINGS
def test_the_same_sounds_are_at_0(sets, embedding):
    x = sets[1].audio
    near = frechet_audio_distance(x, 0.1 * x, embedding=embedding)
    assert near == pytest.approx(0, abs=1e-3)


@EMBEDDINGS
def test_noise_in_steps_is_ever_farther(sets, embedding):
    train, test = sets[0].audio, sets[1].audio
    noise = torch.randn(test.shape, generator=torch.Generator().manual_seed(0))
    level = test.square().mean(-1, keepdim=True).sqrt()
    noisy = [test] + [test + level * noise * 10 ** (-snr / 20) for snr in (30, 20, 10, 0)]
    known = embed(train, embedding=embedding)
    distances = [frechet_audio_distance(known, embed(x, embedding=embedding), features=True) for x in noisy]
    assert distances == sorted(distances)
    assert distances[3] > 3 * distances[0]  # 10 dB


@EMBEDDINGS
def test_another_instrument_is_farther_than_held_out_notes(sets, embedding):
    features = [(s.instrument, embed(s.audio, embedding=embedding)) for s in sets]
    (i, a), (j, b) = features
    names = MusicAINotes("test").instruments
    for name, other in (("violin", "flute"), ("acoustic_grand_piano", "church_organ"), ("trumpet", "marimba")):
        own, stranger = names.index(name), names.index(other)
        same = frechet_audio_distance(a[i == own], b[j == own], features=True)
        different = frechet_audio_distance(a[i == own], b[j == stranger], features=True)
        assert different > 2 * same, name


def test_a_missing_instrument_is_farther(sets):
    train, test = sets
    fewer = test.audio[test.instrument < 3]
    whole = frechet_audio_distance(train.audio, test.audio)
    assert frechet_audio_distance(train.audio, fewer) > 2 * whole


def test_any_embedding_may_be_used(sets):
    x = sets[1].audio[:20]
    assert frechet_audio_distance(x, x, embedding=lambda audio, sr: audio[:, :3]) == pytest.approx(0, abs=1e-9)
