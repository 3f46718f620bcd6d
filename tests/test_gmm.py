"""`GaussianMixture` is scikit-learn's, from the same start; its likelihood never falls; it finds what it should."""

import copy
import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.base import clone
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_in_tensors_out(dtype):
    x = torch.from_numpy(blobs()).to(dtype)
    mixture = GaussianMixture(3, random_state=0).fit(x)
    array = GaussianMixture(3, random_state=0).fit(x.numpy())
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        ours, theirs = getattr(mixture, name), getattr(array, name)
        assert isinstance(theirs, np.ndarray)
        torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=0)
        assert ours.dtype == dtype
    for name in ("score_samples", "predict", "predict_proba", "fit_predict"):
        ours, theirs = getattr(mixture, name)(x), getattr(array, name)(x.numpy())
        assert isinstance(theirs, np.ndarray)
        torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=0)
    assert isinstance(mixture.score(x), float)
    assert all(isinstance(part, torch.Tensor) for part in mixture.sample(3))
    assert isinstance(mixture.predict(x.numpy()), np.ndarray)
    assert not mixture.fit(x.clone().requires_grad_()).means_.requires_grad


def test_float32_attributes_score_like_float64_until_they_are_changed():
    x = (1000 + 1e-3 * blobs()).astype(np.float32)
    mixture = GaussianMixture(3, covariance_type="diag", random_state=0, reg_covar=1e-12).fit(x)
    truth = Reference(3, covariance_type="diag")
    parameters = mixture._parameters()
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        setattr(truth, f"{name}_", getattr(parameters, name).numpy() - (1000 if name == "means" else 0))
    assert mixture.score(x) == pytest.approx(truth.score(x.astype(np.float64) - 1000), rel=1e-6)
    mixture.means_ = mixture.means_ + np.float32(1)
    assert mixture.score(x) < truth.score(x.astype(np.float64) - 1000) - 100


@pytest.mark.parametrize("numpy", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same_to_the_last_bit(tmp_path, kind, numpy):
    x = blobs(100).astype(np.float32)
    start = np.array([0.2, 0.8])
    x, start = (x, start) if numpy else (torch.from_numpy(x), torch.from_numpy(start))
    mixture = GaussianMixture(2, covariance_type=kind, random_state=0, weights_init=start, verbose=0).fit(x)
    mixture.save(tmp_path / "new" / "mixture.safetensors")
    loaded = GaussianMixture.load(tmp_path / "new" / "mixture.safetensors")
    ours, theirs = vars(loaded), vars(mixture)
    assert ours.keys() == theirs.keys()
    for name in set(ours):
        assert type(ours[name]) is type(theirs[name]), name
        assert np.array_equal(np.asarray(ours[name]), np.asarray(theirs[name])), name
    assert np.array_equal(np.asarray(loaded.score_samples(x)), np.asarray(mixture.score_samples(x)))
    (tmp_path / "half").write_bytes((tmp_path / "new" / "mixture.safetensors").read_bytes()[:-9])
    with pytest.raises(ValueError, match="half is not a file of a Gaussian mixture"):
        GaussianMixture.load(tmp_path / "half")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        GaussianMixture.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture().save(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_responsibilities_sum_to_one(seed, kind):
    x = blobs(50, 2, 3, seed)
    mixture = GaussianMixture(3, covariance_type=kind, random_state=seed, max_iter=5).fit(x)
    far = np.concatenate([x, 1e3 * x, 1e8 * x])
    proba = mixture.predict_proba(far)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-12)
    assert (proba.argmax(1) == mixture.predict(far)).all()
    assert np.isfinite(mixture.score_samples(far)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_moments_of_the_mixture(kind):
    mixture = GaussianMixture(3, covariance_type=kind, random_state=0).fit(blobs())
    x, labels = mixture.sample(60_000)
    np.testing.assert_allclose(np.bincount(labels) / 60_000, mixture.weights_, atol=0.01)
    again = GaussianMixture(
        3,
        covariance_type=kind,
        max_iter=1,
        weights_init=mixture.weights_,
        means_init=mixture.means_,
        precisions_init=mixture.precisions_,
    ).fit(x)
    np.testing.assert_allclose(again.means_, mixture.means_, atol=0.1)
    np.testing.assert_allclose(again.covariances_, mixture.covariances_, rtol=0.1, atol=0.1)


def test_warm_start_goes_on():
    x = blobs()
    whole = GaussianMixture(4, random_state=0, init_params="random", max_iter=12, tol=0).fit(x)
    warm = GaussianMixture(4, random_state=0, init_params="random", max_iter=6, tol=0, warm_start=True)
    assert warm.fit(x).fit(x).lower_bound_ == whole.lower_bound_
    np.testing.assert_array_equal(warm.means_, whole.means_)


def test_callback_sees_every_step():
    seen = []
    mixture = GaussianMixture(3, random_state=0, max_iter=7, tol=0)
    mixture.fit(blobs(), callback=lambda m: seen.append((m.n_iter_, m.lower_bound_, m.means_.copy())))
    assert [n for n, _, _ in seen] == list(range(1, 8))
    assert [bound for _, bound, _ in seen] == mixture.lower_bounds_
    np.testing.assert_array_equal(seen[-1][2], mixture.means_)


def test_progress_is_shown_when_asked_for(capsys):
    GaussianMixture(2, verbose=1, verbose_interval=1, random_state=0).fit(blobs())
    assert "log-likelihood" in capsys.readouterr().out
    GaussianMixture(2, random_state=0).fit(blobs())
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter .* must be an int in the range .* Got 0"),
        ({"n_components": 2.0}, "'n_components' parameter .* must be an int .* Got 2.0"),
        ({"tol": -1}, "'tol' parameter .* must be a float in the range .* Got -1"),
        ({"reg_covar": float("nan")}, "'reg_covar'"),
        ({"covariance_type": "round"}, "'covariance_type' parameter .* Got 'round'"),
        ({"init_params": "guess"}, "'init_params' parameter .* Got 'guess'"),
        ({"n_components": 2, "weights_init": [0.5, 0.6]}, r"normalized, but got sum\(weights\) = 1.1"),
        ({"n_components": 2, "weights_init": [1.5, -0.5]}, r"in the range \[0, 1\]"),
        (
            {"n_components": 2, "means_init": [[1.0, 2.0]]},
            r"'means' should have the shape of \(2, 3\), but got \(1, 2\)",
        ),
        ({"precisions_init": -np.eye(3)[None]}, "'full precision' should be symmetric, positive-definite"),
        ({"precisions_init": [[-1.0, 1, 1]], "covariance_type": "diag"}, "'diag precision' should be positive"),
        ({"n_components": 601}, "n_components = 601, n_samples = 600"),
    ],
)
def test_bad_settings_are_named(settings_, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**settings_).fit(blobs())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(5), "Expected 2D array, got 1D array"),
        (torch.tensor([[1.0], [float("nan")]]), "NaN"),
        (torch.zeros(1, 2), "minimum of 2 is required"),
        (torch.zeros(4, 2, dtype=torch.complex64), "Complex"),
    ],
)
def test_bad_tensors_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture().fit(x)
    with pytest.raises(ValueError, match="3 features, but GaussianMixture is expecting 2"):
        GaussianMixture().fit(torch.randn(9, 2)).predict(torch.zeros(1, 3))


def unaligned(x):
    buffer = np.zeros(x.nbytes + 1, np.uint8)
    buffer[1:] = np.frombuffer(x.tobytes(), np.uint8)
    return buffer[1:].view(x.dtype).reshape(x.shape)


def field(x):
    rows = np.zeros(len(x), [("pad", "i1"), ("x", x.dtype, x.shape[1:])])
    rows["x"] = x
    return rows["x"]  # strides that are no multiple of the item


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "reversed rows": lambda x: x[::-1],
    "reversed columns": lambda x: x[:, ::-1],
    "every other row": lambda x: np.repeat(x, 2, 0)[::2],
    "Fortran": np.asfortranarray,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": read_only,
    "unaligned": unaligned,
    "field of a record": field,
    "longdouble": lambda x: x.astype(np.longdouble),
    "float16": lambda x: x.astype(np.float16),
    "integers": lambda x: (10 * x).astype(np.int16)[::-1],
    "uint64": lambda x: (10 * abs(x)).astype(np.uint64),
    "bool": lambda x: x > 0,
    "broadcast": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "nested lists": lambda x: x.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_any_layout_is_the_same_data(layout, dtype):
    x = LAYOUTS[layout](blobs(300).astype(dtype))
    plain = np.array(x, dtype=np.float32 if getattr(x, "dtype", None) == np.dtype(">f4") else None)
    plain = plain.astype(plain.dtype if plain.dtype in (np.float32, np.float64) else np.float64)
    settings = {"random_state": 0, "max_iter": 5}
    one, other = GaussianMixture(3, **settings).fit(x), GaussianMixture(3, **settings).fit(plain)
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-5, atol=1e-5)
    for name in ("score_samples", "predict", "predict_proba"):
        np.testing.assert_allclose(getattr(one, name)(x), getattr(one, name)(plain), rtol=1e-5, atol=1e-5)
    assert one.score(x) == pytest.approx(one.score(plain), rel=1e-5)
    streamed = GaussianMixture(3, **settings).partial_fit(x).partial_fit(x)
    again = GaussianMixture(3, **settings).partial_fit(plain).partial_fit(plain)
    np.testing.assert_allclose(streamed.means_, again.means_, rtol=1e-4, atol=1e-4)
    if layout != "nested lists":
        shards = GaussianMixture(3, **settings).fit([x[:120], x[120:]])
        np.testing.assert_allclose(shards.means_, other.means_, rtol=1e-3, atol=1e-3)
        assert shards.score([x[:120], x[120:]]) == pytest.approx(one.score(x), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_initial_parameters_may_have_any_layout(kind):
    x = blobs(300)
    fitted = GaussianMixture(3, covariance_type=kind, random_state=0).fit(x)
    start = {f"{name}_init": getattr(fitted, f"{name}_") for name in ("weights", "means", "precisions")}
    plain = GaussianMixture(3, covariance_type=kind, max_iter=2, **start).fit(x)
    for change in ("reversed", "byte-swapped", "read-only", "list"):
        moved = {
            name: {
                "reversed": lambda a: a[::-1].copy()[::-1],
                "byte-swapped": lambda a: a.astype(">f8"),
                "read-only": read_only,
                "list": lambda a: a.tolist(),
            }[change](value)
            for name, value in start.items()
        }
        other = GaussianMixture(3, covariance_type=kind, max_iter=2, **moved).fit(x)
        np.testing.assert_array_equal(other.means_, plain.means_)


def test_pickle_copy_and_clone_keep_the_mixture():
    x = blobs().astype(np.float32)
    mixture = GaussianMixture(3, random_state=0).fit(x)
    for other in (pickle.loads(pickle.dumps(mixture)), copy.deepcopy(mixture), clone(mixture).fit(x)):
        np.testing.assert_array_equal(other.score_samples(x), mixture.score_samples(x))
        assert other.get_params() == mixture.get_params()
