"""Run under `torchrun` by test_gmm_scale.py: fits in two processes, saved by process 0."""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from musicai.gmm import GaussianMixture

STARTS = ("kmeans", "k-means++", "random", "random_from_data")


def data() -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40_001, 3)) * rng.uniform(0.2, 2, size=(4, 3))[np.arange(40_001) % 4]
    return rows + 5 * rng.normal(size=(4, 3))[np.arange(40_001) % 4]


def fitted(x, kind: str, init: str, **options) -> GaussianMixture:
    mixture = GaussianMixture(4, covariance_type=kind, init_params=init, random_state=0, max_iter=15, tol=0)
    return mixture.fit(x, **options)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    x = data()
    for init in STARTS:
        whole = fitted(x, "full", init)
        rank = dist.get_rank()
        cut = 15_000
        own = fitted(x[:cut] if rank == 0 else x[cut:], "diag", init)  # unequal parts, each process its own
        shards = fitted([x[:5000], x[5000:30_000], x[30_000:]], "tied", init)
        few = fitted(x[:300], "full", init)  # too few to be shared out
        none = fitted([x[:300] if rank == 0 else x[:0]], "spherical", init)  # nothing for the second process
        if rank == 0:
            for name, mixture in {"whole": whole, "own": own, "shards": shards, "few": few, "none": none}.items():
                mixture.save(folder / f"{name}-{init}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
