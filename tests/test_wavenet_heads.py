"""The heads are distributions: they sum to one, draw what they say, and stay finite where they are narrow."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from musicai.audio import mu_law_edges, mu_law_encode
from musicai.gmm import ConditionalMixture
from musicai.wavenet import CategoricalHead, GaussianHead, log_mass
from musicai.wavenet.heads import categorical_from_uniform, keep_top_p


def one(mean: float, scale: float) -> ConditionalMixture:
    return ConditionalMixture(*(torch.tensor(x, dtype=torch.float64) for x in ([0.0], [[mean]], [[scale]])))


def test_categorical_draw_by_hand():
    logits = torch.tensor([0.5, 0.25, 0.25]).log().expand(5, 3)
    u = torch.tensor([0.0, 0.49, 0.51, 0.76, 0.999999])
    assert categorical_from_uniform(logits, u).tolist() == [0, 0, 1, 2, 2]
    assert categorical_from_uniform(logits, u, temperature=0).tolist() == [0] * 5
    assert categorical_from_uniform(logits, u, top_p=0.5).tolist() == [0] * 5
    # Temperature 1/2 squares: 4/6, 1/6, 1/6.
    assert categorical_from_uniform(logits, torch.tensor([0.66, 0.67, 0.82, 0.84, 0.9]), 0.5).tolist() == [
        0,
        1,
        1,
        2,
        2,
    ]


def test_a_code_of_no_probability_is_never_drawn():
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf]).expand(1001, 5)
    assert set(categorical_from_uniform(logits, torch.linspace(0, 1 - 2**-24, 1001)).tolist()) == {1, 3}


def test_top_p_keeps_the_fewest():
    probs = torch.tensor([0.1, 0.4, 0.2, 0.3])
    assert keep_top_p(probs, 0.7).tolist() == pytest.approx([0, 0.4, 0, 0.3])
    assert keep_top_p(probs, 0.71).tolist() == pytest.approx([0, 0.4, 0.2, 0.3])
    assert keep_top_p(probs, 1.0).tolist() == pytest.approx(probs.tolist())


def test_categorical_head_draws_what_it_says():
    torch.manual_seed(0)
    head, features = CategoricalHead(4, 8), torch.randn(1, 4)
    u = (torch.arange(80_000) + 0.5)[:, None] / 80_000  # every quantile once
    drawn = head.sample(features.expand(80_000, 4), u).bincount(minlength=8) / 80_000
    expected = head.log_prob(features.expand(8, 4), torch.arange(8)).exp()
    torch.testing.assert_close(drawn, expected, atol=2e-5, rtol=0)


def test_gaussian_head_draws_what_it_says():
    torch.manual_seed(0)
    head, features = GaussianHead(4, 2), torch.zeros(1, 4)
    with torch.no_grad():  # two components far apart: weights 1/4 and 3/4
        head.linear.bias.copy_(torch.tensor([0.0, math.log(3), -0.5, 0.4, math.log(0.01), math.log(0.05)]))
    u = torch.rand(40_000, 2)
    drawn = head.sample(features.expand(40_000, 4), u).detach().numpy()
    low = drawn[drawn < -0.2]
    assert len(low) / 40_000 == pytest.approx(0.25, abs=0.01)
    assert stats.kstest(low, "norm", (-0.5, 0.01)).pvalue > 1e-3
    assert stats.kstest(drawn[drawn > -0.2], "norm", (0.4, 0.05)).pvalue > 1e-3
    again = head.sample(features.expand(40_000, 4), u).detach().numpy()
    assert np.array_equal(drawn, again)
    assert np.abs(head.sample(features, torch.tensor([[0.9, 1.0]])).item()) <= 1


def test_mu_law_edges_are_where_the_code_changes():
    codes = torch.arange(256)
    low, high = mu_law_edges(codes.double())
    assert low[0] == -math.inf
    assert high[-1] == math.inf
    torch.testing.assert_close(low[1:], high[:-1])
    for edge, code in zip(low[1:], codes[1:], strict=True):
        assert mu_law_encode(edge[None] + 1e-9) == code
        assert mu_law_encode(edge[None] - 1e-9) == code - 1


@settings(deadline=None, max_examples=60)
@given(st.floats(-1.2, 1.2), st.floats(1e-4, 10.0))
def test_codes_of_any_gaussian_sum_to_one(mean, scale):
    total = log_mass(one(mean, scale), *mu_law_edges(torch.arange(256).double())).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-6)


@settings(deadline=None, max_examples=100)
@given(st.floats(-40, 40), st.floats(1e-3, 5.0))
def test_mass_of_an_interval_is_scipys(start, width):
    edges = torch.tensor([start, start + width], dtype=torch.float64)
    found = log_mass(one(0.0, 1.0), *edges).item()
    left, right = sorted([start, start + width], key=abs)
    if start < 0 < start + width:
        expected = math.log(stats.norm.cdf(start + width) - stats.norm.cdf(start))
    else:  # in a tail, by logarithms
        outer, inner = stats.norm.logcdf(-abs(right)), stats.norm.logcdf(-abs(left))
        expected = inner + np.log1p(-np.exp(outer - inner)) if outer < inner else -math.inf
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_narrow_intervals_have_the_density_times_their_width():
    for start in (-5.0, -1.0, 0.0, 2.0):
        a = torch.tensor(start, dtype=torch.float64)
        found = log_mass(one(0.0, 1.0), a, a + 1e-9).item()
        assert found == pytest.approx(stats.norm.logpdf(start) + math.log(1e-9), abs=1e-6)


@pytest.mark.parametrize("scale_bias", [-60.0, -9.0, 0.0, 60.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_and_gradients_are_finite_at_any_width(scale_bias, dtype):
    head = GaussianHead(3, 4).to(dtype)
    with torch.no_grad():
        head.linear.bias[-4:] = scale_bias
    features = torch.randn(50, 3, dtype=dtype, requires_grad=True)
    values = torch.linspace(-1, 1, 50, dtype=dtype)
    for loss in (head.log_prob(features, values), head.log_prob_of_codes(features, mu_law_encode(values.float()))):
        features.grad = None
        head.zero_grad()
        loss.mean().backward()
        assert torch.isfinite(loss).all()
        assert torch.isfinite(features.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_likelihood_of_codes_leads_to_the_mean():
    """Gradients through the discretised likelihood point the right way, also from afar."""
    for mean in (-0.9, 0.5, 0.99):
        m = torch.tensor([[mean]], dtype=torch.float64, requires_grad=True)
        mixture = ConditionalMixture(torch.zeros(1).double(), m, torch.full((1, 1), 1e-3, dtype=torch.float64))
        log_mass(mixture, *mu_law_edges(torch.tensor(128.0).double())).backward()
        assert m.grad.item() * mean < 0
