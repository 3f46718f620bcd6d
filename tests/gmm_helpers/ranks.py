"""Run under `torchrun` by test_distributed.py: fits in two processes, saved by process 0."""

import os
from pathlib import Path

import numpy as np
import torch

from musicai.gmm import GaussianMixture

STARTS = ("kmeans", "k-means++", "random", "random_from_data")


def data() -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40_001, 3)) * rng.uniform(0.2, 2, size=(4, 3))[np.arange(40_001) % 4]
    return rows + 5 * rng.normal(size=(4, 3))[np.arange(40_001) % 4]


def fitted(x, kind: str, init: str, **options) -> GaussianMixture:
    mixture = GaussianMixture(4, covariance_type=kind, init_params=init, random_state=0, max_iter=15, tol=0)
    return mixture.fit(x, **options)


def assert_same(one, other, tolerance=1e-9):
    assert one.n_iter_ == other.n_iter_
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_"):
        ours, theirs = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=name)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    x, rank, cut = data(), int(os.environ["RANK"]), 15_000
    part = x[:cut] if rank == 0 else x[cut:]  # unequal parts, each process its own
    fits = {f"own-{init}": fitted(part, "diag", init) for init in STARTS}
    fits["whole-kmeans"] = fitted(x, "full", "kmeans")
    fits["shards-k-means++"] = fitted([x[:5000], x[5000:30_000], x[30_000:]], "tied", "k-means++")
    fits["few-random"] = fitted(x[:300], "full", "random")  # too few to be shared out
    # nothing for the second process
    fits["none-random_from_data"] = fitted([x[:300] if rank == 0 else x[:0]], "spherical", "random_from_data")
    if rank == 0:
        for name, mixture in fits.items():
            mixture.save(folder / name)
