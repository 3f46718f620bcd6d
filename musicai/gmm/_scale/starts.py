"""Starting points of EM."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.utils import check_random_state
from torch import Tensor
from torch.nn.functional import one_hot

from musicai.gmm import em
from musicai.gmm._scale.rows import Data, as_tensor
from musicai.gmm.em import Moments, Parameters

SAMPLE = 2**18  # the most rows that k-means sees


def start(data: Data, settings: dict[str, Any], random_state: np.random.RandomState) -> Parameters:
    """Find the parameters before the first step, given the settings of the estimator.

    Raises ValueError if given parameters have the wrong shape, if weights or precisions are invalid, or if the data
    collapse at once.
    """
    kind, given = settings["covariance_type"], _given(settings, data)
    if len(given) == 4:
        return Parameters(**given, covariance_type=kind)
    seen = _initial_moments(data, settings["init_params"], settings["n_components"], kind, random_state)
    reg_covar = 1.0 if "covariances" in given else settings["reg_covar"]  # covariances that are not used may collapse
    found = em.m_step(seen, kind, reg_covar)
    weights = found.weights * float(seen.count.sum() / data.rows)  # as in scikit-learn, if few rows were chosen
    return replace(found, **{"weights": weights} | given)


def random_numbers(data: Data, seed: int | np.random.RandomState | None) -> np.random.RandomState:
    """Make a source of random numbers: in every process, the same one as in process 0."""
    shared = [check_random_state(seed)]
    if data.world > 1:
        dist.broadcast_object_list(shared, src=0)
    return shared[0]


def _given(settings: dict[str, Any], data: Data) -> dict[str, Tensor]:
    """The fields of `Parameters` that were given, checked, in float64."""
    k, d, kind = settings["n_components"], data.width, settings["covariance_type"]
    shapes = {"weights": (k,), "means": (k, d)}
    shapes["precisions"] = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[kind]
    given = {}
    for name, shape in shapes.items():
        if (values := settings[f"{name}_init"]) is not None:
            given[name] = as_tensor(values).to(data.device, torch.float64)
            if (got := tuple(given[name].shape)) != shape:
                raise ValueError(f"The parameter '{name}' should have the shape of {shape}, but got {got}")
    weights = given.get("weights", torch.ones(1))
    if not (bool((weights >= 0).all()) and abs(float(weights.sum()) - 1) <= 1e-6):
        said = f"in the range [0, 1] and normalized, but got sum(weights) = {float(weights.sum()):.5f}"
        raise ValueError(f"The parameter 'weights' should be {said}")
    if "precisions" in given:
        precisions, said = given.pop("precisions"), "symmetric, positive-definite" if data.full else "positive"
        try:
            if data.full and not torch.allclose(precisions, precisions.mT):
                raise ValueError("it is not symmetric")
            half = em.precisions_cholesky(precisions, data.full)  # a factor of the covariances
            given["covariances"] = half @ half.mT if data.full else half.square()
            given["precisions_cholesky"] = em.precisions_cholesky(given["covariances"], data.full)
        except ValueError as error:
            raise ValueError(f"'{kind} precision' should be {said}") from error
    return given


def _initial_moments(data: Data, how: str, k: int, kind: str, random_state: np.random.RandomState) -> Moments:
    if how == "random":
        responsibilities = _random_responsibilities(k, random_state)
        seen = data.moments(responsibilities, k)
        responsibilities(seen.mean[:0], data.rows)  # so that the next start draws the same numbers in every process
        return seen
    numbers = np.arange(data.rows)
    if data.rows > SAMPLE and how != "random_from_data":
        numbers = np.unique(random_state.randint(data.rows, size=SAMPLE))
    if how == "kmeans":
        found = KMeans(k, n_init=1, random_state=random_state).fit(data.take(numbers).cpu().numpy())
        centres = torch.from_numpy(found.cluster_centers_).to(data.device, torch.float64)
        distances = partial(torch.cdist, x2=centres, compute_mode="donot_use_mm_for_euclid_dist")
        return data.moments(lambda rows, _: one_hot(distances(rows.double()).argmin(1), k).T, k)
    if how == "random_from_data":
        chosen = random_state.choice(data.rows, k, replace=False)
    else:
        _, chosen = kmeans_plusplus(data.take(numbers).cpu().numpy(), k, random_state=random_state)
        chosen = numbers[chosen]
    rising, back = np.unique(chosen, return_inverse=True)
    means = data.take(rising).double()[torch.from_numpy(back).to(data.device)]
    scatter = means.new_zeros(k, *data.total.scatter.shape[1:])
    if kind == "tied":  # as in scikit-learn: the squares of all rows, shared by the few that were chosen
        every = data.total
        scatter[0] = every.scatter[0] + every.count * em.squares(every.mean, True)[0] - em.squares(means, True).sum(0)
    return Moments(torch.ones_like(means[:, 0]), means, scatter)


def _random_responsibilities(k: int, random_state: np.random.RandomState) -> Callable:
    drawn = 0

    def responsibilities(rows: Tensor, position: int) -> Tensor:
        nonlocal drawn
        random_state.uniform(size=(position - drawn, k))  # for the rows of other processes
        shares, drawn = random_state.uniform(size=(len(rows), k)), position + len(rows)
        return torch.from_numpy((shares / shares.sum(1, keepdims=True)).T).to(rows.device)

    return responsibilities
