"""The gradient-trained mixture is the mixture, and the head stays finite however narrow it gets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from musicai.gmm import GaussianMixture, MixtureDensity, MixtureHead
from musicai.train import Batches, fit, update

KINDS = ("full", "tied", "diag", "spherical")


def two_blobs(rows=2000):
    torch.manual_seed(0)
    x = torch.randn(rows, 2, dtype=torch.float64) @ torch.tensor([[1.0, 0.5], [0.0, 0.6]], dtype=torch.float64)
    x[rows // 4 :] += torch.tensor([5.0, -2.0])
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_module_and_estimator_are_the_same_density(kind):
    x = two_blobs()
    mixture = GaussianMixture(3, covariance_type=kind, random_state=0).fit(x)
    density = MixtureDensity.of(mixture, min_scale=1e-5).double()
    torch.testing.assert_close(density.log_prob(x), mixture.score_samples(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(density(x.reshape(20, 100, 2)).flatten(), density.log_prob(x))


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_gradients_climb_to_where_em_climbs(kind):
    x = two_blobs().float()
    em = GaussianMixture(2, covariance_type=kind, random_state=0, tol=1e-6).fit(x)
    shape = torch.ones(2, 2) if kind == "diag" else torch.eye(2).repeat(2, 1, 1)
    start = {"weights_init": torch.ones(2) / 2, "means_init": x[[0, -1]], "precisions_init": shape}
    density = MixtureDensity.of(GaussianMixture(2, covariance_type=kind, max_iter=0, **start).fit(x))
    before = float(density.log_prob(x).mean().detach())
    optimizer = torch.optim.Adam(density.parameters(), 0.02)

    def step(batch):
        return {"loss": update(-density.log_prob(batch).mean(), optimizer)}

    fit(step, Batches(x, 500), steps=300, state={"model": density, "optimizer": optimizer}, progress=False)
    assert before < em.score(x) - 0.1
    assert abs(float(density.log_prob(x).mean().detach()) - em.score(x)) < 0.01


def test_scales_of_a_density_are_bounded_below():
    density = MixtureDensity(1, 1, min_scale=0.1)
    with torch.no_grad():
        density.log_scales.fill_(-1000.0)
        density.means.zero_()
    highest = Normal(0.0, 0.1).log_prob(torch.tensor(0.0))
    torch.testing.assert_close(density.log_prob(torch.zeros(1, 1))[0], highest)


def as_torch(mixture):
    parts = Independent(Normal(mixture.means, mixture.scales), 1)
    return MixtureSameFamily(Categorical(logits=mixture.log_weights), parts)


def test_head_is_the_distribution_it_says():
    torch.manual_seed(0)
    mixture = MixtureHead(8, 3, 2)(torch.randn(4, 5, 8))
    y = torch.randn(4, 5, 2)
    torch.testing.assert_close(mixture.log_prob(y), as_torch(mixture).log_prob(y))
    many = MixtureHead(8, 3, 2)(torch.randn(8).expand(60_000, 8))
    torch.testing.assert_close(many.sample().mean(0), as_torch(many).mean[0], atol=0.05, rtol=0)
    variance = as_torch(many).variance[0]
    torch.testing.assert_close(many.sample().var(0), variance, atol=0.0, rtol=0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=9, max_size=9), st.floats(-1e6, 1e6, width=32))
def test_head_is_finite_for_any_output(raw, y):
    raw = torch.tensor(raw, requires_grad=True)
    head = MixtureHead(1, 3, min_scale=1e-3, max_scale=10)
    mixture = head.mixture(raw)
    assert (mixture.scales >= 0.999e-3).all()
    assert (mixture.scales <= 10.001).all()
    log_prob = mixture.log_prob(torch.tensor([y]))
    assert torch.isfinite(log_prob)
    log_prob.backward()
    assert torch.isfinite(raw.grad).all()


def test_between_its_bounds_the_scale_is_the_exponential():
    mixture = MixtureHead(1, 1).mixture(torch.tensor([[0.0, 0.0, 0.5]]))
    torch.testing.assert_close(mixture.scales.squeeze(), torch.tensor(0.5).exp(), rtol=2e-3, atol=0)


def test_head_learns_a_density_that_forks():
    """y is +x or -x: no mean is any good, two components are. Bishop (1994)."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), MixtureHead(32, 2))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(400):
        x = torch.rand(256, 1) + 0.5
        y = x * (torch.randint(2, x.shape) * 2 - 1) + 0.05 * torch.randn_like(x)
        update(-net(x).log_prob(y).mean(), optimizer)
    truth = -(
        torch.log(torch.tensor(2.0)) + torch.log(torch.tensor(0.05)) + 0.5 * torch.log(torch.tensor(2 * torch.pi)) + 0.5
    )
    assert float(net(x).log_prob(y).mean().detach()) > truth - 0.25
    assert as_torch(net(x)).mean.abs().max() < 0.5
