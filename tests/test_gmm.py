"""`GaussianMixture` is scikit-learn's, from the same start; its likelihood never falls; it finds what it should."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Reference
from sklearn.utils.estimator_checks import estimator_checks_generator

from musicai.gmm import GaussianMixture

KINDS = ("full", "tied", "diag", "spherical")


@pytest.fixture(autouse=True)
def _short_fits_are_allowed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def blobs(rows=600, d=3, k=4, seed=0, spread=4.0):
    """Rows of k clusters, each with a shape of its own."""
    rng = np.random.default_rng(seed)
    shapes, centres = rng.normal(size=(k, d, d)), spread * rng.normal(size=(k, d))
    labels = rng.integers(k, size=rows)
    return np.einsum("nd,nde->ne", rng.normal(size=(rows, d)), shapes[labels]) + centres[labels]


@pytest.mark.parametrize(
    ("estimator", "check"),
    [pair for kind in KINDS for pair in estimator_checks_generator(GaussianMixture(covariance_type=kind))],
    ids=lambda value: getattr(getattr(value, "func", None), "__name__", None) or value.covariance_type,
)
def test_scikit_learns_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
def test_the_same_seed_gives_scikit_learns_result(kind, init):
    x = blobs()
    arguments = {"covariance_type": kind, "init_params": init, "random_state": 3, "n_init": 2, "max_iter": 40}
    ours, theirs = GaussianMixture(4, **arguments).fit(x), Reference(4, **arguments).fit(x)
    assert (ours.n_iter_, ours.converged_) == (theirs.n_iter_, theirs.converged_)
    np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=1e-7)
    assert ours.lower_bound_ == pytest.approx(theirs.lower_bound_, rel=1e-9)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours.score_samples(x), theirs.score_samples(x), rtol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), rtol=1e-7, atol=1e-12)
    assert (ours.predict(x) == theirs.predict(x)).all()
    assert ours.bic(x) == pytest.approx(theirs.bic(x))
    assert ours.aic(x) == pytest.approx(theirs.aic(x))


@pytest.mark.parametrize("kind", KINDS)
def test_density_is_the_weighted_sum_of_gaussians(kind):
    x = blobs(200)
    mixture = GaussianMixture(3, covariance_type=kind, random_state=0).fit(x)
    full = {
        "full": lambda c: c,
        "tied": lambda c: [c] * 3,
        "diag": lambda c: [np.diag(v) for v in c],
        "spherical": lambda c: [v * np.eye(3) for v in c],
    }[kind](mixture.covariances_)
    parts = zip(mixture.weights_, mixture.means_, full, strict=True)
    density = sum(w * multivariate_normal(m, c).pdf(x) for w, m, c in parts)
    np.testing.assert_allclose(np.exp(mixture.score_samples(x)), density, rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.integers(1, 5), st.integers(1, 4))
def test_likelihood_never_falls(seed, kind, k, d):
    x = blobs(60, d, 3, seed, spread=2)
    mixture = GaussianMixture(k, covariance_type=kind, init_params="random", random_state=seed, tol=0, max_iter=25)
    bounds = mixture.fit(x).lower_bounds_
    assert all(after >= before - 1e-5 for before, after in pairwise(bounds))


def test_known_parameters_are_found_again():
    truth = GaussianMixture(2, random_state=0)
    truth.weights_ = torch.tensor([0.3, 0.7], dtype=torch.float64)
    truth.means_ = torch.tensor([[0.0, 0.0], [4.0, -3.0]], dtype=torch.float64)
    truth.covariances_ = torch.tensor([[[1.0, 0.6], [0.6, 2.0]], [[0.5, -0.2], [-0.2, 0.3]]], dtype=torch.float64)
    truth.precisions_cholesky_ = torch.linalg.cholesky(torch.linalg.inv(truth.covariances_).flip(1, 2)).flip(1, 2)
    x, labels = truth.sample(40_000)
    found = GaussianMixture(2, random_state=1).fit(x)
    order = found.weights_.argsort()
    torch.testing.assert_close(found.weights_[order], truth.weights_, atol=0.01, rtol=0)
    torch.testing.assert_close(found.means_[order], truth.means_, atol=0.03, rtol=0)
    torch.testing.assert_close(found.covariances_[order], truth.covariances_, atol=0.05, rtol=0)
    assert (order.argsort()[found.predict(x)] == labels).float().mean() > 0.98
