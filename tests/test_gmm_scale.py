"""Shards, memory maps, streams and interrupted fits all end where one fit in memory does; so do several processes,
in test_distributed.py."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from gmm_helpers.ranks import STARTS, assert_same, data, fitted
from sklearn.exceptions import ConvergenceWarning

from musicai.gmm import GaussianMixture

KINDS = ("full", "tied", "diag", "spherical")


@pytest.fixture(autouse=True)
def _short_fits_are_allowed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.fixture(scope="module")
def x():
    return data()


@pytest.mark.parametrize("init", STARTS)
@pytest.mark.parametrize("kind", KINDS)
def test_shards_give_the_same_answer_as_memory(x, kind, init):
    x = x[:5001]
    cuts = [x[:100], x[100:100], x[100:4000], torch.from_numpy(x[4000:])]
    whole, shards = fitted(x, kind, init), fitted(cuts, kind, init)
    assert_same(shards, whole)
    assert_same(fitted(lambda: iter(cuts), kind, init), whole)
    assert shards.score(cuts) == pytest.approx(whole.score(x), rel=1e-12)


def test_a_memory_map_is_fitted_a_piece_at_a_time(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    whole = fitted(x, "diag", "k-means++")
    assert_same(fitted(mapped, "diag", "k-means++"), whole, 0)
    assert_same(fitted([mapped[:17_000], mapped[17_000:]], "diag", "k-means++"), whole)


MEMORY = """
import resource, sys, numpy as np, torch
torch.set_num_threads(1)
from musicai.gmm import GaussianMixture
mapped = np.memmap(sys.argv[1], np.float32, "r", shape=(1_000_000, 8))
GaussianMixture(2, covariance_type="diag", random_state=0, max_iter=2).fit([mapped[:99]])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def shards():
    for first in range(0, len(mapped), 100_000):
        yield np.array(mapped[first : first + 100_000])
GaussianMixture(32, covariance_type="full", init_params="k-means++", random_state=0, max_iter=2).fit(shards)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    path = tmp_path / "x"
    np.random.default_rng(0).normal(size=(1_000_000, 8)).astype(np.float32).tofile(path)  # 32 MB
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    megabytes = float(run.stdout)  # responsibilities alone would be 1,000,000 x 32 x 4 bytes = 128 MB
    assert megabytes < 80


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ((np.zeros((2, 2)) for _ in range(3)), "read only once"),
        (lambda: iter(()), "there are no shards"),
        ([np.zeros((4, 2)), np.zeros((4, 3))], r"shard 1 has shape \(4, 3\); it should have \(rows, 2\)"),
        ([np.eye(2), np.array([[np.nan, 1.0]])], "NaN or infinity, in rows 2 to 2"),
        ([np.eye(2)[:1]], "Expected n_samples >= n_components"),
    ],
)
def test_bad_shards_are_named(shards, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2).fit(shards)


@pytest.mark.parametrize("kind", KINDS)
def test_online_em_learns_a_stream(x, kind):
    order = np.random.default_rng(1).permutation(len(x))
    online = GaussianMixture(4, covariance_type=kind, random_state=0)
    for batch in np.array_split(x[order], 80):
        online.partial_fit(batch)
    assert online.n_batches_ == online.n_iter_ == 80
    best = GaussianMixture(4, covariance_type=kind, random_state=0, tol=1e-5).fit(x)
    assert online.score(x) > best.score(x) - 0.01
    assert online.weights_.sum() == pytest.approx(1)
    score = best.score(x)
    assert best.partial_fit(x[:50], rate=1e-3).score(x) == pytest.approx(score, abs=1e-3)
    assert best.n_batches_ == 1
    assert not hasattr(best.fit(x), "n_batches_")


def test_one_batch_with_all_rows_is_a_step_of_em_mixed_with_its_start(x):
    """With rate 1 an online step is an EM step: two batches at decay 1 have the rates 1/2 and 1/3."""
    start = GaussianMixture(3, max_iter=0, random_state=0).fit(x)
    step = GaussianMixture(3, max_iter=1, random_state=0).fit(x)
    online = GaussianMixture(3, random_state=0).partial_fit(x, decay=1.0)
    half = (start.weights_ + step.weights_) / 2
    np.testing.assert_allclose(online.weights_, half, rtol=1e-6)
    means = (start.weights_[:, None] * start.means_ + step.weights_[:, None] * step.means_) / 2 / half[:, None]
    np.testing.assert_allclose(online.means_, means, rtol=1e-6)


def test_partial_fit_refuses_a_decay_that_does_not_converge(x):
    with pytest.raises(ValueError, match=r"decay must be above 0\.5"):
        GaussianMixture(2).partial_fit(x[:50], decay=0.5)


class Stop(Exception):
    pass


def test_a_mixture_saved_by_the_callback_goes_on_to_the_same_end(tmp_path, x):
    x, path = x[:3000], tmp_path / "run" / "em.safetensors"
    settings = {"n_components": 4, "init_params": "random", "tol": 0, "random_state": 5}
    straight = GaussianMixture(**settings, max_iter=10).fit(x)

    def stop(mixture):
        mixture.save(path)
        if mixture.n_iter_ == 4:
            raise Stop

    with pytest.raises(Stop):
        GaussianMixture(**settings, max_iter=10).fit(x, callback=stop)
    resumed = GaussianMixture.load(path).set_params(warm_start=True, max_iter=6).fit(x)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(straight, name))


def test_the_number_of_threads_changes_nothing(x):
    before = torch.get_num_threads()
    try:
        fits = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            fits.append(fitted(x.astype(np.float32), "full", "k-means++"))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert_same(*fits, 1e-12)
